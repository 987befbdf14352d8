//! Retention: which snapshots are kept, and why. A plan, computed from listings; to forget what it
//! does not keep is the store's prune.

mod calendar;
#[cfg(test)]
mod laws;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Duration;

use backup_store::catalog::{Outcome, ResourceId, Snapshot, SnapshotEntry};
use backup_store::{SnapshotId, Timestamp};

use self::calendar::{Period, period_of};

/// Says for how long snapshots are kept; each rule adds to what the others keep.
///
/// *Shape*: without any rule, everything is kept. Days, weeks, months and years are those of UTC;
/// a week begins on Monday.
///
/// *Units and limits*: a number counts periods that have a snapshot, not days gone by: an unchanged
/// mailbox writes no snapshot, and its last state must not age out for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// The newest so many.
    pub keep_last: u32,
    /// Every state of the time that ends now: its snapshots, and the one it began with.
    pub keep_within: Option<Duration>,
    /// The last of each of so many hours.
    pub hourly: u32,
    /// The last of each of so many days.
    pub daily: u32,
    /// The last of each of so many weeks.
    pub weekly: u32,
    /// The last of each of so many months.
    pub monthly: u32,
    /// The last of each of so many years.
    pub yearly: u32,
}

impl RetentionPolicy {
    /// Tells whether no rule is set, so that everything is kept.
    pub fn keeps_everything(&self) -> bool {
        *self == Self::default()
    }

    fn periods(&self) -> [(Period, u32); 5] {
        [
            (Period::Hour, self.hourly),
            (Period::Day, self.daily),
            (Period::Week, self.weekly),
            (Period::Month, self.monthly),
            (Period::Year, self.yearly),
        ]
    }
}

/// Holds what must be kept whatever the policy says: a legal hold, or a wish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins {
    /// Single snapshots.
    pub snapshots: HashSet<SnapshotId>,
    /// Resources of which every snapshot stays.
    pub resources: HashSet<ResourceId>,
}

/// Says why a snapshot is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeepReason {
    /// The next backup continues it.
    Newest,
    /// The newest that is complete.
    NewestComplete,
    /// No rule is set.
    NoPolicy,
    /// It, or its resource, is pinned.
    Pinned,
    /// One of the newest so many.
    Last,
    /// A state of the time that ends now.
    Within,
    /// The last of an hour.
    Hourly,
    /// The last of a day.
    Daily,
    /// The last of a week.
    Weekly,
    /// The last of a month.
    Monthly,
    /// The last of a year.
    Yearly,
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Newest => "newest",
            Self::NewestComplete => "newest complete",
            Self::NoPolicy => "no policy",
            Self::Pinned => "pinned",
            Self::Last => "last",
            Self::Within => "within",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

/// Says what becomes of one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionDecision {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Whose state it holds.
    pub resource: ResourceId,
    /// When it was taken.
    pub finished: Timestamp,
    /// Why it is kept, sorted; empty when it is forgotten.
    pub kept: Vec<KeepReason>,
}

/// Says what becomes of every snapshot; by resource, then oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionPlan {
    /// A decision for each snapshot.
    pub decisions: Vec<RetentionDecision>,
}

impl RetentionPlan {
    /// Returns the snapshots that are forgotten.
    pub fn forgotten(&self) -> impl Iterator<Item = SnapshotId> + '_ {
        let gone = self.decisions.iter().filter(|one| one.kept.is_empty());
        gone.map(|one| one.snapshot)
    }

    /// Returns the snapshots that are kept.
    pub fn kept(&self) -> impl Iterator<Item = SnapshotId> + '_ {
        let kept = self.decisions.iter().filter(|one| !one.kept.is_empty());
        kept.map(|one| one.snapshot)
    }
}

/// Decides what becomes of each of `entries`, a whole listing of a store.
///
/// Rules count complete snapshots; a checkpoint or a partial one stands in for a period that has
/// no other. The newest snapshot of a resource is always kept, and the newest complete one.
pub fn plan_retention(
    entries: &[SnapshotEntry],
    policy: &RetentionPolicy,
    pins: &Pins,
    now: Timestamp,
) -> RetentionPlan {
    let mut resources: BTreeMap<&ResourceId, Vec<&SnapshotEntry>> = BTreeMap::new();
    for entry in entries {
        let of_resource = resources.entry(&entry.snapshot.resource.id).or_default();
        of_resource.push(entry);
    }
    let mut plan = RetentionPlan::default();
    for (resource, mut entries) in resources {
        entries.sort_by_key(|entry| (age_order(&entry.snapshot), entry.id));
        let kept = keep(&entries, policy, pins, now);
        let decisions = entries.iter().zip(kept);
        plan.decisions
            .extend(decisions.map(|(entry, mut kept)| RetentionDecision {
                snapshot: entry.id,
                resource: resource.clone(),
                finished: entry.snapshot.finished,
                kept: {
                    kept.sort_unstable();
                    kept.dedup();
                    kept
                },
            }));
    }
    plan
}

/// Returns the reasons to keep each of one resource's snapshots, which are sorted by age.
fn keep(
    entries: &[&SnapshotEntry],
    policy: &RetentionPolicy,
    pins: &Pins,
    now: Timestamp,
) -> Vec<Vec<KeepReason>> {
    let mut reasons = vec![Vec::new(); entries.len()];
    let complete = |at: &usize| is_complete(&entries[*at].snapshot);
    // The parent of the next backup is chosen by claim, not by clock.
    let newest = (0..entries.len()).max_by_key(|at| {
        let snapshot = &entries[*at].snapshot;
        (snapshot.token, snapshot.sequence, entries[*at].id)
    });
    if let Some(at) = newest {
        reasons[at].push(KeepReason::Newest);
    }
    if let Some(at) = (0..entries.len()).rev().find(complete) {
        reasons[at].push(KeepReason::NewestComplete);
    }
    for (at, entry) in entries.iter().enumerate() {
        let held = pins.resources.contains(&entry.snapshot.resource.id);
        if held || pins.snapshots.contains(&entry.id) {
            reasons[at].push(KeepReason::Pinned);
        }
        if policy.keeps_everything() {
            reasons[at].push(KeepReason::NoPolicy);
        }
    }
    let last = (0..entries.len()).rev().filter(complete);
    for at in last.take(policy.keep_last as usize) {
        reasons[at].push(KeepReason::Last);
    }
    if let Some(within) = policy.keep_within {
        for at in states_since(entries, now, within) {
            reasons[at].push(KeepReason::Within);
        }
    }
    for (period, count) in policy.periods() {
        for at in last_of_each(entries, period, count) {
            reasons[at].push(period.reason());
        }
    }
    reasons
}

/// Returns the snapshots of the time that ends now, and the one whose state it began with.
fn states_since(
    entries: &[&SnapshotEntry],
    now: Timestamp,
    within: Duration,
) -> impl Iterator<Item = usize> {
    let within = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
    let begin = now.as_millis().saturating_sub(within);
    let inside = entries.partition_point(|entry| entry.snapshot.finished.as_millis() < begin);
    let before = (0..inside)
        .rev()
        .find(|at| is_complete(&entries[*at].snapshot));
    before.into_iter().chain(inside..entries.len())
}

/// Returns the last snapshot of each of the newest `count` periods that have one.
fn last_of_each(entries: &[&SnapshotEntry], period: Period, count: u32) -> Vec<usize> {
    let mut chosen: Vec<(i64, usize)> = Vec::new();
    let snapshot = |at: usize| &entries[at].snapshot;
    for at in (0..entries.len()).rev() {
        let number = period_of(period, snapshot(at).finished);
        let is_full = chosen.len() == count as usize;
        match chosen.last_mut() {
            Some((found, stand_in)) if *found == number => {
                if !is_complete(snapshot(*stand_in)) && is_complete(snapshot(at)) {
                    *stand_in = at;
                }
            }
            _ if is_full => break,
            _ => chosen.push((number, at)),
        }
    }
    chosen.into_iter().map(|(_, at)| at).collect()
}

fn is_complete(snapshot: &Snapshot) -> bool {
    matches!(
        snapshot.outcome,
        Outcome::Complete | Outcome::CompleteWithQuarantine
    )
}

fn age_order(snapshot: &Snapshot) -> (Timestamp, u64, u64) {
    (snapshot.finished, snapshot.token, snapshot.sequence)
}
