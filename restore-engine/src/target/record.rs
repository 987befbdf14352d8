//! Records that the engine and its targets exchange.

use std::time::Duration;

use backup_store::catalog::{Item, ResourceId, Service};
use serde::{Deserialize, Serialize};

use crate::loss::LossCode;

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
#[allow(
    clippy::exhaustive_structs,
    reason = "a record that the engine fills in"
)]
pub struct NewContainer {
    /// Display name.
    pub name: String,
    /// Whether users shall not see it.
    pub hidden: bool,
}

/// Says which item to write, and where.
#[derive(Debug, Clone, Copy)]
#[allow(
    clippy::exhaustive_structs,
    reason = "a record that the engine fills in"
)]
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
    /// Bytes in memory while it is written.
    pub memory_bytes: u64,
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
