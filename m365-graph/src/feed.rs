//! Feeds and listings: every collection that the service can enumerate, and every one whose changes
//! it can tell, as one page at a time or as a stream.

mod collections;
mod views;

use std::fmt;
use std::marker::PhantomData;

use futures_core::Stream;
use futures_util::stream::{self, TryStreamExt};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::client::{Call, GraphClient};
use crate::entity::Entity;
use crate::error::{Error, Result};
use crate::page::{self, DeltaLink, DeltaNext, DeltaPage, Page, PageLink, RemovedReason};

pub use views::{
    Calendar, ChannelMessage, Contact, ContactFolder, Event, Group, ListItem, MailboxFolder,
    MailboxItem, Site, SiteList, TodoList, TodoTask,
};

/// Reads the changes of one collection.
///
/// Cheap to clone; holds no cursor: each page carries the link to the next.
pub struct Feed<T> {
    client: GraphClient,
    first: Call,
    paged: Paged,
    removed: fn(&Value) -> Option<RemovedReason>,
    view: PhantomData<fn() -> T>,
}

/// Reads one collection as it is.
pub struct Listing<T> {
    client: GraphClient,
    first: Call,
    view: PhantomData<fn() -> T>,
}

/// Says how a collection lets itself be told the size of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Paged {
    /// By `Prefer: odata.maxpagesize`, which is said with each request.
    Preferred,
    /// By `$top`, which the link to the next page keeps.
    Top,
    /// Not at all.
    Fixed,
}

impl<T: DeserializeOwned> Feed<T> {
    fn new(client: &GraphClient, first: Call, paged: Paged) -> Self {
        Self {
            client: client.clone(),
            first,
            paged,
            removed: page::removed_mark,
            view: PhantomData,
        }
    }

    fn of_drives(mut self) -> Self {
        self.removed = page::deleted_facet;
        self
    }

    /// Asks for these properties only; the service keeps the choice in its links.
    ///
    /// *Shape*: names of the service, such as `displayName`; `id` always comes. Not every feed
    /// takes a choice: calendar views refuse it.
    #[must_use]
    pub fn select(mut self, properties: &[&str]) -> Self {
        self.first = self.first.query("$select", &properties.join(","));
        self
    }

    /// Asks for so many objects a page, where the feed lets itself be told.
    #[must_use]
    pub fn page_size(mut self, objects: u32) -> Self {
        self.first = match self.paged {
            Paged::Preferred => self.first.prefer(format!("odata.maxpagesize={objects}")),
            Paged::Top => self.first.query("$top", &objects.to_string()),
            Paged::Fixed => self.first,
        };
        self
    }

    /// Reads one page: the first, or the one that a link of an earlier page points to.
    ///
    /// *Errors*: [`CursorReset`](crate::ErrorKind::CursorReset) when the feed must begin anew.
    pub async fn page(&self, from: Option<&DeltaLink>) -> Result<DeltaPage<T>> {
        let about = self.first.about();
        let call = self.first.or_following(from.map(DeltaLink::url));
        let answer = self.client.json(call).await?;
        page::delta(answer, self.removed, &|link| self.client.check(link))
            .map_err(|error| error.about(about))
    }

    /// Reads page after page until all changes are told; the last page carries the link by which
    /// to ask again.
    ///
    /// *Errors*: as [`page`](Self::page); the stream ends with the first.
    pub fn pages(self, from: Option<DeltaLink>) -> impl Stream<Item = Result<DeltaPage<T>>> + Send
    where
        T: Send,
    {
        stream::try_unfold(Some((self, from)), async |state| {
            let Some((feed, from)) = state else {
                return Ok(None);
            };
            let page = feed.page(from.as_ref()).await?;
            let next = match &page.next {
                DeltaNext::More(link) => Some((feed, Some(link.clone()))),
                DeltaNext::End(_) => None,
            };
            Ok(Some((page, next)))
        })
    }
}

impl<T: DeserializeOwned> Listing<T> {
    fn new(client: &GraphClient, first: Call) -> Self {
        Self {
            client: client.clone(),
            first,
            view: PhantomData,
        }
    }

    /// Asks for these properties only.
    #[must_use]
    pub fn select(mut self, properties: &[&str]) -> Self {
        self.first = self.first.query("$select", &properties.join(","));
        self
    }

    /// Asks for so many objects a page.
    #[must_use]
    pub fn page_size(mut self, objects: u32) -> Self {
        self.first = self.first.query("$top", &objects.to_string());
        self
    }

    /// Reads one page: the first, or the one that a link points to.
    pub async fn page(&self, next: Option<&PageLink>) -> Result<Page<T>> {
        let about = self.first.about();
        let call = self.first.or_following(next.map(PageLink::url));
        page::list(self.client.json(call).await?, &|link| {
            self.client.check(link)
        })
        .map_err(|error| error.about(about))
    }

    /// Reads object after object, page by page as they are wanted.
    ///
    /// *Errors*: as [`page`](Self::page); the stream ends with the first.
    pub fn items(self) -> impl Stream<Item = Result<Entity<T>>> + Send
    where
        T: Send,
    {
        let pages = stream::try_unfold(Some((self, None::<PageLink>)), async |state| {
            let Some((listing, next)) = state else {
                return Ok::<_, Error>(None);
            };
            let page = listing.page(next.as_ref()).await?;
            let rest = page.next.map(|link| (listing, Some(link)));
            let items = stream::iter(page.items.into_iter().map(Ok::<_, Error>));
            Ok(Some((items, rest)))
        });
        pages.try_flatten()
    }
}

impl<T> Clone for Feed<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            first: self.first.clone(),
            ..*self
        }
    }
}

impl<T> Clone for Listing<T> {
    fn clone(&self) -> Self {
        Self {
            client: self.client.clone(),
            first: self.first.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({})", self.first.about())
    }
}

impl<T> fmt::Debug for Listing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listing({})", self.first.about())
    }
}
