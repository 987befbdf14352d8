//! Run records: the last line of a run.

use super::{Outcome, ResourceId, Service, Totals};
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
    /// What its Data Synchronization Check found; absent unless one was made of everything.
    pub drift: Option<Drift>,
    /// What somebody ought to know of it.
    pub findings: Findings,
}

/// Says what a run covered, what it found nothing for, and what looked alarming.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Whether it covered only a part of its set, as somebody asked.
    pub part: bool,
    /// What it covered and had nothing to store for.
    pub gaps: Vec<Gap>,
    /// The resources of which so much changed that somebody should look.
    pub alarms: Vec<Alarm>,
}

impl Findings {
    /// Tells whether there is nothing to say.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Names something that a run covered and that has nothing to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The service.
    pub service: Service,
    /// Whose it would be.
    pub owner: String,
    /// Why there is nothing.
    pub reason: String,
}

/// Tells of a mass change: an attack by encryption, or a deletion, looks like this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// The resource.
    pub resource: ResourceId,
    /// How many items it had before.
    pub items: u64,
    /// Of how many of them the content is another one.
    pub rewritten: u64,
    /// How many of them are gone.
    pub removed: u64,
}

/// Tells how far the catalog of a resource was from its service, although every cursor was read to
/// its end; zero everywhere is what it should be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drift {
    /// Items that the listing showed.
    pub listed: u64,
    /// Items that the service has and the catalog lacked.
    pub missing: u64,
    /// Items of which the catalog held another state.
    pub stale: u64,
    /// Items that the catalog held and the service no longer has.
    pub surplus: u64,
    /// Size of the surplus items.
    ///
    /// *Units and limits*: bytes, as the catalog held them; the store lets them go when retention
    /// does.
    pub surplus_bytes: u64,
    /// Containers that one of the two had and the other not, or otherwise.
    pub containers: u64,
    /// Items whose content had been assumed and was fetched as proof.
    pub proved: u64,
    /// Of those, items whose content was another one after all.
    pub disproved: u64,
    /// Whether what was found has been repaired.
    pub repaired: bool,
}

impl Drift {
    /// Tells whether catalog and service agreed.
    pub fn is_none(&self) -> bool {
        self.missing + self.stale + self.surplus + self.containers + self.disproved == 0
    }

    /// Adds what was found in another resource.
    pub fn add(&mut self, other: &Self) {
        self.listed += other.listed;
        self.missing += other.missing;
        self.stale += other.stale;
        self.surplus += other.surplus;
        self.surplus_bytes += other.surplus_bytes;
        self.containers += other.containers;
        self.proved += other.proved;
        self.disproved += other.disproved;
        self.repaired |= other.repaired;
    }
}
