//! The fault harness: engine, store and simulated tenant in one thread, on paused time, by seed.
//!
//! A *world* is what is there between two runs: store, disk, journal, tenant, and the history of
//! what the tenant held. A *life* is one run in it under a fault plan, which numbers every effect:
//! requests, puts, writes and syncs of the disk, statements and commits of the journal. A *point* is
//! a life disturbed at one effect, the lives that follow, and what the judge says after each.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::large_futures,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "tests, and an example that uses its own share"
)]

pub mod clock;
pub mod guest;
pub mod judge;
pub mod life;
pub mod matrix;
pub mod mutants;
pub mod network;
pub mod people;
pub mod points;
pub mod pruned;
pub mod restored;
pub mod scenario;
pub mod signed_in;
pub mod trouble;
pub mod truth;
pub mod world;

/// Runs a future to its end in this thread, on paused time.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// Mixes two numbers into one that looks like neither.
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    let hash = *hasher.finalize().as_bytes();
    u64::from_le_bytes(hash[..8].try_into().unwrap())
}
