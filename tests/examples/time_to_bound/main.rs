//! How near to the lower bound a first backup of mail comes: ours, and what others do by default.
//!
//! The whole engine, its store and the simulated tenant with the documented limits run on virtual
//! time; the bound is computed once for all, over the route that exists (MIME).
//!
//! ```text
//! cargo run --release -p m365-simulator --example time_to_bound -- [--users N] [--mean N]
//! cargo run --release -p m365-simulator --example time_to_bound -- --metadata [--users N] [--mean N]
//! ```
//!
//! The second form reads metadata that is made on demand, without content: it shows what the engine
//! itself needs for 100,000 users, or for a million items.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a command line program that measures itself"
)]

mod alone;
mod bound;
mod metadata;
mod shape;
#[path = "../../harness/signed_in.rs"]
mod signed_in;
mod world;

use std::process::ExitCode;
use std::time::Duration;

use m365_simulator::Tenant;

use bound::Physics;
use world::{Outcome, Strategy, Troubles};

/// Small values come and go by the million: the system's allocator takes a third of the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// *Source*: assumed: bytes of a mail, a line of 1 Gbit/s, latency.
const REAL_BYTES: f64 = 80_000.0;
const REAL_LINE: f64 = 125_000_000.0;
const LATENCY: Duration = Duration::from_millis(250);

const OURS: Strategy = Strategy {
    name: "ours",
    mailboxes: 2_048,
    each: 4,
    in_all: 512,
    adaptive: true,
    a_second: None,
};

const OTHERS: [Strategy; 3] = [
    Strategy {
        name: "64 threads, one per mailbox",
        mailboxes: 64,
        each: 1,
        in_all: 64,
        adaptive: false,
        a_second: None,
    },
    Strategy {
        name: "16 requests/s over all",
        mailboxes: 2_048,
        each: 4,
        in_all: 512,
        adaptive: false,
        a_second: Some(16),
    },
    Strategy {
        name: "4 threads in all",
        mailboxes: 4,
        each: 1,
        in_all: 4,
        adaptive: false,
        a_second: None,
    },
];

const CLEAN: Troubles = Troubles {
    errors: 0.0,
    resets: 0.0,
    crashes: 0,
};

const TROUBLED: Troubles = Troubles {
    errors: 0.01,
    resets: 0.005,
    crashes: 3,
};

/// What is asked for.
struct Wanted {
    users: Vec<usize>,
    mean: f64,
    metadata: bool,
}

const USAGE: &str = "usage: time_to_bound [--metadata] [--users N] [--mean N]";

fn main() -> ExitCode {
    let wanted = match wanted(std::env::args().skip(1)) {
        Ok(wanted) => wanted,
        Err(words) => {
            eprintln!("{words}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    for users in wanted.users {
        match wanted.metadata {
            true => metadata_alone(users, wanted.mean),
            false => table(users, wanted.mean),
        }
    }
    ExitCode::SUCCESS
}

fn wanted(mut arguments: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted {
        users: vec![25, 2_000],
        mean: 500.0,
        metadata: false,
    };
    while let Some(name) = arguments.next() {
        if name == "--metadata" {
            wanted.metadata = true;
            continue;
        }
        if !matches!(name.as_str(), "--users" | "--mean") {
            return Err(format!("{name}: unknown"));
        }
        let value = arguments.next().unwrap_or_default();
        let is_no_number = |_| format!("{name} {value}: not a number");
        let number: u32 = value.parse().map_err(is_no_number)?;
        match name.as_str() {
            "--users" => wanted.users = vec![number as usize],
            _ => wanted.mean = f64::from(number),
        }
    }
    Ok(wanted)
}

/// Reads a tenant without content twice: for the first time, and when nothing has changed.
fn metadata_alone(users: usize, mean: f64) {
    let sizes = std::sync::Arc::new(metadata::Sizes(shape::sizes(users, mean)));
    let items: u64 = sizes.0.iter().sum();
    println!(
        "\n{users} users, {items} messages without content, the largest mailbox {}",
        sizes.0.iter().max().copied().unwrap_or_default()
    );
    println!(
        "\n| run | seen | requests | time | 512 at once, at least | CPU | CPU / million items | answers | peak memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    let folder = tempfile::tempdir().expect("a folder");
    on_virtual_time(async {
        let store = alone::store(folder.path()).await;
        for name in ["first", "nothing changed"] {
            let run = Box::pin(alone::run(&store, folder.path(), &sizes, LATENCY)).await;
            let least = LATENCY.mul_f64(run.requests as f64 / 512.0);
            println!(
                "| {name}: {} | {} | {} | {} | {} | {:.1} s | {:.1} s | {:.1} s | {} MiB |",
                run.report.outcome.as_str(),
                run.report.totals.seen,
                run.requests,
                span(run.took),
                span(least),
                run.cpu.as_secs_f64(),
                run.cpu.as_secs_f64() * 1e6 / items as f64,
                run.answers.as_secs_f64(),
                run.peak_mib,
            );
        }
    });
}

/// Plays all strategies on one tenant, each on a thread of its own but never more than two at once.
fn table(users: usize, mean: f64) {
    let began = std::time::Instant::now();
    let sizes = shape::sizes(users, mean);
    let tenant = || {
        let tenant = Tenant::empty(1);
        let (shape, bytes) = shape::fill(&tenant, &sizes);
        (tenant, shape, bytes)
    };
    let (_, shape, bytes) = tenant();
    let messages = shape.messages();
    let shrunk = bytes as f64 / messages as f64 / REAL_BYTES;
    let physics = Physics {
        latency: LATENCY,
        at_once: 4,
        in_ten_minutes: 10_000,
        page: 200,
        line: REAL_LINE * shrunk,
    };
    let bound = bound::first_backup(&shape, &physics, bytes);
    println!(
        "\n{users} users: {messages} messages, the largest mailbox {}; bodies and line shrunk to 1/{:.0}",
        shape.largest(),
        1.0 / shrunk
    );
    println!(
        "lower bound {} ({}; mailbox {}, line {}), {} mandatory requests",
        span(bound.time()),
        bound.cause(),
        span(bound.largest_mailbox),
        span(bound.line),
        bound.requests
    );
    println!("\n| strategy | time | time / bound | requests / mandatory | refused | wall time |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let plays = [
        (OURS, CLEAN, ""),
        (OURS, TROUBLED, ", with faults and 3 crashes"),
    ];
    let plays = plays
        .into_iter()
        .chain(OTHERS.map(|strategy| (strategy, CLEAN, "")));
    let queue = std::sync::Mutex::new(plays.collect::<std::collections::VecDeque<_>>());
    let worker = || {
        loop {
            let next = queue.lock().expect("a queue").pop_front();
            let Some((strategy, troubles, suffix)) = next else {
                return;
            };
            let cpu = std::time::Instant::now();
            let (tenant, ..) = tenant();
            let about = (bound.time(), shrunk);
            let outcome = on_virtual_time(world::play(
                &tenant, users, &strategy, &troubles, &physics, about,
            ));
            show(&strategy, suffix, &bound, &outcome, messages, cpu.elapsed());
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(worker);
        scope.spawn(worker);
    });
    println!("\nwall time of this table: {}", span(began.elapsed()));
}

fn on_virtual_time<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}

fn show(
    strategy: &Strategy,
    suffix: &str,
    bound: &bound::Bound,
    outcome: &Outcome,
    messages: u64,
    wall: Duration,
) {
    let ratio = outcome.took.as_secs_f64() / bound.time().as_secs_f64();
    let requests = outcome.answers as f64 / bound.requests as f64;
    let refused = outcome.refused as f64 * 100.0 / outcome.answers as f64;
    // After a crash a run counts only what it has read itself.
    let whole = match (suffix, outcome.complete) {
        (_, false) => " (NOT COMPLETE)",
        ("", true) if outcome.stored != messages => " (NOT ALL)",
        _ => "",
    };
    println!(
        "| {}{suffix}{whole} | {} | {ratio:.2} | {requests:.3} | {refused:.3} % | {} for {messages} |",
        strategy.name,
        span(outcome.took),
        span(wall),
    );
}

fn span(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 600.0 => format!("{seconds:.1} s"),
        seconds if seconds < 36_000.0 => format!("{:.1} min", seconds / 60.0),
        seconds => format!("{:.1} h", seconds / 3600.0),
    }
}
