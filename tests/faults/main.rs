//! Faults: wherever engine, store, service or machine fail, nothing is lost, doubled or unreadable.

#![allow(clippy::print_stdout, reason = "figures for whoever runs it")]

#[path = "../harness/mod.rs"]
mod harness;

use harness::points::{Failure, Figures, Recording, sweep};
use harness::run;
use harness::scenario::Scenario;
use harness::world::Template;

fn nothing_is_lost(scenario: Scenario, seeds: std::ops::Range<u64>) {
    let mut figures = Figures::default();
    let mut failures = Vec::new();
    run(async {
        let template = Template::new().await;
        for seed in seeds {
            let swept = sweep(&template, scenario, seed, 1, &mut figures).await;
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
