//! Events: what a user interface hears while a backup runs.

use std::fmt;
use std::time::Duration;

use backup_store::RunId;
use backup_store::catalog::{Alarm, Resource, ResourceId, Totals};

use crate::report::{LeftOut, QuarantinedItem, ResourceReport, RunOutcome};

/// Says what has just happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// The run has its lease on the store and starts to look for resources.
    #[non_exhaustive]
    RunStarted {
        /// The run.
        run: RunId,
    },
    /// One more user or other owner was found; `found` counts them so far.
    #[non_exhaustive]
    OwnersFound {
        /// How many so far.
        found: usize,
    },
    /// A resource is left out, for a reason that is not an error.
    #[non_exhaustive]
    ResourceLeftOut {
        /// What, and why.
        left_out: LeftOut,
    },
    /// Work on a resource has started.
    #[non_exhaustive]
    ResourceStarted {
        /// The resource.
        resource: Resource,
        /// How many committed pages of an interrupted run were taken over.
        pages_resumed: usize,
    },
    /// A page is durable: its content, its changes and its cursor.
    #[non_exhaustive]
    PageCommitted {
        /// The resource.
        resource: ResourceId,
        /// The feed within it.
        feed: String,
        /// The totals of the resource so far.
        totals: Totals,
    },
    /// An item could not be stored; everything else goes on.
    #[non_exhaustive]
    ItemQuarantined {
        /// Which, and why.
        item: QuarantinedItem,
    },
    /// A snapshot was published: a checkpoint, or the last one of a resource.
    #[non_exhaustive]
    Checkpoint {
        /// The resource.
        resource: ResourceId,
    },
    /// Work on a resource has ended.
    #[non_exhaustive]
    ResourceFinished {
        /// How it ended.
        report: Box<ResourceReport>,
    },
    /// A unit of work was refused or failed and waits.
    #[non_exhaustive]
    Paused {
        /// The resource.
        resource: ResourceId,
        /// For how long.
        wait: Duration,
        /// Why, in words.
        cause: String,
    },
    /// So much of a resource changed that somebody should look.
    #[non_exhaustive]
    MassChange {
        /// What changed, and how much.
        alarm: Alarm,
    },
    /// The run has ended.
    #[non_exhaustive]
    RunFinished {
        /// How it ended.
        outcome: RunOutcome,
    },
}

/// Hears events; it must return at once, because the backup waits for it.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes note of one event.
    fn event(&self, event: &Event);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: &Event) {}
}
