//! What a pruner decides from what it has seen: plain functions, the same for the store and for
//! the explorer of its tests.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::ObjectName;
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::mutant::{Mutant, mutated};
use crate::rounds::{Done, Plan, Rounds, SlotSet, Verdict};

/// What the caller asks of a round.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Policy {
    /// Snapshots to forget, pins already taken out.
    pub(crate) forget: BTreeSet<SnapshotId>,
    /// Packs of which less than this share is needed are repacked.
    pub(crate) repack_below_percent: u8,
    /// Which live leases may be fenced.
    pub(crate) fencing: Fencing,
    /// The backend honours create-only puts; without that nobody is fenced.
    pub(crate) put_if_absent: bool,
}

/// Which live leases may be fenced.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) enum Fencing {
    #[default]
    None,
    These(BTreeSet<LeaseId>),
    All,
}

impl Policy {
    pub(crate) fn may_fence(&self, lease: &LeaseId) -> bool {
        (self.put_if_absent || mutated(Mutant::DishonestPutIfAbsent))
            && match &self.fencing {
                Fencing::None => false,
                Fencing::These(leases) => leases.contains(lease),
                Fencing::All => true,
            }
    }
}

/// What a slot object holds, as far as prune needs to know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum SlotSeen {
    Set(Vec<SnapshotId>),
    /// FENCE or END.
    Closing,
}

/// All slots, by lease and number.
pub(crate) type SlotsSeen = BTreeMap<LeaseId, BTreeMap<u32, SlotSeen>>;

/// Tells whether a lease has ended.
pub(crate) fn has_ended(slots: &SlotsSeen, lease: &LeaseId) -> bool {
    let slots = slots.get(lease);
    slots.is_some_and(|slots| slots.values().any(|slot| *slot == SlotSeen::Closing))
}

/// How a lease stands to the open round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Standing {
    /// It has ended, or acknowledged the round.
    Settled,
    /// It is live; this slot was free.
    Live { next: u32 },
}

/// A lease object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LeaseSeen {
    pub(crate) id: LeaseId,
    pub(crate) adopts: Vec<LeaseId>,
    /// How it stands to the round that is open, or comes next.
    pub(crate) standing: Standing,
}

/// A pack object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PackSeen {
    pub(crate) id: PackId,
    /// Size of the object.
    pub(crate) stored: u64,
    /// Bytes of its chunks, inflated, and those of them for which it is needed.
    pub(crate) total: u64,
    pub(crate) live: u64,
    pub(crate) condition: Condition,
    /// The lease under which it was opened; unknown where nothing depends on it.
    pub(crate) lease: Option<LeaseId>,
}

/// What damage records say of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) enum Condition {
    /// Nothing.
    #[default]
    Whole,
    /// Part of it is damaged; what is needed of that has another copy.
    Damaged,
    /// Something that is needed lies in what is damaged, and nowhere else: it cannot be copied.
    Stuck,
}

/// A segment object.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct SegmentSeen {
    pub(crate) name: ObjectName,
    pub(crate) packs: Vec<PackId>,
    pub(crate) supersedes: Vec<ObjectName>,
}

/// What a pruner sees before it plans.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Survey {
    pub(crate) leases: Vec<LeaseSeen>,
    pub(crate) slots: SlotsSeen,
    pub(crate) packs: Vec<PackSeen>,
    pub(crate) segments: Vec<SegmentSeen>,
}

/// What a pruner makes of a survey.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Intent {
    pub(crate) plan: Plan,
    /// Packs to repack first; they are condemned when that is done.
    pub(crate) repack: BTreeSet<PackId>,
    /// Packs that nothing needs, but that a live writer may be about to refer to.
    pub(crate) spared: BTreeSet<PackId>,
    /// Whether a round would change anything.
    pub(crate) worthwhile: bool,
}

/// Tells whether nobody is at work on a pack: its lease has ended, and no live lease adopts it.
fn is_abandoned(survey: &Survey, pack: &PackSeen) -> bool {
    let Some(lease) = pack.lease else {
        return false;
    };
    let live = |lease: &&LeaseSeen| !has_ended(&survey.slots, &lease.id);
    let mut adopted = survey
        .leases
        .iter()
        .filter(live)
        .flat_map(|live| &live.adopts);
    has_ended(&survey.slots, &lease) && !adopted.any(|adopted| *adopted == lease)
}

/// Tells whether so little of a pack is needed that it is worth repacking; a damaged one always is,
/// if that can be done.
pub(crate) fn is_wasteful(pack: &PackSeen, below_percent: u8) -> bool {
    let (live, total) = (u128::from(pack.live), u128::from(pack.total));
    let little = match pack.condition {
        Condition::Whole => live * 100 < total * u128::from(below_percent),
        Condition::Damaged => below_percent > 0,
        Condition::Stuck => false,
    };
    pack.live > 0 && little
}

/// Decides what to condemn.
pub(crate) fn intend(policy: &Policy, rounds: &Rounds, survey: &Survey) -> Intent {
    let mut intent = Intent {
        plan: Plan {
            round: rounds.current(),
            forget: forgettable(policy, rounds, &survey.slots),
            packs: BTreeSet::new(),
        },
        ..Intent::default()
    };
    for pack in &survey.packs {
        if rounds.is_dead(&pack.id) {
            intent.plan.packs.insert(pack.id); // A late put brought it back.
        } else if pack.live == 0 && is_abandoned(survey, pack) {
            intent.plan.packs.insert(pack.id);
        } else if pack.live == 0 {
            intent.spared.insert(pack.id);
        } else if is_wasteful(pack, policy.repack_below_percent) && is_abandoned(survey, pack) {
            intent.repack.insert(pack.id);
        }
    }
    let expected = verdict(
        &intent.plan,
        &rounds.done,
        &survey.slots,
        &Rescue {
            rescued: BTreeSet::new(),
            segments: survey.segments.clone(),
        },
    );
    let plan = &intent.plan;
    intent.worthwhile = !plan.forget.is_empty()
        || !plan.packs.is_empty()
        || !intent.repack.is_empty()
        || !expected.slots.is_empty()
        || !expected.segments.is_empty();
    intent
}

/// The snapshots to forget that exist.
fn forgettable(policy: &Policy, rounds: &Rounds, slots: &SlotsSeen) -> BTreeSet<SnapshotId> {
    let mut found = BTreeSet::new();
    for (lease, slots) in slots {
        for (number, slot) in slots {
            let SlotSeen::Set(ids) = slot else { continue };
            let wanted = ids.iter().filter(|id| policy.forget.contains(id));
            found.extend(wanted.filter(|id| rounds.exists((lease, *number), id)));
        }
    }
    found
}

/// What the second mark found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Rescue {
    pub(crate) rescued: BTreeSet<PackId>,
    pub(crate) segments: Vec<SegmentSeen>,
}

/// How a pack that holds a reachable chunk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// It exists, and will go on existing.
    Safe,
    Condemned,
    /// It is not there, or dead.
    Absent,
}

/// Names the packs to rescue for one reachable chunk: all condemned ones that hold it, unless a
/// pack that stays holds it too.
pub(crate) fn rescue<'a>(
    packs: &'a [PackId],
    place: impl Fn(&PackId) -> Place + 'a,
) -> impl Iterator<Item = PackId> + 'a {
    let safe = packs.iter().any(|pack| place(pack) == Place::Safe);
    let condemned = packs
        .iter()
        .filter(move |pack| !safe && place(pack) == Place::Condemned);
    condemned.copied()
}

/// Decides what exactly is deleted.
pub(crate) fn verdict(plan: &Plan, done: &Done, slots: &SlotsSeen, rescue: &Rescue) -> Verdict {
    let packs: BTreeSet<_> = if mutated(Mutant::NoSecondMark) {
        plan.packs.clone()
    } else {
        plan.packs.difference(&rescue.rescued).copied().collect()
    };
    let forgotten: BTreeSet<_> = done.forgotten.union(&plan.forget).copied().collect();
    let (emptied, inside) = emptied_slots(slots, &forgotten, done);
    let left = forgotten.difference(&inside).copied().collect();
    let dead = |pack: &PackId| packs.contains(pack) || done.dead.contains(pack);
    let superseded: BTreeSet<_> = rescue
        .segments
        .iter()
        .flat_map(|segment| &segment.supersedes)
        .collect();
    let unneeded = |segment: &&SegmentSeen| {
        superseded.contains(&segment.name) || segment.packs.iter().all(dead)
    };
    let segments = rescue.segments.iter().filter(unneeded);
    Verdict {
        round: plan.round,
        forget: plan.forget.clone(),
        left,
        slots: emptied,
        segments: segments.map(|segment| segment.name.clone()).collect(),
        packs,
    }
}

/// Finds the slots in which nothing is left, of leases whose closing slot exists; the closing slot
/// itself stays for ever. Returns them with the snapshots inside.
fn emptied_slots(
    slots: &SlotsSeen,
    forgotten: &BTreeSet<SnapshotId>,
    done: &Done,
) -> (SlotSet, BTreeSet<SnapshotId>) {
    let (mut emptied, mut inside) = (SlotSet::new(), BTreeSet::new());
    for (lease, slots_of_lease) in slots {
        if !has_ended(slots, lease) {
            continue;
        }
        for (number, slot) in slots_of_lease {
            let SlotSeen::Set(ids) = slot else { continue };
            if done.is_gone(lease, *number) || ids.iter().all(|id| forgotten.contains(id)) {
                emptied.entry(*lease).or_default().insert(*number);
                inside.extend(ids);
            }
        }
    }
    (emptied, inside)
}

/// Says what is over when a verdict was carried out.
pub(crate) fn done(before: &Done, verdict: &Verdict) -> Done {
    let mut done = before.clone();
    done.round = verdict.round;
    if !mutated(Mutant::NoDeadIds) {
        done.dead.extend(&verdict.packs);
    }
    done.forgotten.clone_from(&verdict.left);
    for (lease, numbers) in &verdict.slots {
        done.gone.entry(*lease).or_default().extend(numbers);
    }
    done
}

/// Chooses one copy for the chunks that lie in the same several packs, and counts them as needed
/// there: a pack that is needed anyway, if there is one.
pub(crate) fn choose_copies(
    copies: impl IntoIterator<Item = (Vec<PackId>, u64)>,
    live: &mut BTreeMap<PackId, u64>,
) {
    for (mut packs, length) in copies {
        packs.sort_unstable();
        let needed = packs.iter().find(|pack| live.contains_key(pack));
        if let Some(pack) = needed.or(packs.first()) {
            *live.entry(*pack).or_default() += length;
        }
    }
}
