//! What copying is asked for, and what it reports.

use crate::catalog::{ItemKey, ResourceId};
use crate::{ObjectName, SnapshotId, WriterOptions};

/// Says what to copy into a foreign store.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The resources whose snapshots are copied; all when absent.
    pub resources: Option<Vec<ResourceId>>,
    /// The snapshots that are copied; all when absent.
    pub snapshots: Option<Vec<SnapshotId>>,
    /// What the writer of the target needs.
    pub writer: WriterOptions,
}

/// Tells how far copying has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Snapshots, or objects of a replica, that are done.
    pub done: u64,
    /// How many there are.
    pub total: u64,
    /// Items copied so far; none for a replica, whose objects are not opened that far.
    pub items: u64,
    /// Bytes of contents read so far, or bytes of objects copied.
    pub bytes: u64,
}

/// Names something that could not be copied because it is damaged in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyDamage {
    /// The resource.
    pub resource: ResourceId,
    /// The snapshot, as the source names it.
    pub snapshot: SnapshotId,
    /// The item; absent where a container or the whole snapshot is concerned.
    pub item: Option<ItemKey>,
    /// What is wrong.
    pub cause: String,
}

/// Reports what was copied into a foreign store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// The snapshots that were copied: their ids in the source, and in the target.
    pub copied: Vec<(SnapshotId, SnapshotId)>,
    /// Selected snapshots that the target had already.
    pub known: u64,
    /// Selected snapshots that were forgotten in the source meanwhile, and so were not published.
    pub forgotten: Vec<SnapshotId>,
    /// Records of items that were written.
    pub items: u64,
    /// Bytes of contents that were read for it.
    pub bytes: u64,
    /// Items that the copy holds as quarantined, since the source has them damaged, and snapshots
    /// that could not be copied at all.
    pub damaged: Vec<CopyDamage>,
}

/// Says how a replica is filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplicaOptions {
    /// Follows what the primary has forgotten: snapshots that retention removed there disappear
    /// here, what only they needed is deleted, and removed key slots are deleted.
    ///
    /// Without it nothing is ever deleted from the replica, and a snapshot once copied stays, even
    /// if everything is deleted from the primary.
    pub follow_deletions: bool,
}

impl Default for ReplicaOptions {
    /// Follows what the primary deletes.
    fn default() -> Self {
        Self {
            follow_deletions: true,
        }
    }
}

/// Counts objects that were copied or deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Number of objects.
    pub objects: u64,
    /// Their size in bytes; of deleted ones where it is known.
    pub bytes: u64,
}

impl Moved {
    pub(super) fn add(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

/// Reports what was copied into a replica.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplicaReport {
    /// Packs that were copied.
    pub packs: Moved,
    /// Segments that were copied.
    pub segments: Moved,
    /// Snapshot sets and ends of leases that were copied.
    pub snapshot_sets: Moved,
    /// Run records, key epochs, key slots and records of prune that were copied.
    pub other: Moved,
    /// Objects that the replica had already.
    pub known: u64,
    /// Objects that were deleted, following the primary.
    pub deleted: Moved,
    /// Objects that are damaged in the primary and were not copied, each with the cause.
    pub damaged: Vec<(ObjectName, String)>,
    /// Objects that the replica has with other bytes: it has been damaged, or has gone its own
    /// way. They were left as they are.
    pub conflicts: Vec<ObjectName>,
}

impl ReplicaReport {
    /// Tells whether the replica now holds everything that the primary held when filling began.
    pub fn is_complete(&self) -> bool {
        self.damaged.is_empty() && self.conflicts.is_empty()
    }
}
