//! Walking the snapshots of a resource: the first whole, the later ones by their differences.

use std::collections::HashSet;

use super::distinct::{Distinct, Met};
use super::report::{ResourceStats, SnapshotStats, StatsOptions, StatsProgress, StatsReport};
use crate::catalog::{Container, Item, ResourceId, Snapshot, SnapshotEntry};
use crate::tree::{Difference, Differences};
use crate::{ChunkId, ContentRef, Result, Store, TreeRoot};

/// Chunks that are looked up and counted at once.
const BATCH: usize = 20_000;

/// Which of a snapshot's trees is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Containers,
    Items,
}

/// Measures resource by resource.
pub(super) struct Walker<'a> {
    store: &'a Store,
    distinct: Distinct,
    options: StatsOptions,
    progress: &'a (dyn Fn(StatsProgress) + Sync),
    /// Chunks to be counted, without repetition, and the snapshot they were met in.
    pending: HashSet<ChunkId>,
    at: (u32, u32),
    told: StatsProgress,
    unreadable: u64,
}

/// What changed from one snapshot to the next.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    added: (u64, u64),
    logical_more: u64,
    logical_less: u64,
}

impl<'a> Walker<'a> {
    pub(super) fn new(
        store: &'a Store,
        distinct: Distinct,
        options: StatsOptions,
        progress: &'a (dyn Fn(StatsProgress) + Sync),
    ) -> Self {
        Self {
            store,
            distinct,
            options,
            progress,
            pending: HashSet::new(),
            at: (0, 0),
            told: StatsProgress {
                snapshots: 0,
                items: 0,
            },
            unreadable: 0,
        }
    }

    /// Measures all snapshots of a resource, oldest first.
    pub(super) async fn resource(
        &mut self,
        id: ResourceId,
        entries: Vec<SnapshotEntry>,
        report: &mut StatsReport,
    ) -> Result<()> {
        let mut stats = ResourceStats {
            id: id.clone(),
            snapshots: 0,
            items: 0,
            sizes: super::Sizes::default(),
        };
        let empty = self.store.empty_tree();
        let mut before = (empty, empty);
        let mut logical = 0u64;
        for entry in &entries {
            let snapshot = &entry.snapshot;
            let after = (snapshot.containers, snapshot.items);
            let mut change = Change::default();
            for (kind, from, to) in [
                (Kind::Containers, before.0, after.0),
                (Kind::Items, before.1, after.1),
            ] {
                self.changes(kind, &from, &to, &mut change, report).await?;
            }
            self.count(&mut change, report).await?;
            logical = (logical + change.logical_more).saturating_sub(change.logical_less);
            stats.snapshots += 1;
            stats.items = snapshot.items.entries;
            stats.sizes.logical += logical;
            stats.sizes.unique += change.added.0;
            stats.sizes.stored += change.added.1;
            report
                .snapshots
                .push(snapshot_stats(entry, logical, change.added.0));
            before = after;
            self.told.snapshots += 1;
            (self.progress)(self.told);
            self.at.1 += 1;
        }
        if self.options.exclusive
            && let Some(newest) = entries.last()
        {
            self.survivors(&newest.snapshot).await?;
        }
        self.at.0 += 1;
        report.sizes.logical += stats.sizes.logical;
        report.resources.push(stats);
        Ok(())
    }

    /// Follows the differences of two trees.
    async fn changes(
        &mut self,
        kind: Kind,
        before: &TreeRoot,
        after: &TreeRoot,
        change: &mut Change,
        report: &mut StatsReport,
    ) -> Result<()> {
        let mut differences = Differences::new(self.store, before, after);
        while let Some(difference) = differences.next().await {
            let Ok(Difference { key, before, after }) = difference else {
                self.unreadable += 1; // The rest of this tree is not counted.
                break;
            };
            if let Some(value) = after {
                self.told.items += u64::from(kind == Kind::Items);
                for content in contents(kind, &key, &value) {
                    change.logical_more += content.length;
                    self.pending.extend(content.chunk_ids());
                }
            }
            if let Some(value) = before {
                for content in contents(kind, &key, &value) {
                    change.logical_less += content.length;
                    if self.options.exclusive {
                        self.was_there(&content).await?;
                    }
                }
            }
            if self.pending.len() >= BATCH {
                self.count(change, report).await?;
                (self.progress)(self.told);
            }
        }
        Ok(())
    }

    /// Notes that the chunks of a content were in the snapshot before this one.
    async fn was_there(&self, content: &ContentRef) -> Result<()> {
        let chunks: HashSet<ChunkId> = content.chunk_ids().copied().collect();
        let met = self.meet(chunks, self.at.1.saturating_sub(1)).await?;
        self.distinct.last_seen(self.store, met).await
    }

    /// Notes that everything in the newest snapshot is there to the end.
    async fn survivors(&mut self, newest: &Snapshot) -> Result<()> {
        let (mut report, mut change) = (StatsReport::default(), Change::default());
        let empty = self.store.empty_tree();
        self.at.1 -= 1;
        let trees = [
            (Kind::Containers, newest.containers),
            (Kind::Items, newest.items),
        ];
        for (kind, root) in trees {
            self.changes(kind, &empty, &root, &mut change, &mut report)
                .await?;
        }
        self.count(&mut change, &mut report).await?;
        self.at.1 += 1;
        Ok(())
    }

    /// Counts the pending chunks.
    async fn count(&mut self, change: &mut Change, report: &mut StatsReport) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let met = self.meet(pending, self.at.1).await?;
        let news = self.distinct.add(self.store, met).await?;
        change.added.0 += news.to_resource.0;
        change.added.1 += news.to_resource.1;
        report.sizes.unique += news.to_all.0;
        report.sizes.stored += news.to_all.1;
        Ok(())
    }

    /// Looks up lengths and shares of chunks.
    async fn meet(&self, chunks: HashSet<ChunkId>, snapshot: u32) -> Result<Vec<Met>> {
        let ids: Vec<ChunkId> = chunks.into_iter().collect();
        let located = self.store.locate_with_refresh(&ids).await?;
        let met = ids.iter().zip(located).filter_map(|(id, places)| {
            let place = places.first()?;
            let share = u64::from(place.sealed) * u64::from(place.length);
            Some(Met {
                id: *id,
                length: place.length.into(),
                stored: share.checked_div(place.plain.into()).unwrap_or(0),
                resource: self.at.0,
                snapshot,
            })
        });
        Ok(met.collect())
    }

    /// Ends the measuring.
    pub(super) async fn finish(self, report: &mut StatsReport) -> Result<()> {
        report.unreadable += self.unreadable;
        if self.options.exclusive {
            let mut alone = vec![0; report.snapshots.len()];
            for (number, bytes) in self.distinct.exclusive(self.store).await? {
                if let Some(place) = alone.get_mut(number as usize) {
                    *place = bytes;
                }
            }
            for (snapshot, bytes) in report.snapshots.iter_mut().zip(alone) {
                snapshot.exclusive = Some(bytes);
            }
        }
        self.distinct.remove(self.store).await
    }
}

fn snapshot_stats(entry: &SnapshotEntry, logical: u64, added: u64) -> SnapshotStats {
    SnapshotStats {
        id: entry.id,
        resource: entry.snapshot.resource.id.clone(),
        finished: entry.snapshot.finished,
        items: entry.snapshot.items.entries,
        logical,
        added,
        exclusive: None,
    }
}

/// Lists the contents that a record refers to; a record that cannot be decoded has none, and a
/// check reports it.
fn contents(kind: Kind, key: &[u8], value: &[u8]) -> Vec<ContentRef> {
    match kind {
        Kind::Containers => Container::decode(key, value)
            .ok()
            .and_then(|container| container.properties)
            .into_iter()
            .collect(),
        Kind::Items => Item::decode(key, value).map_or_else(
            |_| Vec::new(),
            |item| {
                item.representations
                    .into_iter()
                    .map(|each| each.content)
                    .collect()
            },
        ),
    }
}
