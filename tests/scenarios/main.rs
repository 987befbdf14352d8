//! Whole stories: both engines, the store and the simulated tenant together.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod restore;
