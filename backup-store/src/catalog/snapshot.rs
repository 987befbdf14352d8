//! Snapshots: the state of one resource at one time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Resource, ResourceId};
use crate::{LeaseId, RunId, SnapshotId, Timestamp, TreeRoot};

/// Holds a service's cursor, opaque to everything but the source that made it.
///
/// May contain capability URLs: its `Debug` shows the length alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Cursor(String);

impl Cursor {
    /// Takes a cursor as the source wrote it.
    pub fn new(cursor: impl Into<String>) -> Self {
        Self(cursor.into())
    }

    /// Returns the cursor as the source wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({} bytes)", self.0.len())
    }
}

/// Pairs a feed with the cursor up to which it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedCursor {
    /// Id of the feed within its resource.
    pub feed: String,
    /// From where the next run goes on.
    pub cursor: Cursor,
}

/// Counts what a run did with the items of one resource, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Distinct items shown by the service and not removed.
    pub seen: u64,
    /// Items whose content was stored.
    pub stored: u64,
    /// Items that were already stored as they are.
    pub unchanged: u64,
    /// Those among the unchanged whose content was assumed, not fetched again.
    pub assumed: u64,
    /// Items left out for a known reason.
    pub skipped: u64,
    /// Items that could not be stored.
    pub quarantined: u64,
    /// Items that are gone from the service; not among the seen.
    pub removed: u64,
    /// Items that changed container; among the seen.
    pub moved: u64,
    /// Bytes fetched from the service.
    pub bytes: u64,
}

impl Totals {
    /// Tells whether the counts agree.
    ///
    /// *Shape*: `seen = stored + unchanged + skipped + quarantined`, and `assumed` is at most
    /// `unchanged`.
    pub fn check(&self) -> bool {
        let parts = [self.stored, self.unchanged, self.skipped, self.quarantined];
        let sum = parts
            .iter()
            .try_fold(0u64, |sum, part| sum.checked_add(*part));
        sum == Some(self.seen) && self.assumed <= self.unchanged
    }

    /// Adds the counts of another resource.
    pub fn add(&mut self, other: &Self) {
        self.seen = self.seen.saturating_add(other.seen);
        self.stored = self.stored.saturating_add(other.stored);
        self.unchanged = self.unchanged.saturating_add(other.unchanged);
        self.assumed = self.assumed.saturating_add(other.assumed);
        self.skipped = self.skipped.saturating_add(other.skipped);
        self.quarantined = self.quarantined.saturating_add(other.quarantined);
        self.removed = self.removed.saturating_add(other.removed);
        self.moved = self.moved.saturating_add(other.moved);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Says how the backup of a resource, or a run, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outcome {
    /// Everything is stored.
    Complete,
    /// Everything is stored except what is listed as quarantined.
    CompleteWithQuarantine,
    /// Some feeds could not be read to their end.
    Partial,
    /// A stop on the way; the run went on, or was interrupted.
    Checkpoint,
}

impl Outcome {
    /// Returns the name as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CompleteWithQuarantine => "complete-with-quarantine",
            Self::Partial => "partial",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Holds an enumeration of a feed that has not ended yet, beside the item tree it will replace.
///
/// Readers and restore use the item tree only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enumeration {
    /// Id of the feed.
    pub feed: String,
    /// A random number that tells this enumeration from every other.
    pub generation: [u8; 16],
    /// The items seen so far.
    pub items: TreeRoot,
    /// From where it goes on; absent before its first page.
    pub cursor: Option<Cursor>,
}

/// Describes the state of one resource at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The resource, described as it was.
    pub resource: Resource,
    /// Name of the backup set.
    pub set: String,
    /// The run that made it.
    pub run: RunId,
    /// How the backup of the resource ended.
    pub outcome: Outcome,
    /// The claim token it was made under.
    pub token: u64,
    /// Its number among the snapshots of the resource under one claim.
    pub sequence: u64,
    /// The snapshot it continues.
    pub parent: Option<SnapshotId>,
    /// Hash of the parent's record, as in [`SnapshotEntry::hash`].
    pub parent_hash: Option<[u8; 32]>,
    /// When reading the resource began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Container id → [`Container`](super::Container).
    pub containers: TreeRoot,
    /// [`ItemKey`](super::ItemKey) → [`Item`](super::Item).
    pub items: TreeRoot,
    /// [`ItemKey`](super::ItemKey) → [`RunNote`](super::RunNote).
    pub notes: TreeRoot,
    /// Enumerations that have not ended.
    pub enumerations: Vec<Enumeration>,
    /// One cursor per feed that was read to its end, or up to a checkpoint.
    pub cursors: Vec<FeedCursor>,
    /// What the run did.
    pub totals: Totals,
    /// By which APIs items were read.
    pub routes: Vec<String>,
    /// Up to which entry of the backup journal it covers.
    pub journal_sequence: u64,
}

impl Snapshot {
    /// Tells whether both hold the same containers and items, whatever run wrote them.
    pub fn same_state(&self, other: &Self) -> bool {
        self.containers == other.containers && self.items == other.items
    }
}

/// Pairs a published snapshot with where it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotEntry {
    /// Its id.
    pub id: SnapshotId,
    /// The lease of the writer that published it.
    pub lease: LeaseId,
    /// The slot of the lease that holds it.
    pub slot: u32,
    /// Hash of its record; a child names it as `parent_hash`.
    pub hash: [u8; 32],
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// Chooses the snapshot that the next one of `resource` continues: the greatest
/// (token, sequence).
///
/// Among equals the one that continues the other is chosen: it was made by a repair. Otherwise,
/// which only a cloned writer makes, the id decides, so that every caller chooses the same.
pub fn choose_parent<'a>(
    entries: &'a [SnapshotEntry],
    resource: &ResourceId,
) -> Option<&'a SnapshotEntry> {
    entries
        .iter()
        .filter(|entry| entry.snapshot.resource.id == *resource)
        .max_by(|a, b| {
            let left = (a.snapshot.token, a.snapshot.sequence);
            let right = (b.snapshot.token, b.snapshot.sequence);
            let continues = |a: &SnapshotEntry, b: &SnapshotEntry| a.snapshot.parent == Some(b.id);
            left.cmp(&right)
                .then_with(|| continues(a, b).cmp(&continues(b, a)))
                .then_with(|| a.id.cmp(&b.id))
        })
}
