//! Prune: removing what nothing needs, beside running writers and pruners, without locks or clocks.
//!
//! A round is planned, settled with every lease, judged by one verdict, carried out, and done.
//! Decisions are in `decide`, their order in `machine`; neither does IO. `shell` and `survey` do
//! in the store what the machine names; `mark`, `marks` and `places` find out what is needed.

pub(crate) mod decide;
pub(crate) mod machine;
mod mark;
mod marks;
mod places;
mod report;
mod shell;
mod survey;
#[cfg(test)]
mod unreadable;

pub use self::report::{
    Amount, Fencing, PruneOptions, PruneOutcome, PrunePhase, PruneProgress, PruneReport,
    RepackOptions,
};
