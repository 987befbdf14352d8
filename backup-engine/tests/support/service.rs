//! The service: its state, its changes, and what its feeds say of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use backup_engine::source::{
    Change, Feed, FeedKind, Fetched, Found, Next, Owner, OwnerPage, Page, Scope, SeenContainer,
    SeenItem,
};
use backup_engine::{Error, ErrorKind, Result, Selection, Source};
use backup_store::catalog::{
    Container, ContainerKind, Cursor, ItemKind, Representation, RepresentationKind, Resource,
    ResourceId, ResourceKind, Service,
};
use backup_store::{ContentClass, Gatherer, Timestamp};

/// How the service is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Folders in a feed of their own, a feed for each; a removed item may have moved.
    Mailbox,
    /// One feed for everything; what is removed is deleted.
    Drive,
}

#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) container: String,
    pub(crate) created: i64,
    pub(crate) changed: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) flag: u32,
    pub(crate) corrupt: bool,
    /// How often it changed without any feed telling.
    pub(crate) silent: u64,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    clock: u64,
    /// Times before every cursor, each used once, for what no feed tells.
    quiet_clock: u64,
    epoch: u64,
    pub(crate) containers: BTreeMap<String, (u64, String)>,
    gone_containers: Vec<(u64, String)>,
    pub(crate) items: BTreeMap<String, Item>,
    left: Vec<(u64, String, String)>,
    /// What the next calls meet; `None` lets one through.
    pub(crate) faults: VecDeque<Option<ErrorKind>>,
    pub(crate) fetched: Vec<String>,
    pub(crate) located: usize,
    pub(crate) pages: usize,
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    pub(crate) fn add_container(&mut self, id: &str, name: &str) {
        let now = self.tick();
        self.containers
            .insert(id.to_owned(), (now, name.to_owned()));
    }

    pub(crate) fn remove_container(&mut self, id: &str) {
        let inside = self.items.iter().filter(|(_, item)| item.container == id);
        for id in inside.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.delete(&id);
        }
        if self.containers.remove(id).is_some() {
            let now = self.tick();
            self.gone_containers.push((now, id.to_owned()));
        }
    }

    pub(crate) fn put(&mut self, id: &str, container: &str, content: &[u8]) {
        let now = self.tick();
        let created = self
            .items
            .get(id)
            .map_or(i64::try_from(now).unwrap(), |item| item.created);
        self.relocate(id, container, now);
        let item = Item {
            container: container.to_owned(),
            created,
            changed: now,
            content: content.to_vec(),
            flag: self.items.get(id).map_or(0, |item| item.flag),
            corrupt: false,
            silent: 0,
        };
        self.items.insert(id.to_owned(), item);
    }

    pub(crate) fn flag(&mut self, id: &str) {
        let now = self.tick();
        if let Some(item) = self.items.get_mut(id) {
            item.flag += 1;
            item.changed = now;
        }
    }

    pub(crate) fn set_corrupt(&mut self, id: &str, corrupt: bool) {
        let now = self.tick();
        if let Some(item) = self.items.get_mut(id) {
            item.corrupt = corrupt;
            item.changed = now;
            item.flag += 1;
            item.content.push(b'!');
        }
    }

    pub(crate) fn move_item(&mut self, id: &str, container: &str) {
        let now = self.tick();
        self.relocate(id, container, now);
        if let Some(item) = self.items.get_mut(id) {
            item.container = container.to_owned();
            item.changed = now;
        }
    }

    fn relocate(&mut self, id: &str, container: &str, now: u64) {
        if let Some(item) = self
            .items
            .get(id)
            .filter(|item| item.container != container)
        {
            self.left.push((now, item.container.clone(), id.to_owned()));
        }
    }

    pub(crate) fn delete(&mut self, id: &str) {
        let now = self.tick();
        if let Some(item) = self.items.remove(id) {
            self.left.push((now, item.container, id.to_owned()));
        }
    }

    /// Changes an item, or adds one, and lets no feed tell of it.
    pub(crate) fn put_silently(&mut self, id: &str, container: &str, content: &[u8]) {
        self.quiet_clock += 1;
        let quiet = self.quiet_clock;
        let old = self.items.get(id);
        let item = Item {
            container: container.to_owned(),
            created: old.map_or(i64::try_from(quiet).unwrap(), |old| old.created),
            changed: old.map_or(quiet, |old| old.changed),
            content: content.to_vec(),
            flag: old.map_or(0, |old| old.flag),
            corrupt: false,
            silent: old.map_or(0, |old| old.silent) + 1,
        };
        self.items.insert(id.to_owned(), item);
    }

    /// Deletes an item, and lets no feed tell of it.
    pub(crate) fn delete_silently(&mut self, id: &str) {
        self.items.remove(id);
    }

    /// Makes every cursor given so far invalid.
    pub(crate) fn expire_cursors(&mut self) {
        self.epoch += 1;
    }

    fn seen(&self, id: &str) -> Option<SeenItem> {
        let item = self.items.get(id)?;
        Some(SeenItem {
            id: id.to_owned(),
            container: item.container.clone(),
            created: Timestamp::from_millis(item.created),
            kind: ItemKind::Message,
            name: format!("item {id}"),
            sender: None,
            recipients: Vec::new(),
            change_key: format!("{}.{}", item.changed, item.silent),
            content_key: Some(format!("{:?}", item.content)),
            content_key_is_proof: false,
            size_bytes: None,
            modified: None,
            draft: false,
            skip: (item.content == b"skip").then(|| "on purpose".to_owned()),
            properties: format!("{{\"flag\":{}}}", item.flag).into_bytes(),
        })
    }

    fn container(&self, id: &str) -> Option<SeenContainer> {
        let (_, name) = self.containers.get(id)?;
        Some(SeenContainer {
            container: Container {
                id: id.to_owned(),
                parent: None,
                name: name.clone(),
                kind: ContainerKind::MailFolder,
                well_known: None,
                hidden: false,
                change_key: None,
                created: None,
                modified: None,
                properties: None,
            },
            items: None,
            properties: b"{}".to_vec(),
        })
    }

    /// Everything that a feed would say of what happened after `since`, with its time.
    fn events(&self, layout: Layout, feed: &Feed, since: u64) -> Vec<(u64, Change)> {
        let mut events = Vec::new();
        let covers_containers = layout == Layout::Drive || feed.kind == FeedKind::Hierarchy;
        if covers_containers {
            for (id, (at, _)) in &self.containers {
                events.extend(
                    self.container(id)
                        .map(|seen| (*at, Change::Container(Box::new(seen)))),
                );
            }
            let gone = self
                .gone_containers
                .iter()
                .filter(|(_, id)| !self.containers.contains_key(id));
            events.extend(gone.map(|(at, id)| (*at, Change::ContainerRemoved { id: id.clone() })));
        }
        let covers = |container: &str| match &feed.scope {
            Scope::Container(id) => id == container,
            Scope::Resource => true,
            _ => false,
        };
        for (id, item) in self
            .items
            .iter()
            .filter(|(_, item)| covers(&item.container))
        {
            let seen = self.seen(id).unwrap();
            events.push((item.changed, Change::Item(Box::new(seen))));
        }
        for (at, container, id) in self
            .left
            .iter()
            .filter(|(_, container, _)| covers(container))
        {
            let back = self
                .items
                .get(id)
                .is_some_and(|item| covers(&item.container));
            if !back {
                let deleted = layout == Layout::Drive;
                events.push((
                    *at,
                    Change::Removed {
                        id: id.clone(),
                        deleted,
                    },
                ));
            }
            let _ = container;
        }
        events.retain(|(at, _)| *at > since);
        events.sort_by_key(|(at, _)| *at);
        events
    }
}

/// The service behind its calls.
#[derive(Debug, Clone)]
pub(crate) struct MemorySource {
    layout: Layout,
    page_size: usize,
    state: Arc<Mutex<State>>,
}

impl MemorySource {
    pub(crate) fn new(layout: Layout, page_size: usize) -> Self {
        Self {
            layout,
            page_size,
            state: Arc::new(Mutex::new(State {
                clock: 1_000,
                ..State::default()
            })),
        }
    }

    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        act(&mut self.state())
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn call(&self) -> Result<()> {
        tokio::task::yield_now().await;
        let fault = self.state().faults.pop_front().flatten();
        match fault {
            None => Ok(()),
            Some(ErrorKind::Throttled) => Err(Error::new(ErrorKind::Throttled, "too many")
                .with_retry_after(Some(Duration::from_millis(2)))),
            Some(kind) => Err(Error::new(kind, "on purpose")),
        }
    }
}

#[async_trait]
impl Source for MemorySource {
    fn service(&self) -> Service {
        Service::Outlook
    }

    async fn owners(&self, _: &Selection, _: Option<&Cursor>) -> Result<OwnerPage> {
        self.call().await?;
        let owner = Owner {
            id: "1".into(),
            principal_name: "adele@contoso.example".into(),
            name: "Adele".into(),
        };
        Ok(OwnerPage {
            owners: vec![owner],
            next: None,
        })
    }

    async fn resource(&self, owner: &Owner) -> Result<Found> {
        self.call().await?;
        Ok(Found::Resource(Resource {
            id: ResourceId::of(&Service::Outlook, &owner.id),
            service: Service::Outlook,
            kind: ResourceKind::UserMailbox,
            owner: owner.principal_name.clone(),
            owner_id: owner.id.clone(),
            service_id: owner.id.clone(),
            name: owner.name.clone(),
        }))
    }

    fn feeds(&self, _: &Resource, containers: &[&Container]) -> Vec<Feed> {
        if self.layout == Layout::Drive {
            let id = "drive".to_owned();
            return vec![Feed {
                id,
                kind: FeedKind::Delta,
                scope: Scope::Resource,
            }];
        }
        let id = "folders".to_owned();
        let hierarchy = Feed {
            id,
            kind: FeedKind::Hierarchy,
            scope: Scope::Containers,
        };
        let feeds = containers.iter().map(|container| Feed {
            id: container.id.clone(),
            kind: FeedKind::Delta,
            scope: Scope::Container(container.id.clone()),
        });
        std::iter::once(hierarchy).chain(feeds).collect()
    }

    async fn page(&self, _: &Resource, feed: &Feed, cursor: Option<&Cursor>) -> Result<Page> {
        self.call().await?;
        let mut state = self.state();
        state.pages += 1;
        let since = match cursor {
            None => 0,
            Some(cursor) => {
                let (epoch, since) = cursor.as_str().split_once(':').unwrap();
                if epoch != state.epoch.to_string() {
                    return Ok(Page {
                        changes: Vec::new(),
                        next: Next::Reset,
                    });
                }
                since.parse().unwrap()
            }
        };
        if let Scope::Container(id) = &feed.scope
            && !state.containers.contains_key(id)
        {
            return Ok(Page {
                changes: Vec::new(),
                next: Next::Gone,
            });
        }
        let mut events = state.events(self.layout, feed, since);
        if cursor.is_none() {
            // An enumeration shows what is there, not what went.
            events.retain(|(_, change)| matches!(change, Change::Item(_) | Change::Container(_)));
        }
        let more = events.len() > self.page_size;
        events.truncate(self.page_size);
        let reached = if more {
            events.last().map_or(since, |(at, _)| *at)
        } else {
            state.clock
        };
        let cursor = Cursor::new(format!("{}:{reached}", state.epoch));
        Ok(Page {
            changes: events.into_iter().map(|(_, change)| change).collect(),
            next: if more {
                Next::More(cursor)
            } else {
                Next::End(cursor)
            },
        })
    }

    fn content_form(&self) -> RepresentationKind {
        RepresentationKind::Content
    }

    async fn fetch(
        &self,
        _: &Resource,
        items: &[SeenItem],
        into: &Gatherer,
    ) -> Vec<Result<Fetched>> {
        let mut outcomes = Vec::new();
        for item in items {
            if let Err(error) = self.call().await {
                outcomes.push(Err(error));
                continue;
            }
            let found = self.state().items.get(&item.id).cloned();
            outcomes.push(match found {
                None => Ok(Fetched::Gone),
                Some(found) if found.corrupt => Ok(Fetched::Refused {
                    representation: RepresentationKind::Content,
                    cause: "corrupt".into(),
                }),
                Some(found) => {
                    let content = into.put(ContentClass::Binary, &found.content).await;
                    self.state()
                        .fetched
                        .push(format!("{}@{}", item.id, found.changed));
                    content.map_err(Error::from).map(|content| Fetched::Stored {
                        representations: vec![Representation {
                            kind: RepresentationKind::Content,
                            content,
                        }],
                        newer: None,
                    })
                }
            });
        }
        outcomes
    }

    async fn locate(&self, _: &Resource, item_id: &str) -> Result<Option<SeenItem>> {
        self.call().await?;
        let mut state = self.state();
        state.located += 1;
        Ok(state.seen(item_id))
    }

    async fn has_container(&self, _: &Resource, container_id: &str) -> Result<bool> {
        self.call().await?;
        Ok(self.state().containers.contains_key(container_id))
    }
}

/// The names of everything that was fetched more than once.
pub(crate) fn fetched_twice(fetched: &[String]) -> BTreeSet<String> {
    let mut once = BTreeSet::new();
    fetched
        .iter()
        .filter(|name| !once.insert((*name).clone()))
        .cloned()
        .collect()
}
