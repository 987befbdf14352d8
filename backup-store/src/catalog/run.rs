//! Run records: the last line of a run.

use super::{Outcome, ResourceId, Totals};
use crate::{RunId, SnapshotId, Timestamp};

/// Describes one finished run of a backup set.
///
/// A run without a record was interrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// Name of the backup set.
    pub set: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Sums over all its resources.
    pub totals: Totals,
    /// The snapshots it published.
    pub snapshots: Vec<SnapshotId>,
    /// The resources that it found unchanged, and therefore made no snapshot of.
    pub unchanged: Vec<ResourceId>,
    /// The resources that it could not back up, with the cause.
    pub failed: Vec<(ResourceId, String)>,
}
