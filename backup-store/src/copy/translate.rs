//! Translating trees: the same records, with references to contents as the target names them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use futures_util::stream::{self, StreamExt};

use super::foreign::is_damage;
use super::report::CopyDamage;
use crate::catalog::{
    Container, Item, ItemKey, ItemState, Outcome, RepresentationKind, ResourceId, Snapshot,
};
use crate::tree::{self, Difference, Differences};
use crate::{
    ContentClass, ContentHash, ContentRef, Gatherer, Result, SnapshotId, Store, TreeRoot, Writer,
};

/// Records that are translated at the same time.
const AT_ONCE: usize = 4;
/// Records that are read before any of them is translated.
const READ_AHEAD: usize = 64;
/// Translated contents that are remembered, and the chunks that each may have.
const KNOWN_MAX: usize = 50_000;
const KNOWN_CHUNKS_MAX: usize = 8;

/// What the records of a tree are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Containers,
    Items,
    Notes,
}

/// Key and value of an edit.
type Edit = (Vec<u8>, Option<Vec<u8>>);

/// Translates the trees of one resource after the other.
pub(super) struct Translator<'a> {
    source: &'a Store,
    writer: &'a Writer,
    gatherer: Gatherer,
    resource: ResourceId,
    known: Mutex<HashMap<(u64, ContentHash), ContentRef>>,
    damaged: Mutex<Vec<(Option<ItemKey>, String)>>,
    items: AtomicU64,
    bytes: AtomicU64,
}

impl<'a> Translator<'a> {
    pub(super) fn new(source: &'a Store, writer: &'a Writer) -> Self {
        Self {
            source,
            writer,
            gatherer: writer.gatherer(),
            resource: ResourceId::new(""),
            known: Mutex::default(),
            damaged: Mutex::default(),
            items: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Begins a resource: its contents are not mixed with those of the one before.
    pub(super) fn begin(&mut self, resource: &ResourceId) {
        self.gatherer = self.writer.gather(resource);
        self.resource = resource.clone();
    }

    pub(super) fn items(&self) -> u64 {
        self.items.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Makes durable what was gathered.
    pub(super) async fn commit(&self) -> Result<()> {
        self.gatherer.commit().await.map(|_| ())
    }

    /// Returns what was found damaged since the last call.
    pub(super) fn take_damaged(&self, snapshot: SnapshotId) -> Vec<CopyDamage> {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *damaged);
        let described = taken.into_iter().map(|(item, cause)| CopyDamage {
            resource: self.resource.clone(),
            snapshot,
            item,
            cause,
        });
        described.collect()
    }

    /// Translates a tree: `base` is a tree of the source and the same tree in the target.
    pub(super) async fn tree(
        &self,
        source: Source,
        base: (TreeRoot, TreeRoot),
        root: TreeRoot,
    ) -> Result<TreeRoot> {
        let mut differences = Differences::new(self.source, &base.0, &root);
        let mut target = self.writer.edit_tree(&base.1);
        loop {
            let mut ahead = Vec::new();
            while ahead.len() < READ_AHEAD
                && let Some(difference) = differences.next().await
            {
                ahead.push(difference?);
            }
            if ahead.is_empty() {
                return target.finish().await;
            }
            for (key, value) in self.records(source, base.1, ahead).await? {
                target.edit(key, value).await?;
            }
        }
    }

    async fn records(
        &self,
        source: Source,
        before: TreeRoot,
        differences: Vec<Difference>,
    ) -> Result<Vec<Edit>> {
        let translated = differences
            .into_iter()
            .map(|difference| self.record(source, before, difference));
        let translated: Vec<Result<Edit>> =
            stream::iter(translated).buffered(AT_ONCE).collect().await;
        translated.into_iter().collect()
    }

    async fn record(
        &self,
        source: Source,
        before: TreeRoot,
        difference: Difference,
    ) -> Result<Edit> {
        let key = difference.key.to_vec();
        let Some(value) = &difference.after else {
            return Ok((key, None));
        };
        let value = match source {
            Source::Notes => value.to_vec(),
            Source::Containers => self.container(Container::decode(&key, value)?).await?,
            Source::Items => {
                self.items.fetch_add(1, Ordering::Relaxed);
                let known = self.known_item(before, &difference).await?;
                self.item(Item::decode(&key, value)?, known).await?
            }
        };
        Ok((key, Some(value)))
    }

    async fn container(&self, mut container: Container) -> Result<Vec<u8>> {
        if let Some(content) = &container.properties {
            match self.content(content, ContentClass::Metadata).await {
                Ok(copy) => container.properties = Some(copy),
                Err(cause) if is_damage(&cause) => {
                    let cause = format!("container {}: {cause}", container.name);
                    self.note(None, cause);
                    container.properties = None;
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(container.encode())
    }

    async fn item(&self, mut item: Item, known: Option<(Item, Item)>) -> Result<Vec<u8>> {
        let mut copies = Vec::with_capacity(item.representations.len());
        for mut each in std::mem::take(&mut item.representations) {
            let same = known.as_ref().and_then(|(source, target)| {
                let found = &source.representations;
                let at = found
                    .iter()
                    .position(|other| other.content == each.content)?;
                target.representations.get(at)
            });
            let copied = match same {
                Some(same) => Ok(same.content.clone()),
                None => self.content(&each.content, class_of(&each.kind)).await,
            };
            match copied {
                Ok(content) => {
                    each.content = content;
                    copies.push(each);
                }
                Err(cause) if is_damage(&cause) => {
                    let cause = format!("damaged in the store it was copied from: {cause}");
                    self.note(Some(item.key.clone()), cause.clone());
                    item.state = ItemState::Quarantined {
                        representation: each.kind,
                        cause,
                    };
                }
                Err(cause) => return Err(cause),
            }
        }
        item.representations = copies;
        Ok(item.encode())
    }

    /// Returns an item as it was before, in the source and in the target, if both have all of it.
    async fn known_item(
        &self,
        before: TreeRoot,
        difference: &Difference,
    ) -> Result<Option<(Item, Item)>> {
        let Some(value) = &difference.before else {
            return Ok(None);
        };
        let key = &difference.key;
        let Some(there) = tree::get(self.writer, &before, key).await? else {
            return Ok(None);
        };
        let both = (Item::decode(key, value)?, Item::decode(key, &there)?);
        let whole = both.0.representations.len() == both.1.representations.len();
        Ok(whole.then_some(both))
    }

    /// Reads a content and writes it into the target.
    async fn content(&self, content: &ContentRef, class: ContentClass) -> Result<ContentRef> {
        let key = (content.length, content.hash);
        if let Some(known) = self.lock_known().get(&key) {
            return Ok(known.clone());
        }
        let mut reader = self.source.open_content(content);
        let mut copy = self.gatherer.content(class);
        while let Some(chunk) = reader.next_chunk().await {
            let chunk = chunk?;
            self.bytes.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            copy.write(&chunk).await?;
        }
        let copy = copy.finish().await?;
        let mut known = self.lock_known();
        if copy.chunk_ids().take(KNOWN_CHUNKS_MAX + 1).count() <= KNOWN_CHUNKS_MAX {
            if known.len() == KNOWN_MAX {
                known.clear();
            }
            known.insert(key, copy.clone());
        }
        Ok(copy)
    }

    fn lock_known(&self) -> std::sync::MutexGuard<'_, HashMap<(u64, ContentHash), ContentRef>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, item: Option<ItemKey>, cause: String) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.push((item, cause));
    }
}

/// Returns the class that the contents of a representation are gathered in.
pub(crate) fn class_of(kind: &RepresentationKind) -> ContentClass {
    match kind {
        RepresentationKind::Mime => ContentClass::Mail,
        RepresentationKind::GraphJson | RepresentationKind::Permissions => ContentClass::Metadata,
        _ => ContentClass::Binary,
    }
}

/// Says in a snapshot's totals and outcome that some more of its items are in quarantine.
pub(crate) fn mark_quarantined(snapshot: &mut Snapshot, items: u64) {
    let totals = &mut snapshot.totals;
    for _ in 0..items {
        if totals.unchanged > 0 {
            totals.unchanged -= 1;
            totals.assumed = totals.assumed.min(totals.unchanged);
        } else if totals.stored > 0 {
            totals.stored -= 1;
        } else {
            totals.seen = totals.seen.saturating_add(1);
        }
        totals.quarantined = totals.quarantined.saturating_add(1);
    }
    if items > 0 && snapshot.outcome == Outcome::Complete {
        snapshot.outcome = Outcome::CompleteWithQuarantine;
    }
}
