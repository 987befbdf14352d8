//! Synchronization check of one resource: everything is listed without cursors and compared with
//! the record of what the cursors have told.
//!
//! A difference is drift only if it is still there after the cursors were read once more: what has
//! changed while the listing went on is no fault of theirs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use backup_store::catalog::{Container, Drift, Item, Representation, RepresentationKind};

use super::ResourceRun;
use crate::error::{Error, ErrorKind, Result};
use crate::journal::{Edit, Entry};
use crate::page;
use crate::source::{Change, Feed, FeedKind, Fetched, Next, Scope, SeenContainer, SeenItem};
use crate::sync_check::SyncCheck;
use crate::tally::IdHash;

/// What a listing showed that the catalog does not say.
#[derive(Debug, Default)]
struct Differences {
    /// Items that are not in the catalog, or there in another state.
    shown: BTreeMap<String, SeenItem>,
    /// Items of the catalog that the listing did not show.
    absent: BTreeSet<String>,
    /// Items whose content is assumed, to be proved.
    proofs: Vec<SeenItem>,
    /// Containers that are not in the catalog, or there with other properties.
    containers: BTreeMap<String, SeenContainer>,
    /// Containers of the catalog that the listing did not show.
    absent_containers: BTreeSet<String>,
}

impl ResourceRun<'_> {
    /// Compares the whole resource with its service; the run has read its cursors before.
    pub(super) async fn synchronize(&mut self) -> Result<()> {
        let mode = self.context.options.sync_check;
        if mode == SyncCheck::Off || self.stopped() || !self.failures.is_empty() {
            return Ok(());
        }
        let mut drift = Drift::default();
        let mut found = Differences::default();
        let sample = self.view.assumed(self.context.options.proofs_max).await?;
        let hierarchy = self.feeds(FeedKind::Hierarchy);
        for feed in hierarchy.into_iter().chain(self.feeds(FeedKind::Delta)) {
            if self.stopped() {
                return Ok(());
            }
            match self.list(&feed, &sample, &mut found).await? {
                Some(listed) => drift.listed += listed,
                // A check that has not seen everything says nothing.
                None => return Ok(()),
            }
        }
        self.drop_changes_since(&mut found).await?;
        self.count(&found, &mut drift).await?;
        if mode == SyncCheck::Repair {
            self.prove(std::mem::take(&mut found.proofs), &mut drift)
                .await?;
            self.repair(found).await?;
            drift.repaired = self.failures.is_empty() && !self.stopped();
        }
        self.drift = Some(drift);
        Ok(())
    }

    /// Lists a feed from its beginning; `None` if it could not be read to its end.
    async fn list(
        &mut self,
        feed: &Feed,
        sample: &HashSet<IdHash>,
        found: &mut Differences,
    ) -> Result<Option<u64>> {
        let mut listed = HashSet::new();
        let mut containers = HashSet::new();
        let mut cursor = None;
        loop {
            let read = || self.reader.read(feed, cursor.as_ref());
            let page = match self.reader.gate.attempt(read).await {
                Ok(page) => page,
                Err(error) => return self.fail(&feed.id, error).map(|()| None),
            };
            for change in page.changes {
                match change {
                    Change::Item(seen) => {
                        listed.insert(IdHash::of(&seen.id));
                        self.compare(*seen, sample, found).await?;
                    }
                    Change::Container(seen) => {
                        let id = seen.container.id.clone();
                        containers.insert(id.clone());
                        if !is_same_container(self.view.container(&id), &seen.container) {
                            found.containers.insert(id, *seen);
                        }
                    }
                    Change::Removed { .. } | Change::ContainerRemoved { .. } => {}
                }
            }
            match page.next {
                Next::More(next) => cursor = Some(next),
                Next::End(_) => break,
                Next::Gone => return Ok(Some(0)),
                Next::Reset => {
                    let message = "the listing was broken off by the service";
                    let error = Error::new(ErrorKind::Malformed, message);
                    return self.fail(&feed.id, error).map(|()| None);
                }
            }
            if self.stopped() {
                return Ok(None);
            }
        }
        let known = self.view.ids_in(&feed.scope).await?;
        let absent = known
            .into_iter()
            .filter(|id| !listed.contains(&IdHash::of(id)));
        found.absent.extend(absent);
        if !matches!(feed.scope, Scope::Container(_)) {
            let known = self.view.containers().into_iter().map(|known| &known.id);
            let absent = known.filter(|id| !containers.contains(*id)).cloned();
            found.absent_containers.extend(absent);
        }
        Ok(Some(listed.len() as u64))
    }

    async fn compare(
        &mut self,
        seen: SeenItem,
        sample: &HashSet<IdHash>,
        found: &mut Differences,
    ) -> Result<()> {
        let known = self.view.item(&seen.id).await?;
        if !agrees(known.as_ref(), &seen) {
            found.shown.insert(seen.id.clone(), seen);
        } else if sample.contains(&IdHash::of(&seen.id)) {
            found.proofs.push(seen);
        }
        Ok(())
    }

    /// Reads the cursors once more, and drops the differences that they explain.
    async fn drop_changes_since(&mut self, found: &mut Differences) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let before = self.records(found).await?;
        let containers: Vec<_> = self.view.containers().into_iter().cloned().collect();
        self.read_to_rest().await?;
        for (id, record) in before {
            if self.view.item(&id).await? != record {
                found.shown.remove(&id);
                found.absent.remove(&id);
            }
        }
        let unchanged = |id: &str| {
            let before = containers.iter().find(|container| container.id == id);
            before == self.view.container(id)
        };
        found.containers.retain(|id, _| unchanged(id));
        found.absent_containers.retain(|id| unchanged(id));
        // Shown elsewhere in the same listing: it moved while the listing went on.
        found.absent.retain(|id| !found.shown.contains_key(id));
        Ok(())
    }

    async fn records(&mut self, found: &Differences) -> Result<Vec<(String, Option<Item>)>> {
        let mut records = Vec::new();
        for id in found.shown.keys().chain(&found.absent) {
            records.push((id.clone(), self.view.item(id).await?));
        }
        Ok(records)
    }

    async fn count(&mut self, found: &Differences, drift: &mut Drift) -> Result<()> {
        let containers = found.containers.len() + found.absent_containers.len();
        drift.containers = containers as u64;
        for id in found.shown.keys() {
            match self.view.item(id).await? {
                Some(_) => drift.stale += 1,
                None => drift.missing += 1,
            }
        }
        for id in &found.absent {
            if let Some(item) = self.view.item(id).await? {
                drift.surplus += 1;
                drift.surplus_bytes += item.size_bytes;
            }
        }
        Ok(())
    }

    /// Fetches assumed contents and compares them with what is stored.
    async fn prove(&mut self, items: Vec<SeenItem>, drift: &mut Drift) -> Result<()> {
        if items.is_empty() {
            return Ok(());
        }
        let mut entry = Entry::new(self.context.environment.now());
        let into = self.gather();
        for (seen, result) in self.reader.fetch(items, &into).await {
            let outcome = match result {
                Ok(outcome) => outcome,
                Err(error) => return self.fail(SYNC_CHECK, error),
            };
            if let Fetched::Stored {
                representations, ..
            } = &outcome
            {
                let known = self.view.item(&seen.id).await?;
                let same = known.is_some_and(|item| same_content(&item, representations));
                drift.proved += 1;
                drift.disproved += u64::from(!same);
            }
            let edit = page::fetched(seen, outcome, None, &into, entry.at).await?;
            entry.edits.push(edit);
        }
        self.commit(entry, &into).await
    }

    /// Takes what the listing showed, and settles what it did not show by reading it.
    async fn repair(&mut self, found: Differences) -> Result<()> {
        let containers = found.containers.into_values();
        let containers = containers.map(|seen| Change::Container(Box::new(seen)));
        let items = found.shown.into_values();
        let items = items.map(|seen| Change::Item(Box::new(seen)));
        let changes = containers.chain(items).collect();
        Box::pin(self.commit_located(changes, Vec::new())).await?;
        self.view.doubt_containers(found.absent_containers);
        let mut entry = Entry::new(self.context.environment.now());
        for id in found.absent {
            if let Some(item) = self.view.item(&id).await? {
                let from = item.key.container;
                entry.edits.push(Edit::Left { id, from });
            }
        }
        self.commit(entry, &self.gather()).await?;
        self.settle(true).await.map(|_| ())
    }
}

/// Tells whether the record says what the listing shows.
fn agrees(known: Option<&Item>, seen: &SeenItem) -> bool {
    known.is_some_and(|known| {
        known.change_key == seen.change_key && known.key.container == seen.container
    })
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.shown.is_empty()
            && self.absent.is_empty()
            && self.containers.is_empty()
            && self.absent_containers.is_empty()
    }
}

/// Tells whether the record says what the listing shows; what it knows beside that is its own.
fn is_same_container(known: Option<&Container>, seen: &Container) -> bool {
    known.is_some_and(|known| {
        (&known.parent, &known.name, known.hidden, &known.change_key)
            == (&seen.parent, &seen.name, seen.hidden, &seen.change_key)
    })
}

/// Tells whether the contents are those of the record, properties apart.
fn same_content(item: &Item, fetched: &[Representation]) -> bool {
    let content = |form: &&Representation| form.kind != RepresentationKind::GraphJson;
    let key = |form: &Representation| (form.kind.clone(), form.content.length, form.content.hash);
    let stored = item.representations.iter().filter(content).map(key);
    stored.eq(fetched.iter().filter(content).map(key))
}

/// What failures of the check itself are noted under.
const SYNC_CHECK: &str = "synchronization check";
