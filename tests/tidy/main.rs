//! Holds the house rules that a compiler cannot: edges between crates, fences between modules, sizes of files,
//! presence of documents, and fixtures without secrets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "tests"
)]

mod documents;
mod edges;
mod fences;
mod fixtures;
mod sizes;
mod tree;
