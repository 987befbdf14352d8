//! Whole stories: both engines, the store and the simulated tenant together, in process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::large_futures,
    reason = "a test fails by panicking"
)]

mod costs;
mod faults;
mod interruption;
mod restore;
mod same_as_full;
mod support;
mod true_bytes;
mod workers;
