//! The commands: each reads its arguments, does its work through the crates below, and reports.

pub(crate) mod auth;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod due;
pub(crate) mod find;
pub(crate) mod init;
pub(crate) mod key;
pub(crate) mod ls;
pub(crate) mod pin;
pub(crate) mod prune;
pub(crate) mod repair;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod runs;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod sync_check;
pub(crate) mod worker;
