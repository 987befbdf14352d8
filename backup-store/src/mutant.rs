//! Mutants: rules of the store that a test can break on purpose, to show that it would notice.
//!
//! Without the feature `fault-injection` no rule can be broken.

#[cfg(feature = "fault-injection")]
use crate::fault::{ActiveMutant, break_rule, is_broken};

#[cfg_attr(
    not(feature = "fault-injection"),
    allow(unreachable_pub, reason = "public with the feature")
)]
/// Names one rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// A page is called durable though its spool was not synced.
    SyncLeftOut,
    /// A snapshot set is put before the packs and segments that it refers to.
    SlotBeforePacks,
    /// A spool file is deleted before the segment that names its pack is acknowledged.
    SpoolDeletedEarly,
    /// The last frame of a crashed spool is kept without being opened.
    TornTailAccepted,
    /// A merged segment lacks the entries of its last input.
    MergeDropsEntries,
    /// Prune takes a place that a damage record names for a copy as good as any.
    DamagedCopyCounts,
    /// A spool file is handed over to the backend before it was synced.
    HandedOverUnsynced,
    /// A salt is drawn without regard to what it will seal.
    SaltIgnoresMessage,
    /// The nonce of a message is made from its place alone.
    NonceIgnoresMessage,
    /// A writer wins its slot with a commit record, and puts the snapshot elsewhere afterwards.
    #[cfg(feature = "fault-injection")]
    CommitRecordThenSnapshot,
    /// What is reachable is not looked at again after the leases are settled.
    NoSecondMark,
    /// The leases to settle are those that were listed before the plan was put.
    LeasesBeforePlan,
    /// A writer lists plans, then puts its lease.
    PlansBeforeLease,
    /// The second look at the snapshots comes before the fences.
    SnapshotsBeforeFences,
    /// A lease that is live is taken for ended, without a fence.
    FenceByTimeout,
    /// A writer that was fenced goes on in its next slot.
    FenceIgnored,
    /// No lease is settled.
    LeasesIgnored,
    /// Retention deletes snapshots before the plan.
    #[cfg(feature = "fault-injection")]
    ForgetAtOnce,
    /// A writer chooses its parent from a listing made before its lease.
    ParentFromCache,
    /// The ids of swept packs are not kept.
    NoDeadIds,
    /// Every sweeper follows its own decision.
    NoVerdict,
    /// A backend that lets two creators win is trusted.
    DishonestPutIfAbsent,
}

#[cfg(feature = "fault-injection")]
impl Mutant {
    /// Those that show when a nonce is watched.
    pub const OF_NONCES: [Self; 2] = [Self::SaltIgnoresMessage, Self::NonceIgnoresMessage];
    /// Those that a crash brings to light.
    pub const OF_CRASHES: [Self; 5] = [
        Self::SyncLeftOut,
        Self::SlotBeforePacks,
        Self::SpoolDeletedEarly,
        Self::TornTailAccepted,
        Self::HandedOverUnsynced,
    ];
    /// Those of the rules between writers and pruners, which the explorer breaks.
    pub const OF_ROUNDS: [Self; 12] = [
        Self::CommitRecordThenSnapshot,
        Self::NoSecondMark,
        Self::LeasesBeforePlan,
        Self::PlansBeforeLease,
        Self::SnapshotsBeforeFences,
        Self::FenceByTimeout,
        Self::LeasesIgnored,
        Self::ForgetAtOnce,
        Self::ParentFromCache,
        Self::NoDeadIds,
        Self::NoVerdict,
        Self::DishonestPutIfAbsent,
    ];
    /// Those that show already in one prune beside one writer, and in one merge of segments.
    pub const OF_UPKEEP: [Self; 4] = [
        Self::NoSecondMark,
        Self::FenceByTimeout,
        Self::LeasesIgnored,
        Self::MergeDropsEntries,
    ];

    /// Breaks this rule on the calling thread until the answer is dropped.
    pub fn activate(self) -> ActiveMutant {
        break_rule::<Self>(self as usize)
    }
}

/// Tells whether a rule is broken here and now.
#[cfg(feature = "fault-injection")]
pub(crate) fn mutated(mutant: Mutant) -> bool {
    is_broken::<Mutant>(mutant as usize)
}

/// Tells that no rule is broken.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn mutated(_mutant: Mutant) -> bool {
    false
}
