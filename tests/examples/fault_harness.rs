//! Plays the fault harness until its figures are reached, or the minutes are over.
//!
//! ```text
//! cargo run --release -p m365-simulator --example fault_harness -- --seed 1 --minutes 60
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::large_futures,
    reason = "a command line program that measures itself"
)]

#[path = "../harness/mod.rs"]
mod harness;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use harness::matrix::{Cell, Kind, Plain, Tally};
use harness::points::{Figures, Recording, Way, sweep};
use harness::scenario::Scenario;
use harness::world::Template;
use harness::{mix, mutants, pruned, restored};

/// What is wanted at least; the whole takes less than an hour on two cores.
#[derive(Clone)]
struct Wanted {
    seed: u64,
    points: u64,
    doubles: u64,
    /// Seeds of each cell of the matrix.
    cells: u64,
    /// Runs with a prune beside them, and as many restores that are disturbed.
    prunes: u64,
    time: Duration,
    threads: u64,
}

/// What one thread has done.
#[derive(Default)]
struct Done {
    figures: Figures,
    cells: Tally,
    prunes: u64,
    restores: u64,
    caught: Vec<String>,
    failures: Vec<String>,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(words) => {
            eprintln!("{words}\nusage: fault_harness {USAGE}");
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    // Each thread is a world of its own; what one seed does depends on no other.
    let threads: Vec<_> = (0..wanted.threads)
        .map(|number| {
            let wanted = wanted.clone();
            std::thread::spawn(move || harness::run(play(&wanted, number, begun)))
        })
        .collect();
    let mut all = Done::default();
    for thread in threads {
        match thread.join() {
            Ok(done) => {
                all.figures.add(&done.figures);
                for (cell, count) in done.cells {
                    *all.cells.entry(cell).or_default() += count;
                }
                all.prunes += done.prunes;
                all.restores += done.restores;
                all.caught.extend(done.caught);
                all.failures.extend(done.failures);
            }
            Err(_) => all.failures.push("a thread panicked".to_owned()),
        }
    }
    report(&all, begun);
    if all.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

const USAGE: &str = "[--seed N] [--minutes N] [--points N] [--doubles N] [--cells N] \
                     [--prunes N] [--threads N]";

fn report(done: &Done, begun: Instant) {
    let figures = &done.figures;
    println!("services     mail and files, both by Graph: the engine reads no other");
    println!("oracles      O1 to O9 after every run, see tests/harness");
    println!("matrix       every cell by seeds");
    for cell in Cell::all() {
        match cell.impossible() {
            Some(reason) => println!("  {cell}: cannot occur: {reason}"),
            None => println!("  {cell}: {}", done.cells.get(&cell).unwrap_or(&0)),
        }
    }
    let cells: u64 = done.cells.values().sum();
    println!("matrix runs  {cells}");
    let least = done.cells.values().min().unwrap_or(&0);
    println!("least cell   {least}");
    println!("crash points {}, at every boundary", figures.points);
    println!("other faults {}, at every third", figures.faults);
    println!("doubles      {}", figures.doubles);
    println!("restores     {} disturbed, each begun again", done.restores);
    println!("prunes       {} beside runs", done.prunes);
    println!(
        "requests     {}, none refused by the service itself",
        figures.requests
    );
    println!("scenarios    {:?}", figures.by_scenario);
    println!("ways         {:?}", figures.by_way);
    println!("next effect  {:?}", figures.by_effect);
    println!(
        "restored     {} snapshots, {} contents",
        figures.snapshots, figures.contents
    );
    println!(
        "fetched again {} contents, {} at most at one point of a machine that is still there",
        figures.repeated, figures.repeated_most
    );
    for caught in &done.caught {
        println!("mutant       {caught}");
    }
    println!("failed       {}", done.failures.len());
    println!("seconds      {:.1}", begun.elapsed().as_secs_f64());
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        seed: 0,
        points: 100_000,
        doubles: 20_000,
        cells: 200,
        prunes: 2_000,
        time: Duration::MAX,
        threads: 2,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number: u64 = value
            .parse()
            .map_err(|_| format!("{name} needs a number"))?;
        match name.as_str() {
            "--seed" => wanted.seed = number,
            "--points" => wanted.points = number,
            "--doubles" => wanted.doubles = number,
            "--cells" => wanted.cells = number,
            "--prunes" => wanted.prunes = number,
            "--minutes" => wanted.time = Duration::from_secs(60 * number),
            "--threads" => wanted.threads = number.max(1),
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(wanted)
}

async fn play(wanted: &Wanted, thread: u64, begun: Instant) -> Done {
    let template = Template::new().await;
    let mut done = Done::default();
    let share = |all: u64| all.div_ceil(wanted.threads);
    let in_time = || begun.elapsed() < wanted.time;
    if thread == 0 {
        Box::pin(trap(&mut done)).await;
    }
    let mut seed = wanted.seed + thread;
    while in_time() && done.prunes < share(wanted.prunes) {
        match Box::pin(pruned::play(&template, seed)).await {
            Ok(runs) => done.prunes += runs,
            Err(failure) => note(Some(failure), &mut done.failures),
        }
        seed += wanted.threads;
    }
    seed = wanted.seed + thread;
    while in_time() && done.restores < share(wanted.prunes) {
        match Box::pin(restored::play(&template, seed)).await {
            Ok(restores) => done.restores += restores,
            Err(failure) => note(Some(failure), &mut done.failures),
        }
        seed += wanted.threads;
    }
    seed = wanted.seed + thread;
    while in_time() && !is_full(&done.cells, share(wanted.cells)) {
        for kind in [Kind::Mail, Kind::Drive] {
            let plain = Plain::new(&template, kind, seed).await;
            let played = plain.play(&mut done.cells, share(wanted.cells)).await;
            note(played, &mut done.failures);
        }
        seed += wanted.threads;
    }
    seed = wanted.seed + thread;
    let (points, doubles) = (share(wanted.points), share(wanted.doubles));
    while in_time() && (done.figures.points < points || done.figures.doubles < doubles) {
        for scenario in Scenario::ALL {
            let figures = &mut done.figures;
            let swept = Box::pin(sweep(&template, scenario, seed, figures)).await;
            let swept = swept.err().map(|failure| failure.to_string());
            note(swept, &mut done.failures);
            let paired = Box::pin(twice(&template, scenario, seed, figures)).await;
            note(paired.err(), &mut done.failures);
        }
        seed += wanted.threads;
    }
    done
}

/// Breaks each rule once, to show that it is noticed.
async fn trap(done: &mut Done) {
    for (mutant, trap) in mutants::all() {
        match Box::pin(mutants::caught(mutant, trap)).await {
            Some(caught) => done
                .caught
                .push(format!("{mutant:?} by {trap:?}: {caught}")),
            None => note(
                Some(format!("{mutant:?} survives {trap:?}")),
                &mut done.failures,
            ),
        }
    }
}

fn note(failed: impl IntoIterator<Item = String>, failures: &mut Vec<String>) {
    for failure in failed {
        println!("FAILED: {failure}");
        failures.push(failure);
    }
}

/// Tells whether every cell that can occur was played often enough.
fn is_full(cells: &Tally, wanted: u64) -> bool {
    let all = Cell::all().into_iter();
    let mut possible = all.filter(|cell| cell.impossible().is_none());
    possible.all(|cell| cells.get(&cell).is_some_and(|count| *count >= wanted))
}

/// Stops a run, and the run after it, at pairs of effects that the seed picks.
async fn twice(
    template: &Template,
    scenario: Scenario,
    seed: u64,
    figures: &mut Figures,
) -> Result<(), String> {
    let recording = Recording::new(template, scenario, seed).await;
    let count = recording.boundaries();
    let crashes = [
        Way::CrashSynced,
        Way::Killed,
        Way::CrashTorn,
        Way::CrashLate,
    ];
    for pair in 0..count.div_ceil(4) {
        let lot = mix(seed ^ 0x0074_7769, pair);
        let (first, second) = (lot % count, lot / 1000 % count);
        let way = crashes[(lot / 1_000_000 % 4) as usize];
        let played = recording.point(first, way, Some(second), figures).await;
        played.map_err(|failure| failure.to_string())?;
    }
    Ok(())
}
