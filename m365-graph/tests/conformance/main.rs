//! Wire truth: the official description of the service and its published samples against both
//! sides: what the client of this crate asks and reads, and what the simulated tenant takes and
//! answers. Where the folder that holds them is at hand (`M365_CONFORMANCE_DIR`, by default
//! `../shared` beside the workspace); the tests say what they found and how much they checked.
//!
//! Which operations are ours nobody writes down: those of the client are recorded while `tour.rs`
//! calls all that can send (`tour.rs` finds out in the sources whether anything is left out), those
//! of the tenant are found by asking it for everything that the description knows.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    unreachable_pub,
    reason = "tests"
)]

mod checked;
mod client_sends;
mod description;
mod hand;
mod known;
mod recording;
mod replay;
mod requests;
mod rights;
mod samples;
#[path = "../common/mod.rs"]
mod scripted;
#[path = "../common/simulated.rs"]
mod simulated;
mod tour;
mod vectors;

use std::path::PathBuf;

use description::folder;
use serde_json::Value;

fn read(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}
