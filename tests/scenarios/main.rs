//! Whole stories: both engines, the store and the simulated tenant together, in process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[path = "../../m365-graph/tests/conformance/checked.rs"]
mod checked;
mod costs;
#[path = "../../m365-graph/tests/conformance/description.rs"]
mod description;
mod faults;
mod guests;
mod interruption;
#[path = "../../m365-graph/tests/conformance/recording.rs"]
mod recording;
mod restore;
mod same_as_full;
#[path = "../harness/signed_in.rs"]
mod signed_in;
mod support;
mod true_bytes;
mod wire;
mod workers;
