//! What repair is asked for, what it plans, and what it reports.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{ItemKey, RepresentationKind, ResourceId, SnapshotEntry};
use crate::check::BadPlaces;
use crate::slots::SlotRecord;
use crate::{CheckReport, ChunkId, ObjectName, PackId, SnapshotId, Store};

/// Says where repair may take from.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// Replicas of the store, and other places that hold the same store, the best first.
    pub replicas: Vec<Store>,
}

/// Says what repair is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RepairPhase {
    /// Reading all data.
    Checking,
    /// Finding what depends on damage, and who has it.
    Planning,
    /// Writing what was found elsewhere.
    Fetching,
    /// Publishing snapshots again.
    Publishing,
}

/// Tells how far repair has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairProgress {
    /// What it is doing.
    pub phase: RepairPhase,
    /// Objects, chunks or snapshots of this phase that are done.
    pub done: u64,
    /// How many there are, where that is known.
    pub total: Option<u64>,
}

/// Plans what becomes of one snapshot that lost something for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRepair {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its resource.
    pub resource: ResourceId,
    /// Items whose content is lost in part or whole: they will be in quarantine.
    pub items: u64,
    /// Containers whose properties, or whose records, are lost.
    pub containers: u64,
    /// Records of items that are lost, so that not even their names are known: the feeds will be
    /// read anew from their beginnings.
    pub records: u64,
}

/// Names something that is to be fetched again from the service.
///
/// The next run does so by itself for items in quarantine whose properties are there; the others
/// it finds when it reads their feed anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refetch {
    /// The resource.
    pub resource: ResourceId,
    /// The item.
    pub item: ItemKey,
    /// Its name.
    pub name: String,
    /// The form that is lost.
    pub representation: RepresentationKind,
    /// The newest snapshot that holds it.
    pub snapshot: SnapshotId,
}

/// Where a chunk is fetched from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// From this store, where it can still be read, though its pack is damaged.
    Here,
    /// From a replica, by its number.
    Replica(usize),
}

/// How a chunk is stored again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// As a tree node, or as a value apart from its node.
    Node,
    /// As content of a resource.
    Content(ResourceId),
}

/// A snapshot set that cannot be read here, and what a replica says that it holds.
#[derive(Debug, Clone)]
pub(super) struct LostSet {
    pub(super) records: Vec<SlotRecord>,
    pub(super) token: u64,
}

/// What execution needs to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    pub(super) replicas: Vec<Store>,
    pub(super) bad: BadPlaces,
    pub(super) fetch: BTreeMap<ChunkId, (From, Role)>,
    pub(super) lost: BTreeSet<ChunkId>,
    pub(super) sealed: Vec<(ObjectName, usize)>,
    pub(super) sets: Vec<LostSet>,
    pub(super) snapshots: Vec<SnapshotEntry>,
    /// The newest snapshot of each resource: its repaired form is continued by the next run.
    pub(super) newest: BTreeSet<SnapshotId>,
}

/// Plans a repair: everything that will be written, and what nobody can bring back.
#[derive(Debug, Clone)]
pub struct RepairPlan {
    /// The check that the plan rests on.
    pub check: CheckReport,
    /// Packs that are put into the index again, from their own tables.
    pub index: Vec<PackId>,
    /// Chunks that are stored again, from a replica or from what can still be read here.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub bytes: u64,
    /// Chunks that a snapshot needs and nobody has.
    pub lost_chunks: u64,
    /// Objects that are missing here and are copied from a replica under their own names.
    pub objects: Vec<ObjectName>,
    /// Snapshots whose set cannot be read here: they are published again as they were.
    pub republished: Vec<SnapshotId>,
    /// Snapshots that are published again without what is lost.
    pub snapshots: Vec<SnapshotRepair>,
    /// What is to be fetched again from the service.
    pub refetch: Vec<Refetch>,
    /// Objects that are damaged and that nobody has whole: what was in them is lost.
    pub beyond: Vec<ObjectName>,
    pub(super) work: Work,
}

impl RepairPlan {
    /// Tells whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
            && self.chunks == 0
            && self.objects.is_empty()
            && self.republished.is_empty()
            && self.snapshots.is_empty()
    }

    /// Tells whether everything that was damaged comes back.
    pub fn restores_everything(&self) -> bool {
        self.lost_chunks == 0 && self.snapshots.is_empty() && self.beyond.is_empty()
    }
}

/// Reports what a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Packs that are in the index again.
    pub indexed: u64,
    /// Chunks that were stored again.
    pub chunks: u64,
    /// Bytes of those chunks.
    pub bytes: u64,
    /// Objects that were copied from a replica under their own names.
    pub objects: u64,
    /// Snapshots that were published again as they were.
    pub republished: u64,
    /// Snapshots that were published again without what is lost: the damaged one, and the one
    /// that continues it. The damaged ones stay until retention forgets them.
    pub repaired: Vec<(SnapshotId, SnapshotId)>,
    /// Items that are in quarantine in the repaired snapshots, counted once each.
    pub quarantined: u64,
}
