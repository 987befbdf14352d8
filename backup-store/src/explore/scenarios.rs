//! What is explored: small stores in which everything that matters can happen.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pruner::{PrunerActor, put_pack};
use super::search::{Coverage, Found, Search, State};
use super::world::{SlotBody, World};
use super::writer::{Script, WriterActor};
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::mutant::Mutant;
use crate::prune::decide::{Fencing, Policy};
use crate::rounds::{Plan, RoundNumber};

const OLD_LEASE: LeaseId = LeaseId::from_bytes([0x10; 16]);
const OLD: SnapshotId = SnapshotId::from_bytes([0x70; 16]);
const KEPT: SnapshotId = SnapshotId::from_bytes([0x71; 16]);

const A: u16 = 1;
const B: u16 = 2;
const C: u16 = 4;

/// A snapshot `OLD` of chunk A in pack 1, and pack 2 with chunk B that nothing needs.
fn old_store() -> World {
    let mut world = World::default();
    world.leases.insert(OLD_LEASE);
    put_pack(&mut world, 1, OLD_LEASE, A);
    put_pack(&mut world, 2, OLD_LEASE, B);
    world.put_slot(OLD_LEASE, 0, SlotBody::Set(OLD, A));
    world.put_slot(OLD_LEASE, 1, SlotBody::Closing);
    world
}

/// As before, and a kept snapshot of chunk C, which lies in pack 3 with much that is not needed.
fn wasteful_store() -> World {
    let mut world = old_store();
    world.slots.remove(&(OLD_LEASE, 1));
    put_pack(&mut world, 3, OLD_LEASE, C | B | 8);
    world.put_slot(OLD_LEASE, 1, SlotBody::Set(KEPT, C));
    world.put_slot(OLD_LEASE, 2, SlotBody::Closing);
    world
}

/// A store in the middle of a round: pack 2 is condemned, and a snapshot came to refer to it before
/// its lease ended.
fn store_with_open_round() -> World {
    let mut world = old_store();
    world.slots.remove(&(OLD_LEASE, 1));
    world.put_slot(OLD_LEASE, 1, SlotBody::Set(KEPT, B));
    world.put_slot(OLD_LEASE, 2, SlotBody::Closing);
    let round = RoundNumber::new(1);
    let plan = Plan {
        round,
        packs: [PackId::from_bytes([2; 16])].into(),
        ..Plan::default()
    };
    world.plans.insert(round, Arc::new(plan));
    world
}

fn policy(forget: &[SnapshotId]) -> Policy {
    Policy {
        forget: forget.iter().copied().collect(),
        repack_below_percent: 50,
        fencing: Fencing::All,
        put_if_absent: true,
    }
}

fn script(chunk: u16, continues: bool, keep_ups: u8, leases: u8) -> Script {
    Script {
        chunk,
        continues,
        keep_ups,
        leases,
        brief: false,
    }
}

fn brief(script: Script) -> Script {
    Script {
        brief: true,
        ..script
    }
}

struct Scenario {
    name: &'static str,
    world: World,
    writers: Vec<Script>,
    pruners: Vec<Vec<Policy>>,
    crashes: u8,
    lates: u8,
    stepwise: bool,
}

impl Scenario {
    fn run(&self, limit: usize) -> Found {
        let writers = (0..)
            .zip(&self.writers)
            .map(|(number, script)| WriterActor::new(number, *script));
        let pruners = (0..)
            .zip(&self.pruners)
            .map(|(number, policies)| PrunerActor::new(number, policies.clone(), self.stepwise));
        let forgettable: BTreeSet<_> = self
            .pruners
            .iter()
            .flatten()
            .flat_map(|policy| policy.forget.clone())
            .collect();
        let start = State {
            world: self.world.clone(),
            writers: writers.collect(),
            pruners: pruners.collect(),
            crashes: self.crashes,
            lates: self.lates,
        };
        Search::run(start, forgettable, limit)
    }
}

/// The ordinary scenarios; with `large`, more goes wrong in each.
fn scenarios(large: bool) -> Vec<Scenario> {
    let more = u8::from(large);
    let (first, idle) = (policy(&[OLD]), policy(&[]));
    let two_rounds = || vec![first.clone(), idle.clone()];
    vec![
        Scenario {
            name: "one writer, one pruner, two rounds",
            world: old_store(),
            writers: vec![script(B, true, 1, 2)],
            pruners: vec![two_rounds()],
            crashes: 1,
            lates: 1,
            stepwise: true,
        },
        Scenario {
            name: "one writer, two pruners, from an open round",
            world: store_with_open_round(),
            writers: vec![script(B, false, 0, 1)],
            pruners: vec![vec![idle.clone()], vec![first.clone()]],
            crashes: more,
            lates: more,
            stepwise: true,
        },
        Scenario {
            name: "one writer, two pruners, two rounds",
            world: old_store(),
            writers: vec![script(B, true, 1, 1 + more)],
            pruners: vec![vec![first.clone()], vec![idle.clone()]],
            crashes: 1,
            lates: more,
            stepwise: large,
        },
        Scenario {
            name: "two writers, one pruner, two rounds",
            world: old_store(),
            writers: vec![script(B, true, 1, 1), script(B, false, 0, 1)],
            pruners: vec![two_rounds()],
            crashes: more,
            lates: 1,
            stepwise: large,
        },
        Scenario {
            name: "two writers, two pruners, two rounds",
            world: old_store(),
            writers: vec![brief(script(B, false, 0, 1)), brief(script(A, true, 0, 1))],
            pruners: vec![vec![first.clone()], vec![idle.clone()]],
            crashes: more,
            lates: more,
            stepwise: false,
        },
        Scenario {
            name: "repack beside a writer",
            world: wasteful_store(),
            writers: vec![script(8, true, more, 1)],
            pruners: vec![vec![first.clone()], vec![idle.clone()]],
            crashes: more,
            lates: more,
            stepwise: large,
        },
        dishonest(),
    ]
}

/// Where the backend lets two creators win: nobody is fenced, one pruner, no crash to wait for.
fn dishonest() -> Scenario {
    let policy = Policy {
        put_if_absent: false,
        ..policy(&[OLD])
    };
    let mut world = old_store();
    world.dishonest = true;
    Scenario {
        name: "no honest create-only put",
        world,
        writers: vec![script(B, true, 1, 1), script(B, false, 1, 1)],
        pruners: vec![vec![
            policy.clone(),
            Policy {
                forget: BTreeSet::new(),
                ..policy
            },
        ]],
        crashes: 0,
        lates: 0,
        stepwise: false,
    }
}

fn explore(large: bool, limit: usize) -> Coverage {
    let mut coverage = Coverage::default();
    let mut states = 0;
    for scenario in scenarios(large) {
        let found = scenario.run(limit);
        println!("{}: {} states", scenario.name, found.states);
        assert_eq!(found.loss, None, "{}", scenario.name);
        assert!(found.states < limit, "{}: not all was seen", scenario.name);
        coverage.add(found.coverage);
        states += found.states;
    }
    println!("{states} states in all: {coverage:?}");
    coverage
}

fn assert_everything_happened(coverage: Coverage) {
    let all = Coverage {
        commit_won: true,
        fence_won: true,
        rescued: true,
        swept: true,
        verdict_lost: true,
        dead_refused: true,
    };
    assert_eq!(coverage, all);
}

#[test]
fn no_order_of_effects_loses_anything() {
    assert_everything_happened(explore(false, 5_000_000));
}

/// `cargo test --release -p backup-store --lib explore -- --ignored --nocapture`
#[test]
#[ignore = "takes long: the same with more crashes and late puts"]
fn no_order_of_effects_loses_anything_with_more_going_wrong() {
    assert_everything_happened(explore(true, 200_000_000));
}

#[test]
fn every_broken_rule_is_caught() {
    let mut survivors = Vec::new();
    for mutant in Mutant::OF_ROUNDS {
        let broken = mutant.activate();
        let caught = scenarios(false).into_iter().find_map(|scenario| {
            let found = scenario.run(5_000_000);
            found.loss.map(|loss| (scenario.name, found.states, loss))
        });
        drop(broken);
        match caught {
            Some((scenario, states, loss)) => {
                let loss = loss.lines().next().unwrap_or_default();
                println!("{mutant:?}: {scenario}, after {states} states: {loss}");
            }
            None => survivors.push(mutant),
        }
    }
    assert_eq!(survivors, []);
}
