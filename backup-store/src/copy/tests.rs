//! Copies hold what their originals hold; replicas are filled, resumed, repaired from, and become
//! primaries.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::example_store::{
    Contents, Sample, open, options, read_all, run, sample, writer_options,
};
use crate::pack::pack_name;
use crate::rounds::{Done, RoundNumber, RoundPart, round_name};
use crate::slots::slot_name;
use crate::{
    Backend, CheckDepth, CreateOptions, KdfParams, MemoryBackend, ObjectName, PackId, Passphrase,
    RunId, SnapshotId, Store,
};

async fn foreign() -> (MemoryBackend, Store) {
    let backend = MemoryBackend::new();
    let create = CreateOptions {
        kdf: KdfParams::minimum(),
    };
    let passphrase = Passphrase::new("another");
    let options = crate::StoreOptions {
        environment: Arc::new(crate::SystemEnvironment),
        ..options()
    };
    let shared: Arc<dyn Backend> = Arc::new(backend.clone());
    let store = Store::create(shared, &passphrase, create, options).await;
    (backend, store.unwrap())
}

async fn copy(from: &Store, to: &Store) -> CopyReport {
    let spool = tempfile::tempdir().unwrap();
    let options = CopyOptions {
        resources: None,
        snapshots: None,
        writer: writer_options(spool.path(), RunId::from_bytes([50; 16])),
    };
    from.copy_to(to, options, &|_| {}).await.unwrap()
}

async fn everything(store: &Store) -> Contents {
    let mut trouble = Vec::new();
    let contents = read_all(store, &mut trouble).await;
    assert!(trouble.is_empty(), "{trouble:?}");
    contents
}

/// Contents of items by what does not depend on the store: records name chunks, and ids differ.
fn comparable(contents: &Contents, names: &BTreeMap<String, String>) -> Contents {
    let of_items = contents
        .iter()
        .filter(|(name, _)| name.split('/').count() == 4);
    let renamed = of_items.map(|(name, bytes)| {
        let (snapshot, rest) = name.split_once('/').unwrap();
        let snapshot = names.get(snapshot).map_or(snapshot, String::as_str);
        (format!("{snapshot}/{rest}"), bytes.clone())
    });
    renamed.collect()
}

#[test]
fn a_copy_holds_what_its_original_holds_and_is_made_once() {
    run(async {
        let sample = sample().await;
        let source = sample.reopen(&sample.backend(), 1).await.unwrap();
        let (_, target) = foreign().await;
        let report = copy(&source, &target).await;
        assert_eq!((report.copied.len(), report.known), (4, 0));
        assert!(report.damaged.is_empty(), "{:?}", report.damaged);
        let names: BTreeMap<String, String> = report
            .copied
            .iter()
            .map(|(old, new)| (old.to_string(), new.to_string()))
            .collect();
        let copied = everything(&target).await;
        let original = comparable(&sample.contents, &names);
        assert!(original.len() >= 2 * (12 + 24) * 2);
        assert_eq!(comparable(&copied, &BTreeMap::new()), original);
        let check = target.check(CheckDepth::Contents, &|_| {}).await.unwrap();
        assert!(check.is_clean(), "{:?}", check.problems);
        let before = target
            .stats(crate::StatsOptions::default(), &|_| {})
            .await
            .unwrap();
        let again = copy(&source, &target).await;
        assert_eq!((again.copied.len(), again.known, again.bytes), (0, 4, 0));
        let after = target
            .stats(crate::StatsOptions::default(), &|_| {})
            .await
            .unwrap();
        assert_eq!(before.packs, after.packs);
        // Parents are those of the original, as far as they were copied.
        for entry in target.snapshots().await.unwrap() {
            let parent = entry.snapshot.parent.map(|id| id.to_string());
            assert!(parent.is_none_or(|id| names.values().any(|name| *name == id)));
        }
        // The next writer there comes after everything that was copied.
        let spool = tempfile::tempdir().unwrap();
        let writer = target.begin(writer_options(spool.path(), RunId::from_bytes([51; 16])));
        let token = writer.await.unwrap().claim_token();
        let newest = source.snapshots().await.unwrap();
        assert!(newest.iter().all(|entry| entry.snapshot.token < token));
    });
}

#[test]
fn a_selection_is_copied_and_later_completed() {
    run(async {
        let sample = sample().await;
        let source = sample.reopen(&sample.backend(), 1).await.unwrap();
        let (_, target) = foreign().await;
        let entries = source.snapshots().await.unwrap();
        let later = entries
            .iter()
            .filter(|entry| entry.snapshot.parent.is_some());
        let later: Vec<SnapshotId> = later.map(|entry| entry.id).collect();
        let spool = tempfile::tempdir().unwrap();
        let options = CopyOptions {
            resources: Some(vec![entries[0].snapshot.resource.id.clone()]),
            snapshots: Some(later),
            writer: writer_options(spool.path(), RunId::from_bytes([50; 16])),
        };
        let report = source.copy_to(&target, options, &|_| {}).await.unwrap();
        assert_eq!(report.copied.len(), 1);
        let rest = copy(&source, &target).await;
        assert_eq!((rest.copied.len(), rest.known), (3, 1));
        let check = target.check(CheckDepth::Contents, &|_| {}).await.unwrap();
        assert!(check.is_clean(), "{:?}", check.problems);
        let ids = comparable(&everything(&target).await, &BTreeMap::new());
        let all = comparable(&sample.contents, &BTreeMap::new());
        assert_eq!(ids.len(), all.len());
    });
}

#[test]
fn what_is_damaged_is_copied_as_quarantined_and_keeps_nothing_else_back() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        let pack = sample
            .objects
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("packs/"));
        let largest = pack.max_by_key(|(_, bytes)| bytes.len()).unwrap();
        backend.tamper(&largest.0, Some(largest.1.slice(..200)));
        let source = sample.reopen(&backend, 1).await.unwrap();
        let (_, target) = foreign().await;
        let report = copy(&source, &target).await;
        assert!(!report.damaged.is_empty());
        assert!(report.damaged.iter().all(|damage| !damage.cause.is_empty()));
        let check = target.check(CheckDepth::Contents, &|_| {}).await.unwrap();
        assert!(check.is_clean(), "{:?}", check.problems);
        let mut trouble = Vec::new();
        let readable = comparable(&read_all(&source, &mut trouble).await, &BTreeMap::new());
        assert!(!trouble.is_empty());
        let items = report
            .damaged
            .iter()
            .filter(|damage| damage.item.is_some())
            .count();
        assert!(items > 0 && !readable.is_empty());
    });
}

async fn replica(sample: &Sample, primary: &Store) -> (MemoryBackend, Store) {
    let backend = MemoryBackend::new();
    primary
        .create_replica(Arc::new(backend.clone()))
        .await
        .unwrap();
    let store = sample.reopen(&backend, 70).await.unwrap();
    (backend, store)
}

#[test]
fn a_replica_opens_with_the_same_passphrase_and_holds_the_same() {
    run(async {
        let sample = sample().await;
        let primary = sample.reopen(&sample.backend(), 1).await.unwrap();
        let (backend, there) = replica(&sample, &primary).await;
        assert!(there.snapshots().await.unwrap().is_empty());
        let options = ReplicaOptions::default();
        let report = primary
            .fill_replica(&there, options, &|_| {})
            .await
            .unwrap();
        assert!(
            report.is_complete() && report.snapshot_sets.objects >= 4,
            "{report:?}"
        );
        let opened = open(&backend).await.unwrap();
        assert_eq!(everything(&opened).await, sample.contents);
        let check = opened.check(CheckDepth::AllData, &|_| {}).await.unwrap();
        assert!(check.is_clean() && check.remarks.is_empty(), "{check:?}");
        let again = primary
            .fill_replica(&there, options, &|_| {})
            .await
            .unwrap();
        assert_eq!((again.packs.objects, again.snapshot_sets.objects), (0, 0));
        assert!(again.known > report.packs.objects);
        let other = primary.create_replica(Arc::new(backend.clone())).await;
        assert_eq!(other.unwrap_err().kind(), crate::ErrorKind::StoreExists);
        // It becomes the primary by being written to.
        let spool = tempfile::tempdir().unwrap();
        let writer = writer_options(spool.path(), RunId::from_bytes([52; 16]));
        let writer = opened.begin(writer).await.unwrap();
        let entry = opened.snapshots().await.unwrap().remove(0);
        writer.publish(vec![entry.snapshot]).await.unwrap();
        writer.end().await.unwrap();
        let back = opened
            .fill_replica(&primary, options, &|_| {})
            .await
            .unwrap();
        assert_eq!(back.snapshot_sets.objects, 2, "{back:?}");
        assert_eq!(primary.snapshots().await.unwrap().len(), 5);
    });
}

#[test]
fn a_snapshot_appears_in_a_replica_after_everything_that_it_needs() {
    run(async {
        let sample = sample().await;
        let primary = sample.reopen(&sample.backend(), 1).await.unwrap();
        let (backend, there) = replica(&sample, &primary).await;
        let (told, seen) = (std::sync::Mutex::new(0u64), backend.clone());
        let watch = |progress: CopyProgress| *told.lock().unwrap() = progress.done;
        // Stopped after any number of objects, the replica is whole as far as it goes.
        for stop in [1, 3, 6, 9, 12] {
            let filling = primary.fill_replica(&there, ReplicaOptions::default(), &watch);
            let mut filling = std::pin::pin!(filling);
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            while *told.lock().unwrap() < stop && filling.as_mut().poll(&mut context).is_pending() {
            }
            let opened = sample.reopen(&seen, 71).await.unwrap();
            let check = opened.check(CheckDepth::AllData, &|_| {}).await.unwrap();
            assert!(check.harms_nothing(), "after {stop}: {:?}", check.problems);
        }
    });
}

#[test]
fn a_damaged_object_is_not_copied_into_a_replica() {
    run(async {
        let sample = sample().await;
        for prefix in ["packs/", "segments/", "snaps/", "runs/"] {
            let backend = sample.backend();
            let name: ObjectName = sample.sole(prefix, 0);
            let mut bytes = backend.get(&name, None).await.unwrap().to_vec();
            bytes[150] ^= 1;
            backend.tamper(&name, Some(bytes.into()));
            let primary = sample.reopen(&backend, 1).await.unwrap();
            let (there, store) = replica(&sample, &primary).await;
            let options = ReplicaOptions::default();
            let report = primary
                .fill_replica(&store, options, &|_| {})
                .await
                .unwrap();
            assert_eq!(report.damaged.len(), 1, "{prefix}: {report:?}");
            assert_eq!(report.damaged[0].0, name);
            assert!(there.get(&name, None).await.is_err());
        }
    });
}

/// Ends a round of prune by hand: the snapshots of the first run are forgotten, and a pack that
/// nobody needs is swept.
async fn end_round(primary: &Store, garbage: PackId) -> Vec<ObjectName> {
    let first = primary.snapshots().await.unwrap();
    let first = first.iter().filter(|entry| entry.snapshot.parent.is_none());
    let places: Vec<_> = first.map(|entry| (entry.lease, entry.slot)).collect();
    let mut gone = crate::rounds::SlotSet::new();
    for (lease, slot) in &places {
        gone.entry(*lease).or_default().insert(*slot);
    }
    let done = Done {
        round: RoundNumber::new(1),
        dead: [garbage].into(),
        gone,
        ..Done::default()
    };
    let name = round_name(done.round, RoundPart::Done).unwrap();
    let kind = RoundPart::Done.kind();
    primary
        .put_object(kind, &name, done.encode())
        .await
        .unwrap();
    let slots = places
        .iter()
        .map(|(lease, slot)| slot_name(lease, *slot).unwrap());
    let deleted: Vec<_> = slots.chain([pack_name(&garbage).unwrap()]).collect();
    for name in &deleted {
        primary.backend().delete(name).await.unwrap();
    }
    deleted
}

async fn write_garbage(primary: &Store) -> PackId {
    let spool = tempfile::tempdir().unwrap();
    let writer = writer_options(spool.path(), RunId::from_bytes([53; 16]));
    let writer = primary.begin(writer).await.unwrap();
    let gatherer = writer.gatherer();
    let class = crate::ContentClass::Binary;
    gatherer.put(class, b"nobody needs this").await.unwrap();
    let receipt = gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
    receipt.packs[0]
}

#[test]
fn what_the_primary_forgets_is_forgotten_or_kept_as_the_options_say() {
    run(async {
        let sample = sample().await;
        let primary = sample.reopen(&sample.backend(), 1).await.unwrap();
        let garbage = write_garbage(&primary).await;
        let (_, following) = replica(&sample, &primary).await;
        let (_, keeping) = replica(&sample, &primary).await;
        let follow = ReplicaOptions::default();
        let keep = ReplicaOptions {
            follow_deletions: false,
        };
        primary
            .fill_replica(&following, follow, &|_| {})
            .await
            .unwrap();
        primary.fill_replica(&keeping, keep, &|_| {}).await.unwrap();
        let deleted = end_round(&primary, garbage).await;
        primary.read_rounds().await.unwrap();
        let report = primary
            .fill_replica(&following, follow, &|_| {})
            .await
            .unwrap();
        assert!(report.is_complete(), "{report:?}");
        assert_eq!(report.deleted.objects, deleted.len() as u64);
        for name in &deleted {
            let found = following.backend().get(name, None).await;
            assert_eq!(
                found.unwrap_err().kind(),
                crate::ErrorKind::NotFound,
                "{name}"
            );
        }
        assert_eq!(following.snapshots().await.unwrap().len(), 2);
        let check = following.check(CheckDepth::AllData, &|_| {}).await.unwrap();
        assert!(check.harms_nothing(), "{:?}", check.problems);
        let again = primary
            .fill_replica(&following, follow, &|_| {})
            .await
            .unwrap();
        assert_eq!(again.deleted.objects, 0);
        let report = primary.fill_replica(&keeping, keep, &|_| {}).await.unwrap();
        assert_eq!(report.deleted.objects, 0);
        assert_eq!(keeping.snapshots().await.unwrap().len(), 4);
        assert_eq!(everything(&keeping).await, sample.contents);
    });
}

#[test]
fn a_replica_with_rounds_of_its_own_does_not_follow() {
    run(async {
        let sample = sample().await;
        let primary = sample.reopen(&sample.backend(), 1).await.unwrap();
        let garbage = write_garbage(&primary).await;
        let (_, there) = replica(&sample, &primary).await;
        let options = ReplicaOptions::default();
        primary
            .fill_replica(&there, options, &|_| {})
            .await
            .unwrap();
        end_round(&there, garbage).await;
        let report = primary
            .fill_replica(&there, options, &|_| {})
            .await
            .unwrap();
        let conflicts: Vec<_> = report.conflicts.iter().map(ObjectName::as_str).collect();
        assert_eq!(conflicts, ["gc/1.done"]);
        assert_eq!(there.snapshots().await.unwrap().len(), 2);
    });
}
