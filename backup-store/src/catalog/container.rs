//! Containers: the places in a resource's tree.

use super::names;
use crate::{ContentRef, Timestamp};

names! {
    /// Says what kind of place a container is.
    ContainerKind {
        /// A mail folder.
        MailFolder = "mail-folder",
        /// A folder of a drive, its root included.
        DriveFolder = "drive-folder",
    }
}

/// Describes one container: a mail folder, a drive folder.
///
/// Holds nothing that depends on the run that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The service's lasting id; the key in the container tree.
    pub id: String,
    /// Id of the container this one lies in; absent at the top.
    pub parent: Option<String>,
    /// Display name.
    pub name: String,
    /// What kind of place it is.
    pub kind: ContainerKind,
    /// Its name independent of language, as in `inbox`, where the service knows one.
    pub well_known: Option<String>,
    /// Whether the service hides it from users.
    pub hidden: bool,
    /// The change key under which it was read.
    pub change_key: Option<String>,
    /// When it was created at the service.
    pub created: Option<Timestamp>,
    /// When it was last changed at the service.
    pub modified: Option<Timestamp>,
    /// Everything the service said about it, as its raw JSON.
    pub properties: Option<ContentRef>,
}

impl Container {
    /// Returns the key under which the container tree holds this container.
    ///
    /// *Shape*: the bytes of the id.
    pub fn key(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }
}
