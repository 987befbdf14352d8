//! Prune: removing what nothing needs, beside running writers and pruners, without locks or clocks.
//!
//! A round is planned, settled with every lease, judged by one verdict, carried out, and done.
//! Decisions are in `decide`, their order in `machine`; neither does IO.

pub(crate) mod decide;
pub(crate) mod machine;
