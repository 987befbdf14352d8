//! The program as a black box: its words, its exit codes, and what it leaves behind when it is
//! stopped, refused or killed, against a simulated tenant on loopback.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests"
)]

mod auth;
mod canaries;
mod care;
mod demo;
mod failures;
mod find;
mod help;
mod history;
mod interrupt;
mod kill;
#[path = "../../backup-engine/tests/support/postgres.rs"]
mod postgres;
mod reach;
mod support;
mod walkthrough;
mod workers;
