//! Prune: what is forgotten goes, what is kept stays, whoever writes meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use backup_store::catalog::Snapshot;
use backup_store::{
    Backend, CheckDepth, ErrorKind, Fencing, KeptUp, PruneOptions, PruneOutcome, PruneReport,
    RepackOptions, SnapshotId, Store, Writer,
};
use common::{World, gathered, noise, published};

async fn publish(writer: &Writer, owner: &str, contents: &[Vec<u8>]) -> SnapshotId {
    published(writer, owner, contents).await.unwrap()
}

async fn gather(writer: &Writer, owner: &str, contents: &[Vec<u8>]) -> Snapshot {
    gathered(writer, owner, contents).await.unwrap()
}

async fn prune(store: &Store, options: &PruneOptions) -> PruneReport {
    store.prune(options, &|_| {}).await.unwrap()
}

fn forgetting(ids: &[SnapshotId]) -> PruneOptions {
    let mut options = PruneOptions::new();
    options.forget = ids.iter().copied().collect();
    options
}

/// Everything that is left is whole, as a reader with a cold cache sees it.
async fn assert_whole(world: &World, snapshots: &[SnapshotId]) {
    let store = world.reopen().await;
    let found: BTreeSet<_> = store
        .snapshots()
        .await
        .unwrap()
        .iter()
        .map(|entry| entry.id)
        .collect();
    assert_eq!(found, snapshots.iter().copied().collect());
    let report = store.check(CheckDepth::AllData, &|_| {}).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[tokio::test]
async fn what_is_forgotten_goes_and_what_is_kept_stays() {
    let world = World::new().await;
    let writer = world.begin().await;
    let shared = noise(3_000, 1);
    let old = publish(&writer, "1", &[shared.clone(), noise(400_000, 2)]).await;
    let new = publish(&writer, "1", &[shared, noise(5_000, 3)]).await;
    writer.end().await.unwrap();
    let before = world.stored_bytes("packs/").await;
    let mut dry = forgetting(&[old]);
    dry.dry_run = true;
    let planned = prune(&world.store, &dry).await;
    assert_eq!(planned.outcome, PruneOutcome::Planned);
    assert_eq!(planned.forgotten, [old].into());
    assert!(world.memory.list("gc/").await.unwrap().is_empty());
    let mut pinned = forgetting(&[old]);
    pinned.pins = [old].into();
    assert_eq!(
        prune(&world.store, &pinned).await.outcome,
        PruneOutcome::Nothing
    );
    let report = prune(&world.store, &forgetting(&[old])).await;
    assert_eq!(report.outcome, PruneOutcome::Done);
    assert_eq!(report.forgotten, [old].into());
    assert!(report.deleted.packs > 0, "{report:?}");
    assert!(world.stored_bytes("packs/").await < before);
    assert_whole(&world, &[new]).await;
    let again = prune(&world.store, &PruneOptions::new()).await;
    assert_eq!(again.outcome, PruneOutcome::Nothing);
}

#[tokio::test]
async fn a_set_goes_when_the_last_snapshot_in_it_is_forgotten() {
    let world = World::new().await;
    let writer = world.begin().await;
    let one = gather(&writer, "1", &[noise(5_000, 1)]).await;
    let two = gather(&writer, "2", &[noise(5_000, 2)]).await;
    let ids = writer.publish(vec![one, two]).await.unwrap();
    writer.end().await.unwrap();
    let report = prune(&world.store, &forgetting(&ids[..1])).await;
    assert_eq!((report.in_shared_sets, report.sets_deleted), (1, 0));
    assert_whole(&world, &ids[1..]).await;
    let report = prune(&world.store, &forgetting(&ids)).await;
    assert_eq!((report.in_shared_sets, report.sets_deleted), (0, 1));
    assert_whole(&world, &[]).await;
    assert_eq!(
        world.memory.list("snaps/").await.unwrap().len(),
        1,
        "the closing slot stays"
    );
    assert!(world.memory.list("packs/").await.unwrap().is_empty());
    assert!(world.memory.list("segments/").await.unwrap().is_empty());
}

#[tokio::test]
async fn a_live_writer_is_waited_for_until_it_keeps_up() {
    let world = World::new().await;
    let first = world.begin().await;
    let bytes = noise(300_000, 1);
    let old = publish(&first, "1", std::slice::from_ref(&bytes)).await;
    first.end().await.unwrap();
    let writer = world.begin().await;
    // It refers to what only the old snapshot holds.
    let snapshot = gather(&writer, "2", std::slice::from_ref(&bytes)).await;
    let report = prune(&world.store, &forgetting(&[old])).await;
    assert_eq!(report.outcome, PruneOutcome::Waiting);
    assert_eq!(report.waiting, [writer.lease()].into());
    let parents = writer.keep_up(&[old]).await.unwrap();
    assert_eq!(parents, KeptUp::ParentCondemned(vec![old]));
    let KeptUp::Acknowledged { copied, .. } = writer.keep_up(&[]).await.unwrap() else {
        panic!("it acknowledges what it does not continue");
    };
    assert!(copied > 0);
    assert_eq!(writer.keep_up(&[]).await.unwrap(), KeptUp::Current);
    let report = prune(&world.store, &PruneOptions::new()).await;
    assert_eq!(report.outcome, PruneOutcome::Done);
    assert!(
        report.deleted.packs > 0 && report.fenced.is_empty(),
        "{report:?}"
    );
    let new = writer.publish(vec![snapshot]).await.unwrap();
    writer.end().await.unwrap();
    assert_whole(&world, &new).await;
}

#[tokio::test]
async fn what_a_writer_published_before_it_was_fenced_is_rescued() {
    let world = World::new().await;
    let first = world.begin().await;
    let bytes = noise(300_000, 1);
    let old = publish(&first, "1", std::slice::from_ref(&bytes)).await;
    first.end().await.unwrap();
    let writer = world.begin().await;
    let snapshot = gather(&writer, "2", std::slice::from_ref(&bytes)).await;
    assert_eq!(
        prune(&world.store, &forgetting(&[old])).await.outcome,
        PruneOutcome::Waiting
    );
    let new = writer.publish(vec![snapshot.clone()]).await.unwrap();
    let mut options = PruneOptions::new();
    options.fencing = Fencing::These([writer.lease()].into());
    let report = prune(&world.store, &options).await;
    assert_eq!(report.outcome, PruneOutcome::Done);
    assert_eq!(report.fenced, [writer.lease()]);
    assert!(report.rescued.packs > 0, "{report:?}");
    let refused = writer.publish(vec![snapshot]).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    assert_whole(&world, &new).await;
}

#[tokio::test]
async fn swept_packs_are_absent_to_a_writer_whose_cache_still_names_them() {
    let world = World::new().await;
    let first = world.begin().await;
    let bytes = noise(300_000, 1);
    let old = publish(&first, "1", std::slice::from_ref(&bytes)).await;
    first.end().await.unwrap();
    // Kept aside: a put of this pack that lands late.
    let late = world.copy().await;
    let stale = world.reopen().await;
    prune(&world.reopen().await, &forgetting(&[old])).await;
    for info in late.memory.list("packs/").await.unwrap() {
        let bytes = late.memory.get(&info.name, None).await.unwrap();
        world.memory.put_new(&info.name, bytes).await.unwrap();
    }
    for prefix in ["snaps/", "segments/"] {
        for info in late.memory.list(prefix).await.unwrap() {
            let bytes = late.memory.get(&info.name, None).await.unwrap();
            world.memory.put_new(&info.name, bytes).await.unwrap();
        }
    }
    let writer = stale.begin(world.options(Vec::new())).await.unwrap();
    assert!(
        writer.snapshots().await.unwrap().is_empty(),
        "a slot that came back holds nothing"
    );
    let new = publish(&writer, "2", std::slice::from_ref(&bytes)).await;
    writer.end().await.unwrap();
    let report = prune(&world.store, &PruneOptions::new()).await;
    assert!(
        report.deleted.packs > 0,
        "what landed late goes again: {report:?}"
    );
    assert_whole(&world, &[new]).await;
}

#[tokio::test]
async fn a_pack_of_which_little_is_needed_is_written_anew() {
    let world = World::new().await;
    let writer = world.begin().await;
    let kept = noise(9_000, 1);
    let large: Vec<_> = (2..8).map(|seed| noise(200_000, seed)).collect();
    let mut all = vec![kept.clone()];
    all.extend(large);
    let one = gather(&writer, "1", &all).await;
    let two = gather(&writer, "2", std::slice::from_ref(&kept)).await;
    let ids = writer.publish(vec![one, two]).await.unwrap();
    writer.end().await.unwrap();
    let before = world.stored_bytes("packs/").await;
    let mut options = forgetting(&ids[..1]);
    options.repack = Some(RepackOptions {
        below_percent: 50,
        spool_dir: world.directory.path().join("repack"),
    });
    let report = prune(&world.store, &options).await;
    assert!(report.repacked.packs > 0, "{report:?}");
    assert!(world.stored_bytes("packs/").await < before / 2);
    assert_whole(&world, &ids[1..]).await;
}

#[tokio::test]
async fn prune_refuses_when_it_cannot_tell_what_is_needed() {
    let world = World::new().await;
    let writer = world.begin().await;
    let old = publish(&writer, "1", &[noise(300_000, 1)]).await;
    publish(&writer, "2", &[noise(300_000, 2)]).await;
    writer.end().await.unwrap();
    for prefix in ["segments/", "snaps/", "packs/"] {
        let copy = world.copy().await;
        let infos = copy.memory.list(prefix).await.unwrap();
        let before = copy.memory.list("").await.unwrap().len();
        for info in infos {
            let mut bytes = copy.memory.get(&info.name, None).await.unwrap().to_vec();
            let middle = bytes.len() / 3;
            bytes
                .iter_mut()
                .skip(50)
                .take(middle)
                .for_each(|byte| *byte ^= 1);
            copy.memory.tamper(&info.name, Some(bytes.into()));
        }
        let refused = copy.store.prune(&forgetting(&[old]), &|_| {}).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Damaged, "{prefix}");
        assert_eq!(copy.memory.list("").await.unwrap().len(), before);
    }
}
