//! Settling: what a pass has left open is decided by reading it, item by item.
//!
//! An item that left a feed and came in no other is either deleted or somewhere else; absence alone
//! deletes nothing.

use std::collections::BTreeSet;

use backup_store::catalog::{Item, ItemState, RepresentationKind};
use futures_util::{StreamExt, stream};

use super::ResourceRun;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Edit, Entry};
use crate::page;
use crate::source::{Change, Feed, FeedKind, Scope, SeenItem};
use crate::tally::Fate;
use crate::view::unsettled_note;

impl ResourceRun<'_> {
    /// Finds the containers that mean the same in every language, if none is known yet.
    pub(super) async fn find_well_known(&mut self) -> Result<()> {
        let names = self.reader.source.well_known();
        let known = self
            .view
            .containers()
            .iter()
            .any(|found| found.well_known.is_some());
        // With half of the containers, only half of them would ever be named.
        let is_whole = self.failures.is_empty() && !self.view.containers().is_empty();
        if names.is_empty() || known || self.stopped() || !is_whole {
            return Ok(());
        }
        let reader = self.reader.clone();
        let find = |name: &'static str| {
            let reader = reader.clone();
            async move {
                let call = || reader.source.find_well_known(&reader.resource, name);
                (name, reader.gate.attempt(call).await)
            }
        };
        let found = stream::iter(names.iter().copied()).map(find);
        let found = found
            .buffered(self.reader.requests)
            .collect::<Vec<_>>()
            .await;
        let mut entry = Entry::new(self.context.environment.now());
        for (name, result) in found {
            match result {
                Ok(Some(id)) => {
                    if let Some(container) = self.view.container(&id) {
                        let mut container = container.clone();
                        container.well_known = Some(name.to_owned());
                        entry.edits.push(Edit::Container(Box::new(container)));
                    }
                }
                Ok(None) => {}
                // All or none, so that the next run asks again.
                Err(error) => return self.fail(name, error),
            }
        }
        self.commit(entry, &self.gather()).await
    }

    /// The container of a feed is gone: what was in it must be settled.
    pub(super) async fn feed_is_gone(&mut self, feed: &Feed) -> Result<()> {
        self.view.forget_feed(&feed.id);
        let Scope::Container(id) = &feed.scope else {
            let message = "the service says that the feed is not there";
            return self.fail(&feed.id, Error::new(ErrorKind::NotFound, message));
        };
        let mut entry = Entry::new(self.context.environment.now());
        entry.edits.push(Edit::ContainerGone { id: id.clone() });
        self.commit(entry, &self.gather()).await
    }

    /// Tries items in quarantine again that this run has not tried yet.
    pub(super) async fn retry_quarantined(&mut self) -> Result<()> {
        let mut items = Vec::new();
        for (key, _) in self.view.in_quarantine() {
            if !self.view.was_shown(&key.id)
                && let Some(item) = self.view.item(&key.id).await?
                && let Some(seen) = self.seen_before(item).await?
            {
                items.push(seen);
            }
        }
        let mut items = items.into_iter();
        while items.len() > 0 {
            let part = items.by_ref().take(self.part()).collect();
            self.retry_part(part).await?;
        }
        Ok(())
    }

    async fn retry_part(&mut self, items: Vec<SeenItem>) -> Result<()> {
        let mut entry = Entry::new(self.context.environment.now());
        let into = self.gather();
        for (seen, result) in self.reader.fetch(items, &into).await {
            match result {
                Ok(outcome) => {
                    let known = self.view.item(&seen.id).await?;
                    let note = known.and_then(|item| self.note_of(&item.key));
                    let edit = page::fetched(seen, outcome, note.as_ref(), &into, entry.at).await?;
                    entry.edits.push(edit);
                }
                Err(error) => self.fail(QUARANTINE, error)?,
            }
        }
        self.commit(entry, &into).await
    }

    /// How many items that no page shows are fetched for one commit: a crash loses no more of them.
    fn part(&self) -> usize {
        self.reader.keep_items.max(1)
    }

    /// Rebuilds what was seen of an item from its record and its stored properties. Its change key
    /// is older than the content that will come, as it must be.
    async fn seen_before(&self, item: Item) -> Result<Option<SeenItem>> {
        if !matches!(item.state, ItemState::Quarantined { .. }) {
            return Ok(None);
        }
        let Some(properties) = item.representation(&RepresentationKind::GraphJson) else {
            return Ok(None);
        };
        let reader = self.context.store.open_content(properties);
        let properties = reader.collect(PROPERTIES_MAX).await?;
        let size = (item.size_bytes > 0).then_some(item.size_bytes);
        Ok(Some(SeenItem {
            id: item.key.id,
            container: item.key.container,
            created: item.key.created,
            kind: item.kind,
            name: item.name,
            sender: item.sender,
            recipients: item.recipients,
            change_key: item.change_key,
            content_key: item.content_key,
            content_key_is_proof: false,
            size_bytes: size,
            modified: item.modified,
            draft: item.draft,
            skip: None,
            properties,
        }))
    }

    /// Settles what the pass has left open, and returns the feeds that must be read again.
    pub(super) async fn settle(&mut self, last: bool) -> Result<Vec<Feed>> {
        self.settle_containers().await?;
        self.collect_leftovers().await?;
        let ids = self.view.unsettled();
        if ids.is_empty() || self.stopped() {
            return Ok(Vec::new());
        }
        let reader = self.reader.clone();
        let locate = |id: String| {
            let reader = reader.clone();
            async move {
                let found = reader
                    .gate
                    .attempt(|| reader.source.locate(&reader.resource, &id))
                    .await;
                (id, found)
            }
        };
        let found = stream::iter(ids).map(locate).buffered(self.reader.requests);
        let found = found.collect::<Vec<_>>().await;
        let mut open = Open::default();
        for (id, result) in found {
            match result {
                Ok(None) => open.edits.push(Edit::Delete { id }),
                Ok(Some(seen)) => self.found(seen, last, &mut open).await?,
                Err(error) => self.fail(SETTLEMENT, error)?,
            }
        }
        let containers = std::mem::take(&mut open.containers);
        Box::pin(self.commit_located(open.located, open.edits)).await?;
        self.feeds_of(containers).await
    }

    /// Decides about an item that is still there. Where its record says, it is settled; elsewhere,
    /// the feed of that place is read again; in the last pass, what was read counts, if its
    /// container is known.
    async fn found(&mut self, seen: SeenItem, last: bool, open: &mut Open) -> Result<()> {
        let known = self.view.item(&seen.id).await?;
        let holds = known.is_some_and(|item| {
            item.key.container == seen.container && item.change_key == seen.change_key
        });
        if holds {
            let fate = Fate::Unchanged;
            open.edits.push(Edit::Same { id: seen.id, fate });
        } else if !last {
            open.containers.insert(seen.container.clone());
        } else if self.view.container(&seen.container).is_some() {
            open.located.push(Change::Item(Box::new(seen)));
        } else {
            tracing::warn!(resource = %self.reader.resource.id, "an item could not be settled");
            let note = unsettled_note(self.context.environment.now());
            open.edits.push(Edit::Keep { id: seen.id, note });
        }
        Ok(())
    }

    /// Commits items as they were read, outside any feed, and then edits beside them.
    pub(super) async fn commit_located(
        &mut self,
        located: Vec<Change>,
        edits: Vec<Edit>,
    ) -> Result<()> {
        let mut located = located.into_iter();
        while located.len() > 0 {
            let part = located.by_ref().take(self.part()).collect();
            Box::pin(self.commit_part(part)).await?;
        }
        let mut entry = Entry::new(self.context.environment.now());
        entry.edits = edits;
        self.commit(entry, &self.gather()).await
    }

    async fn commit_part(&mut self, located: Vec<Change>) -> Result<()> {
        let now = self.context.environment.now();
        let into = self.gather();
        let work = page::plan(&mut self.view, &settlement(), located, &into, now).await?;
        let mut entry = work.entry;
        for (seen, result) in self.reader.fetch(work.to_fetch, &into).await {
            match result {
                Ok(outcome) => {
                    let edit = page::fetched(seen, outcome, None, &into, now).await?;
                    entry.edits.push(edit);
                }
                Err(error) => self.fail(SETTLEMENT, error)?,
            }
        }
        self.commit(entry, &into).await
    }

    /// Returns the feeds that cover these containers, reading the hierarchy again if one is new.
    async fn feeds_of(&mut self, containers: BTreeSet<String>) -> Result<Vec<Feed>> {
        if containers.is_empty() || self.stopped() {
            return Ok(Vec::new());
        }
        if containers
            .iter()
            .any(|id| self.view.container(id).is_none())
        {
            self.read_hierarchy().await?;
        }
        let covers = |feed: &Feed| match &feed.scope {
            Scope::Container(id) => containers.contains(id),
            Scope::Resource => true,
            Scope::Containers => false,
        };
        let mut feeds = self.feeds(FeedKind::Delta);
        feeds.retain(|feed| covers(feed) && !self.failures.contains_key(&feed.id));
        Ok(feeds)
    }

    /// Reads the containers that an enumeration did not show, and those whose parent is gone.
    async fn settle_containers(&mut self) -> Result<()> {
        for _ in 0..DEPTH_MAX {
            let doubtful = self.view.doubtful_containers();
            if doubtful.is_empty() || self.stopped() {
                break;
            }
            let mut entry = Entry::new(self.context.environment.now());
            for id in doubtful {
                let reader = &self.reader;
                let call = || reader.source.has_container(&reader.resource, &id);
                match reader.gate.attempt(call).await {
                    Ok(true) => self.view.container_is_there(&id),
                    Ok(false) => entry.edits.push(Edit::ContainerGone { id }),
                    Err(error) => self.fail(SETTLEMENT, error)?,
                }
            }
            if entry.edits.is_empty() {
                break;
            }
            self.commit(entry, &self.gather()).await?;
        }
        Ok(())
    }

    /// What is still in a container that is gone must be settled, too.
    async fn collect_leftovers(&mut self) -> Result<()> {
        let mut entry = Entry::new(self.context.environment.now());
        for (container, ids) in self.view.take_leftovers().await? {
            self.view.forget_feed(&container);
            let left = ids.into_iter().map(|id| Edit::Left {
                id,
                from: container.clone(),
            });
            entry.edits.extend(left);
        }
        self.commit(entry, &self.gather()).await
    }
}

/// What settling has found out so far.
#[derive(Debug, Default)]
struct Open {
    edits: Vec<Edit>,
    /// Containers whose feeds must be read again.
    containers: BTreeSet<String>,
    /// Items to be taken as they were read.
    located: Vec<Change>,
}

/// The feed under which entries of no feed stand.
fn settlement() -> Feed {
    Feed {
        id: String::new(),
        kind: FeedKind::Delta,
        scope: Scope::Resource,
    }
}

/// What failures that belong to no feed are noted under.
const SETTLEMENT: &str = "settlement";
const QUARANTINE: &str = "quarantine";
/// Folders nest less deeply than this.
const DEPTH_MAX: usize = 300;
/// The properties of one item are shorter than this.
const PROPERTIES_MAX: u64 = 64 << 20;
