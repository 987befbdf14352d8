//! A writer of the explorer: the production rules, their effects done to the explorer's store.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pruner::put_pack;
use super::search::Coverage;
use super::world::{Chunks, ELSEWHERE, Late, Pack, SlotBody, World};
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::mutant::{Mutant, mutated};
use crate::rounds::{RoundNumber, Rounds};
use crate::writer::rules::{
    BeginStep, CatchUp, Closed, References, SlotAnswer, SlotOrder, begin_order,
};

/// What a writer is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Script {
    /// The chunk that its snapshot holds beside what the parent holds.
    pub(super) chunk: Chunks,
    /// Whether it continues a snapshot, when there is one.
    pub(super) continues: bool,
    /// How often it may list plans before it publishes.
    pub(super) keep_ups: u8,
    /// How often it may take a new lease.
    pub(super) leases: u8,
    /// Whether it puts pack and segment at once and never ends its lease: fewer orders.
    pub(super) brief: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stage {
    Begin(u8),
    Store,
    Segment(PackId),
    Ready,
    Copy(BTreeSet<PackId>, RoundNumber),
    Acknowledge(RoundNumber),
    /// For a mutant: the slot is won, the snapshot is not there yet.
    Elsewhere(SnapshotId),
    End,
    Over,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WriterActor {
    pub(super) number: u8,
    script: Script,
    stage: Stage,
    tries: u8,
    lease: LeaseId,
    references: References,
    order: SlotOrder,
    parent: Option<(SnapshotId, Chunks)>,
    /// Read before the lease: for a mutant.
    early: Option<Rounds>,
    packs: u8,
}

/// What may go wrong with the next effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Luck {
    Good,
    /// The put is done, and lands once more later.
    Twice,
    /// The writer crashes before its put has landed; it may land later.
    Lost,
}

impl WriterActor {
    pub(super) fn new(number: u8, script: Script) -> Self {
        let mut writer = Self {
            number,
            script,
            stage: Stage::Over,
            tries: 0,
            lease: LeaseId::from_bytes([0; 16]),
            references: References::default(),
            order: SlotOrder::default(),
            parent: None,
            early: None,
            packs: 0,
        };
        writer.take_lease();
        writer
    }

    fn take_lease(&mut self) {
        if self.tries >= self.script.leases {
            self.stage = Stage::Over;
            return;
        }
        self.lease = LeaseId::from_bytes([0x20 + self.number * 4 + self.tries; 16]);
        self.tries += 1;
        self.stage = Stage::Begin(0);
        self.references = References::default();
        self.order = SlotOrder::default();
        (self.parent, self.early) = (None, None);
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    pub(super) fn crash(&mut self) {
        self.stage = Stage::Over;
    }

    pub(super) fn may_keep_up(&self) -> bool {
        self.stage == Stage::Ready && self.script.keep_ups > 0
    }

    /// The put that comes next, if it is one that may land late.
    pub(super) fn pending_put(&self, world: &World) -> Option<Late> {
        match self.stage {
            Stage::Store if self.find(world).is_none() => {
                let chunk = self.script.chunk;
                Some(Late::Pack(self.own_pack(), self.lease, chunk))
            }
            Stage::Ready => {
                let (id, content) = self.snapshot();
                Some(Late::Slot(self.lease, self.order.next, id, content))
            }
            _ => None,
        }
    }

    fn own_pack(&self) -> PackId {
        PackId::from_bytes([0x40 + self.number * 16 + self.packs; 16])
    }

    fn snapshot(&self) -> (SnapshotId, Chunks) {
        let inherited = self.parent.map_or(0, |(_, content)| content);
        let id = SnapshotId::from_bytes([0x80 + self.number * 4 + self.tries; 16]);
        (id, inherited | self.script.chunk)
    }

    /// A pack that the cache names for the chunk, and that this writer may refer to.
    fn find(&self, world: &World) -> Option<PackId> {
        let mut references = self.references.clone();
        let mut named = world
            .cache
            .iter()
            .filter(|(_, chunks)| *chunks & self.script.chunk != 0);
        named
            .find(|(pack, _)| references.admit(pack))
            .map(|(pack, _)| *pack)
    }

    /// Lists plans, and does what they ask for.
    pub(super) fn keep_up(&mut self, world: &World) -> &'static str {
        self.script.keep_ups -= 1;
        let parents: Vec<_> = self.parent.iter().map(|(id, _)| *id).collect();
        match self.references.catch_up(Arc::new(world.rounds()), &parents) {
            CatchUp::Current | CatchUp::ParentCondemned(_) => {}
            CatchUp::Copy(packs, round) if packs.is_empty() => {
                self.stage = Stage::Acknowledge(round);
            }
            CatchUp::Copy(packs, round) => self.stage = Stage::Copy(packs, round),
        }
        "lists plans"
    }

    /// Does the next effect; returns its name.
    pub(super) fn step(
        &mut self,
        world: &mut World,
        luck: Luck,
        coverage: &mut Coverage,
    ) -> &'static str {
        if luck != Luck::Good {
            world.late.extend(self.pending_put(world));
            world.late.sort();
        }
        if luck == Luck::Lost {
            self.stage = Stage::Over;
            return "crashes in a put";
        }
        match self.stage.clone() {
            Stage::Begin(at) => self.begin(world, at),
            Stage::Store => self.store(world, coverage),
            Stage::Segment(pack) => {
                self.segment(world, pack);
                "puts a segment"
            }
            Stage::Ready => self.publish(world, coverage),
            Stage::Copy(packs, round) => self.copy(world, &packs, round),
            Stage::Acknowledge(round) => {
                world.acks.insert((self.lease, round));
                self.references.acknowledged(round);
                self.stage = Stage::Ready;
                "acknowledges"
            }
            Stage::Elsewhere(id) => {
                let content = self.snapshot().1;
                world.put_slot(self.lease, ELSEWHERE, SlotBody::Set(id, content));
                world.published.insert(id);
                self.stage = Stage::Over;
                "puts its snapshot elsewhere"
            }
            Stage::End => {
                world.put_slot(self.lease, self.order.next, SlotBody::Closing);
                self.stage = Stage::Over;
                "ends"
            }
            Stage::Over => "is over",
        }
    }

    fn begin(&mut self, world: &mut World, at: u8) -> &'static str {
        let order = begin_order();
        let Some(step) = order.get(usize::from(at)) else {
            self.stage = Stage::Store;
            return "has begun";
        };
        let last = usize::from(at) + 1 == order.len();
        self.stage = if last {
            Stage::Store
        } else {
            Stage::Begin(at + 1)
        };
        match step {
            BeginStep::PutLease => {
                world.leases.insert(self.lease);
                "puts its lease"
            }
            BeginStep::FenceAdopted => "adopts nothing",
            BeginStep::ReadRounds => {
                self.references = References::new(Arc::new(world.rounds()));
                "reads rounds"
            }
            BeginStep::Acknowledge => {
                if let Some(round) = self.references.unacknowledged() {
                    world.acks.insert((self.lease, round));
                    self.references.acknowledged(round);
                }
                "acknowledges at once"
            }
            BeginStep::ListSlots => {
                self.choose_parent(world);
                "chooses its parent"
            }
        }
    }

    /// Tells whether the next step touches nothing that others see.
    pub(super) fn is_silent(&self) -> bool {
        match self.stage {
            Stage::Begin(at) => match begin_order().get(usize::from(at)) {
                Some(BeginStep::FenceAdopted) | None => true,
                Some(BeginStep::Acknowledge) => self.references.unacknowledged().is_none(),
                _ => false,
            },
            _ => false,
        }
    }

    fn choose_parent(&mut self, world: &World) {
        if !self.script.continues {
            return;
        }
        let rounds = self.references.rounds();
        let sets = world
            .slots
            .iter()
            .filter_map(|((lease, slot), body)| match body {
                SlotBody::Set(id, content) => Some(((lease, *slot), *id, *content)),
                SlotBody::Closing => None,
            });
        let mut eligible = sets.filter(|(place, id, _)| rounds.may_be_parent(*place, id));
        self.parent = eligible.next().map(|(_, id, content)| (id, content));
    }

    fn store(&mut self, world: &mut World, coverage: &mut Coverage) -> &'static str {
        let named = |(_, chunks): &(&PackId, &Chunks)| *chunks & self.script.chunk != 0;
        let mut named = world.cache.iter().filter(named);
        coverage.dead_refused |= named.any(|(pack, _)| self.references.rounds().is_dead(pack));
        if let Some(pack) = self.find(world) {
            self.references.admit(&pack);
            self.stage = Stage::Ready;
            return "refers to a pack";
        }
        let pack = self.own_pack();
        self.packs += 1;
        let (lease, chunks) = (self.lease, self.script.chunk);
        world.packs.insert(pack, Pack { lease, chunks });
        self.stage = Stage::Segment(pack);
        if self.script.brief {
            self.segment(world, pack);
        }
        "puts a pack"
    }

    fn copy(
        &mut self,
        world: &mut World,
        packs: &BTreeSet<PackId>,
        round: RoundNumber,
    ) -> &'static str {
        // A pack that is gone cannot be copied: the writer fails, and acknowledges nothing.
        if packs.iter().any(|pack| !world.packs.contains_key(pack)) {
            self.stage = Stage::Over;
            return "finds nothing to copy";
        }
        let own = put_pack(
            world,
            self.own_pack().as_bytes()[0],
            self.lease,
            self.script.chunk,
        );
        self.packs += 1;
        packs.iter().for_each(|pack| self.references.copied(pack));
        self.references.admit(&own);
        self.stage = Stage::Acknowledge(round);
        "copies"
    }

    fn segment(&mut self, world: &mut World, pack: PackId) {
        world.segments.insert(pack);
        world.cache.insert(pack, self.script.chunk);
        let usable = self.references.admit(&pack);
        self.stage = if usable { Stage::Ready } else { Stage::Store };
    }

    fn publish(&mut self, world: &mut World, coverage: &mut Coverage) -> &'static str {
        let (id, content) = self.snapshot();
        let body = if mutated(Mutant::CommitRecordThenSnapshot) {
            SlotBody::Closing
        } else {
            SlotBody::Set(id, content)
        };
        let free = !world.slots.contains_key(&(self.lease, self.order.next));
        let found = world.put_slot(self.lease, self.order.next, body);
        let answer = match found {
            found if found == body && (free || world.dishonest) => SlotAnswer::Ours,
            SlotBody::Closing => SlotAnswer::Closing,
            SlotBody::Set(..) => SlotAnswer::Foreign,
        };
        self.order.answered(false, answer);
        if self.order.closed == Some(Closed::Fenced) {
            coverage.fence_won = true;
            self.take_lease();
            return "is fenced";
        }
        if body == SlotBody::Closing {
            self.stage = Stage::Elsewhere(id);
            return "puts a commit record";
        }
        world.published.insert(id);
        self.stage = if self.script.brief {
            Stage::Over
        } else {
            Stage::End
        };
        "publishes"
    }
}
