#![doc = include_str!("../README.md")]

mod conflict;
mod content;
mod error;
mod event;
mod execute;
mod folder_map;
mod journal;
mod loss;
mod message;
mod plan;
mod report;
mod request;
mod retry;
mod target;

pub use conflict::{Decision, SkipReason};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, NoObserver, Observer};
pub use execute::execute;
pub use journal::RestoreJournal;
pub use loss::{Loss, LossCode, Losses};
pub use message::SOURCE_ITEM_PROPERTY;
pub use plan::{
    Collision, Estimate, ItemRef, ItemSet, PLAN_VERSION, ParentRef, Placement, PlanTotals,
    PlannedContainer, RestorePlan, plan,
};
pub use report::{DETAILS_MAX, ItemDetail, RestoreOutcome, RestoreReport};
pub use request::{ConflictRule, Destination, RestoreRequest, Selection};
pub use target::{
    DriveTarget, FoundContainer, NewContainer, Occupant, OutlookTarget, Place, ScheduledTarget,
    ServiceLimits, Target, WriteCost, WriteJob, Written,
};
