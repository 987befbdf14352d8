//! What a writer decides from what it has seen: plain state, the same for the store and for the
//! explorer of its tests.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::{PackId, SnapshotId};
use crate::mutant::{Mutant, mutated};
use crate::rounds::{RoundNumber, Rounds};

/// One step of beginning to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum BeginStep {
    /// Put the lease.
    PutLease,
    /// Fence the adopted leases.
    FenceAdopted,
    /// Read what the rounds say.
    ReadRounds,
    /// Acknowledge the open round, if there is one: nothing was referred to yet.
    Acknowledge,
    /// List the slots, from which parents are chosen.
    ListSlots,
}

/// The order of beginning. Rounds come after the lease, else a plan slips between; parents come
/// from a listing made after both.
pub(crate) fn begin_order() -> [BeginStep; 5] {
    use BeginStep::{Acknowledge, FenceAdopted, ListSlots, PutLease, ReadRounds};
    if mutated(Mutant::PlansBeforeLease) {
        [ReadRounds, PutLease, FenceAdopted, Acknowledge, ListSlots]
    } else if mutated(Mutant::ParentFromCache) {
        [ListSlots, PutLease, FenceAdopted, ReadRounds, Acknowledge]
    } else {
        [PutLease, FenceAdopted, ReadRounds, Acknowledge, ListSlots]
    }
}

/// What a writer refers to, and what it may not refer to.
///
/// It remembers packs, not chunks: 16 bytes for each of about 32 MiB.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct References {
    rounds: Arc<Rounds>,
    packs: BTreeSet<PackId>,
    acknowledged: RoundNumber,
}

/// What a writer has to do about the rounds it has just read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CatchUp {
    /// Nothing: no round is open, or it is acknowledged.
    Current,
    /// It continues these snapshots, which the plan forgets: it does not acknowledge.
    ParentCondemned(Vec<SnapshotId>),
    /// Copy what these packs hold into own packs, then acknowledge the round.
    Copy(BTreeSet<PackId>, RoundNumber),
}

impl References {
    /// Begins with the rounds as they were read after the lease was put.
    pub(crate) fn new(rounds: Arc<Rounds>) -> Self {
        Self {
            rounds,
            ..Self::default()
        }
    }

    /// The rounds as they were last read.
    pub(crate) fn rounds(&self) -> &Arc<Rounds> {
        &self.rounds
    }

    /// The open round, unless it is acknowledged.
    pub(crate) fn unacknowledged(&self) -> Option<RoundNumber> {
        let round = self.rounds.plan()?.round;
        (round > self.acknowledged).then_some(round)
    }

    /// Notes that this writer refers to a pack, unless the pack is absent to it.
    pub(crate) fn admit(&mut self, pack: &PackId) -> bool {
        if self.rounds.is_absent(pack) {
            return false;
        }
        self.packs.insert(*pack);
        true
    }

    /// Notes a pack that this writer has written itself, whatever became of it since.
    pub(crate) fn written(&mut self, pack: PackId) {
        self.packs.insert(pack);
    }

    /// Takes newer rounds; from now on what they condemn is absent.
    pub(crate) fn catch_up(&mut self, rounds: Arc<Rounds>, parents: &[SnapshotId]) -> CatchUp {
        if rounds.progress() >= self.rounds.progress() {
            self.rounds = rounds;
        }
        let (Some(plan), Some(round)) = (self.rounds.plan(), self.unacknowledged()) else {
            return CatchUp::Current;
        };
        let condemned = parents.iter().filter(|parent| plan.forget.contains(parent));
        let condemned: Vec<_> = condemned.copied().collect();
        if !condemned.is_empty() {
            return CatchUp::ParentCondemned(condemned);
        }
        CatchUp::Copy(self.overtaken(), round)
    }

    /// The packs it refers to that are absent now.
    pub(crate) fn overtaken(&self) -> BTreeSet<PackId> {
        let absent = self.packs.iter().filter(|pack| self.rounds.is_absent(pack));
        absent.copied().collect()
    }

    /// Notes that what it needs of a pack lies elsewhere now.
    pub(crate) fn copied(&mut self, pack: &PackId) {
        self.packs.remove(pack);
    }

    /// Notes that a round is acknowledged.
    pub(crate) fn acknowledged(&mut self, round: RoundNumber) {
        self.acknowledged = self.acknowledged.max(round);
    }
}

/// What lies in a slot after an attempt to put something there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotAnswer {
    Ours,
    /// FENCE or END, of another.
    Closing,
    /// A set that is not ours.
    Foreign,
}

/// Why a lease takes no more slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Closed {
    Ended,
    Fenced,
    /// A copy of this machine uses the lease as well.
    Cloned,
}

/// Which slot of a lease comes next: strictly one after the other, until it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct SlotOrder {
    pub(crate) next: u32,
    pub(crate) closed: Option<Closed>,
}

impl SlotOrder {
    /// Takes what was found in the next slot after something was put there; `closing` says that it
    /// was FENCE or END.
    pub(crate) fn answered(&mut self, closing: bool, answer: SlotAnswer) {
        match answer {
            SlotAnswer::Ours => {
                self.next = self.next.saturating_add(1);
                if closing {
                    self.closed = Some(Closed::Ended);
                }
            }
            SlotAnswer::Closing => self.closed = Some(Closed::Fenced),
            SlotAnswer::Foreign => self.closed = Some(Closed::Cloned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rounds::{Done, Plan};

    fn rounds(condemned: &[u8], forget: &[u8]) -> Arc<Rounds> {
        let packs = condemned.iter().map(|byte| PackId::from_bytes([*byte; 16]));
        let forget = forget
            .iter()
            .map(|byte| SnapshotId::from_bytes([*byte; 16]));
        let plan = Plan {
            round: RoundNumber::new(1),
            forget: forget.collect(),
            packs: packs.collect(),
        };
        Arc::new(Rounds {
            open: Some((Arc::new(plan), None)),
            ..Rounds::default()
        })
    }

    #[test]
    fn what_a_plan_condemns_is_copied_and_acknowledged_once() {
        let [one, two] = [1, 2].map(|byte| PackId::from_bytes([byte; 16]));
        let mut references = References::new(Arc::default());
        assert!(references.admit(&one) && references.admit(&two));
        let open = rounds(&[1], &[]);
        let round = RoundNumber::new(1);
        let expected = CatchUp::Copy([one].into(), round);
        assert_eq!(references.catch_up(Arc::clone(&open), &[]), expected);
        assert!(!references.admit(&one));
        references.copied(&one);
        references.acknowledged(round);
        assert_eq!(references.catch_up(open, &[]), CatchUp::Current);
        let done = Rounds {
            done: Arc::new(Done {
                round,
                ..Done::default()
            }),
            open: None,
        };
        assert_eq!(references.catch_up(Arc::new(done), &[]), CatchUp::Current);
        assert!(references.admit(&one), "a rescued pack is there again");
    }

    #[test]
    fn who_continues_a_forgotten_snapshot_does_not_acknowledge() {
        let parent = SnapshotId::from_bytes([5; 16]);
        let mut references = References::new(Arc::default());
        let caught = references.catch_up(rounds(&[1], &[5]), &[parent]);
        assert_eq!(caught, CatchUp::ParentCondemned(vec![parent]));
        assert!(!references.admit(&PackId::from_bytes([1; 16])));
        let caught = references.catch_up(rounds(&[1], &[5]), &[]);
        assert_eq!(caught, CatchUp::Copy(BTreeSet::new(), RoundNumber::new(1)));
    }

    #[test]
    fn slots_are_taken_in_order_until_one_is_closed() {
        let mut order = SlotOrder::default();
        order.answered(false, SlotAnswer::Ours);
        assert_eq!((order.next, order.closed), (1, None));
        let mut fenced = order;
        fenced.answered(false, SlotAnswer::Closing);
        assert_eq!((fenced.next, fenced.closed), (1, Some(Closed::Fenced)));
        let mut cloned = order;
        cloned.answered(false, SlotAnswer::Foreign);
        assert_eq!(cloned.closed, Some(Closed::Cloned));
        order.answered(true, SlotAnswer::Ours);
        assert_eq!(order.closed, Some(Closed::Ended));
    }
}
