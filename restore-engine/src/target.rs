//! The target seam: one service, written. Mirrors the sources of backup-engine by service.

mod one_drive;
mod outlook;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use backup_store::catalog::{Container, Item, ResourceId, Service};
use backup_store::Store;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::loss::LossCode;

pub use one_drive::DriveTarget;
pub use outlook::OutlookTarget;

/// Names the mailbox or drive that a target writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::exhaustive_structs, reason = "a record that targets fill in")]
pub struct Place {
    /// The resource, as the catalog would name it.
    pub resource: String,
    /// Principal name of its owner.
    pub owner: String,
    /// Id of its topmost container.
    pub root: String,
}

impl Place {
    /// Creates the place of `service` with this id at the service.
    pub fn new(service: &Service, service_id: &str, owner: &str, root: &str) -> Self {
        Self {
            resource: ResourceId::of(service, service_id).as_str().to_owned(),
            owner: owner.to_owned(),
            root: root.to_owned(),
        }
    }
}

/// Describes a container that exists at the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a record that targets fill in")]
pub struct FoundContainer {
    /// Its id.
    pub id: String,
    /// Its display name.
    pub name: String,
}

/// Describes what lies in a container of the destination and may be in the way of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a record that targets fill in")]
pub struct Occupant {
    /// Its id at the destination.
    pub id: String,
    /// File name; empty where names do not collide.
    pub name: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// The source item it was restored from, where the target can mark that.
    pub source_item: Option<String>,
    /// Whether an earlier restore broke off while writing it.
    pub incomplete: bool,
    /// Its present change key.
    pub change_key: Option<String>,
    /// Size in bytes, of a file.
    pub size: u64,
    /// The service's own content hash, of a file.
    pub content_hash: Option<String>,
}

/// Describes a container to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a record that the engine fills in")]
pub struct NewContainer {
    /// Display name.
    pub name: String,
    /// Whether users shall not see it.
    pub hidden: bool,
}

/// Says which item to write, and where.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::exhaustive_structs, reason = "a record that the engine fills in")]
pub struct WriteJob<'a> {
    /// The stored item.
    pub item: &'a Item,
    /// Id of the container at the destination.
    pub container: &'a str,
    /// The name it gets; differs from the item's own in a copy.
    pub name: &'a str,
}

/// Describes an item that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a record that targets fill in")]
pub struct Written {
    /// Its id at the destination.
    pub id: String,
    /// Bytes of content that were sent.
    pub bytes: u64,
    /// What differs from the stored item.
    pub losses: Vec<LossCode>,
}

/// Says what one write costs at the service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a record that targets fill in")]
pub struct WriteCost {
    /// Requests, the read back included.
    pub requests: u64,
    /// Units in which the service counts its limit.
    pub units: u64,
    /// Bytes of content sent.
    pub bytes: u64,
}

/// States the documented limits that bound how fast a target can be written.
///
/// *Source*: the service's throttling pages; each target cites its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "a record that targets fill in")]
pub struct ServiceLimits {
    /// Units admitted in one `unit_window`.
    pub units: u64,
    /// The window of `units`.
    pub unit_window: Duration,
    /// Bytes admitted in one `byte_window`.
    pub bytes: u64,
    /// The window of `bytes`.
    pub byte_window: Duration,
    /// Requests that may be under way at once.
    pub concurrency: usize,
}

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

    /// Gives a written item its final name, after the one that had it was removed.
    async fn rename(&self, id: &str, name: &str) -> Result<()>;

    /// Removes an item.
    async fn remove(&self, id: &str) -> Result<()>;

    /// Gives a container that the restore created its attributes, after all its content is there.
    async fn finish_container(&self, store: &Store, id: &str, source: &Container) -> Result<()>;
}
