//! What the caller of prune asks for, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::decide::{self, Policy};
use crate::catalog::SnapshotEntry;
use crate::id::{LeaseId, SnapshotId};
use crate::rounds::RoundNumber;

/// Says what prune may do about writers that neither end nor acknowledge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Fencing {
    /// Wait: the report names them, and a later call goes on.
    #[default]
    Wait,
    /// Fence these leases: their writers have to begin again, and lose work, never data.
    These(BTreeSet<LeaseId>),
    /// Fence whoever is in the way.
    All,
}

/// Says when a pack of which little is needed is written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepackOptions {
    /// Packs of which less than this share is needed are repacked.
    ///
    /// *Units and limits*: percent of the inflated bytes, 0 to 100.
    pub below_percent: u8,
    /// Directory for the packs being written, not used by anyone else.
    pub spool_dir: PathBuf,
}

/// Says what to prune.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PruneOptions {
    /// The snapshots to forget.
    pub forget: BTreeSet<SnapshotId>,
    /// Snapshots that are kept, whatever else is said.
    pub pins: BTreeSet<SnapshotId>,
    /// What to do about writers that are in the way.
    pub fencing: Fencing,
    /// Whether packs are written anew; none are without this.
    pub repack: Option<RepackOptions>,
    /// Report what would be done, and change nothing.
    pub dry_run: bool,
    /// The caller declares that no other prune is at work: needed where the backend does not
    /// honour create-only puts.
    pub sole_pruner: bool,
    /// Go on though chunks that kept snapshots need are in no pack: they are lost already.
    pub tolerate_missing: bool,
}

impl PruneOptions {
    /// Forgets nothing; removes what nothing refers to.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets every snapshot of a listing that is not to be kept.
    ///
    /// What is published after that listing is kept.
    pub fn keeping(listing: &[SnapshotEntry], keep: &BTreeSet<SnapshotId>) -> Self {
        let ids = listing.iter().map(|entry| entry.id);
        Self {
            forget: ids.filter(|id| !keep.contains(id)).collect(),
            ..Self::default()
        }
    }

    pub(super) fn policy(&self, put_if_absent: bool) -> Policy {
        let fencing = match &self.fencing {
            Fencing::Wait => decide::Fencing::None,
            Fencing::These(leases) => decide::Fencing::These(leases.clone()),
            Fencing::All => decide::Fencing::All,
        };
        Policy {
            forget: self.forget.difference(&self.pins).copied().collect(),
            repack_below_percent: self
                .repack
                .as_ref()
                .map_or(0, |repack| repack.below_percent),
            fencing,
            put_if_absent,
        }
    }
}

/// Says how a prune ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PruneOutcome {
    /// There was nothing to do.
    #[default]
    Nothing,
    /// A dry run: the report says what would be done.
    Planned,
    /// A round is planned; it waits for the leases that the report names.
    Waiting,
    /// Everything that was to go is gone.
    Done,
}

/// Counts packs and their stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amount {
    /// Number of packs.
    pub packs: u64,
    /// Their size in the backend.
    ///
    /// *Units and limits*: bytes; 0 for packs whose size this run has not seen.
    pub bytes: u64,
}

/// Tells what a prune did.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PruneReport {
    /// How it ended.
    pub outcome: PruneOutcome,
    /// The rounds that were brought to their end.
    pub rounds: Vec<RoundNumber>,
    /// The snapshots that were forgotten, or would be.
    pub forgotten: BTreeSet<SnapshotId>,
    /// Forgotten snapshots whose objects stay until the others in them are forgotten.
    pub in_shared_sets: u64,
    /// Packs that stay because they are needed.
    pub kept: Amount,
    /// Packs that nothing needs, but that a live writer may be about to refer to.
    pub spared: Amount,
    /// Packs that were condemned, or would be.
    pub condemned: Amount,
    /// Condemned packs that a snapshot came to need meanwhile.
    pub rescued: Amount,
    /// Packs whose needed share was written anew, or would be.
    pub repacked: Amount,
    /// Packs that were deleted.
    pub deleted: Amount,
    /// Segments that were deleted.
    pub segments_deleted: u64,
    /// Snapshot sets that were deleted.
    pub sets_deleted: u64,
    /// Chunks that kept snapshots need and that are in no pack.
    pub missing_chunks: u64,
    /// Leases that were fenced.
    pub fenced: Vec<LeaseId>,
    /// Leases that the open round waits for.
    pub waiting: BTreeSet<LeaseId>,
}

/// Says what a prune is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum PrunePhase {
    /// Reading the trees of the kept snapshots.
    Marking,
    /// Writing packs anew.
    Repacking,
    /// Seeing to the leases of writers.
    Settling,
    /// Deleting.
    Deleting,
}

/// Tells how far a prune is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PruneProgress {
    /// What it is busy with.
    pub phase: PrunePhase,
    /// Steps of this phase that are done.
    pub done: u64,
    /// Steps of this phase, where known.
    pub total: Option<u64>,
}

/// Sizes of packs, for counting.
#[derive(Debug, Default)]
pub(super) struct Sizes(pub(super) BTreeMap<crate::PackId, u64>);

impl Sizes {
    pub(super) fn amount<'a>(&self, packs: impl IntoIterator<Item = &'a crate::PackId>) -> Amount {
        let mut amount = Amount::default();
        for pack in packs {
            amount.packs += 1;
            amount.bytes += self.0.get(pack).copied().unwrap_or_default();
        }
        amount
    }
}
