//! Merging segments: entry by entry into one that supersedes them, in bounded memory: the new one
//! grows in a file of the spool directory, where the backend takes that over.
//!
//! Nothing is dropped and nothing deleted: prune removes what is superseded.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Writer;
use crate::error::{Error, ErrorKind, Result};
use crate::id::SegmentId;
use crate::index::builder::SegmentBuilder;
use crate::index::cache::Loaded;
use crate::index::merge::plan;
use crate::index::sealing::{SegmentSealer, segment_id};
use crate::mutant::{Mutant, mutated};
use crate::offload::offload;

/// Merges of one call at most.
const MERGES_AT_ONCE: usize = 4;
/// Entries of a merge in memory that lets go of the filters there, to make room.
const LARGE_MERGE: u64 = 1 << 20;

impl Writer {
    /// Merges segments as long as there are too many of one size; returns how many merges it made.
    ///
    /// Every [`flush`](Self::flush) does this; calling it alone is maintenance. Two writers that
    /// merge at once cost space, nothing else.
    ///
    /// *Cancel safety*: when dropped, at most one merge was in vain.
    pub async fn merge_segments(&self) -> Result<usize> {
        let _turn = self.0.uploading.lock().await;
        self.merge_planned().await
    }

    /// Merges what is planned; the caller holds the turn.
    pub(super) async fn merge_planned(&self) -> Result<usize> {
        let store = &self.0.store;
        let mut merges = 0;
        // Writers that merge at once make segments that are to be merged again: without a bound
        // they would go on for ever. What is left over the next flush sees to.
        while merges < MERGES_AT_ONCE && self.next_merge().is_some() {
            // Another writer may have merged the same meanwhile.
            store.refresh_index().await?;
            let Some(group) = self.next_merge() else {
                break;
            };
            match self.merge(&group).await {
                Ok(()) => merges += 1,
                Err(cause) if cause.kind() == ErrorKind::NotFound => {
                    tracing::info!(%cause, "segments went while they were merged");
                    break;
                }
                // What was to be written is written: a later flush merges.
                Err(cause) if cause.kind() == ErrorKind::StorageFull => {
                    tracing::warn!(%cause, "no room to merge segments");
                    break;
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(merges)
    }

    /// Writes what was rebuilt from pack tables in place of damaged segments into segments that
    /// supersede those; returns how many it wrote.
    pub async fn rebuild_index(&self) -> Result<usize> {
        let _turn = self.0.uploading.lock().await;
        self.0.store.refresh_index().await?;
        let active = self.0.store.active_segments();
        let damaged: BTreeSet<SegmentId> =
            active.iter().filter_map(|each| each.stands_for).collect();
        for id in &damaged {
            let group = active.iter().filter(|each| each.stands_for == Some(*id));
            let group: Vec<_> = group.cloned().collect();
            self.merge(&group).await?;
        }
        Ok(damaged.len())
    }

    fn next_merge(&self) -> Option<Vec<Arc<Loaded>>> {
        let active = self.0.store.active_segments();
        let sizes: Vec<_> = active
            .iter()
            .map(|each| (each.file.directory.kind, each.file.directory.entries))
            .collect();
        let group = plan(&sizes)?;
        Some(
            group
                .into_iter()
                .map(|at| Arc::clone(&active[at]))
                .collect(),
        )
    }

    /// Merges some segments into a new one.
    async fn merge(&self, group: &[Arc<Loaded>]) -> Result<()> {
        let store = &self.0.store;
        let Some(first) = group.first() else {
            return Ok(());
        };
        let directories = || group.iter().map(|each| &each.file.directory);
        let bound: u64 = directories().map(|directory| directory.entries).sum();
        let sealer = SegmentSealer::create(store.keys(), store.environment().as_ref())?;
        let takes_files = store.backend().takes_files();
        let spool = takes_files.then(|| self.0.spools.of_segment(&sealer.id));
        if spool.is_none() && bound >= LARGE_MERGE {
            store
                .index(|index| {
                    index.drop_shards();
                    Ok(())
                })
                .await?;
        }
        let packs = directories().flat_map(|directory| directory.packs.iter().copied());
        let (kind, packs) = (first.file.directory.kind, packs.collect());
        let supersedes = self.superseded_by(group).await?;
        let mut builder = offload(store.offload().as_ref(), move || {
            SegmentBuilder::new(sealer, kind, packs, supersedes, bound, spool)
        })
        .await??;
        let mut inputs = group.to_vec();
        if mutated(Mutant::MergeDropsEntries) {
            inputs.pop();
        }
        let inputs = inputs.iter();
        let inputs = inputs.map(|each| (Arc::clone(&each.file), Some(each.number)));
        let mut side_by_side = store.side_by_side(inputs);
        loop {
            let entries = side_by_side.next().await?;
            if entries.is_empty() {
                break;
            }
            builder = offload(store.offload().as_ref(), move || {
                for entry in &entries {
                    builder.push(entry)?;
                }
                Ok::<_, Error>(builder)
            })
            .await??;
        }
        let sealed = offload(store.offload().as_ref(), move || builder.finish()).await??;
        store.put_segment(sealed).await
    }

    /// Names what a merge supersedes: its inputs, and what they do as far as it is still there.
    async fn superseded_by(&self, group: &[Arc<Loaded>]) -> Result<Vec<SegmentId>> {
        let listed = self.0.store.backend().list("segments/").await?;
        let there: BTreeSet<_> = listed
            .iter()
            .filter_map(|info| segment_id(&info.name))
            .collect();
        let inputs = group
            .iter()
            .map(|each| each.stands_for.unwrap_or(each.file.id()));
        if let Some(gone) = inputs.clone().find(|id| !there.contains(id)) {
            let words = format!("object segments/{gone}: it is gone");
            return Err(Error::new(ErrorKind::NotFound, words));
        }
        let theirs = group
            .iter()
            .flat_map(|each| each.file.directory.supersedes.iter().copied());
        let theirs = theirs.filter(|id| there.contains(id));
        Ok(inputs.chain(theirs).collect())
    }
}
