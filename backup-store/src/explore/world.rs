//! The store of the explorer: objects without bytes, and what a reader would find in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::backend::ObjectName;
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::prune::decide::{LeaseSeen, SegmentSeen, SlotSeen, SlotsSeen, Standing};
use crate::rounds::{Done, Plan, RoundNumber, RoundPart, Rounds, Verdict};

/// Chunks are bits.
pub(super) type Chunks = u16;

/// Slot numbers from here on hold what a mutant puts elsewhere.
pub(super) const ELSEWHERE: u32 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Pack {
    pub(super) lease: LeaseId,
    pub(super) chunks: Chunks,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SlotBody {
    Set(SnapshotId, Chunks),
    Closing,
}

/// A put that has not landed, though its sender may have been told that it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Late {
    Pack(PackId, LeaseId, Chunks),
    Slot(LeaseId, u32, SnapshotId, Chunks),
}

/// Everything that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct World {
    pub(super) leases: BTreeSet<LeaseId>,
    pub(super) packs: BTreeMap<PackId, Pack>,
    /// One segment for each of these packs.
    pub(super) segments: BTreeSet<PackId>,
    /// What every segment said that ever was: the caches of writers may still say it.
    pub(super) cache: BTreeMap<PackId, Chunks>,
    pub(super) slots: BTreeMap<(LeaseId, u32), SlotBody>,
    pub(super) acks: BTreeSet<(LeaseId, RoundNumber)>,
    pub(super) plans: BTreeMap<RoundNumber, Arc<Plan>>,
    pub(super) verdicts: BTreeMap<RoundNumber, Arc<Verdict>>,
    pub(super) dones: BTreeMap<RoundNumber, Arc<Done>>,
    pub(super) late: Vec<Late>,
    /// What writers were told is published.
    pub(super) published: BTreeSet<SnapshotId>,
    /// A put under a taken name replaces what is there, and says that it created it.
    pub(super) dishonest: bool,
}

impl World {
    pub(super) fn rounds(&self) -> Rounds {
        let plans = self.plans.keys().map(|round| (*round, RoundPart::Plan));
        let dones = self.dones.keys().map(|round| (*round, RoundPart::Done));
        let (round, open) = Rounds::state(plans.chain(dones));
        let mut rounds = Rounds {
            done: self.dones.get(&round).map(Arc::clone).unwrap_or_default(),
            open: None,
        };
        if open {
            let current = rounds.current();
            let verdict = self.verdicts.get(&current).map(Arc::clone);
            rounds.open = Some((Arc::clone(&self.plans[&current]), verdict));
        }
        rounds
    }

    pub(super) fn slots_seen(&self) -> SlotsSeen {
        let mut seen = SlotsSeen::new();
        for ((lease, number), body) in &self.slots {
            let slot = match body {
                SlotBody::Set(id, _) => SlotSeen::Set(vec![*id]),
                SlotBody::Closing => SlotSeen::Closing,
            };
            seen.entry(*lease).or_default().insert(*number, slot);
        }
        seen
    }

    pub(super) fn leases_seen(&self, round: RoundNumber) -> Vec<LeaseSeen> {
        let slots = self.slots_seen();
        let standing = |lease: &LeaseId| {
            let acked = self
                .acks
                .iter()
                .any(|(of, acked)| of == lease && *acked >= round);
            if acked || crate::prune::decide::has_ended(&slots, lease) {
                return Standing::Settled;
            }
            let taken = |number: &u32| self.slots.contains_key(&(*lease, *number));
            let next = (0..).find(|number| !taken(number)).unwrap_or_default();
            Standing::Live { next }
        };
        let seen = self.leases.iter().map(|lease| LeaseSeen {
            id: *lease,
            adopts: Vec::new(),
            standing: standing(lease),
        });
        seen.collect()
    }

    pub(super) fn segments_seen(&self) -> Vec<SegmentSeen> {
        let seen = self.segments.iter().map(|pack| SegmentSeen {
            name: segment_name(pack),
            packs: vec![*pack],
            supersedes: Vec::new(),
        });
        seen.collect()
    }

    /// The packs, as a listing and the segments show them, that hold a chunk.
    pub(super) fn places(&self, chunk: Chunks) -> Vec<PackId> {
        let holds = |(pack, body): (&PackId, &Pack)| {
            let indexed = self.segments.contains(pack) && body.chunks & chunk != 0;
            indexed.then_some(*pack)
        };
        self.packs.iter().filter_map(holds).collect()
    }

    /// Everything that these snapshots refer to.
    pub(super) fn reachable(&self, root: impl Fn((&LeaseId, u32), &SnapshotId) -> bool) -> Chunks {
        let mut chunks = 0;
        for ((lease, number), body) in &self.slots {
            if let SlotBody::Set(id, content) = body
                && root((lease, *number), id)
            {
                chunks |= content;
            }
        }
        chunks
    }

    pub(super) fn put_slot(&mut self, lease: LeaseId, number: u32, body: SlotBody) -> SlotBody {
        if self.dishonest {
            self.slots.insert((lease, number), body);
            return body;
        }
        *self.slots.entry((lease, number)).or_insert(body)
    }

    pub(super) fn land(&mut self, late: Late) {
        match late {
            Late::Pack(pack, lease, chunks) => {
                self.packs.entry(pack).or_insert(Pack { lease, chunks });
            }
            Late::Slot(lease, number, id, chunks) => {
                self.put_slot(lease, number, SlotBody::Set(id, chunks));
            }
        }
    }

    /// What is lost, if anything is: every snapshot that exists must be readable, and every one
    /// that was published must exist until it is forgotten on purpose.
    pub(super) fn loss(&self, forgettable: &BTreeSet<SnapshotId>) -> Option<String> {
        let rounds = self.rounds();
        let mut existing = BTreeSet::new();
        for ((lease, number), body) in &self.slots {
            let SlotBody::Set(id, content) = body else {
                continue;
            };
            if !rounds.exists((lease, *number), id) {
                continue;
            }
            existing.insert(*id);
            for chunk in (0..Chunks::BITS)
                .map(|bit| 1 << bit)
                .filter(|bit| content & bit != 0)
            {
                if self.places(chunk).iter().all(|pack| rounds.is_dead(pack)) {
                    return Some(format!("{id} misses chunk {chunk:#b}"));
                }
            }
        }
        let lost = |id: &&SnapshotId| !forgettable.contains(id) && !existing.contains(id);
        let lost = self.published.iter().find(lost);
        lost.map(|id| format!("{id} was published and is gone"))
    }
}

pub(super) fn segment_name(pack: &PackId) -> ObjectName {
    ObjectName::new(format!("segments/{}", pack.as_bytes()[0])).unwrap()
}

pub(super) fn pack_of_segment(name: &ObjectName) -> PackId {
    let number = name.as_str().strip_prefix("segments/").unwrap();
    PackId::from_bytes([number.parse().unwrap(); 16])
}
