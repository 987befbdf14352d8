//! Source: one service, as a backup reads it.
//!
//! A source decides nothing about what is stored; it lists, shows and fetches. Every call is one
//! unit of work: it may be repeated whole, and the engine, not the source, decides when.

mod graph;
mod one_drive;
mod outlook;

use std::fmt;

use async_trait::async_trait;
use backup_store::catalog::{
    Container, Cursor, ItemKind, Representation, RepresentationKind, Resource, Service,
};
use backup_store::{Gatherer, Timestamp};
use m365_auth::Charge;

use crate::error::Result;
use crate::selection::Selection;

pub use one_drive::OneDriveSource;
pub use outlook::OutlookSource;

/// Reads one service.
#[async_trait]
pub trait Source: fmt::Debug + Send + Sync {
    /// Returns the service that this source reads.
    fn service(&self) -> Service;

    /// Says where the limiter counts the work on a resource or owner of that id, and what a refusal
    /// of the service pauses.
    ///
    /// *Shape*: the path leads to the node that the service limits as one, so that its last name
    /// stands for the resource; the requests themselves may be charged below it.
    fn charge(&self, service_id: &str) -> Charge {
        Charge::at([self.service().as_str(), service_id])
    }

    /// Says where the limiter counts the search for owners.
    fn charge_of_owners(&self) -> Charge {
        self.charge("directory")
    }

    /// Lists whoever may own a resource that `selection` covers, page by page.
    ///
    /// *Errors*: [`UserNotFound`](crate::ErrorKind::UserNotFound) when the selection names one
    /// that is not there.
    async fn owners(&self, selection: &Selection, from: Option<&Cursor>) -> Result<OwnerPage>;

    /// Finds the resource of `owner`, or says why there is none.
    async fn resource(&self, owner: &Owner) -> Result<Found>;

    /// Returns the feeds of a resource whose containers are `containers`.
    ///
    /// Hierarchy feeds are read first; then this is asked again with what they brought.
    fn feeds(&self, resource: &Resource, containers: &[&Container]) -> Vec<Feed>;

    /// Returns the names under which the service knows some containers in every language.
    fn well_known(&self) -> &'static [&'static str] {
        &[]
    }

    /// Returns the id of the container with the well-known `name`, if the resource has it.
    async fn find_well_known(&self, _resource: &Resource, _name: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Reads one page of `feed`, from its beginning if there is no cursor.
    async fn page(&self, resource: &Resource, feed: &Feed, cursor: Option<&Cursor>)
    -> Result<Page>;

    /// Reads one page like [`page`](Self::page), with at most so many items where the service can be
    /// asked for that.
    async fn smaller_page(
        &self,
        resource: &Resource,
        feed: &Feed,
        cursor: Option<&Cursor>,
        _items: u32,
    ) -> Result<Page> {
        self.page(resource, feed, cursor).await
    }

    /// Returns the form in which [`fetch`](Self::fetch) brings the content.
    fn content_form(&self) -> RepresentationKind;

    /// Returns how many items one call of [`fetch`](Self::fetch) may carry.
    fn fetch_batch(&self) -> usize {
        1
    }

    /// Fetches the content of `items` into the store; one answer for each, in their order.
    ///
    /// The content that comes is the present one, which may be newer than what was seen; the
    /// change key that was seen before it is the one to record.
    ///
    /// *Errors*, each per item: [`Item`](crate::ErrorKind::Item) when the item itself is the
    /// cause, which quarantines it; others as for any call.
    async fn fetch(
        &self,
        resource: &Resource,
        items: &[SeenItem],
        into: &Gatherer,
    ) -> Vec<Result<Fetched>>;

    /// Reads the present place and properties of one item; `None` if it is not there any more.
    async fn locate(&self, resource: &Resource, item_id: &str) -> Result<Option<SeenItem>>;

    /// Tells whether a container is still there.
    async fn has_container(&self, resource: &Resource, container_id: &str) -> Result<bool>;
}

/// Someone, or something, that may own a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The service's lasting id.
    pub id: String,
    /// The principal name, or another name that people know.
    pub principal_name: String,
    /// The name shown.
    pub name: String,
}

/// One page of owners.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnerPage {
    /// The owners.
    pub owners: Vec<Owner>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
}

/// Says whether an owner has a resource of this service.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// The resource.
    Resource(Resource),
    /// There is none, which is not an error.
    Nothing {
        /// Why.
        reason: String,
    },
}

/// What has one cursor: a mail folder, a whole drive, a list.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Feed {
    /// Its id, lasting and unique within the resource.
    pub id: String,
    /// How it tells of changes.
    pub kind: FeedKind,
    /// Which items it covers.
    pub scope: Scope,
}

/// Says how a feed tells of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FeedKind {
    /// Changes of containers only; read before the others.
    Hierarchy,
    /// Changes since a cursor.
    Delta,
}

/// Says which items a feed covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// No items.
    Containers,
    /// Those of one container.
    Container(String),
    /// All of the resource.
    Resource,
}

/// One page of a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// What it shows, in its order; the last word on an id counts.
    pub changes: Vec<Change>,
    /// What comes after it.
    pub next: Next,
}

/// Says what comes after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Another page.
    More(Cursor),
    /// Nothing for now; the next run starts with this cursor.
    End(Cursor),
    /// The cursor is not valid any more: the feed must be enumerated anew.
    Reset,
    /// The feed is not there any more.
    Gone,
}

/// One change that a feed shows.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Change {
    /// A container is new or changed.
    Container(Box<SeenContainer>),
    /// A container is gone, for good.
    ContainerRemoved {
        /// Its id.
        id: String,
    },
    /// An item is new or changed, or merely shown again.
    Item(Box<SeenItem>),
    /// An item has left the feed.
    Removed {
        /// Its id.
        id: String,
        /// Whether it is deleted for certain; if not, it may have moved.
        deleted: bool,
    },
}

/// A container as the service shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenContainer {
    /// Its record, but for the properties.
    pub container: Container,
    /// How many items it holds, where the service says so; only the order of work depends on it.
    pub items: Option<u64>,
    /// Its properties as the service gives them, as canonical JSON.
    pub properties: Vec<u8>,
}

/// An item as the service shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct SeenItem {
    /// The service's id of it, which survives moves.
    pub id: String,
    /// The container it is in.
    pub container: String,
    /// When the service says it was created; it does not change.
    pub created: Timestamp,
    /// What it is.
    pub kind: ItemKind,
    /// Subject or file name.
    pub name: String,
    /// Who sent it.
    pub sender: Option<String>,
    /// Whom it was sent to.
    pub recipients: Vec<String>,
    /// Changes with any change.
    pub change_key: String,
    /// Changes with any change of the content that is fetched; `None` if it cannot be told.
    pub content_key: Option<String>,
    /// Whether an equal content key is proof, or only a good reason to assume equal content.
    pub content_key_is_proof: bool,
    /// Length of the content as announced, in bytes; for mail it is known only from the content.
    pub size_bytes: Option<u64>,
    /// When it was last changed.
    pub modified: Option<Timestamp>,
    /// Whether it is a draft, whose content may change at any time.
    pub draft: bool,
    /// Why there is no content to fetch, where that is so for a known reason.
    pub skip: Option<String>,
    /// Its properties as the service gives them, as canonical JSON without pre-authenticated URLs.
    pub properties: Vec<u8>,
}

/// What became of the fetch of one item.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fetched {
    /// Its content is in the store.
    Stored {
        /// The forms that were fetched.
        representations: Vec<Representation>,
        /// The item as it was seen right before the content, where that is newer than before.
        newer: Option<Box<SeenItem>>,
    },
    /// The item is not there any more.
    Gone,
    /// The item cannot be stored, and it is itself the cause.
    Refused {
        /// Which stored form could not be had.
        representation: RepresentationKind,
        /// Why, in words that do not depend on the run.
        cause: String,
    },
}
