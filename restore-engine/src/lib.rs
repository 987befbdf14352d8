#![doc = include_str!("../README.md")]

mod conflict;
mod error;
mod event;
mod folder_map;
mod loss;
mod report;
mod request;
mod retry;

pub use conflict::{Decision, SkipReason};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, NoObserver, Observer};
pub use loss::{Loss, LossCode, Losses};
pub use report::{DETAILS_MAX, ItemDetail, RestoreOutcome, RestoreReport};
pub use request::{ConflictRule, Destination, RestoreRequest, Selection};
