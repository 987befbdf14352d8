//! Items: one message, one file, and the forms in which each is stored.

use serde::{Deserialize, Serialize};

use super::names;
use crate::{ContentRef, Timestamp};

names! {
    /// Says what an item is.
    ItemKind {
        /// A mail message.
        Message = "message",
        /// A file of a drive.
        File = "file",
    }
}

names! {
    /// Names a stored form of an item.
    RepresentationKind {
        /// The properties as the Graph API returned them.
        GraphJson = "graph-json",
        /// The message in its internet form.
        Mime = "mime",
        /// The opaque stream of the mailbox export route.
        FastTransfer = "fast-transfer",
        /// The bytes of a file.
        Content = "content",
        /// The bytes of an earlier version of a file.
        Version = "version",
        /// An attachment, stored apart from its message.
        Attachment = "attachment",
        /// Who may do what with it.
        Permissions = "permissions",
    }
}

/// Identifies an item and fixes its place in the item tree: container, creation time, id.
///
/// The order of keys is the order of their encoded bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemKey {
    /// Id of the container it lies in.
    pub container: String,
    /// When the service says it was created; never a start time.
    pub created: Timestamp,
    /// The service's lasting id.
    pub id: String,
}

/// Says whether an item's content is in the store, and why not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ItemState {
    /// Every representation that was asked for is stored.
    Stored,
    /// Left out for a known reason, which is no error.
    Skipped {
        /// The reason.
        reason: String,
    },
    /// Could not be stored; every run tries again.
    Quarantined {
        /// The form that could not be stored.
        representation: RepresentationKind,
        /// What went wrong.
        cause: String,
    },
}

/// Names one stored form of an item and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Representation {
    /// Which form it is.
    pub kind: RepresentationKind,
    /// Its bytes in the store.
    pub content: ContentRef,
}

/// Describes one item: a message, a file.
///
/// Holds nothing that depends on the run that wrote it; that is in its
/// [`RunNote`](super::RunNote).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its place in the item tree.
    pub key: ItemKey,
    /// What it is.
    pub kind: ItemKind,
    /// The subject of a message, the name of a file.
    pub name: String,
    /// Address of the sender, of a message.
    pub sender: Option<String>,
    /// Addresses of the recipients, of a message.
    pub recipients: Vec<String>,
    /// The change key (eTag) under which it was read.
    pub change_key: String,
    /// The content key (cTag), where the service has one.
    pub content_key: Option<String>,
    /// Size as the service states it.
    ///
    /// *Units and limits*: bytes.
    pub size_bytes: u64,
    /// When it was last changed at the service.
    pub modified: Option<Timestamp>,
    /// Whether it is an unsent message.
    pub draft: bool,
    /// Whether its content is stored, and why not.
    pub state: ItemState,
    /// The stored forms.
    pub representations: Vec<Representation>,
}

impl Item {
    /// Returns the content of the first representation of this kind.
    pub fn representation(&self, kind: &RepresentationKind) -> Option<&ContentRef> {
        let found = self.representations.iter().find(|each| each.kind == *kind);
        found.map(|each| &each.content)
    }
}
