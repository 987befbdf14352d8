//! Mutants: ways to break the protocol on purpose, so that the explorer can show that it bites.
//!
//! Outside of tests none is ever active.

/// One broken rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Mutant {
    #[cfg(test)]
    /// A writer wins its slot with a commit record, and puts the snapshot elsewhere afterwards.
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
    /// No lease is settled.
    LeasesIgnored,
    #[cfg(test)]
    /// Retention deletes snapshots before the plan.
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

#[cfg(test)]
thread_local! {
    static ACTIVE: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Tells whether a rule is broken on purpose.
#[cfg(test)]
pub(crate) fn is_active(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Tells whether a rule is broken on purpose: never, outside of tests.
#[cfg(not(test))]
pub(crate) const fn is_active(_mutant: Mutant) -> bool {
    false
}

/// Breaks a rule on this thread, or none.
#[cfg(test)]
pub(crate) fn activate(mutant: Option<Mutant>) {
    ACTIVE.set(mutant);
}
