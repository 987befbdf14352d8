//! Plays crash points without end, or until a number of points or minutes is reached.
//!
//! ```text
//! cargo run --release -p backup-store --example crash_points -- --points 100000
//! cargo run --release -p backup-store --example crash_points -- --seed 5000 --minutes 10
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command line program that measures itself"
)]

#[path = "../tests/harness/mod.rs"]
mod harness;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use harness::points::{Figures, sweep};
use harness::scenario::Scenario;
use harness::world::Template;

/// Ways that are played at each boundary of one seed.
const WAYS_PER_BOUNDARY: u64 = 2;

struct Wanted {
    seed: u64,
    points: u64,
    time: Duration,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(words) => {
            eprintln!("{words}\nusage: crash_points [--seed N] [--points N] [--minutes N]");
            return ExitCode::from(2);
        }
    };
    harness::run(play(&wanted))
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        seed: 0,
        points: 100_000,
        time: Duration::MAX,
    };
    while let Some(name) = arguments.next() {
        let value = arguments.next().unwrap_or_default();
        let number: u64 = value
            .parse()
            .map_err(|_| format!("{name} needs a number"))?;
        match name.as_str() {
            "--seed" => wanted.seed = number,
            "--points" => wanted.points = number,
            "--minutes" => wanted.time = Duration::from_secs(60 * number),
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(wanted)
}

async fn play(wanted: &Wanted) -> ExitCode {
    let begun = Instant::now();
    let template = Template::new().await;
    let (mut figures, mut failures) = (Figures::default(), 0u64);
    let mut seed = wanted.seed;
    while figures.points < wanted.points && begun.elapsed() < wanted.time {
        for scenario in Scenario::ALL {
            let played = sweep(&template, scenario, seed, WAYS_PER_BOUNDARY, &mut figures).await;
            if let Err(failure) = played {
                failures += 1;
                println!("FAILED: {failure}");
            }
        }
        seed += 1;
        if seed.is_multiple_of(20) {
            let seconds = begun.elapsed().as_secs();
            println!("{} points, {failures} failed, {seconds} s", figures.points);
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    println!("points       {}", figures.points);
    println!("failed       {failures}");
    println!("seeds        {}..{seed}", wanted.seed);
    println!("scenarios    {:?}", figures.by_scenario);
    println!("ways         {:?}", figures.by_way);
    println!("resumed      {}", figures.resumed);
    println!("happened     {:?}", figures.deeds);
    println!(
        "restored     {} snapshots, {} contents",
        figures.snapshots, figures.contents
    );
    println!("seconds      {seconds:.1}");
    if failures == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
