//! Plays the fault harness until its figures are reached, or the minutes are over.
//!
//! ```text
//! cargo run --release -p m365-simulator --example fault_harness -- --seed 1 --minutes 60
//! ```
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a command line program that measures itself"
)]

#[path = "../harness/mod.rs"]
mod harness;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use harness::points::{Figures, sweep};
use harness::scenario::Scenario;
use harness::world::Template;

/// Ways that are played at each boundary of one seed.
const WAYS_PER_BOUNDARY: u64 = 1;

struct Wanted {
    seed: u64,
    points: u64,
    time: Duration,
    threads: u64,
}

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(words) => {
            eprintln!(
                "{words}\nusage: fault_harness [--seed N] [--points N] [--minutes N] [--threads N]"
            );
            return ExitCode::from(2);
        }
    };
    let begun = Instant::now();
    // Each thread is a world of its own; what one seed does depends on no other.
    let threads: Vec<_> = (0..wanted.threads)
        .map(|number| {
            let wanted = Wanted { ..wanted };
            std::thread::spawn(move || harness::run(play(&wanted, number, begun)))
        })
        .collect();
    let (mut figures, mut failures) = (Figures::default(), Vec::new());
    for thread in threads {
        match thread.join() {
            Ok((own, failed)) => {
                figures.add(&own);
                failures.extend(failed);
            }
            Err(_) => failures.push("a thread panicked".to_owned()),
        }
    }
    println!("points       {}", figures.points);
    println!("scenarios    {:?}", figures.by_scenario);
    println!("ways         {:?}", figures.by_way);
    println!("effects      {:?}", figures.by_effect);
    println!(
        "restored     {} snapshots, {} contents",
        figures.snapshots, figures.contents
    );
    println!(
        "fetched again {} contents, {} at most at one point",
        figures.repeated, figures.repeated_most
    );
    println!("failed       {}", failures.len());
    println!("seconds      {:.1}", begun.elapsed().as_secs_f64());
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        seed: 0,
        points: 100_000,
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
            "--minutes" => wanted.time = Duration::from_secs(60 * number),
            "--threads" => wanted.threads = number.max(1),
            _ => return Err(format!("{name} is not known")),
        }
    }
    Ok(wanted)
}

async fn play(wanted: &Wanted, thread: u64, begun: Instant) -> (Figures, Vec<String>) {
    let template = Template::new().await;
    let (mut figures, mut failures) = (Figures::default(), Vec::new());
    let share = wanted.points / wanted.threads;
    let mut seed = wanted.seed + thread;
    while figures.points < share && begun.elapsed() < wanted.time {
        for scenario in Scenario::ALL {
            let played = sweep(&template, scenario, seed, WAYS_PER_BOUNDARY, &mut figures).await;
            if let Err(failure) = played {
                println!("FAILED: {failure}");
                failures.push(failure.to_string());
            }
        }
        seed += wanted.threads;
    }
    (figures, failures)
}
