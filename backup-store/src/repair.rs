//! Repairing a store: first a plan, which changes nothing, then its execution, which overwrites
//! nothing.
//!
//! What is missing or damaged is fetched from replicas, into new packs; what nobody has any more
//! is named, and the snapshots that held it are published again without it, so that the next run
//! fetches it from the service and everything else stays as it is.

mod execute;
mod plan;
mod rebuild;
mod report;
mod salvage;
mod sets;
mod walk;

#[cfg(test)]
mod tests;

pub use report::{
    Refetch, RepairOptions, RepairPhase, RepairPlan, RepairProgress, RepairReport, SnapshotRepair,
};
