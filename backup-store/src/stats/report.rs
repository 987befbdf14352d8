//! What statistics report.

use crate::SnapshotId;
use crate::Timestamp;
use crate::catalog::ResourceId;

/// Says what to measure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatsOptions {
    /// Also measures what each snapshot holds alone: what forgetting it, and nothing else, would
    /// release. Reads the newest tree of every resource once more.
    pub exclusive: bool,
}

/// Tells how far the measuring has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatsProgress {
    /// Snapshots measured so far.
    pub snapshots: u64,
    /// Records of items read so far.
    pub items: u64,
}

/// Counts stored objects of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ObjectSums {
    /// Number of objects.
    pub objects: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// Measures some contents.
///
/// *Units and limits*: bytes. Trees and snapshot records are not in these; they are in the sums
/// of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// What a restore of all of it would write.
    pub logical: u64,
    /// What is left of that when every chunk counts once.
    pub unique: u64,
    /// What those chunks take in packs.
    pub stored: u64,
}

impl Sizes {
    /// Returns how many times smaller the unique bytes are than the logical ones.
    pub fn dedup_ratio(&self) -> f64 {
        ratio(self.logical, self.unique)
    }

    /// Returns how many times smaller the stored bytes are than the unique ones.
    pub fn compression_ratio(&self) -> f64 {
        ratio(self.unique, self.stored)
    }
}

/// One of nothing is 1: nothing was saved, nothing lost.
fn ratio(before: u64, after: u64) -> f64 {
    if after == 0 {
        return 1.0;
    }
    before as f64 / after as f64
}

/// Measures one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotStats {
    /// The snapshot.
    pub id: SnapshotId,
    /// Its resource.
    pub resource: ResourceId,
    /// When it ended.
    pub finished: Timestamp,
    /// Its items.
    pub items: u64,
    /// What a restore of it would write.
    pub logical: u64,
    /// Bytes of chunks that no earlier snapshot of the resource holds.
    pub added: u64,
    /// Stored bytes of the chunks that no other snapshot of the store holds; absent unless asked
    /// for.
    pub exclusive: Option<u64>,
}

/// Measures one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceStats {
    /// The resource.
    pub id: ResourceId,
    /// Its snapshots.
    pub snapshots: u64,
    /// Items of its newest snapshot.
    pub items: u64,
    /// Its distinct contents: the logical bytes are those of all its snapshots together, and a
    /// chunk that other resources hold too is counted here as well.
    pub sizes: Sizes,
}

/// Reports what a store holds and takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatsReport {
    /// Packs.
    pub packs: ObjectSums,
    /// Segments of the index.
    pub segments: ObjectSums,
    /// Snapshot sets and the ends of leases.
    pub snapshot_sets: ObjectSums,
    /// Everything else.
    pub other: ObjectSums,
    /// All snapshots together.
    pub sizes: Sizes,
    /// Each resource, by its id.
    pub resources: Vec<ResourceStats>,
    /// Each snapshot, by resource and time.
    pub snapshots: Vec<SnapshotStats>,
    /// Snapshot sets and trees that could not be read: the figures lack what is in them.
    pub unreadable: u64,
}

impl StatsReport {
    /// Returns the size of all objects.
    pub fn total_bytes(&self) -> u64 {
        let sums = [self.packs, self.segments, self.snapshot_sets, self.other];
        sums.iter().map(|sums| sums.bytes).sum()
    }
}
