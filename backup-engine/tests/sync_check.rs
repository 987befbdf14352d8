//! Data Synchronization Check: what no cursor tells is found, reported, and repaired; what they do
//! tell is never called drift.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use backup_engine::{RunOutcome, SyncCheck};
use backup_store::catalog::Drift;
use proptest::prelude::*;
use support::service::{Layout, MemorySource};
use support::world::World;

fn filled(layout: Layout) -> MemorySource {
    let source = MemorySource::new(layout, 4);
    source.with(|state| {
        for folder in ["f0", "f1"] {
            state.add_container(folder, folder);
        }
        for number in 0..10_u8 {
            let folder = format!("f{}", number % 2);
            state.put(&format!("i{number}"), &folder, &[number, 1, 2]);
        }
    });
    source
}

async fn checked(world: &mut World, mode: SyncCheck) -> Drift {
    world.options.sync_check = mode;
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::Complete);
    assert!(report.totals.check(), "{:?}", report.totals);
    report.drift.unwrap()
}

async fn finds_and_repairs(layout: Layout) {
    let source = filled(layout);
    let mut world = World::new(&source).await;
    world.backup().await;
    assert!(checked(&mut world, SyncCheck::Report).await.is_none());

    source.with(|state| {
        state.put_silently("new", "f1", b"new");
        state.put_silently("i3", "f1", b"changed");
        state.put_silently("i4", "f0", b"changed");
        state.delete_silently("i0");
    });
    world.options.sync_check = SyncCheck::Off;
    assert_eq!(world.backup().await.drift, None);
    let before = world.state().await;

    let drift = checked(&mut world, SyncCheck::Report).await;
    let found = (drift.listed, drift.missing, drift.stale, drift.surplus);
    assert_eq!(found, (10, 1, 2, 1));
    assert_eq!(drift.surplus_bytes, 3);
    assert!(!drift.repaired);
    assert_eq!(world.state().await, before, "a report changes nothing");

    let drift = checked(&mut world, SyncCheck::Repair).await;
    assert_eq!((drift.missing, drift.stale, drift.surplus), (1, 2, 1));
    assert!(drift.repaired);
    let fresh = World::new(&source).await;
    fresh.backup().await;
    assert_eq!(world.state().await, fresh.state().await);
    assert!(checked(&mut world, SyncCheck::Report).await.is_none());
}

#[tokio::test]
async fn a_mailbox_is_listed_compared_and_repaired() {
    finds_and_repairs(Layout::Mailbox).await;
}

#[tokio::test]
async fn a_drive_is_listed_compared_and_repaired() {
    finds_and_repairs(Layout::Drive).await;
}

#[tokio::test]
async fn assumed_contents_are_fetched_as_proof() {
    let source = filled(Layout::Mailbox);
    let mut world = World::new(&source).await;
    world.backup().await;
    source.with(|state| {
        for number in [0, 2, 4] {
            state.move_item(&format!("i{number}"), "f1");
        }
    });
    let moved = world.backup().await;
    assert_eq!(moved.totals.assumed, 3);
    // One of the three was changed on the way, and nothing said so.
    source.with(|state| state.items.get_mut("i2").unwrap().content = b"other".to_vec());

    world.options.proofs_max = 2;
    let first = checked(&mut world, SyncCheck::Repair).await;
    let second = checked(&mut world, SyncCheck::Repair).await;
    assert_eq!((first.proved, second.proved), (2, 1), "each is proved once");
    let third = checked(&mut world, SyncCheck::Repair).await;
    assert_eq!(third.proved, 0);
    assert_eq!(first.disproved + second.disproved, 1);
    let fresh = World::new(&source).await;
    fresh.backup().await;
    let content = |state: support::world::State| state.items.into_iter().map(|(_, forms)| forms);
    let (repaired, fresh) = (world.state().await, fresh.state().await);
    assert!(content(repaired).eq(content(fresh)));
}

#[tokio::test]
async fn a_listing_that_cannot_be_read_to_its_end_says_nothing() {
    let source = filled(Layout::Mailbox);
    let mut world = World::new(&source).await;
    world.backup().await;
    source.with(|state| state.delete_silently("i0"));
    world.options.sync_check = SyncCheck::Repair;
    world.options.retry.tries_max = 1;
    // Calls of the run itself, then one of the listing fails for good.
    let calls = 2 + 3 + 1;
    source.with(|state| {
        state.faults = std::iter::repeat_n(None, calls)
            .chain([Some(backup_engine::ErrorKind::Unavailable)])
            .collect();
    });
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::Partial);
    assert_eq!(report.drift, None);
    assert_eq!(world.state().await.items.len(), 10, "nothing is deleted");
}

/// What happens to the service between two runs.
#[derive(Debug, Clone)]
enum Op {
    Put(u8, u8, u8),
    Move(u8, u8),
    Delete(u8),
    PutSilently(u8, u8, u8),
    DeleteSilently(u8),
    Backup,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let (id, folder) = (|| 0..12_u8, || 0..2_u8);
    let one = prop_oneof![
        3 => (id(), folder(), any::<u8>()).prop_map(|(id, to, content)| Op::Put(id, to, content)),
        2 => (id(), folder()).prop_map(|(id, to)| Op::Move(id, to)),
        2 => id().prop_map(Op::Delete),
        3 => (id(), folder(), any::<u8>())
            .prop_map(|(id, to, content)| Op::PutSilently(id, to, content)),
        2 => id().prop_map(Op::DeleteSilently),
        2 => Just(Op::Backup),
    ];
    prop::collection::vec(one, 0..25)
}

async fn repairs_everything(layout: Layout, ops: &[Op]) {
    let source = filled(layout);
    let mut world = World::new(&source).await;
    world.backup().await;
    for op in ops {
        let (item, folder) = (|id: &u8| format!("i{id}"), |id: &u8| format!("f{id}"));
        match op {
            Op::Put(id, to, content) => {
                source.with(|state| state.put(&item(id), &folder(to), &[*content]));
            }
            Op::Move(id, to) => source.with(|state| state.move_item(&item(id), &folder(to))),
            Op::Delete(id) => source.with(|state| state.delete(&item(id))),
            Op::PutSilently(id, to, content) => {
                source.with(|state| state.put_silently(&item(id), &folder(to), &[*content]));
            }
            Op::DeleteSilently(id) => source.with(|state| state.delete_silently(&item(id))),
            Op::Backup => drop(world.backup().await),
        }
    }
    world.options.proofs_max = 100;
    checked(&mut world, SyncCheck::Repair).await;
    let fresh = World::new(&source).await;
    fresh.backup().await;
    assert_eq!(world.state().await, fresh.state().await);
    let again = checked(&mut world, SyncCheck::Report).await;
    assert!(again.is_none(), "{again:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn after_a_repair_the_snapshot_equals_a_full_backup(ops in ops(), drive in any::<bool>()) {
        let layout = if drive { Layout::Drive } else { Layout::Mailbox };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(repairs_everything(layout, &ops));
    }
}
