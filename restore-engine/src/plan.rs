//! Plan: what a restore will write, as a value that can be printed, saved, reviewed, refused.

mod build;
mod show;

use backup_store::{SnapshotId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::conflict::Decision;
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Loss;
use crate::request::ConflictRule;
use crate::target::Place;

pub(crate) use build::decide as build_decide;
pub use build::plan;

/// The form of plans that this version writes and executes.
pub const PLAN_VERSION: u32 = 1;

/// Lists what a restore will do; execution writes nothing that it does not list.
///
/// Items are listed by rule, not one by one: a container's items are those of the snapshot, minus
/// the collisions named here. The snapshot never changes, so the rule names exactly the same items
/// when the plan is executed, and a plan of half a million messages stays small.
///
/// *Shape*: JSON through serde, for people through `Display`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RestorePlan {
    /// The form of this plan, [`PLAN_VERSION`].
    pub version: u32,
    /// Identifies what was asked, so that an interrupted execution finds its journal again.
    ///
    /// *Shape*: 32 hexadecimal digits, a hash of everything below but the counts.
    pub id: String,
    /// The snapshot it restores.
    pub snapshot: SnapshotId,
    /// The state of which time that is.
    pub as_of: Timestamp,
    /// The resource that was backed up.
    pub resource: String,
    /// Principal name of its owner.
    pub owner: String,
    /// Where it writes.
    pub place: Place,
    /// The folder under which everything goes, if one was asked for.
    pub into_folder: Option<String>,
    /// What happens to collisions.
    pub conflict: ConflictRule,
    /// The containers, parents before children.
    pub containers: Vec<PlannedContainer>,
    /// What differs afterwards or does not come back, and why.
    pub losses: Vec<Loss>,
    /// The counts; they add up.
    pub totals: PlanTotals,
    /// What it will cost.
    pub estimate: Estimate,
}

/// Says what happens in one container of the destination.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlannedContainer {
    /// Id of the container in the snapshot; absent for the folder that everything goes into.
    pub source: Option<String>,
    /// Where it is at the destination, for people.
    pub path: String,
    /// Whether it exists, or how it is created.
    pub placement: Placement,
    /// Which of the snapshot's items in it are wanted.
    pub items: ItemSet,
    /// How many items are written into it.
    pub write: u64,
    /// How many items are left alone because of a collision.
    pub skip: u64,
    /// How many items cannot come back.
    pub unavailable: u64,
    /// Bytes of content written into it.
    pub bytes: u64,
    /// Every item that meets something in its place; in the order of the item tree.
    pub collisions: Vec<Collision>,
}

/// Says whether a container exists, or how it is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Placement {
    /// It exists and is merged into.
    Existing {
        /// Its id at the destination.
        id: String,
    },
    /// It is created.
    Create {
        /// What it is created under.
        parent: ParentRef,
        /// Its display name.
        name: String,
        /// Whether users shall not see it.
        hidden: bool,
    },
}

/// Names the container under which another one is created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ParentRef {
    /// One that exists, by its id at the destination.
    Id(String),
    /// An earlier one of the plan, by its position.
    Planned(usize),
}

/// Says which of a container's items a plan wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ItemSet {
    /// None: the container is there for those below it.
    None,
    /// All.
    All,
    /// These, sorted.
    Only(Vec<ItemRef>),
}

/// Names an item within its container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a key")]
pub struct ItemRef {
    /// When the service says it was created.
    pub created: Timestamp,
    /// The service's id.
    pub id: String,
}

/// Says what happens to one item that meets something in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Collision {
    /// The stored item.
    pub item: ItemRef,
    /// What happens; never [`Decision::Write`] where names are unique.
    pub decision: Decision,
}

/// Counts a plan; `selected = write + skip + unavailable`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanTotals {
    /// Items that were asked for.
    pub selected: u64,
    /// Items that will be written.
    pub write: u64,
    /// Items left alone because of a collision.
    pub skip: u64,
    /// Items that cannot come back.
    pub unavailable: u64,
    /// Bytes of content that will be written.
    pub bytes: u64,
    /// Containers that will be created.
    pub create_containers: u64,
    /// Containers that exist and are merged into.
    pub merge_containers: u64,
}

impl PlanTotals {
    /// Tells whether the counts add up.
    pub fn check(&self) -> bool {
        self.selected == self.write + self.skip + self.unavailable
    }
}

/// Estimates what a plan costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Estimate {
    /// Requests to the service, reading back included.
    pub requests: u64,
    /// The least time that the service's documented limits allow.
    ///
    /// *Units and limits*: seconds.
    pub seconds: u64,
}

impl RestorePlan {
    /// Tells whether executing the plan would write nothing.
    pub fn is_empty(&self) -> bool {
        self.totals.write == 0 && self.totals.create_containers == 0
    }

    /// Refuses a plan of another form, or one whose counts were tampered with.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |cause: String| Err(Error::new(ErrorKind::PlanMismatch, cause));
        if self.version != PLAN_VERSION {
            let cause = format!("plan {}: form {} is not known here", self.id, self.version);
            return refuse(cause);
        }
        if !self.totals.check() {
            return refuse(format!("plan {}: its counts do not add up", self.id));
        }
        for (position, container) in self.containers.iter().enumerate() {
            if let Placement::Create {
                parent: ParentRef::Planned(parent),
                ..
            } = &container.placement
                && *parent >= position
            {
                let path = &container.path;
                return refuse(format!(
                    "plan {}: \"{path}\" comes before its parent",
                    self.id
                ));
            }
        }
        Ok(())
    }
}
