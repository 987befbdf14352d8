//! Run notes: what is known of an item that depends on the run.

use crate::Timestamp;

/// Notes what depends on the run about one item; kept under its key in a map of its own.
///
/// A change here alone makes no new snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunNote {
    /// When a run first saw the item.
    pub first_seen: Timestamp,
    /// How often storing it was tried.
    pub tries: u32,
    /// Whether its content was taken over without fetching it again.
    pub content_assumed: bool,
    /// By which API it was read, as in `graph`.
    pub route: String,
}
