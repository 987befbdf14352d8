//! Report: what a restore did; its totals add up.

use serde::Serialize;

use crate::loss::Loss;

/// Says how a restore ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RestoreOutcome {
    /// Everything planned was written or skipped for a known reason, and reads back equal.
    Complete,
    /// It came to its end, but items failed, read back different, or not at all.
    CompleteWithErrors,
    /// It was stopped; executing the same plan again continues.
    Interrupted,
}

/// Says what became of a plan.
///
/// `planned = written + skipped + failed + remaining`, and `remaining` is zero unless interrupted;
/// `written = verified + unverified`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RestoreReport {
    /// Id of the plan.
    pub plan: String,
    /// How it ended.
    pub outcome: RestoreOutcome,
    /// Items that the plan selected.
    pub planned: u64,
    /// Items written, those of interrupted executions of this plan included.
    pub written: u64,
    /// Of `written`, those an interrupted execution had written.
    pub resumed: u64,
    /// Items not written for a known reason.
    pub skipped: u64,
    /// Items that could not be written.
    pub failed: u64,
    /// Items not reached before the stop.
    pub remaining: u64,
    /// Items read back after writing.
    pub verified: u64,
    /// Items written that could not be read back; executing the plan again tries once more.
    pub unverified: u64,
    /// Of `verified`, those that read back different.
    pub mismatched: u64,
    /// Bytes of content written by this execution.
    pub bytes: u64,
    /// Containers created, those of interrupted executions included.
    pub containers_created: u64,
    /// What read back different; the first [`DETAILS_MAX`].
    pub mismatches: Vec<ItemDetail>,
    /// What could not be read back; the first [`DETAILS_MAX`].
    pub unread: Vec<ItemDetail>,
    /// What failed; the first [`DETAILS_MAX`].
    pub failures: Vec<ItemDetail>,
    /// Containers that could not be made or finished; the first [`DETAILS_MAX`].
    pub container_failures: Vec<ItemDetail>,
    /// What differs in what was written, and why.
    pub losses: Vec<Loss>,
}

/// At most so many mismatches, and so many failures, are listed one by one; all are counted.
pub const DETAILS_MAX: usize = 1000;

/// Names an item and says what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ItemDetail {
    /// The container, as a path at the destination.
    pub path: String,
    /// Subject or file name.
    pub name: String,
    /// What is wrong.
    pub cause: String,
}

impl RestoreReport {
    /// Tells whether the counts add up.
    pub fn check(&self) -> bool {
        self.planned == self.written + self.skipped + self.failed + self.remaining
            && self.written == self.verified + self.unverified
            && self.mismatched <= self.verified
            && self.resumed <= self.written
    }
}
