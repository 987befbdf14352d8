//! What a repair leaves behind for the next run, and what it leaves alone. That it brings back
//! whatever is left is shown by the damages of `check`.

use super::*;
use crate::catalog::{Browse, ItemState, Outcome, RepresentationKind, choose_parent};
use crate::example_store::{Sample, run, sample, writer_options};
use crate::{
    Backend, CheckDepth, ContentClass, ErrorKind, Fencing, MemoryBackend, ObjectName, PruneOptions,
    PruneOutcome, RepackOptions, RunId, Store,
};

/// The pack that holds the most.
fn largest(sample: &Sample) -> &(ObjectName, bytes::Bytes) {
    let objects = sample.objects.iter();
    let packs = objects.filter(|(name, _)| name.as_str().starts_with("packs/"));
    packs.max_by_key(|(_, bytes)| bytes.len()).unwrap()
}

/// Flips a bit in the largest pack.
fn damaged(sample: &Sample, at: impl Fn(usize) -> usize) -> MemoryBackend {
    let backend = sample.backend();
    let (name, bytes) = largest(sample);
    let mut flipped = bytes.to_vec();
    flipped[at(bytes.len())] ^= 4;
    backend.tamper(name, Some(flipped.into()));
    backend
}

/// Flips a bit in the middle of the largest pack, and repairs without a replica.
async fn repaired(sample: &Sample) -> (MemoryBackend, Store, RepairPlan, RepairReport) {
    let backend = damaged(sample, |length| length / 2);
    let store = opened(sample, &backend).await;
    let plan = store
        .plan_repair(RepairOptions::default(), &|_| {})
        .await
        .unwrap();
    let spool = tempfile::tempdir().unwrap();
    let writer = writer_options(spool.path(), RunId::from_bytes([40; 16]));
    let report = store.repair(plan.clone(), writer, &|_| {}).await.unwrap();
    (backend, store, plan, report)
}

/// Opens the store as another machine does.
async fn opened(sample: &Sample, backend: &MemoryBackend) -> Store {
    let options = crate::StoreOptions {
        environment: std::sync::Arc::new(crate::SystemEnvironment),
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
        let (_, store, plan, report) = repaired(&sample).await;
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

/// A lost message of a repaired store, and its bytes.
fn lost_message<'a>(sample: &Sample, plan: &'a RepairPlan) -> (&'a Refetch, Vec<u8>) {
    let mime = |each: &&Refetch| each.representation == RepresentationKind::Mime;
    let lost = plan.refetch.iter().find(mime).unwrap();
    let bytes = sample.contents.iter().find_map(|(name, bytes)| {
        let suffix = format!("/{}/mime", lost.item.id);
        let of_resource = name.starts_with(&lost.snapshot.to_string());
        (of_resource && name.ends_with(&suffix)).then(|| bytes.clone())
    });
    (lost, bytes.unwrap())
}

/// What the next run of another machine does: it fetches a lost message again from the service,
/// and publishes a snapshot that holds it.
async fn fetched_again(store: &Store, lost: &Refetch, bytes: &[u8]) -> crate::ContentRef {
    let spool = tempfile::tempdir().unwrap();
    let writer = writer_options(spool.path(), RunId::from_bytes([41; 16]));
    let writer = store.begin(writer).await.unwrap();
    let gatherer = writer.gather(&lost.resource);
    let content = gatherer.put(ContentClass::Binary, bytes).await.unwrap();
    gatherer.commit().await.unwrap();
    let entries = writer.snapshots().await.unwrap();
    let parent = choose_parent(&entries, &lost.resource).unwrap();
    let mut items = Browse::new(store, &parent.snapshot).items();
    let mut item = loop {
        let item = items.next().await.unwrap().unwrap();
        if item.key == lost.item {
            break item;
        }
    };
    item.state = ItemState::Stored;
    item.representations.push(crate::catalog::Representation {
        kind: RepresentationKind::Mime,
        content: content.clone(),
    });
    let mut snapshot = parent.snapshot.clone();
    let edits = vec![(item.key.encode(), Some(item.encode()))];
    snapshot.items = writer.apply(&snapshot.items, edits).await.unwrap();
    snapshot.token = writer.claim_token();
    writer.publish(vec![snapshot]).await.unwrap();
    writer.end().await.unwrap();
    content
}

#[test]
fn content_that_comes_again_on_another_machine_is_stored_again() {
    run(async {
        let sample = sample().await;
        let (backend, _, plan, _) = repaired(&sample).await;
        let store = opened(&sample, &backend).await;
        let (lost, bytes) = lost_message(&sample, &plan);
        let content = fetched_again(&store, lost, &bytes).await;
        let read = store.open_content(&content).collect(1 << 20).await.unwrap();
        assert_eq!(read, bytes);
    });
}

#[test]
fn a_prune_keeps_the_copy_that_came_again_and_not_the_damaged_one() {
    run(async {
        let sample = sample().await;
        let (backend, _, plan, _) = repaired(&sample).await;
        let (lost, bytes) = lost_message(&sample, &plan);
        let content = fetched_again(&opened(&sample, &backend).await, lost, &bytes).await;
        let store = opened(&sample, &backend).await;
        let spool = tempfile::tempdir().unwrap();
        let mut options = PruneOptions::new();
        options.fencing = Fencing::All;
        options.repack = Some(RepackOptions {
            below_percent: 100,
            spool_dir: spool.path().to_owned(),
        });
        for _ in 0..2 {
            let report = store.prune(&options, &|_| {}).await.unwrap();
            assert!(report.outcome != PruneOutcome::Waiting, "{report:?}");
            let reader = opened(&sample, &backend).await;
            let read = reader.open_content(&content).collect(1 << 20).await;
            assert_eq!(read.unwrap(), bytes);
            options
                .forget
                .extend(plan.snapshots.iter().map(|each| each.snapshot));
        }
        // With the damaged snapshots everything that was damaged is gone.
        let report = store.check(CheckDepth::AllData, &|_| {}).await.unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
    });
}

#[test]
fn a_prune_that_takes_a_damaged_place_for_a_copy_loses_the_good_one() {
    run(async {
        let sample = sample().await;
        let (backend, _, plan, _) = repaired(&sample).await;
        let (lost, bytes) = lost_message(&sample, &plan);
        let content = fetched_again(&opened(&sample, &backend).await, lost, &bytes).await;
        let mut options = PruneOptions::new();
        options.fencing = Fencing::All;
        for (broken, kept) in [
            (None, true),
            (Some(crate::fault::Mutant::DamagedCopyCounts), false),
        ] {
            let backend = backend.fork();
            let broken = broken.map(crate::fault::Mutant::activate);
            let store = opened(&sample, &backend).await;
            store.prune(&options, &|_| {}).await.unwrap();
            drop(broken);
            let reader = opened(&sample, &backend).await;
            let read = reader.open_content(&content).collect(1 << 20).await;
            assert_eq!(read.is_ok_and(|read| read == bytes), kept);
        }
    });
}

#[test]
fn a_page_in_a_damaged_pack_is_fetched_again() {
    run(async {
        let sample = sample().await;
        let (backend, _, _, _) = repaired(&sample).await;
        let pack = crate::pack::pack_id(&largest(&sample).0).unwrap();
        for (backend, present) in [(sample.backend(), true), (backend, false)] {
            let store = opened(&sample, &backend).await;
            let spool = tempfile::tempdir().unwrap();
            let writer = writer_options(spool.path(), RunId::from_bytes([42; 16]));
            let writer = store.begin(writer).await.unwrap();
            assert_eq!(writer.packs_present(&[pack]).await.unwrap(), present);
        }
    });
}

#[test]
fn a_repair_that_stops_after_its_record_loses_nothing_by_it() {
    run(async {
        let sample = sample().await;
        // The table cannot be found any more: every block of the pack is still there.
        let backend = damaged(&sample, |length| length - 1);
        let plans = async || {
            let store = opened(&sample, &backend).await;
            let plan = store.plan_repair(RepairOptions::default(), &|_| {}).await;
            (store, plan.unwrap())
        };
        let (store, plan) = plans().await;
        assert!(plan.chunks > 0 && plan.lost_chunks == 0);
        store.record_damage(&plan.work.bad).await.unwrap();
        let records = backend.list("gc/").await.unwrap().len();
        let (store, again) = plans().await;
        assert_eq!((again.chunks, again.lost_chunks), (plan.chunks, 0));
        let spool = tempfile::tempdir().unwrap();
        let writer = writer_options(spool.path(), RunId::from_bytes([43; 16]));
        store.repair(again, writer, &|_| {}).await.unwrap();
        let listed = backend.list("gc/").await.unwrap().len();
        assert_eq!((records, listed), (1, 1), "it is recorded once");
        let (_, last) = plans().await;
        assert_eq!((last.chunks, last.lost_chunks), (0, 0));
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
