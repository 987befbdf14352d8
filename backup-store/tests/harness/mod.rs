//! The crash harness: lives of a simulated machine, stopped or disturbed at any one effect, and a
//! judge who restores every snapshot after each.
//!
//! Everything runs in one thread, on paused time, from seeds. One life of a scenario is recorded;
//! the world at any of its boundaries is then made by doing the recorded effects again to a copy
//! of the world it began in. Faults that a life survives are played live.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests, and an example that uses its own share"
)]

pub mod backup;
pub mod judge;
pub mod points;
pub mod pruning;
pub mod scenario;
pub mod upkeep;
pub mod world;

/// Runs a future to its end in this thread, on paused time.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}
