#![doc = include_str!("../README.md")]

pub mod audit;
mod bandwidth;
mod change;
mod claims;
pub mod coordinator;
pub mod error;
pub mod events;
#[cfg(feature = "fault-injection")]
pub mod fault;
mod gate;
mod history;
mod job;
mod journal;
mod mutant;
pub mod options;
mod page;
mod publish;
mod reader;
mod record;
pub mod report;
mod resource;
pub mod retention;
mod retry;
pub mod selection;
pub mod source;
pub mod sync_check;
mod tally;
mod tasks;
mod trees;
mod view;

pub use bandwidth::BandwidthProfile;
pub use coordinator::{Coordination, Coordinator};
pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Observer, Silent};
pub use history::merge_runs;
pub use job::BackupJob;
pub use options::{BackupOptions, RetryLimits};
pub use report::{
    LeftOut, QuarantinedItem, ResourceOutcome, ResourceReport, RunOutcome, RunReport,
};
pub use retention::{
    KeepReason, Pins, RetentionDecision, RetentionPlan, RetentionPolicy, plan_retention,
};
pub use selection::{Selection, Users};
pub use source::{OneDriveSource, OutlookSource, Source};
pub use sync_check::{SYNC_CHECK_INTERVAL, SyncCheck, sync_check_due};
