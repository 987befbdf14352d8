//! Faults: wherever engine, store, service or machine fail, nothing is lost, doubled or unreadable.

#![allow(
    clippy::print_stdout,
    clippy::panic,
    reason = "figures for whoever runs it; a test fails by panicking"
)]

#[path = "../harness/mod.rs"]
mod harness;

use backup_engine::fault::Mutant;
use harness::matrix::{Cell, Fate, Kind, Plain, Tally};
use harness::points::{Failure, Figures, Recording, sweep};
use harness::run;
use harness::scenario::Scenario;
use harness::trouble::{Class, Phase};
use harness::world::Template;

fn nothing_is_lost(scenario: Scenario, seeds: std::ops::Range<u64>) {
    let mut figures = Figures::default();
    let mut failures = Vec::new();
    run(async {
        let template = Template::new().await;
        for seed in seeds {
            let swept = Box::pin(sweep(&template, scenario, seed, 1, &mut figures)).await;
            failures.extend(swept.err());
        }
    });
    println!("{scenario:?}: {figures:?}");
    let shown: Vec<String> = failures.iter().map(Failure::to_string).collect();
    assert!(failures.is_empty(), "{}", shown.join("\n"));
    assert!(figures.points >= 50, "too few points: {}", figures.points);
}

#[test]
fn equal_seeds_give_equal_effects() {
    let trace = || {
        run(async {
            let template = Template::new().await;
            let recording = Recording::new(&template, Scenario::MovingReset, 5).await;
            let effects = recording.effects.iter().map(ToString::to_string);
            effects.collect::<Vec<_>>()
        })
    };
    let first = trace();
    assert!(first.len() > 50);
    assert_eq!(first, trace());
}

#[test]
fn a_first_backup_survives_every_boundary() {
    nothing_is_lost(Scenario::First, 0..1);
}

#[test]
fn an_incremental_backup_survives_every_boundary() {
    nothing_is_lost(Scenario::Incremental, 0..1);
}

#[test]
fn a_slow_backup_with_checkpoints_survives_every_boundary() {
    nothing_is_lost(Scenario::Slow, 0..1);
}

#[test]
fn an_enumeration_anew_survives_every_boundary() {
    nothing_is_lost(Scenario::Reset, 0..1);
}

#[test]
fn a_backup_of_what_changes_survives_every_boundary() {
    nothing_is_lost(Scenario::Moving, 0..1);
}

#[test]
fn an_enumeration_of_what_changes_survives_every_boundary() {
    nothing_is_lost(Scenario::MovingReset, 0..1);
}

#[test]
fn items_in_quarantine_survive_every_boundary() {
    nothing_is_lost(Scenario::Quarantine, 0..1);
}

/// Seeds of the matrix in the ordinary tests; the example plays hundreds.
const MATRIX_SEEDS: [u64; 4] = [4, 5, 6, 9];

/// Seeds at which something was found; they stay.
///
/// 4, 6, 9: an address of a file's content that is refused twice was taken for the end of the file.
#[test]
fn every_class_of_faults_costs_time_and_never_data() {
    let mut tally = Tally::new();
    let mut failures = Vec::new();
    run(async {
        let template = Template::new().await;
        for seed in MATRIX_SEEDS {
            for kind in [Kind::Mail, Kind::Drive] {
                let plain = Plain::new(&template, kind, seed).await;
                failures.extend(plain.play(&mut tally, u64::MAX).await);
            }
        }
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let possible = Cell::all().into_iter();
    let possible = possible.filter(|cell| cell.impossible().is_none());
    let never: Vec<String> = possible
        .filter(|cell| !tally.contains_key(cell))
        .map(|cell| cell.to_string())
        .collect();
    assert!(never.is_empty(), "never played: {never:?}");
}

/// Plays points until one fails.
async fn first_failure(scenarios: &[Scenario], figures: &mut Figures) -> Option<Failure> {
    let template = Template::new().await;
    for seed in 0..6 {
        for scenario in scenarios {
            let swept = Box::pin(sweep(&template, *scenario, seed, 1, figures)).await;
            if swept.is_err() {
                return swept.err();
            }
        }
    }
    None
}

fn is_noticed(mutant: Mutant, scenario: Scenario) {
    let mut figures = Figures::default();
    let broken = mutant.activate();
    let failure = run(first_failure(&[scenario], &mut figures));
    drop(broken);
    let points = figures.points;
    let failure = failure.unwrap_or_else(|| panic!("{mutant:?} survived {points} points"));
    println!("{mutant:?} was caught at point {points}: {failure}");
}

#[test]
fn a_cursor_before_its_content_is_noticed() {
    is_noticed(Mutant::CursorBeforeContent, Scenario::First);
}

#[test]
fn a_quarantine_outside_the_snapshot_is_noticed() {
    is_noticed(Mutant::QuarantineOutsideSnapshot, Scenario::Quarantine);
}

/// Even a run that nothing disturbs shows it.
#[test]
#[should_panic(expected = "is missing")]
fn an_item_that_is_dropped_is_noticed() {
    is_noticed(Mutant::ItemDropped, Scenario::First);
}

#[test]
fn a_change_key_read_after_the_content_is_noticed() {
    let cell = Cell {
        fate: Fate::Service(Class::Change),
        kind: Kind::Mail,
        phase: Phase::Fetch,
    };
    let play = || {
        run(async {
            let template = Template::new().await;
            for seed in 0..40 {
                let plain = Plain::new(&template, Kind::Mail, seed).await;
                if let Err(cause) = plain.cell(cell).await {
                    return Some(format!("{cell}, seed {seed}: {cause}"));
                }
            }
            None
        })
    };
    assert_eq!(play(), None);
    let broken = Mutant::LaterChangeKey.activate();
    let failure = play();
    drop(broken);
    assert!(failure.is_some(), "it survived");
}

#[test]
fn the_harness_notices_a_spool_that_is_not_synced() {
    let mut figures = Figures::default();
    let broken = backup_store::fault::Mutant::SyncLeftOut.activate();
    let failure = run(first_failure(&[Scenario::First], &mut figures));
    drop(broken);
    assert!(failure.is_some(), "it survived {} points", figures.points);
}
