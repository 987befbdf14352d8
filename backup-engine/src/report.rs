//! Reports: how a run and each of its resources ended, in numbers that add up.

use backup_store::catalog::{
    Alarm, Drift, Outcome, RepresentationKind, Resource, ResourceId, Service, Totals,
};
use backup_store::{RunId, SnapshotId};

use crate::coordinator::Standing;

/// Says how a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RunOutcome {
    /// Everything selected is in the store.
    Complete,
    /// Everything is in the store, but for the items that the report names.
    CompleteWithQuarantine,
    /// At least one resource could not be finished.
    Partial,
    /// The run was asked to stop; what was committed is kept, the next run goes on from there.
    Interrupted,
}

impl RunOutcome {
    /// Returns the outcome in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::CompleteWithQuarantine => "complete with quarantine",
            Self::Partial => "partial",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns the outcome as a run record and a snapshot hold it.
    pub fn to_catalog(self) -> Outcome {
        match self {
            Self::Complete => Outcome::Complete,
            Self::CompleteWithQuarantine => Outcome::CompleteWithQuarantine,
            Self::Partial => Outcome::Partial,
            Self::Interrupted => Outcome::Checkpoint,
        }
    }
}

/// Says how the work on one resource ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResourceOutcome {
    /// Nothing had changed; no snapshot was needed.
    Unchanged,
    /// A complete snapshot was published.
    Complete,
    /// A snapshot was published that lacks the quarantined items.
    CompleteWithQuarantine,
    /// At least one feed, or the whole resource, could not be read to its end.
    Partial,
    /// The run was asked to stop before this resource was finished.
    Interrupted,
}

/// Tells how the work on one resource ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ResourceReport {
    /// The resource.
    pub resource: Resource,
    /// How it ended.
    pub outcome: ResourceOutcome,
    /// How many feeds it has.
    pub feeds: usize,
    /// What was seen and what became of it.
    pub totals: Totals,
    /// The snapshot that holds its state; `None` if none could be taken.
    pub snapshot: Option<SnapshotId>,
    /// The items of its newest state that are in quarantine.
    pub quarantined: Vec<QuarantinedItem>,
    /// How far its record was from the service, if this run has checked.
    pub drift: Option<Drift>,
    /// Why it could not be finished.
    pub error: Option<String>,
}

/// Names an item that could not be stored, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct QuarantinedItem {
    /// The resource it belongs to.
    pub resource: ResourceId,
    /// The id that the service gave it.
    pub item_id: String,
    /// Its subject or file name.
    pub name: String,
    /// Which stored form could not be had.
    pub representation: RepresentationKind,
    /// Why.
    pub cause: String,
}

/// Names something that a run covers and that has nothing to store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftOut {
    /// The service.
    pub service: Service,
    /// Whose it would be: a principal name.
    pub owner: String,
    /// Why there is nothing.
    pub reason: String,
}

/// Tells how a run ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub outcome: RunOutcome,
    /// One entry for each resource.
    pub resources: Vec<ResourceReport>,
    /// What the run covers but has nothing to store for: users without a mailbox or a drive.
    pub left_out: Vec<LeftOut>,
    /// The sum over all resources.
    pub totals: Totals,
    /// All quarantined items of all resources.
    pub quarantined: Vec<QuarantinedItem>,
    /// The sum of all drift, if this run has checked every resource that it reached.
    pub drift: Option<Drift>,
    /// The resources of which so much changed that somebody should look.
    pub alarms: Vec<Alarm>,
    /// How the whole run ended, of which this report tells a worker's part.
    pub standing: Option<Standing>,
}
