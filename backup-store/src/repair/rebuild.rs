//! Rebuilding the trees of a snapshot from what is left of them.

use std::collections::BTreeSet;

use super::walk::{Step, Walk};
use crate::catalog::{Container, Item, ItemKey, ItemState, RepresentationKind, RunNote, Snapshot};
use crate::tree::Builder;
use crate::{ChunkId, ContentRef, Result, Timestamp, TreeRoot, Writer};

/// The cause that a quarantined item names.
const CAUSE: &str = "its content was damaged in the store, and no replica had it";
/// The route of a note where the snapshot names none.
const ROUTE: &str = "graph";

/// Rebuilds the trees of one snapshot.
pub(super) struct Rebuilder<'a> {
    pub(super) writer: &'a Writer,
    /// Chunks that nobody has.
    pub(super) lost: &'a BTreeSet<ChunkId>,
    /// Items that lost something, and whether their properties are among it.
    quarantined: Vec<(ItemKey, bool)>,
    /// Whether records are lost, so that it is not known of which items.
    blind: bool,
    containers_lost: bool,
}

impl<'a> Rebuilder<'a> {
    pub(super) fn new(writer: &'a Writer, lost: &'a BTreeSet<ChunkId>) -> Self {
        Self {
            writer,
            lost,
            quarantined: Vec::new(),
            blind: false,
            containers_lost: false,
        }
    }

    /// Returns the snapshot with trees that can be read, and how many of its items are newly in
    /// quarantine.
    pub(super) async fn snapshot(
        mut self,
        snapshot: &Snapshot,
        now: Timestamp,
    ) -> Result<(Snapshot, u64)> {
        let mut repaired = snapshot.clone();
        repaired.containers = self.containers(&snapshot.containers).await?;
        repaired.items = self.items(&snapshot.items).await?;
        let items = self.quarantined.len() as u64;
        repaired.notes = self.notes(snapshot, now).await?;
        for each in &mut repaired.enumerations {
            each.items = self.items(&each.items).await?;
        }
        crate::copy::mark_quarantined(&mut repaired, items);
        self.forget_cursors(&mut repaired);
        Ok((repaired, items))
    }

    async fn containers(&mut self, root: &TreeRoot) -> Result<TreeRoot> {
        let boundary = self.writer.store().boundary_key();
        let mut tree = Builder::new(self.writer, &boundary);
        let mut walk = Walk::new(self.writer.store(), root);
        while let Some(step) = walk.next().await? {
            let Step::Entry(key, Some(value)) = step else {
                self.containers_lost = true;
                continue;
            };
            match Container::decode(&key, &value) {
                Ok(mut container) if self.is_lost(container.properties.as_ref()) => {
                    container.properties = None;
                    tree.push(key, container.encode()).await?;
                }
                _ => tree.push(key, value).await?,
            }
        }
        tree.finish().await
    }

    async fn items(&mut self, root: &TreeRoot) -> Result<TreeRoot> {
        let boundary = self.writer.store().boundary_key();
        let mut tree = Builder::new(self.writer, &boundary);
        let mut walk = Walk::new(self.writer.store(), root);
        while let Some(step) = walk.next().await? {
            let Step::Entry(key, Some(value)) = step else {
                self.blind = true;
                continue;
            };
            let Ok(item) = Item::decode(&key, &value) else {
                self.blind = true;
                continue;
            };
            match self.quarantine(item) {
                Some(item) => tree.push(key, item.encode()).await?,
                None => tree.push(key, value).await?,
            }
        }
        tree.finish().await
    }

    /// Takes what is lost out of an item; `None` where nothing is.
    fn quarantine(&mut self, mut item: Item) -> Option<Item> {
        let (lost, left): (Vec<_>, Vec<_>) = std::mem::take(&mut item.representations)
            .into_iter()
            .partition(|each| self.is_lost(Some(&each.content)));
        let first = lost.first()?;
        let properties = lost
            .iter()
            .any(|each| each.kind == RepresentationKind::GraphJson);
        if !matches!(item.state, ItemState::Quarantined { .. }) {
            self.quarantined.push((item.key.clone(), properties));
        }
        item.state = ItemState::Quarantined {
            representation: first.kind.clone(),
            cause: CAUSE.to_owned(),
        };
        item.representations = left;
        Some(item)
    }

    /// Keeps the run notes that can be read, and adds one for every item in quarantine: by it the
    /// next run finds the item.
    async fn notes(&self, snapshot: &Snapshot, now: Timestamp) -> Result<TreeRoot> {
        let boundary = self.writer.store().boundary_key();
        let mut tree = Builder::new(self.writer, &boundary);
        let mut walk = Walk::new(self.writer.store(), &snapshot.notes);
        while let Some(step) = walk.next().await? {
            if let Step::Entry(key, Some(value)) = step {
                tree.push(key, value).await?;
            }
        }
        let notes = tree.finish().await?;
        let route = snapshot.routes.first().map_or(ROUTE, String::as_str);
        let note = RunNote {
            first_seen: now,
            tries: 0,
            content_assumed: false,
            route: route.to_owned(),
        };
        let mut keys: Vec<Vec<u8>> = self
            .quarantined
            .iter()
            .map(|(key, _)| key.encode())
            .collect();
        keys.sort();
        keys.dedup();
        let edits = keys.into_iter().map(|key| (key, Some(note.encode())));
        self.writer.apply(&notes, edits).await
    }

    /// Takes away the cursors of feeds whose items are not all in the snapshot any more, in
    /// whatever state: from there the service would never show them again.
    fn forget_cursors(&self, snapshot: &mut Snapshot) {
        if self.blind || self.containers_lost {
            snapshot.outcome = crate::catalog::Outcome::Partial;
            snapshot.cursors.clear();
            snapshot.enumerations.clear();
            return;
        }
        for (key, properties) in &self.quarantined {
            if !properties {
                continue; // The next run tries it again by its properties.
            }
            let before = snapshot.cursors.len();
            snapshot
                .cursors
                .retain(|cursor| cursor.feed != key.container);
            if snapshot.cursors.len() == before {
                snapshot.cursors.clear();
            }
        }
    }

    fn is_lost(&self, content: Option<&ContentRef>) -> bool {
        content.is_some_and(|content| content.chunk_ids().any(|chunk| self.lost.contains(chunk)))
    }
}
