//! The explorer: drives the production rules of writers and the production machine of pruners
//! through every order of their effects, with crashes and puts that land late, and looks for loss.
//!
//! The decisions are those of `writer::rules`, `prune::decide`, `prune::machine` and `rounds`; only
//! the store is another. Equal states are merged. Each mutant breaks one rule on purpose and must
//! be caught.

mod pruner;
mod scenarios;
mod search;
mod world;
mod writer;
