//! Copying stores: snapshots into a foreign store, and sealed objects into a replica.
//!
//! A foreign store has keys of its own: contents are read, verified, and written there by an
//! ordinary writer. A replica has the keys and the id of its primary, so that sealed objects open
//! in both: they are copied as they are.

mod foreign;
mod keys;
mod objects;
mod replica;
mod report;
mod translate;

#[cfg(test)]
mod tests;

pub(crate) use replica::replica_id;
pub use report::{
    CopyDamage, CopyOptions, CopyProgress, CopyReport, Moved, ReplicaOptions, ReplicaReport,
};
pub(crate) use translate::mark_quarantined;
