//! Mutants: rules that are broken on purpose, each with the scenario that catches it.

use backup_engine::fault::Mutant as OfEngine;
use backup_store::fault::Mutant as OfStore;

use super::matrix::{Cell, Fate, Kind, Plain};
use super::points::{Figures, Recording, Way};
use super::pruned;
use super::scenario::Scenario;
use super::trouble::{Class, Phase};
use super::world::Template;

/// A rule, of the engine or of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    Engine(OfEngine),
    Store(OfStore),
}

/// What catches a mutant.
#[derive(Debug, Clone, Copy)]
pub enum Trap {
    /// Every boundary of a scenario, in ways that rotate.
    Points(Scenario),
    /// Every boundary of a scenario, in one way.
    OneWay(Scenario, Way),
    /// One cell of the matrix.
    Cell(Cell),
    /// A prune beside the run.
    Prune,
}

/// Every rule whose loss the harness must notice.
pub fn all() -> Vec<(Mutant, Trap)> {
    use Mutant::{Engine, Store};
    let change = Cell {
        fate: Fate::Service(Class::Change),
        kind: Kind::Mail,
        phase: Phase::Fetch,
    };
    vec![
        (
            Engine(OfEngine::CursorBeforeContent),
            Trap::Points(Scenario::First),
        ),
        (
            Engine(OfEngine::QuarantineOutsideSnapshot),
            Trap::Points(Scenario::Quarantine),
        ),
        (Engine(OfEngine::LaterChangeKey), Trap::Cell(change)),
        (
            Engine(OfEngine::MixedBase),
            Trap::OneWay(Scenario::First, Way::OldMachineReturns),
        ),
        (
            Engine(OfEngine::DeletionByAbsence),
            Trap::Points(Scenario::MovingReset),
        ),
        (Engine(OfEngine::ItemDropped), Trap::Points(Scenario::First)),
        (Store(OfStore::SyncLeftOut), Trap::Points(Scenario::First)),
        (Store(OfStore::FenceIgnored), Trap::Prune),
    ]
}

/// Breaks a rule and plays its trap until something is noticed; tells what, and where.
pub async fn caught(mutant: Mutant, trap: Trap) -> Option<String> {
    let template = Template::new().await;
    for seed in 0..SEEDS {
        let noticed = match trap {
            Trap::Points(scenario) => {
                let _broken = mutant.activate();
                match Recording::try_new(&template, scenario, seed).await {
                    Ok(recording) => {
                        let swept = Box::pin(recording.sweep(&mut Figures::default())).await;
                        swept.err().map(|failure| failure.to_string())
                    }
                    Err(cause) => Some(format!("{scenario:?}, seed {seed}, undisturbed: {cause}")),
                }
            }
            Trap::OneWay(scenario, way) => {
                let _broken = mutant.activate();
                let recording = Recording::new(&template, scenario, seed).await;
                every(&recording, way).await
            }
            Trap::Cell(cell) => {
                let plain = Plain::new(&template, cell.kind, seed).await;
                let _broken = mutant.activate();
                let played = plain.cell(cell).await.err();
                played.map(|cause| format!("{cell}, seed {seed}: {cause}"))
            }
            Trap::Prune => {
                let _broken = mutant.activate();
                pruned::play(&template, seed).await.err()
            }
        };
        if noticed.is_some() {
            return noticed;
        }
    }
    None
}

/// So many seeds are played before a mutant is said to survive.
const SEEDS: u64 = 40;

async fn every(recording: &Recording<'_>, way: Way) -> Option<String> {
    for boundary in 0..recording.boundaries() {
        let figures = &mut Figures::default();
        let played = Box::pin(recording.point(boundary, way, None, figures)).await;
        if let Err(failure) = played {
            return Some(failure.to_string());
        }
    }
    None
}

/// Keeps a rule broken until it is dropped.
enum Broken {
    Engine(backup_engine::fault::ActiveMutant),
    Store(backup_store::fault::ActiveMutant),
}

impl Mutant {
    fn activate(self) -> Broken {
        match self {
            Self::Engine(mutant) => Broken::Engine(mutant.activate()),
            Self::Store(mutant) => Broken::Store(mutant.activate()),
        }
    }
}
