//! The program as a black box: its words, its exit codes, and what it leaves behind when it is
//! stopped, refused or killed, against a simulated tenant on loopback.

mod demo;
mod failures;
mod help;
mod interrupt;
mod kill;
mod support;
mod walkthrough;
