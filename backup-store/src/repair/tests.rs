//! What a repair leaves behind for the next run, and what it leaves alone. That it brings back
//! whatever is left is shown by the damages of `check`.

use super::*;
use crate::catalog::{Browse, ItemState, Outcome, RepresentationKind, choose_parent};
use crate::example_store::{Sample, run, sample, writer_options};
use crate::{Backend, ContentClass, ErrorKind, MemoryBackend, RunId, Store};

/// Flips a bit in the pack that holds the most, and repairs without a replica.
async fn repaired(
    sample: &Sample,
    cache: &std::path::Path,
) -> (MemoryBackend, Store, RepairPlan, RepairReport) {
    let backend = sample.backend();
    let packs = sample
        .objects
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("packs/"));
    let (name, bytes) = packs.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut flipped = bytes.to_vec();
    flipped[bytes.len() / 2] ^= 4;
    backend.tamper(name, Some(flipped.into()));
    let store = opened(sample, &backend, cache).await;
    let plan = store
        .plan_repair(RepairOptions::default(), &|_| {})
        .await
        .unwrap();
    let spool = tempfile::tempdir().unwrap();
    let writer = writer_options(spool.path(), RunId::from_bytes([40; 16]));
    let report = store.repair(plan.clone(), writer, &|_| {}).await.unwrap();
    (backend, store, plan, report)
}

/// Opens the store as the next run of the same machine does.
async fn opened(sample: &Sample, backend: &MemoryBackend, cache: &std::path::Path) -> Store {
    let options = crate::StoreOptions {
        environment: std::sync::Arc::new(crate::SystemEnvironment),
        cache_dir: Some(cache.to_owned()),
        ..crate::example_store::options()
    };
    let backend = std::sync::Arc::new(backend.clone());
    sample.store.reopen_at(backend, options).await.unwrap()
}

#[test]
fn planning_writes_nothing_and_a_whole_store_needs_nothing() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        let store = sample.reopen(&backend, 5).await.unwrap();
        let before = backend.list("").await.unwrap();
        let plan = store.plan_repair(RepairOptions::default(), &|_| {});
        let plan = plan.await.unwrap();
        assert!(plan.is_empty() && plan.restores_everything());
        assert_eq!(backend.list("").await.unwrap(), before);
    });
}

#[test]
fn the_next_run_continues_what_was_repaired_and_tries_again_what_is_lost() {
    run(async {
        let sample = sample().await;
        let cache = tempfile::tempdir().unwrap();
        let (_, store, plan, report) = repaired(&sample, cache.path()).await;
        assert!(!plan.refetch.is_empty() && plan.lost_chunks > 0);
        assert_eq!(report.repaired.len(), plan.snapshots.len());
        assert!(report.quarantined > 0);
        let entries = store.snapshots().await.unwrap();
        for (old, new) in &report.repaired {
            let find = |id| entries.iter().find(|entry| entry.id == id).unwrap();
            let (old, new) = (find(*old), find(*new));
            assert_eq!(new.snapshot.parent, Some(old.id));
            assert_eq!(new.snapshot.parent_hash, Some(old.hash));
            assert_eq!(new.snapshot.outcome, Outcome::CompleteWithQuarantine);
            assert!(new.snapshot.totals.check());
            let parent = choose_parent(&entries, &old.snapshot.resource.id).unwrap();
            let was_newest = entries.iter().all(|other| {
                other.snapshot.resource.id != old.snapshot.resource.id
                    || other.snapshot.token <= old.snapshot.token
                    || report.repaired.iter().any(|(_, new)| *new == other.id)
            });
            assert_eq!(parent.id == new.id, was_newest, "{}", old.id);
            let browse = Browse::new(&store, &new.snapshot);
            let (mut items, mut quarantined) = (browse.items(), 0);
            while let Some(item) = items.next().await {
                let item = item.unwrap();
                if matches!(item.state, ItemState::Quarantined { .. }) {
                    quarantined += 1;
                    assert!(browse.note(&item.key).await.unwrap().is_some());
                }
            }
            assert_eq!(quarantined, new.snapshot.totals.quarantined);
        }
    });
}

#[test]
fn content_that_comes_again_from_the_service_is_stored_again() {
    run(async {
        let sample = sample().await;
        let cache = tempfile::tempdir().unwrap();
        let (backend, _, plan, _) = repaired(&sample, cache.path()).await;
        let store = opened(&sample, &backend, cache.path()).await;
        let lost = plan
            .refetch
            .iter()
            .find(|each| each.representation == RepresentationKind::Mime)
            .unwrap();
        let bytes = sample.contents.iter().find_map(|(name, bytes)| {
            let suffix = format!("/{}/mime", lost.item.id);
            let of_resource = name.starts_with(&lost.snapshot.to_string());
            (of_resource && name.ends_with(&suffix)).then(|| bytes.clone())
        });
        let bytes = bytes.unwrap();
        let spool = tempfile::tempdir().unwrap();
        let writer = writer_options(spool.path(), RunId::from_bytes([41; 16]));
        let writer = store.begin(writer).await.unwrap();
        let gatherer = writer.gather(&lost.resource);
        let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
        gatherer.commit().await.unwrap();
        writer.end().await.unwrap();
        let read = store.open_content(&content).collect(1 << 20).await.unwrap();
        assert_eq!(read, bytes);
    });
}

#[test]
fn a_store_of_another_id_is_no_replica() {
    run(async {
        let sample = sample().await;
        let store = sample.reopen(&sample.backend(), 5).await.unwrap();
        let other = crate::example_store::sample_of(2).await;
        let options = RepairOptions {
            replicas: vec![other.store],
        };
        let error = store.plan_repair(options, &|_| {}).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}
