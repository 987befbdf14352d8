//! Shadow: a feed that is being enumerated anew, beside the item tree that stays as it is.
//!
//! What is absent counts only when the enumeration has ended, and even then only as a candidate.

use std::collections::{BTreeMap, HashSet};

use backup_store::catalog::{Enumeration, Item, ItemKey, ItemState, RunNote};
use backup_store::{Timestamp, TreeRoot};

use super::index::Index;
use super::{ROUTE_GRAPH, View};
use crate::error::Result;
use crate::journal::{Edit, Entry};
use crate::mutant::{Mutant, mutated};
use crate::source::Scope;
use crate::tally::IdHash;
use crate::trees::Trees;

/// One enumeration under way.
#[derive(Debug)]
pub(super) struct Shadow {
    pub(super) generation: [u8; 16],
    root: TreeRoot,
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    index: Index,
    containers: HashSet<String>,
}

impl Shadow {
    pub(super) fn new(generation: [u8; 16], root: TreeRoot) -> Self {
        Self {
            generation,
            root,
            pending: BTreeMap::new(),
            index: Index::default(),
            containers: HashSet::new(),
        }
    }

    /// Opens what a checkpoint holds. Which containers were shown is not in it: those that do not
    /// come again are read one by one at the end.
    pub(super) async fn open(trees: &Trees, saved: &Enumeration) -> Result<Self> {
        let mut shadow = Self::new(saved.generation, saved.items);
        let mut scan = trees.scan(&saved.items, ..);
        while let Some((key, _)) = scan.next().await? {
            shadow.index.insert(&ItemKey::decode(&key)?);
        }
        Ok(shadow)
    }

    pub(super) fn root(&self) -> TreeRoot {
        self.root
    }

    pub(super) fn pending_len(&self) -> usize {
        self.pending.len()
    }

    pub(super) async fn known(&self, trees: &Trees, id: &str) -> Result<Option<Item>> {
        let Some(key) = self.index.key(id) else {
            return Ok(None);
        };
        let encoded = key.encode();
        if let Some(record) = self.pending.get(&encoded) {
            let record = record.as_ref();
            return Ok(record.map(|it| Item::decode(&encoded, it)).transpose()?);
        }
        match trees.get(&self.root, &encoded).await? {
            Some(record) => Ok(Some(Item::decode(&encoded, &record)?)),
            None => Ok(None),
        }
    }

    fn put(&mut self, item: &Item) {
        if let Some(old) = self.index.key(&item.key.id).filter(|old| *old != item.key) {
            self.pending.insert(old.encode(), None);
        }
        self.index.insert(&item.key);
        self.pending.insert(item.key.encode(), Some(item.encode()));
    }

    fn remove(&mut self, id: &str) {
        if let Some(key) = self.index.key(id) {
            self.pending.insert(key.encode(), None);
            self.index.remove(id);
        }
    }

    pub(super) async fn fold(&mut self, trees: &Trees) -> Result<()> {
        let edits = std::mem::take(&mut self.pending);
        self.root = trees.apply(&self.root, edits).await?;
        Ok(())
    }
}

impl View {
    /// Applies an edit of an enumeration: items to the shadow, containers at once.
    pub(super) async fn apply_to_shadow(
        &mut self,
        feed: &str,
        number: u32,
        edit: &Edit,
    ) -> Result<()> {
        match edit {
            Edit::Put {
                item,
                fate,
                note,
                fetched,
            } => {
                self.tally.shown(IdHash::of(&item.key.id), *fate);
                self.tally.add_bytes(*fetched);
                self.fetched_bytes += fetched;
                self.shadow_notes.insert(item.key.clone(), note.clone());
                self.put_in_shadow(feed, item);
            }
            Edit::Same { id, fate } => {
                self.tally.shown(IdHash::of(id), *fate);
                if let Some(item) = self.known(feed, id).await? {
                    self.put_in_shadow(feed, &item);
                }
            }
            Edit::Delete { id } | Edit::Left { id, .. } => {
                if let Some(shadow) = self.shadows.get_mut(feed) {
                    shadow.remove(id);
                }
            }
            Edit::Container(container) => {
                self.shadow_container(feed, &container.id);
                self.put_container(container);
            }
            Edit::SameContainer { id } => self.shadow_container(feed, id),
            Edit::Keep { .. } | Edit::ContainerGone { .. } | Edit::Ahead { .. } => {
                Box::pin(self.apply_edit(number, edit)).await?;
            }
        }
        Ok(())
    }

    fn put_in_shadow(&mut self, feed: &str, item: &Item) {
        if let Some(shadow) = self.shadows.get_mut(feed) {
            shadow.put(item);
        }
    }

    fn shadow_container(&mut self, feed: &str, id: &str) {
        if let Some(shadow) = self.shadows.get_mut(feed) {
            shadow.containers.insert(id.to_owned());
        }
    }

    /// Ends an enumeration: what it showed becomes the state, what it did not show is a candidate.
    pub(super) async fn merge_shadow(
        &mut self,
        entry: &Entry,
        number: u32,
        scope: &Scope,
    ) -> Result<()> {
        let Some(mut shadow) = self.shadows.remove(&entry.feed) else {
            return Ok(());
        };
        let trees = self.trees.clone();
        shadow.fold(&trees).await?;
        let mut scan = trees.scan(&shadow.root, ..);
        while let Some((key, record)) = scan.next().await? {
            let item = Item::decode(&key, &record)?;
            let hash = IdHash::of(&item.key.id);
            if self.item(&item.key.id).await?.as_ref() == Some(&item) {
                self.shown(number, hash);
                self.clear_unsettled(&item.key.id).await?;
            } else {
                let note = self.shadow_notes.remove(&item.key).flatten();
                let note = note.or_else(|| quarantine_note(&item, entry.at));
                self.put(number, hash, &item, note.as_ref()).await?;
            }
        }
        for id in self.ids_in(scope).await? {
            if shadow.index.contains(&id) {
                continue;
            }
            if mutated(Mutant::DeletionByAbsence) {
                self.delete(&id).await?;
            } else {
                self.left.insert(id);
            }
        }
        if !matches!(scope, Scope::Container(_)) {
            let absent = self
                .containers
                .keys()
                .filter(|id| !shadow.containers.contains(*id));
            self.absent_containers.extend(absent.cloned());
        }
        Ok(())
    }
}

/// A quarantined item must have a note, by which the next run finds it.
fn quarantine_note(item: &Item, at: Timestamp) -> Option<RunNote> {
    matches!(item.state, ItemState::Quarantined { .. }).then(|| RunNote {
        first_seen: at,
        tries: 1,
        content_assumed: false,
        route: ROUTE_GRAPH.to_owned(),
    })
}
