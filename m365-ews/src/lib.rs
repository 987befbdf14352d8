#![doc = include_str!("../README.md")]

mod client;
mod code;
mod envelope;
mod error;
pub mod limits;
mod operation;
mod types;
mod xml;

pub use client::{EwsClient, EwsOptions};
pub use error::{Error, ErrorKind, Result};
pub use limits::limit_table;
pub use operation::{Find, FindFolder, FindItem, Found, GetItem, Operation};
pub use types::{Folder, FolderId, Item, ItemId, Paging, Parent};
pub use xml::Limits;

/// Takes one answer of the service apart, without sending anything: for recorded exchanges and
/// for fuzzing.
///
/// *Errors*: the fault, when the answer is one; [`ErrorKind::Malformed`] or
/// [`ErrorKind::TooLarge`].
pub fn read_answer<O: Operation>(
    document: &[u8],
    limits: Limits,
) -> Result<Vec<Result<O::Answer>>> {
    envelope::response::<O>(document, limits)
}
