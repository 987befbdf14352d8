//! Request: what to restore, from which snapshot, to where, and what to do about collisions.

use backup_store::catalog::{ItemKey, SnapshotEntry};
use serde::{Deserialize, Serialize};

/// Says which part of a snapshot is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// Everything.
    All,
    /// One container, by its id in the snapshot, with everything below it.
    Container(String),
    /// Single items.
    Items(Vec<ItemKey>),
}

/// Says where a restore writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Destination {
    /// The mailbox or drive that was backed up.
    Original,
    /// The mailbox or drive of another user, by principal name or id.
    Owner(String),
}

/// Says what happens to an item that meets another one in its place.
///
/// Whatever the rule, an item that is there already with the same content is left alone, and an item
/// that an earlier restore wrote is not written again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ConflictRule {
    /// Leaves the one that is there; the stored one is not written.
    #[default]
    Skip,
    /// Writes the stored one beside it; a file gets a name with `(restored)`.
    Copy,
    /// Writes the stored one, verifies it, then removes the one that was there.
    Replace,
}

impl ConflictRule {
    /// Returns the rule as it is written in plans and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Copy => "copy",
            Self::Replace => "replace",
        }
    }
}

/// Describes one restore of one resource.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::exhaustive_structs, reason = "a record that callers fill in")]
pub struct RestoreRequest {
    /// The state to go back to.
    pub snapshot: SnapshotEntry,
    /// The part of it that is wanted.
    pub selection: Selection,
    /// Where it goes.
    pub destination: Destination,
    /// One folder, by name, new or existing, under which everything is put.
    pub into_folder: Option<String>,
    /// What happens to collisions.
    pub conflict: ConflictRule,
}

impl RestoreRequest {
    /// Creates a request for everything in `snapshot`, to its original place, skipping collisions.
    pub fn everything(snapshot: SnapshotEntry) -> Self {
        Self {
            snapshot,
            selection: Selection::All,
            destination: Destination::Original,
            into_folder: None,
            conflict: ConflictRule::Skip,
        }
    }

    /// Returns the principal name or id of the destination's owner; the target is made for it.
    pub fn owner(&self) -> &str {
        match &self.destination {
            Destination::Original => &self.snapshot.snapshot.resource.owner,
            Destination::Owner(owner) => owner,
        }
    }
}
