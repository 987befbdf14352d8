//! The pruner as a state machine without IO: what to do next, given what was seen.
//!
//! [`Pruner::next`] names one effect, [`Pruner::see`] takes what came of it. A pruner may stop
//! between any two: another one, begun anew, goes on where the store says.

use std::collections::BTreeSet;

use super::decide::{self, Intent, LeaseSeen, Policy, Rescue, SlotsSeen, Standing, Survey};
use crate::backend::ObjectName;
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::mutant::{Mutant, mutated};
use crate::rounds::{Done, Plan, Rounds, Verdict};

/// One thing to do in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Read what the rounds say.
    ReadRounds,
    /// List leases, slots, packs and segments, in this order, and mark what is reachable from the
    /// snapshots that exist, except these.
    Survey { forget: BTreeSet<SnapshotId> },
    /// Copy what is needed of these packs into new ones.
    Repack(BTreeSet<PackId>),
    /// Put a plan, unless the round has one.
    PutPlan(Plan),
    /// List leases, then their slots and acknowledgements.
    ListLeases,
    /// Put a fence into this slot, if it is free.
    Fence(LeaseId, u32),
    /// Nothing: these leases are live and may not be fenced.
    Wait(BTreeSet<LeaseId>),
    /// List the slots.
    ListSlots,
    /// List packs, then segments, and mark from the snapshots in these slots that exist, except
    /// those that the plan forgets.
    MarkAgain { slots: SlotsSeen, plan: Plan },
    /// Put a verdict, unless the round has one.
    PutVerdict(Verdict),
    /// Delete some of these, in this order.
    Delete(Vec<Garbage>),
    /// Put the end of the round, unless it is there.
    PutDone(Done),
    /// Nothing: all is done.
    Finish,
}

/// What came of an effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Rounds(Rounds),
    Survey(Survey),
    /// The packs whose contents have another place now.
    Repacked(BTreeSet<PackId>),
    /// The plan of the round, whoever put it.
    Plan(Plan),
    Leases(Vec<LeaseSeen>),
    /// The slot holds a snapshot set.
    SlotTaken,
    /// The slot holds FENCE or END.
    SlotClosed,
    Slots(SlotsSeen),
    Rescue(Rescue),
    /// The verdict of the round, whoever put it.
    Verdict(Verdict),
    /// So many of the garbage are gone.
    Deleted(usize),
    Done,
}

/// Something to delete.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Garbage {
    Slot(LeaseId, u32),
    Segment(ObjectName),
    Pack(PackId),
}

/// Which part of a round comes next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Begin,
    Survey,
    Repack(Intent),
    Plan(Intent),
    /// Leases are to be listed after the plan.
    Settle(Plan),
    Fence {
        plan: Plan,
        lease: LeaseId,
        slot: u32,
        rest: Vec<(LeaseId, u32)>,
    },
    Wait(Plan, BTreeSet<LeaseId>),
    ListAgain(Plan),
    MarkAgain(Plan, SlotsSeen),
    Judge(Verdict),
    Sweep(Verdict, usize),
    Conclude(Verdict),
    Finished,
}

/// A pruner at work: one round of its own, and before it whatever round is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Pruner {
    policy: Policy,
    rounds: Rounds,
    phase: Phase,
    /// Whether the round at hand was found open, or planned by another.
    joined: bool,
    /// What was listed too early: mutants alone use it.
    early_leases: Option<Vec<LeaseSeen>>,
    early_slots: Option<SlotsSeen>,
}

impl Pruner {
    pub(crate) fn new(policy: Policy) -> Self {
        Self {
            policy,
            rounds: Rounds::default(),
            phase: Phase::Begin,
            joined: false,
            early_leases: None,
            early_slots: None,
        }
    }

    /// Says what is to be done next.
    pub(crate) fn next(&self) -> Effect {
        match &self.phase {
            Phase::Begin => Effect::ReadRounds,
            Phase::Survey => Effect::Survey {
                forget: self.policy.forget.clone(),
            },
            Phase::Repack(intent) => Effect::Repack(intent.repack.clone()),
            Phase::Plan(intent) => Effect::PutPlan(intent.plan.clone()),
            Phase::Settle(_) => Effect::ListLeases,
            Phase::Fence { lease, slot, .. } => Effect::Fence(*lease, *slot),
            Phase::Wait(_, leases) => Effect::Wait(leases.clone()),
            Phase::ListAgain(_) => Effect::ListSlots,
            Phase::MarkAgain(plan, slots) => Effect::MarkAgain {
                slots: slots.clone(),
                plan: plan.clone(),
            },
            Phase::Judge(verdict) => Effect::PutVerdict(verdict.clone()),
            Phase::Sweep(verdict, from) => Effect::Delete(garbage(verdict).split_off(*from)),
            Phase::Conclude(verdict) => Effect::PutDone(decide::done(&self.rounds.done, verdict)),
            Phase::Finished => Effect::Finish,
        }
    }

    /// What the rounds said when this round was begun.
    pub(crate) fn rounds(&self) -> &Rounds {
        &self.rounds
    }

    /// What the survey led to, until the plan is put.
    pub(crate) fn intent(&self) -> Option<&Intent> {
        match &self.phase {
            Phase::Repack(intent) | Phase::Plan(intent) => Some(intent),
            _ => None,
        }
    }

    /// Takes what came of the effect that [`next`](Self::next) named; anything else is ignored.
    pub(crate) fn see(&mut self, seen: Seen) {
        let phase = std::mem::replace(&mut self.phase, Phase::Finished);
        self.phase = match (phase, seen) {
            (Phase::Begin, Seen::Rounds(rounds)) => self.begin(rounds),
            (Phase::Survey, Seen::Survey(survey)) => self.surveyed(survey),
            (Phase::Repack(mut intent), Seen::Repacked(packs)) => {
                intent.plan.packs.extend(packs);
                intent.repack.clear();
                Phase::Plan(intent)
            }
            (Phase::Plan(intent), Seen::Plan(winner)) => {
                self.joined = winner != intent.plan;
                self.planned(winner)
            }
            (Phase::Settle(plan), Seen::Leases(leases)) => self.settle(plan, &leases),
            (
                Phase::Fence {
                    plan,
                    lease,
                    slot,
                    rest,
                },
                Seen::SlotTaken,
            ) => Phase::Fence {
                plan,
                lease,
                slot: slot.saturating_add(1),
                rest,
            },
            (Phase::Fence { plan, rest, .. }, Seen::SlotClosed) => self.fence_next(plan, rest),
            (Phase::Wait(plan, _), Seen::Leases(leases)) => self.settle(plan, &leases),
            (Phase::ListAgain(plan), Seen::Slots(slots)) => self.listed(plan, slots),
            (Phase::MarkAgain(plan, slots), Seen::Rescue(rescue)) => {
                let verdict = decide::verdict(&plan, &self.rounds.done, &slots, &rescue);
                if mutated(Mutant::NoVerdict) {
                    sweep(verdict, 0)
                } else {
                    Phase::Judge(verdict)
                }
            }
            (Phase::Judge(_), Seen::Verdict(winner)) => sweep(winner, 0),
            (Phase::Sweep(verdict, from), Seen::Deleted(count)) => sweep(verdict, from + count),
            (Phase::Conclude(_), Seen::Done) if self.joined => Phase::Begin,
            (Phase::Conclude(_), Seen::Done) => Phase::Finished,
            (phase, _) => phase,
        };
    }
}

impl Pruner {
    fn begin(&mut self, rounds: Rounds) -> Phase {
        self.rounds = rounds;
        self.joined = self.rounds.open.is_some();
        (self.early_leases, self.early_slots) = (None, None);
        match self.rounds.open.clone() {
            None => Phase::Survey,
            Some((plan, None)) => self.planned(Plan::clone(&plan)),
            Some((_, Some(verdict))) => sweep(Verdict::clone(&verdict), 0),
        }
    }

    fn surveyed(&mut self, survey: Survey) -> Phase {
        let intent = decide::intend(&self.policy, &self.rounds, &survey);
        if mutated(Mutant::LeasesBeforePlan) {
            self.early_leases = Some(survey.leases);
        }
        if !intent.worthwhile {
            Phase::Finished
        } else if intent.repack.is_empty() {
            Phase::Plan(intent)
        } else {
            Phase::Repack(intent)
        }
    }

    /// The round has its plan: now the leases are listed that may not know it.
    fn planned(&mut self, plan: Plan) -> Phase {
        if mutated(Mutant::LeasesIgnored) || mutated(Mutant::SnapshotsBeforeFences) {
            return Phase::ListAgain(plan);
        }
        match self.early_leases.take() {
            Some(leases) => self.settle(plan, &leases),
            None => Phase::Settle(plan),
        }
    }

    /// Every lease must have ended, or acknowledged the round, or be fenced.
    fn settle(&mut self, plan: Plan, leases: &[LeaseSeen]) -> Phase {
        let live = |lease: &LeaseSeen| match lease.standing {
            Standing::Live { next } => Some((lease.id, next)),
            Standing::Settled => None,
        };
        let live: Vec<_> = leases.iter().filter_map(live).collect();
        let kept = live.iter().map(|(lease, _)| *lease);
        let kept: BTreeSet<_> = kept.filter(|lease| !self.policy.may_fence(lease)).collect();
        if mutated(Mutant::FenceByTimeout) {
            return self.settled(plan);
        }
        if !kept.is_empty() {
            // Nobody is fenced in vain: first all others have to end or to acknowledge.
            return Phase::Wait(plan, kept);
        }
        self.fence_next(plan, live)
    }

    fn fence_next(&mut self, plan: Plan, mut live: Vec<(LeaseId, u32)>) -> Phase {
        match live.pop() {
            Some((lease, slot)) => Phase::Fence {
                plan,
                lease,
                slot,
                rest: live,
            },
            None => self.settled(plan),
        }
    }

    fn settled(&mut self, plan: Plan) -> Phase {
        match self.early_slots.take() {
            Some(slots) => Phase::MarkAgain(plan, slots),
            None => Phase::ListAgain(plan),
        }
    }

    fn listed(&mut self, plan: Plan, slots: SlotsSeen) -> Phase {
        if mutated(Mutant::SnapshotsBeforeFences) && self.early_slots.is_none() {
            self.early_slots = Some(slots);
            return Phase::Settle(plan);
        }
        Phase::MarkAgain(plan, slots)
    }
}

fn sweep(verdict: Verdict, from: usize) -> Phase {
    if from < garbage(&verdict).len() {
        Phase::Sweep(verdict, from)
    } else {
        Phase::Conclude(verdict)
    }
}

/// Lists what a verdict deletes, in the order in which it goes: snapshots, segments, packs.
fn garbage(verdict: &Verdict) -> Vec<Garbage> {
    let slots = verdict.slots.iter();
    let slots =
        slots.flat_map(|(lease, numbers)| numbers.iter().map(|slot| Garbage::Slot(*lease, *slot)));
    let segments = verdict.segments.iter().cloned().map(Garbage::Segment);
    let packs = verdict.packs.iter().copied().map(Garbage::Pack);
    slots.chain(segments).chain(packs).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(number: u8, standing: Standing) -> LeaseSeen {
        LeaseSeen {
            id: LeaseId::from_bytes([number; 16]),
            adopts: Vec::new(),
            standing,
        }
    }

    fn settling(policy: Policy) -> Pruner {
        let mut pruner = Pruner::new(policy);
        let plan = Plan {
            round: crate::RoundNumber::new(1),
            packs: [PackId::from_bytes([1; 16])].into(),
            ..Plan::default()
        };
        pruner.see(Seen::Rounds(Rounds {
            open: Some((std::sync::Arc::new(plan), None)),
            ..Rounds::default()
        }));
        assert_eq!(pruner.next(), Effect::ListLeases);
        pruner
    }

    #[test]
    fn nobody_is_fenced_who_may_not_be() {
        let policies = [
            Policy {
                put_if_absent: true,
                ..Policy::default()
            },
            Policy {
                fencing: decide::Fencing::All,
                ..Policy::default()
            },
        ];
        for policy in policies {
            let mut pruner = settling(policy);
            pruner.see(Seen::Leases(vec![
                lease(1, Standing::Settled),
                lease(2, Standing::Live { next: 0 }),
            ]));
            let waiting = Effect::Wait([LeaseId::from_bytes([2; 16])].into());
            assert_eq!(pruner.next(), waiting);
            pruner.see(Seen::Leases(vec![lease(2, Standing::Settled)]));
            assert_eq!(pruner.next(), Effect::ListSlots);
        }
    }

    #[test]
    fn a_fence_goes_into_the_slot_after_every_snapshot_that_won() {
        let mut pruner = settling(Policy {
            fencing: decide::Fencing::All,
            put_if_absent: true,
            ..Policy::default()
        });
        pruner.see(Seen::Leases(vec![lease(2, Standing::Live { next: 3 })]));
        assert_eq!(
            pruner.next(),
            Effect::Fence(LeaseId::from_bytes([2; 16]), 3)
        );
        pruner.see(Seen::SlotTaken);
        assert_eq!(
            pruner.next(),
            Effect::Fence(LeaseId::from_bytes([2; 16]), 4)
        );
        pruner.see(Seen::SlotClosed);
        assert_eq!(pruner.next(), Effect::ListSlots);
    }

    #[test]
    fn an_open_verdict_is_carried_out_as_it_is() {
        let verdict = Verdict {
            round: crate::RoundNumber::new(1),
            packs: [PackId::from_bytes([1; 16])].into(),
            ..Verdict::default()
        };
        let mut pruner = Pruner::new(Policy::default());
        pruner.see(Seen::Rounds(Rounds {
            open: Some((
                std::sync::Arc::default(),
                Some(std::sync::Arc::new(verdict)),
            )),
            ..Rounds::default()
        }));
        let pack = Garbage::Pack(PackId::from_bytes([1; 16]));
        assert_eq!(pruner.next(), Effect::Delete(vec![pack]));
        pruner.see(Seen::Deleted(1));
        let Effect::PutDone(done) = pruner.next() else {
            panic!("the round ends when all is deleted");
        };
        assert_eq!(done.dead.len(), 1);
        pruner.see(Seen::Done);
        assert_eq!(
            pruner.next(),
            Effect::ReadRounds,
            "a round of its own follows"
        );
    }
}
