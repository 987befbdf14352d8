//! Operations: each request names the type of its answer.

mod find;
mod get_item;
pub(crate) mod wire;

pub use find::{Find, FindFolder, FindItem, Found};
pub use get_item::GetItem;

/// Ties a request to its answer; only this crate implements it.
pub trait Operation: wire::Wire<Out = Self::Answer> + Send + Sync {
    /// What one response message of this operation holds.
    type Answer: Send;
}
