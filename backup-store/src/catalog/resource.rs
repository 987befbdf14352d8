//! Resources: one mailbox, drive, site, team or public-folder tree each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names;

names! {
    /// Names the service that a resource belongs to.
    Service {
        /// Mailboxes.
        Outlook = "outlook",
        /// Personal drives.
        OneDrive = "onedrive",
        /// Sites with their lists and libraries.
        SharePoint = "sharepoint",
        /// Teams and channels.
        Teams = "teams",
        /// The public-folder tree.
        PublicFolders = "public-folders",
    }
}

names! {
    /// Says what kind of thing a resource is.
    ResourceKind {
        /// The mailbox of a person.
        UserMailbox = "user-mailbox",
        /// A mailbox that several people use.
        SharedMailbox = "shared-mailbox",
        /// The mailbox of a meeting room.
        RoomMailbox = "room-mailbox",
        /// The mailbox of a piece of equipment.
        EquipmentMailbox = "equipment-mailbox",
        /// A drive.
        Drive = "drive",
    }
}

/// Identifies a resource within a store.
///
/// *Shape*: service name, colon, the service's own lasting id, as in `outlook:<user id>` or
/// `onedrive:<drive id>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceId(String);

impl ResourceId {
    /// Takes an id as it is written.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Builds the id of `service_id` in `service`.
    pub fn of(service: &Service, service_id: &str) -> Self {
        Self(format!("{service}:{service_id}"))
    }

    /// Returns the id as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResourceId({})", self.0)
    }
}

/// Describes one resource as it was when a snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resource {
    /// Its id within the store.
    pub id: ResourceId,
    /// The service it belongs to.
    pub service: Service,
    /// What kind of thing it is.
    pub kind: ResourceKind,
    /// Principal name of the owner, as in `alex@contoso.example`.
    pub owner: String,
    /// The owner's lasting id in the tenant.
    pub owner_id: String,
    /// What the service's API wants to be given: a user id or a drive id.
    pub service_id: String,
    /// Display name.
    pub name: String,
}
