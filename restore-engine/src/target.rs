//! The target seam: one service, written. Mirrors the sources of backup-engine by service.

mod one_drive;
mod outlook;
mod record;
mod scheduled;

use std::fmt;

use async_trait::async_trait;
use backup_store::Store;
use backup_store::catalog::{Container, Item, Service};

use m365_auth::Charge;

use crate::error::Result;
use crate::loss::LossCode;

pub use one_drive::DriveTarget;
pub use outlook::OutlookTarget;
pub use record::{
    FoundContainer, NewContainer, Occupant, Place, ServiceLimits, WriteCost, WriteJob, Written,
};
pub use scheduled::ScheduledTarget;

/// Writes one service: one mailbox, one drive.
///
/// A target keeps no state of a restore and never retries; both are the engine's.
#[async_trait]
pub trait Target: fmt::Debug + Send + Sync {
    /// Returns the service it writes.
    fn service(&self) -> Service;

    /// Finds the mailbox or drive.
    ///
    /// *Errors*: [`NotFound`](crate::ErrorKind::NotFound) when the owner has none.
    async fn place(&self) -> Result<Place>;

    /// Returns as what its requests count in the limiter: the same as those of a backup of this
    /// mailbox or drive.
    async fn charge(&self) -> Result<Charge>;

    /// Tells whether two items of one container may not have the same name.
    fn names_are_unique(&self) -> bool;

    /// Returns what differs in everything this target writes.
    fn standing_losses(&self) -> &'static [LossCode];

    /// Returns the documented limits.
    fn limits(&self) -> ServiceLimits;

    /// Returns what writing `item`, and reading it back, costs.
    fn cost(&self, item: &Item) -> WriteCost;

    /// Says why `item` cannot be written, if it cannot.
    fn unavailable(&self, item: &Item) -> Option<LossCode>;

    /// Finds the container with this language-independent name.
    async fn well_known(&self, name: &str) -> Result<Option<String>>;

    /// Lists the containers directly under `parent`.
    async fn child_containers(&self, parent: &str) -> Result<Vec<FoundContainer>>;

    /// Lists the items directly in `container`.
    async fn occupants(&self, container: &str) -> Result<Vec<Occupant>>;

    /// Creates a container under `parent` and returns its id.
    async fn create_container(&self, parent: &str, new: &NewContainer) -> Result<String>;

    /// Returns the content hash the service stated for `item` when it was backed up, if any.
    async fn stored_hash(&self, store: &Store, item: &Item) -> Result<Option<String>>;

    /// Writes one item; never over another one.
    ///
    /// *Cancel safety*: dropping it may leave an incomplete item, which [`Target::find`] shows.
    async fn write(&self, store: &Store, job: &WriteJob<'_>) -> Result<Written>;

    /// Looks whether `job` was written after all; asked after a write without an answer.
    async fn find(&self, store: &Store, job: &WriteJob<'_>) -> Result<Option<Occupant>>;

    /// Reads an item back and returns what differs from the stored one, field by field.
    async fn verify(&self, store: &Store, job: &WriteJob<'_>, id: &str) -> Result<Vec<String>>;

    /// Returns the name under which `item` is written while the one it replaces still has its own.
    fn interim_name(&self, item: &Item) -> String;

    /// Gives a written item its final name, after the one that had it was removed.
    async fn rename(&self, id: &str, name: &str) -> Result<()>;

    /// Removes an item.
    async fn remove(&self, id: &str) -> Result<()>;

    /// Gives a container that the restore created its attributes, after all its content is there.
    async fn finish_container(&self, store: &Store, id: &str, source: &Container) -> Result<()>;
}
