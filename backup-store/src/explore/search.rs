//! The search: every order of effects, each state once.

use std::collections::{BTreeSet, HashSet};
use std::hash::{Hash, Hasher};

use super::pruner::PrunerActor;
use super::world::World;
use super::writer::{Luck, WriterActor};
use crate::id::SnapshotId;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) world: World,
    pub(super) writers: Vec<WriterActor>,
    pub(super) pruners: Vec<PrunerActor>,
    /// How many actors may still crash, and how many puts may still land late.
    pub(super) crashes: u8,
    pub(super) lates: u8,
}

/// What happened on some way: a search that never saw it has shown nothing about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Coverage {
    pub(super) commit_won: bool,
    pub(super) fence_won: bool,
    pub(super) rescued: bool,
    pub(super) swept: bool,
    pub(super) verdict_lost: bool,
    pub(super) dead_refused: bool,
}

impl Coverage {
    pub(super) fn add(&mut self, other: Self) {
        self.commit_won |= other.commit_won;
        self.fence_won |= other.fence_won;
        self.rescued |= other.rescued;
        self.swept |= other.swept;
        self.verdict_lost |= other.verdict_lost;
        self.dead_refused |= other.dead_refused;
    }
}

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) states: usize,
    pub(super) coverage: Coverage,
    /// The first loss, and how it came about.
    pub(super) loss: Option<String>,
}

pub(super) struct Search {
    seen: HashSet<[u8; 16]>,
    trail: Vec<String>,
    forgettable: BTreeSet<SnapshotId>,
    buffer: Bytes,
    found: Found,
    limit: usize,
}

/// Collects what a state hashes to: 128 bits of a strong hash stand for it.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

impl Search {
    /// Searches until a loss is found, everything is seen, or `limit` states are.
    pub(super) fn run(start: State, forgettable: BTreeSet<SnapshotId>, limit: usize) -> Found {
        let mut search = Self {
            seen: HashSet::new(),
            trail: Vec::new(),
            forgettable,
            buffer: Bytes::default(),
            found: Found::default(),
            limit,
        };
        search.visit(start);
        search.found.states = search.seen.len();
        search.found
    }

    fn visit(&mut self, state: State) {
        if self.found.loss.is_some() || self.seen.len() >= self.limit || !self.is_new(&state) {
            return;
        }
        if let Some(loss) = state.world.loss(&self.forgettable) {
            self.found.loss = Some(format!("{loss}\n  {}", self.trail.join("\n  ")));
            return;
        }
        let mut idle = true;
        for number in 0..state.writers.len() {
            if !state.writers[number].is_over() {
                idle = false;
                if self.writer(&state, number) {
                    return; // A silent step commutes with everything: no other order matters.
                }
            }
        }
        for number in 0..state.pruners.len() {
            if !state.pruners[number].over {
                idle &= self.pruner(&state, number);
            }
        }
        for at in 0..state.world.late.len() {
            let mut next = state.clone();
            let late = next.world.late.remove(at);
            next.world.land(late);
            self.follow(next, format!("{late:?} lands"));
        }
        let stuck = idle && state.world.late.is_empty() && state.crashes > 0;
        if stuck
            && state
                .pruners
                .iter()
                .any(|pruner| !pruner.over && !pruner.is_waiting())
        {
            self.found.loss = Some("a pruner is stuck".to_owned());
        }
    }

    fn is_new(&mut self, state: &State) -> bool {
        self.buffer.0.clear();
        state.hash(&mut self.buffer);
        let mut print = [0; 16];
        print.copy_from_slice(&blake3::hash(&self.buffer.0).as_bytes()[..16]);
        self.seen.insert(print)
    }

    /// Does everything that a writer may do next; tells whether that was one silent step.
    fn writer(&mut self, state: &State, number: usize) -> bool {
        let silent = state.writers[number].is_silent();
        self.write(state, number, Luck::Good);
        if silent {
            return true;
        }
        if state.writers[number].pending_put(&state.world).is_some() && state.lates > 0 {
            self.write(state, number, Luck::Twice);
            if state.crashes > 0 {
                self.write(state, number, Luck::Lost);
            }
        }
        if state.writers[number].may_keep_up() {
            let mut next = state.clone();
            let label = next.writers[number].keep_up(&state.world);
            self.follow(next, format!("writer {number} {label}"));
        }
        if state.crashes > 0 {
            let mut next = state.clone();
            next.crashes -= 1;
            next.writers[number].crash();
            self.follow(next, format!("writer {number} crashes"));
        }
        false
    }

    fn write(&mut self, state: &State, number: usize, luck: Luck) {
        let mut next = state.clone();
        match luck {
            Luck::Good => {}
            Luck::Twice => next.lates -= 1,
            Luck::Lost => {
                next.lates -= 1;
                next.crashes -= 1;
            }
        }
        let coverage = &mut self.found.coverage;
        let label = next.writers[number].step(&mut next.world, luck, coverage);
        self.follow(next, format!("writer {number} {label} ({luck:?})"));
    }

    /// Does what a pruner does next; tells whether that changed nothing.
    fn pruner(&mut self, state: &State, number: usize) -> bool {
        let mut next = state.clone();
        let label = next.pruners[number].step(&mut next.world, &mut self.found.coverage);
        let idle = state.pruners[number].is_waiting() && next == *state;
        self.follow(next, format!("pruner {number} {label}"));
        if state.crashes > 0 {
            let mut next = state.clone();
            next.crashes -= 1;
            next.pruners[number].over = true;
            self.follow(next, format!("pruner {number} crashes"));
        }
        idle
    }

    fn follow(&mut self, next: State, label: String) {
        if self.found.loss.is_some() {
            return;
        }
        self.trail.push(label);
        self.visit(next);
        self.trail.pop();
    }
}
