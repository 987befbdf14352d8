//! Crash points: the store is stopped or disturbed at every effect, and nothing is ever lost.

#![allow(clippy::print_stdout, reason = "figures for whoever runs it")]

mod harness;

use std::collections::BTreeSet;

use backup_store::fault::Mutant;
use harness::points::{Failure, Figures, Way, sweep};
use harness::run;
use harness::scenario::Scenario;
use harness::world::Template;

fn play(scenario: Scenario, seeds: std::ops::Range<u64>) -> (Figures, Vec<Failure>) {
    run(async {
        let template = Template::new().await;
        let (mut figures, mut failures) = (Figures::default(), Vec::new());
        for seed in seeds {
            failures.extend(
                sweep(&template, scenario, seed, 1, &mut figures)
                    .await
                    .err(),
            );
        }
        (figures, failures)
    })
}

/// Every boundary of every seed, in all ways as the seeds go round.
fn nothing_is_lost(scenario: Scenario) {
    let (figures, failures) = play(scenario, 0..scenario.seeds());
    println!("{scenario:?}: {figures:?}");
    let shown: Vec<String> = failures.iter().map(Failure::to_string).collect();
    assert!(failures.is_empty(), "{}", shown.join("\n"));
    assert!(figures.points >= 100, "too few points: {}", figures.points);
    let ways: BTreeSet<Way> = figures.by_way.keys().copied().collect();
    assert_eq!(ways, BTreeSet::from(Way::ALL), "every way was tried");
    let journal = scenario != Scenario::Copy;
    for deed in scenario.deeds() {
        assert!(figures.deeds.contains(deed), "{deed:?} never happened");
    }
    assert_eq!(
        figures.resumed > 0,
        journal,
        "some run goes on from a journal"
    );
}

#[test]
fn a_first_backup_survives_every_boundary() {
    nothing_is_lost(Scenario::FirstBackup);
}

#[test]
fn an_incremental_backup_survives_every_boundary() {
    nothing_is_lost(Scenario::Incremental);
}

#[test]
fn a_long_backup_with_checkpoints_survives_every_boundary() {
    nothing_is_lost(Scenario::LongBackup);
}

#[test]
fn a_key_change_survives_every_boundary() {
    nothing_is_lost(Scenario::KeyChange);
}

#[test]
fn a_copy_survives_every_boundary() {
    nothing_is_lost(Scenario::Copy);
}

#[test]
fn a_resumed_backup_survives_every_boundary() {
    nothing_is_lost(Scenario::Resume);
}

#[test]
fn a_prune_beside_a_writer_survives_every_boundary() {
    nothing_is_lost(Scenario::Prune);
}

#[test]
fn a_compaction_survives_every_boundary() {
    nothing_is_lost(Scenario::Compaction);
}

/// Plays points until one fails.
async fn first_failure(scenarios: &[Scenario], figures: &mut Figures) -> Option<Failure> {
    let template = Template::new().await;
    for seed in 0..6 {
        for scenario in scenarios {
            if let Err(failure) = sweep(&template, *scenario, seed, 1, figures).await {
                return Some(failure);
            }
        }
    }
    None
}

#[test]
fn the_harness_notices_every_broken_rule() {
    let crashes = Mutant::OF_CRASHES.map(|mutant| (mutant, &Scenario::ALL[..]));
    let upkeep = [Scenario::Prune, Scenario::Compaction];
    let upkeep = Mutant::OF_UPKEEP.map(|mutant| (mutant, &upkeep[..]));
    for (mutant, scenarios) in crashes.into_iter().chain(upkeep) {
        let mut figures = Figures::default();
        let broken = mutant.activate();
        let failure = run(first_failure(scenarios, &mut figures));
        drop(broken);
        let points = figures.points;
        let failure = failure.unwrap_or_else(|| panic!("{mutant:?} survived {points} points"));
        println!("{mutant:?} was caught at point {points}: {failure}");
    }
}
