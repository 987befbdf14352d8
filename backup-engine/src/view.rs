//! View: the state of one resource, as its parent snapshot and the entries since then make it.
//!
//! What a live page changes and what a journal brings back goes through [`View::apply`], so that a
//! resumed run stands where the interrupted one stood.

mod ahead;
mod index;
mod shadow;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use backup_store::TreeRoot;
use backup_store::catalog::{
    Container, Cursor, Enumeration, FeedCursor, Item, ItemKey, ItemState, RunNote, Snapshot, Totals,
};

use crate::error::Result;
use crate::journal::{Edit, Entry, malformed};
use crate::mutant::{Mutant, mutated};
use crate::source::Scope;
use crate::tally::{IdHash, IdMap, Tally};
use crate::trees::Trees;
use ahead::Ahead;
use index::Index;
use shadow::Shadow;

/// The route in the note of an item that left its feed and could not be settled.
pub(crate) const ROUTE_UNSETTLED: &str = "unsettled";

/// The route of what the Graph API gave.
pub(crate) const ROUTE_GRAPH: &str = "graph";

/// The three maps of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roots {
    pub(crate) containers: TreeRoot,
    pub(crate) items: TreeRoot,
    pub(crate) notes: TreeRoot,
}

/// The state of one resource.
#[derive(Debug)]
pub(crate) struct View {
    trees: Trees,
    roots: Roots,
    containers: BTreeMap<String, Container>,
    container_edits: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Items that differ from the tree of `roots`: their records, by encoded key.
    pending: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Notes of items in quarantine or not settled; those of assumed content stay in the tree.
    special: BTreeMap<ItemKey, RunNote>,
    note_edits: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    index: Option<Index>,
    cursors: BTreeMap<String, Cursor>,
    dirty_cursors: BTreeSet<String>,
    shadows: BTreeMap<String, Shadow>,
    shadow_notes: BTreeMap<ItemKey, Option<RunNote>>,
    left: BTreeSet<String>,
    doubtful: BTreeSet<String>,
    absent_containers: BTreeSet<String>,
    gone_containers: BTreeSet<String>,
    shown_by: IdMap<u32>,
    feeds: Vec<String>,
    ahead: Ahead,
    tally: Tally,
    fetched_bytes: u64,
    /// Whether a feed was enumerated anew since the parent, by this run or one that it took over.
    enumerated: bool,
}

impl View {
    /// Opens the state that `parent` holds, or the empty one.
    pub(crate) async fn open(trees: Trees, parent: Option<&Snapshot>) -> Result<Self> {
        let empty = trees.empty();
        let roots = parent.map_or(
            Roots {
                containers: empty,
                items: empty,
                notes: empty,
            },
            |snapshot| Roots {
                containers: snapshot.containers,
                items: snapshot.items,
                notes: snapshot.notes,
            },
        );
        let mut view = Self {
            trees,
            roots,
            containers: BTreeMap::new(),
            container_edits: BTreeMap::new(),
            pending: BTreeMap::new(),
            special: BTreeMap::new(),
            note_edits: BTreeMap::new(),
            index: None,
            cursors: BTreeMap::new(),
            dirty_cursors: BTreeSet::new(),
            shadows: BTreeMap::new(),
            shadow_notes: BTreeMap::new(),
            left: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            absent_containers: BTreeSet::new(),
            gone_containers: BTreeSet::new(),
            shown_by: IdMap::default(),
            feeds: Vec::new(),
            ahead: Ahead::default(),
            tally: Tally::default(),
            fetched_bytes: 0,
            enumerated: false,
        };
        if let Some(parent) = parent {
            view.load(parent).await?;
        }
        Ok(view)
    }

    async fn load(&mut self, parent: &Snapshot) -> Result<()> {
        let mut scan = self.trees.scan(&self.roots.containers, ..);
        while let Some((key, record)) = scan.next().await? {
            let container = Container::decode(&key, &record)?;
            self.containers.insert(container.id.clone(), container);
        }
        let mut scan = self.trees.scan(&self.roots.notes, ..);
        while let Some((key, record)) = scan.next().await? {
            let note = RunNote::decode(&record)?;
            if !note.content_assumed {
                let key = ItemKey::decode(&key)?;
                if note.route == ROUTE_UNSETTLED {
                    self.left.insert(key.id.clone());
                }
                self.special.insert(key, note);
            }
        }
        for FeedCursor { feed, cursor } in &parent.cursors {
            self.cursors.insert(feed.clone(), cursor.clone());
        }
        for enumeration in &parent.enumerations {
            let shadow = Shadow::open(&self.trees, enumeration).await?;
            self.shadows.insert(enumeration.feed.clone(), shadow);
            if let Some(cursor) = &enumeration.cursor {
                self.cursors
                    .insert(enumeration.feed.clone(), cursor.clone());
            }
        }
        Ok(())
    }

    /// Returns what came for pages that are not committed yet.
    pub(crate) fn ahead(&mut self) -> &mut Ahead {
        &mut self.ahead
    }

    /// Returns the containers.
    pub(crate) fn containers(&self) -> Vec<&Container> {
        self.containers.values().collect()
    }

    /// Returns one container.
    pub(crate) fn container(&self, id: &str) -> Option<&Container> {
        self.containers.get(id)
    }

    /// Returns where the next page of a feed starts.
    pub(crate) fn cursor(&self, feed: &str) -> Option<&Cursor> {
        self.cursors.get(feed)
    }

    /// Moves a cursor without anything to remember beside it.
    pub(crate) fn set_cursor(&mut self, feed: &str, cursor: Cursor) {
        self.cursors.insert(feed.to_owned(), cursor);
        self.dirty_cursors.insert(feed.to_owned());
    }

    /// Takes the cursors that moved since the last entry.
    pub(crate) fn take_dirty_cursors(&mut self) -> Vec<FeedCursor> {
        let dirty = std::mem::take(&mut self.dirty_cursors);
        let cursor = |feed: String| {
            let cursor = self.cursors.get(&feed)?.clone();
            Some(FeedCursor { feed, cursor })
        };
        dirty.into_iter().filter_map(cursor).collect()
    }

    /// Starts to enumerate a feed anew, from its beginning.
    pub(crate) fn start_enumeration(&mut self, feed: &str, generation: [u8; 16]) {
        self.enumerated = true;
        let shadow = Shadow::new(generation, self.trees.empty());
        self.shadows.insert(feed.to_owned(), shadow);
        self.cursors.remove(feed);
        self.dirty_cursors.remove(feed);
    }

    /// Tells whether cursors of the parent lead nowhere, whatever else is as it was.
    pub(crate) fn has_enumerated(&self) -> bool {
        self.enumerated
    }

    /// Returns the generation of a feed that is being enumerated anew.
    pub(crate) fn generation(&self, feed: &str) -> Option<[u8; 16]> {
        self.shadows.get(feed).map(|shadow| shadow.generation)
    }

    /// Forgets a feed: its cursor and its enumeration.
    pub(crate) fn forget_feed(&mut self, feed: &str) {
        self.cursors.remove(feed);
        self.dirty_cursors.remove(feed);
        self.shadows.remove(feed);
        self.ahead.end(feed);
    }

    /// Returns the record of an item, the one that `feed` has brought in this enumeration first.
    pub(crate) async fn known(&mut self, feed: &str, id: &str) -> Result<Option<Item>> {
        if let Some(shadow) = self.shadows.get(feed)
            && let Some(item) = shadow.known(&self.trees, id).await?
        {
            return Ok(Some(item));
        }
        self.item(id).await
    }

    /// Returns the record of an item in the item tree.
    pub(crate) async fn item(&mut self, id: &str) -> Result<Option<Item>> {
        let Some(key) = self.index().await?.key(id) else {
            return Ok(None);
        };
        let encoded = key.encode();
        if let Some(record) = self.pending.get(&encoded) {
            let record = record.as_ref();
            return Ok(record.map(|it| Item::decode(&encoded, it)).transpose()?);
        }
        match self.trees.get(&self.roots.items, &encoded).await? {
            Some(record) => Ok(Some(Item::decode(&encoded, &record)?)),
            None => Ok(None),
        }
    }

    async fn index(&mut self) -> Result<&mut Index> {
        if self.index.is_none() {
            let mut index = Index::default();
            let mut scan = self.trees.scan(&self.roots.items, ..);
            while let Some((key, _)) = scan.next().await? {
                if !matches!(self.pending.get(&key[..]), Some(None)) {
                    index.insert(&ItemKey::decode(&key)?);
                }
            }
            for (key, record) in &self.pending {
                if record.is_some() {
                    index.insert(&ItemKey::decode(key)?);
                }
            }
            self.index = Some(index);
        }
        Ok(self.index.get_or_insert_default())
    }

    /// Returns the ids of the items in `scope`, in key order.
    pub(crate) async fn ids_in(&self, scope: &Scope) -> Result<Vec<String>> {
        let range = match scope {
            Scope::Containers => return Ok(Vec::new()),
            Scope::Container(container) => Some(ItemKey::container_range(container)),
            Scope::Resource => None,
        };
        let mut keys = BTreeSet::new();
        let mut scan = match range.clone() {
            Some(range) => self.trees.scan(&self.roots.items, range),
            None => self.trees.scan(&self.roots.items, ..),
        };
        while let Some((key, _)) = scan.next().await? {
            keys.insert(key.to_vec());
        }
        let everything = |range: &Option<Range<Vec<u8>>>, key: &Vec<u8>| {
            range.as_ref().is_none_or(|range| range.contains(key))
        };
        for (key, record) in &self.pending {
            match record {
                Some(_) if everything(&range, key) => keys.insert(key.clone()),
                Some(_) => false,
                None => keys.remove(key),
            };
        }
        keys.iter()
            .map(|key| Ok(ItemKey::decode(key)?.id))
            .collect()
    }

    /// Applies one entry.
    pub(crate) async fn apply(&mut self, entry: &Entry) -> Result<()> {
        if entry.is_ahead {
            self.ahead.restore(entry);
            return Ok(());
        }
        let ahead = self.ahead.end(&entry.feed);
        let feed = self.feed_number(&entry.feed);
        if let Some(generation) = entry.generation
            && self.generation(&entry.feed) != Some(generation)
        {
            self.start_enumeration(&entry.feed, generation);
        }
        for edit in &entry.edits {
            let edit = ahead.resolve(edit)?;
            if entry.generation.is_some() {
                self.apply_to_shadow(&entry.feed, feed, edit).await?;
            } else {
                self.apply_edit(feed, edit).await?;
            }
        }
        for FeedCursor { feed, cursor } in &entry.cursors {
            self.cursors.insert(feed.clone(), cursor.clone());
        }
        if let Some(scope) = &entry.ended {
            self.merge_shadow(entry, feed, scope).await?;
        }
        Ok(())
    }

    fn feed_number(&mut self, feed: &str) -> u32 {
        let position = self.feeds.iter().position(|known| known == feed);
        let position = position.unwrap_or_else(|| {
            self.feeds.push(feed.to_owned());
            self.feeds.len() - 1
        });
        u32::try_from(position).unwrap_or(u32::MAX)
    }

    /// What is read to settle it is not in doubt.
    fn is_settlement(&self, feed: u32) -> bool {
        self.feeds.get(feed as usize).is_some_and(String::is_empty)
    }

    async fn apply_edit(&mut self, feed: u32, edit: &Edit) -> Result<()> {
        match edit {
            Edit::Put {
                item,
                fate,
                note,
                fetched,
            } => {
                let hash = IdHash::of(&item.key.id);
                self.tally.shown(hash, *fate);
                self.tally.add_bytes(*fetched);
                self.fetched_bytes += fetched;
                self.put(feed, hash, item, note.as_ref()).await?;
                if self.is_settlement(feed) {
                    self.doubtful.remove(&item.key.id);
                }
            }
            Edit::Same { id, fate } => {
                let hash = IdHash::of(id);
                self.tally.shown(hash, *fate);
                self.shown(feed, hash);
                self.clear_unsettled(id).await?;
                if self.is_settlement(feed) {
                    self.doubtful.remove(id);
                }
            }
            Edit::Delete { id } => self.delete(id).await?,
            Edit::Left { id, from } => {
                let key = self.index().await?.key(id);
                // One that is not known may be anywhere: it is asked for.
                if key.is_none_or(|key| key.container == *from) {
                    self.left.insert(id.clone());
                }
            }
            Edit::Keep { id, note } => {
                self.left.remove(id);
                self.doubtful.remove(id);
                if let Some(key) = self.index().await?.key(id) {
                    self.set_note(&key, Some(note.clone()));
                }
            }
            Edit::Container(container) => self.put_container(container),
            Edit::SameContainer { id } => {
                self.absent_containers.remove(id);
            }
            Edit::ContainerGone { id } => self.remove_container(id),
            Edit::Ahead { .. } => return Err(malformed()),
        }
        Ok(())
    }

    /// Gives an item its record, wherever it was before.
    async fn put(
        &mut self,
        feed: u32,
        hash: IdHash,
        item: &Item,
        note: Option<&RunNote>,
    ) -> Result<()> {
        let id = &item.key.id;
        let old = self.index().await?.key_of(hash, id);
        if let Some(old) = old.filter(|old| *old != item.key) {
            if old.container != item.key.container {
                self.tally.moved(hash);
                self.note_doubt(feed, id);
            }
            self.pending.insert(old.encode(), None);
            self.set_note(&old, None);
        }
        self.left.remove(id);
        self.shown(feed, hash);
        self.index().await?.insert_as(hash, &item.key);
        self.pending.insert(item.key.encode(), Some(item.encode()));
        self.set_note(&item.key, note.cloned());
        Ok(())
    }

    fn shown(&mut self, feed: u32, id: IdHash) {
        self.shown_by.insert(id, feed);
    }

    /// Two feeds that show one item in one pass, neither of them removing it, leave open where it
    /// is: pages are read at different times.
    fn note_doubt(&mut self, feed: u32, id: &str) {
        let other = self.shown_by.get(&IdHash::of(id));
        if other.is_some_and(|other| *other != feed) && !self.left.contains(id) {
            self.doubtful.insert(id.to_owned());
        }
    }

    async fn clear_unsettled(&mut self, id: &str) -> Result<()> {
        if self.left.remove(id)
            && let Some(key) = self.index().await?.key(id)
            && self
                .special
                .get(&key)
                .is_some_and(|note| note.route == ROUTE_UNSETTLED)
        {
            self.set_note(&key, None);
        }
        Ok(())
    }

    async fn delete(&mut self, id: &str) -> Result<()> {
        self.left.remove(id);
        self.doubtful.remove(id);
        self.shown_by.remove(&IdHash::of(id));
        if let Some(key) = self.index().await?.key(id) {
            self.tally.removed(IdHash::of(id));
            self.pending.insert(key.encode(), None);
            self.set_note(&key, None);
            self.index().await?.remove(id);
        }
        Ok(())
    }

    fn set_note(&mut self, key: &ItemKey, note: Option<RunNote>) {
        let record = note.as_ref().map(RunNote::encode);
        if record.is_some() || self.roots.notes != self.trees.empty() {
            self.note_edits.insert(key.encode(), record);
        } else if !self.note_edits.is_empty() {
            // There is none in the tree: most items never have one.
            self.note_edits.remove(&key.encode());
        }
        match note {
            Some(note) if !note.content_assumed => {
                self.special.insert(key.clone(), note);
            }
            _ => {
                self.special.remove(key);
            }
        }
    }

    fn put_container(&mut self, container: &Container) {
        self.gone_containers.remove(&container.id);
        self.absent_containers.remove(&container.id);
        self.container_edits
            .insert(container.key(), Some(container.encode()));
        self.containers
            .insert(container.id.clone(), container.clone());
    }

    fn remove_container(&mut self, id: &str) {
        self.absent_containers.remove(id);
        if let Some(container) = self.containers.remove(id) {
            self.container_edits.insert(container.key(), None);
            self.gone_containers.insert(id.to_owned());
        }
    }

    /// Returns the ids of items that must be settled by a read, in order.
    pub(crate) fn unsettled(&self) -> Vec<String> {
        self.left.union(&self.doubtful).cloned().collect()
    }

    /// Tells whether this run has seen the item.
    pub(crate) fn was_shown(&self, id: &str) -> bool {
        self.tally.has(IdHash::of(id))
    }

    /// Returns the containers that an enumeration did not show, or whose parent is gone.
    pub(crate) fn doubtful_containers(&self) -> Vec<String> {
        let orphan = |container: &&Container| {
            let parent = container.parent.as_ref();
            parent.is_some_and(|parent| self.gone_containers.contains(parent))
        };
        let orphans = self
            .containers
            .values()
            .filter(orphan)
            .map(|c| c.id.clone());
        self.absent_containers
            .iter()
            .cloned()
            .chain(orphans)
            .collect()
    }

    /// Tells whether an enumeration did not show some containers that were not read since: no
    /// snapshot can say so.
    pub(crate) fn has_absent_containers(&self) -> bool {
        !self.absent_containers.is_empty()
    }

    /// Takes note of containers that must be read to know whether they are there.
    pub(crate) fn doubt_containers(&mut self, ids: BTreeSet<String>) {
        self.absent_containers.extend(ids);
    }

    /// Takes note that a container was read and is there.
    pub(crate) fn container_is_there(&mut self, id: &str) {
        self.absent_containers.remove(id);
    }

    /// Takes the containers that went, each with the items that are still in it.
    pub(crate) async fn take_leftovers(&mut self) -> Result<Vec<(String, Vec<String>)>> {
        let mut leftovers = Vec::new();
        for container in std::mem::take(&mut self.gone_containers) {
            let ids = self.ids_in(&Scope::Container(container.clone())).await?;
            let open = ids
                .into_iter()
                .filter(|id| !self.left.contains(id))
                .collect::<Vec<_>>();
            leftovers.push((container, open));
        }
        Ok(leftovers)
    }

    /// Returns the notes of the items that are in quarantine.
    pub(crate) fn in_quarantine(&self) -> Vec<(ItemKey, RunNote)> {
        let open = self
            .special
            .iter()
            .filter(|(_, note)| note.route != ROUTE_UNSETTLED);
        open.map(|(key, note)| (key.clone(), note.clone()))
            .collect()
    }

    /// Returns the note of an item in quarantine, as a feed knows it; most resources have none.
    pub(crate) async fn note_of(&mut self, feed: &str, id: &str) -> Result<Option<RunNote>> {
        if self.special.is_empty() {
            return Ok(None);
        }
        let known = self.known(feed, id).await?;
        Ok(known.and_then(|item| self.special.get(&item.key).cloned()))
    }

    /// Returns the note of an item in quarantine.
    pub(crate) fn note(&self, key: &ItemKey) -> Option<&RunNote> {
        self.special.get(key)
    }

    /// Returns the records of the items that are in quarantine.
    pub(crate) async fn quarantined(&mut self) -> Result<Vec<Item>> {
        let mut items = Vec::new();
        for (key, _) in self.in_quarantine() {
            if let Some(item) = self.item(&key.id).await?
                && matches!(item.state, ItemState::Quarantined { .. })
            {
                items.push(item);
            }
        }
        Ok(items)
    }

    /// Returns up to `count` items whose content is assumed, spread over all of them.
    pub(crate) async fn assumed(&mut self, count: usize) -> Result<HashSet<IdHash>> {
        let mut hashes = BTreeSet::new();
        let mut scan = self.trees.scan(&self.roots.notes, ..);
        while let Some((key, record)) = scan.next().await? {
            if RunNote::decode(&record)?.content_assumed {
                hashes.insert(IdHash::of(&ItemKey::decode(&key)?.id));
                // The smallest hashes are as good as drawn by lot.
                if hashes.len() > count {
                    hashes.pop_last();
                }
            }
        }
        Ok(hashes.into_iter().collect())
    }

    /// Returns the sums of this run.
    pub(crate) fn totals(&self) -> Totals {
        self.tally.totals()
    }

    /// Returns how much is held in memory since the last fold: items, and bytes of their content.
    pub(crate) fn since_fold(&self) -> (usize, u64) {
        let shadows = self
            .shadows
            .values()
            .map(Shadow::pending_len)
            .sum::<usize>();
        (self.pending.len() + shadows, self.fetched_bytes)
    }

    /// Writes what has changed into the trees and returns their roots.
    ///
    /// What is not settled is noted, so that it is not lost if only the snapshot survives.
    pub(crate) async fn fold(&mut self, now: backup_store::Timestamp) -> Result<Roots> {
        for container in self.gone_containers.clone() {
            let ids = self.ids_in(&Scope::Container(container)).await?;
            self.left.extend(ids);
        }
        for id in self.unsettled() {
            if let Some(key) = self.index().await?.key(&id) {
                self.set_note(&key, Some(unsettled_note(now)));
            }
        }
        let edits = std::mem::take(&mut self.container_edits);
        self.roots.containers = self.trees.apply(&self.roots.containers, edits).await?;
        let mut edits = std::mem::take(&mut self.pending);
        if mutated(Mutant::QuarantineOutsideSnapshot) {
            leave_out_quarantined(&mut edits)?;
        }
        self.roots.items = self.trees.apply(&self.roots.items, edits).await?;
        let edits = std::mem::take(&mut self.note_edits);
        self.roots.notes = self.trees.apply(&self.roots.notes, edits).await?;
        for shadow in self.shadows.values_mut() {
            shadow.fold(&self.trees).await?;
        }
        self.fetched_bytes = 0;
        Ok(self.roots)
    }

    /// Returns the cursors of feeds that are not being enumerated anew.
    pub(crate) fn cursors(&self) -> Vec<FeedCursor> {
        let settled = self
            .cursors
            .iter()
            .filter(|(feed, _)| !self.shadows.contains_key(*feed));
        settled
            .map(|(feed, cursor)| FeedCursor {
                feed: feed.clone(),
                cursor: cursor.clone(),
            })
            .collect()
    }

    /// Returns the enumerations that are under way; [`fold`](Self::fold) comes first.
    pub(crate) fn enumerations(&self) -> Vec<Enumeration> {
        let enumeration = |(feed, shadow): (&String, &Shadow)| Enumeration {
            feed: feed.clone(),
            generation: shadow.generation,
            items: shadow.root(),
            cursor: self.cursors.get(feed).cloned(),
        };
        self.shadows.iter().map(enumeration).collect()
    }
}

fn leave_out_quarantined(edits: &mut BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Result<()> {
    for (key, edit) in edits {
        if let Some(record) = edit
            && matches!(
                Item::decode(key, record)?.state,
                ItemState::Quarantined { .. }
            )
        {
            *edit = None;
        }
    }
    Ok(())
}

pub(crate) fn unsettled_note(now: backup_store::Timestamp) -> RunNote {
    RunNote {
        first_seen: now,
        tries: 1,
        content_assumed: false,
        route: ROUTE_UNSETTLED.to_owned(),
    }
}
