//! Figures of a small store, against what a reader of everything counts.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::catalog::Browse;
use crate::example_store::{run, sample};
use crate::{ChunkId, SnapshotId};

/// What a reader counts: logical bytes and chunks of every snapshot.
async fn counted(store: &Store) -> BTreeMap<SnapshotId, (u64, BTreeSet<ChunkId>)> {
    let mut counted = BTreeMap::new();
    for entry in store.snapshots().await.unwrap() {
        let browse = Browse::new(store, &entry.snapshot);
        let mut contents = Vec::new();
        for container in browse.containers().await.unwrap() {
            contents.extend(container.properties);
        }
        let mut items = browse.items();
        while let Some(item) = items.next().await {
            contents.extend(
                item.unwrap()
                    .representations
                    .into_iter()
                    .map(|each| each.content),
            );
        }
        let logical = contents.iter().map(|content| content.length).sum();
        let chunks = contents
            .iter()
            .flat_map(|content| content.chunk_ids().copied().collect::<Vec<_>>());
        counted.insert(entry.id, (logical, chunks.collect()));
    }
    counted
}

async fn length(store: &Store, chunks: impl IntoIterator<Item = &ChunkId>) -> u64 {
    let mut sum = 0;
    for chunk in chunks {
        sum += store.read_chunk(chunk).await.unwrap().len() as u64;
    }
    sum
}

#[test]
fn figures_are_those_that_a_reader_counts() {
    run(async {
        let sample = sample().await;
        let store = sample.reopen(&sample.backend(), 1).await.unwrap();
        let options = StatsOptions { exclusive: true };
        let report = store.stats(options, &|_| {}).await.unwrap();
        let counted = counted(&store).await;
        assert_eq!(report.snapshots.len(), counted.len());
        let logical: u64 = counted.values().map(|(logical, _)| logical).sum();
        let all: BTreeSet<_> = counted.values().flat_map(|(_, chunks)| chunks).collect();
        assert_eq!(report.sizes.logical, logical);
        assert_eq!(
            report.sizes.unique,
            length(&store, all.iter().copied()).await
        );
        assert!(report.sizes.stored < report.packs.bytes);
        assert!(report.sizes.dedup_ratio() > 1.2, "{report:?}");
        for snapshot in &report.snapshots {
            let (logical, chunks) = &counted[&snapshot.id];
            assert_eq!(snapshot.logical, *logical);
            let others = counted.iter().filter(|(id, _)| **id != snapshot.id);
            let others: BTreeSet<_> = others.flat_map(|(_, (_, chunks))| chunks).collect();
            let alone = chunks.iter().filter(|chunk| !others.contains(chunk));
            let alone = length(&store, alone).await;
            let exclusive = snapshot.exclusive.unwrap();
            // Noise does not compress: what is stored is a little more than the plaintext.
            assert!(
                exclusive >= alone / 2 && exclusive <= alone + alone / 10 + 500,
                "{exclusive} {alone}"
            );
        }
        for resource in &report.resources {
            assert_eq!((resource.snapshots, resource.items), (2, 24));
        }
        let total: u64 = sample
            .objects
            .iter()
            .map(|(_, bytes)| bytes.len() as u64)
            .sum();
        assert_eq!(report.total_bytes(), total);
        let cheap = store.stats(StatsOptions::default(), &|_| {}).await.unwrap();
        assert_eq!(cheap.sizes, report.sizes);
        assert!(
            cheap
                .snapshots
                .iter()
                .all(|snapshot| snapshot.exclusive.is_none())
        );
    });
}

#[test]
fn the_temporary_table_is_removed() {
    run(async {
        let sample = sample().await;
        let cache = tempfile::tempdir().unwrap();
        let options = crate::StoreOptions {
            cache_dir: Some(cache.path().to_owned()),
            ..crate::example_store::options()
        };
        let backend = std::sync::Arc::new(sample.backend());
        let store = sample.store.reopen_at(backend, options).await.unwrap();
        let report = store.stats(StatsOptions::default(), &|_| {}).await.unwrap();
        assert!(report.sizes.unique > 0);
        let files = std::fs::read_dir(cache.path().join(store.id().to_string())).unwrap();
        let names: Vec<String> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        assert!(
            !names.iter().any(|name| name.starts_with("stats-")),
            "{names:?}"
        );
    });
}
