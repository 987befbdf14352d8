//! A pruner of the explorer: the production machine, its effects done to the explorer's store.

use std::collections::BTreeMap;

use super::search::Coverage;
use super::world::{Chunks, Pack, SlotBody, World, pack_of_segment};
use crate::id::{LeaseId, PackId};
use crate::mutant::{Mutant, mutated};
use crate::prune::decide::{
    Condition, PackSeen, Place, Policy, Rescue, Survey, choose_copies, rescue,
};
use crate::prune::machine::{Effect, Garbage, Pruner, Seen};
use crate::rounds::{Plan, Rounds};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct PrunerActor {
    pub(super) number: u8,
    machine: Pruner,
    /// What the next calls ask for, last first.
    later: Vec<Policy>,
    pub(super) over: bool,
    repacked: u8,
    /// Whether others may look between two deletions.
    stepwise: bool,
}

impl PrunerActor {
    pub(super) fn new(number: u8, mut policies: Vec<Policy>, stepwise: bool) -> Self {
        policies.reverse();
        let first = policies.pop().unwrap();
        Self {
            number,
            machine: Pruner::new(first),
            later: policies,
            over: false,
            repacked: 0,
            stepwise,
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.machine.next(), Effect::Wait(_))
    }

    /// Does the next effect; returns its name.
    pub(super) fn step(&mut self, world: &mut World, coverage: &mut Coverage) -> &'static str {
        let (label, seen) = match self.machine.next() {
            Effect::ReadRounds => ("reads rounds", Seen::Rounds(world.rounds())),
            Effect::Survey { forget } => {
                if mutated(Mutant::ForgetAtOnce) {
                    let forgotten = |body: &SlotBody| matches!(body, SlotBody::Set(id, _) if forget.contains(id));
                    world.slots.retain(|_, body| !forgotten(body));
                }
                let root = |place: (&LeaseId, u32), id: &_| {
                    self.machine.rounds().exists(place, id) && !forget.contains(id)
                };
                let marked = world.reachable(root);
                (
                    "surveys",
                    Seen::Survey(survey(world, self.machine.rounds(), marked)),
                )
            }
            Effect::Repack(packs) => {
                let forget = self
                    .machine
                    .intent()
                    .map(|intent| intent.plan.forget.clone());
                let forget = forget.unwrap_or_default();
                let root = |place: (&LeaseId, u32), id: &_| {
                    self.machine.rounds().exists(place, id) && !forget.contains(id)
                };
                let marked = world.reachable(root);
                for pack in &packs {
                    if let Some(body) = world.packs.get(pack).copied() {
                        let number = 0xc0 + self.number * 8 + self.repacked;
                        self.repacked += 1;
                        let chunks = body.chunks & marked;
                        put_pack(world, number, body.lease, chunks);
                    }
                }
                ("repacks", Seen::Repacked(packs))
            }
            Effect::PutPlan(plan) => {
                let plan = world.plans.entry(plan.round).or_insert_with(|| plan.into());
                ("puts a plan", Seen::Plan(Plan::clone(plan)))
            }
            Effect::ListLeases | Effect::Wait(_) => {
                let round = self.machine.rounds().current();
                ("lists leases", Seen::Leases(world.leases_seen(round)))
            }
            Effect::Fence(lease, slot) => match world.put_slot(lease, slot, SlotBody::Closing) {
                SlotBody::Set(..) => {
                    coverage.commit_won = true;
                    ("fences too late", Seen::SlotTaken)
                }
                SlotBody::Closing => ("fences", Seen::SlotClosed),
            },
            Effect::ListSlots => ("lists slots", Seen::Slots(world.slots_seen())),
            Effect::MarkAgain { slots, plan } => {
                let seen = mark_again(world, self.machine.rounds(), &slots, &plan);
                coverage.rescued |= !seen.rescued.is_empty();
                ("marks again", Seen::Rescue(seen))
            }
            Effect::PutVerdict(verdict) => {
                coverage.verdict_lost |= world
                    .verdicts
                    .get(&verdict.round)
                    .is_some_and(|found| **found != verdict);
                let winner = world
                    .verdicts
                    .entry(verdict.round)
                    .or_insert_with(|| verdict.into());
                (
                    "puts a verdict",
                    Seen::Verdict(crate::rounds::Verdict::clone(winner)),
                )
            }
            Effect::Delete(garbage) => {
                // All at once, or one more each time: between two deletions others may look.
                let count = if self.stepwise { 1 } else { garbage.len() };
                for garbage in &garbage[..count] {
                    coverage.swept |= delete(world, garbage);
                }
                ("deletes", Seen::Deleted(count))
            }
            Effect::PutDone(done) => {
                world.dones.entry(done.round).or_insert_with(|| done.into());
                ("puts done", Seen::Done)
            }
            Effect::Finish => {
                match self.later.pop() {
                    Some(policy) => self.machine = Pruner::new(policy),
                    None => self.over = true,
                }
                return "ends";
            }
        };
        self.machine.see(seen);
        label
    }
}

fn bits(chunks: Chunks) -> impl Iterator<Item = Chunks> {
    (0..Chunks::BITS)
        .map(|bit| 1 << bit)
        .filter(move |bit| chunks & bit != 0)
}

/// Puts a pack and its segment.
pub(super) fn put_pack(world: &mut World, number: u8, lease: LeaseId, chunks: Chunks) -> PackId {
    let pack = PackId::from_bytes([number; 16]);
    world.packs.insert(pack, Pack { lease, chunks });
    world.segments.insert(pack);
    world.cache.insert(pack, chunks);
    pack
}

fn survey(world: &World, rounds: &Rounds, marked: Chunks) -> Survey {
    let mut live: BTreeMap<PackId, u64> = BTreeMap::new();
    let mut copies = Vec::new();
    for chunk in bits(marked) {
        let mut places = world.places(chunk);
        places.retain(|pack| !rounds.is_dead(pack));
        match places[..] {
            [] => {}
            [pack] => *live.entry(pack).or_default() += 1,
            _ => copies.push((places, 1)),
        }
    }
    choose_copies(copies, &mut live);
    let packs = world.packs.iter().map(|(id, pack)| PackSeen {
        id: *id,
        stored: 1,
        total: pack.chunks.count_ones().into(),
        live: live.get(id).copied().unwrap_or_default(),
        condition: Condition::Whole,
        lease: Some(pack.lease),
    });
    Survey {
        leases: world.leases_seen(rounds.current()),
        slots: world.slots_seen(),
        packs: packs.collect(),
        segments: world.segments_seen(),
    }
}

fn mark_again(
    world: &World,
    rounds: &Rounds,
    slots: &crate::prune::decide::SlotsSeen,
    plan: &Plan,
) -> Rescue {
    let listed = |place: (&LeaseId, u32)| {
        slots
            .get(place.0)
            .is_some_and(|slots| slots.contains_key(&place.1))
    };
    let marked = world.reachable(|place, id| {
        listed(place) && rounds.exists(place, id) && !plan.forget.contains(id)
    });
    let place = |pack: &PackId| {
        if rounds.is_dead(pack) || !world.packs.contains_key(pack) {
            Place::Absent
        } else if plan.packs.contains(pack) {
            Place::Condemned
        } else {
            Place::Safe
        }
    };
    let mut found = Rescue {
        segments: world.segments_seen(),
        ..Rescue::default()
    };
    for chunk in bits(marked) {
        let places = world.places(chunk);
        found.rescued.extend(rescue(&places, place));
    }
    found
}

/// Deletes one thing; tells whether it was a pack.
fn delete(world: &mut World, garbage: &Garbage) -> bool {
    match garbage {
        Garbage::Slot(lease, slot) => {
            world.slots.remove(&(*lease, *slot));
            false
        }
        Garbage::Segment(name) => {
            world.segments.remove(&pack_of_segment(name));
            false
        }
        Garbage::Pack(pack) => world.packs.remove(pack).is_some(),
    }
}
