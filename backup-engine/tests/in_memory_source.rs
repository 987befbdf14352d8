//! Laws of the engine over a service in memory: whatever changes, whatever fails, wherever it is
//! interrupted, the newest snapshot is what a first backup of the same state would be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::path::Path;

use backup_engine::{ErrorKind, ResourceOutcome, RunOutcome};
use proptest::prelude::*;
use support::service::{Layout, MemorySource, State, fetched_twice};
use support::world::World;

/// One change of the service, or of what it is willing to do.
#[derive(Debug, Clone)]
enum Op {
    Put { id: u8, container: u8, content: u8 },
    Flag { id: u8 },
    Corrupt { id: u8, corrupt: bool },
    Move { id: u8, container: u8 },
    Delete { id: u8 },
    AddContainer { id: u8, name: u8 },
    RemoveContainer { id: u8 },
    Expire,
    Fault { throttled: bool },
    Backup,
    BackupDropped { after: usize },
    BackupStopped { after: usize },
}

fn ops(length: usize) -> impl Strategy<Value = Vec<Op>> {
    let one = prop_oneof![
        6 => (0..12_u8, 0..4_u8, any::<u8>())
            .prop_map(|(id, container, content)| Op::Put { id, container, content }),
        3 => (0..12_u8).prop_map(|id| Op::Flag { id }),
        1 => (0..12_u8, any::<bool>()).prop_map(|(id, corrupt)| Op::Corrupt { id, corrupt }),
        4 => (0..12_u8, 0..4_u8).prop_map(|(id, container)| Op::Move { id, container }),
        3 => (0..12_u8).prop_map(|id| Op::Delete { id }),
        2 => (0..4_u8, any::<u8>()).prop_map(|(id, name)| Op::AddContainer { id, name }),
        1 => (0..4_u8).prop_map(|id| Op::RemoveContainer { id }),
        1 => Just(Op::Expire),
        1 => any::<bool>().prop_map(|throttled| Op::Fault { throttled }),
        3 => Just(Op::Backup),
        2 => (1..6_usize).prop_map(|after| Op::BackupDropped { after }),
        1 => (1..6_usize).prop_map(|after| Op::BackupStopped { after }),
    ];
    prop::collection::vec(one, 0..length)
}

async fn apply(world: &World, op: &Op) {
    match op {
        Op::Backup | Op::BackupDropped { .. } | Op::BackupStopped { .. } => run(world, op).await,
        _ => change(&mut world.source.state(), op),
    }
}

fn change(state: &mut State, op: &Op) {
    let item = |id: &u8| format!("i{id}");
    let folder = |id: &u8| format!("f{id}");
    let there = |state: &State, id: &u8| state.containers.contains_key(&folder(id));
    match op {
        Op::Put {
            id,
            container,
            content,
        } if there(state, container) => {
            let content = if content % 16 == 0 {
                b"skip".to_vec()
            } else {
                vec![*content; 3]
            };
            state.put(&item(id), &folder(container), &content);
        }
        Op::Flag { id } => state.flag(&item(id)),
        Op::Corrupt { id, corrupt } => state.set_corrupt(&item(id), *corrupt),
        Op::Move { id, container } if there(state, container) => {
            state.move_item(&item(id), &folder(container));
        }
        Op::Delete { id } => state.delete(&item(id)),
        Op::AddContainer { id, name } => state.add_container(&folder(id), &format!("n{name}")),
        Op::RemoveContainer { id } => state.remove_container(&folder(id)),
        Op::Expire => state.expire_cursors(),
        Op::Fault { throttled } => {
            let kind = if *throttled {
                ErrorKind::Throttled
            } else {
                ErrorKind::Unavailable
            };
            state.faults.push_back(Some(kind));
        }
        Op::Put { .. } | Op::Move { .. } => {}
        Op::Backup | Op::BackupDropped { .. } | Op::BackupStopped { .. } => {}
    }
}

async fn run(world: &World, op: &Op) {
    match op {
        Op::BackupDropped { after } => drop(world.backup_dropped_after(*after).await),
        Op::BackupStopped { after } => drop(world.backup_stopped_after(*after).await),
        _ => {
            let report = world.backup().await;
            assert!(report.totals.check(), "{:?}", report.totals);
            assert_ne!(
                report.outcome,
                RunOutcome::Partial,
                "{:?}",
                report.resources
            );
        }
    }
}

async fn incremental_equals_full(layout: Layout, page_size: usize, checkpoint: usize, ops: &[Op]) {
    let source = MemorySource::new(layout, page_size);
    let mut world = World::new(&source).await;
    world.options.checkpoint_items = checkpoint;
    source.state().add_container("f0", "Inbox");
    for op in ops {
        apply(&world, op).await;
    }
    run(&world, &Op::Backup).await;
    let fresh = World::new(&source).await;
    fresh.backup().await;
    assert_eq!(world.state().await, fresh.state().await);
    assert_eq!(
        world.backup().await.resources[0].outcome,
        ResourceOutcome::Unchanged
    );
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48, max_shrink_iters: 300, ..ProptestConfig::default()
    })]

    #[test]
    fn incremental_mail_snapshots_equal_a_full_backup(
        ops in ops(40), page_size in 1_usize..6, checkpoint in prop_oneof![Just(1), Just(1000)],
    ) {
        runtime().block_on(incremental_equals_full(Layout::Mailbox, page_size, checkpoint, &ops));
    }

    #[test]
    fn incremental_drive_snapshots_equal_a_full_backup(
        ops in ops(40), page_size in 1_usize..6, checkpoint in prop_oneof![Just(1), Just(1000)],
    ) {
        runtime().block_on(incremental_equals_full(Layout::Drive, page_size, checkpoint, &ops));
    }
}

fn filled(layout: Layout, page_size: usize) -> MemorySource {
    let source = MemorySource::new(layout, page_size);
    source.with(|state| {
        for folder in ["f0", "f1", "f2"] {
            state.add_container(folder, folder);
        }
        for number in 0..24_u8 {
            let folder = format!("f{}", number % 3);
            state.put(&format!("i{number}"), &folder, &[number, 1, 2]);
        }
    });
    source
}

#[tokio::test]
async fn an_idle_run_asks_each_feed_once_and_stores_nothing() {
    let source = filled(Layout::Mailbox, 5);
    let world = World::new(&source).await;
    let first = world.backup().await;
    assert_eq!(first.outcome, RunOutcome::Complete);
    assert_eq!((first.totals.seen, first.totals.stored), (24, 24));
    assert_eq!(source.state().fetched.len(), 24);
    source.state().pages = 0;
    let idle = world.backup().await;
    assert_eq!(idle.resources[0].outcome, ResourceOutcome::Unchanged);
    let counts = source.with(|state| (state.fetched.len(), state.pages, state.located));
    assert_eq!(counts, (24, 4, 0));
    assert_eq!(world.store.snapshots().await.unwrap().len(), 1);
    assert_eq!(world.store.runs().await.unwrap().len(), 2);
}

#[tokio::test]
async fn moves_and_flags_cost_no_fetch_and_deletions_one_read() {
    let source = filled(Layout::Mailbox, 5);
    let world = World::new(&source).await;
    world.backup().await;
    source.with(|state| {
        state.flag("i0");
        state.move_item("i1", "f2");
        state.delete("i2");
        state.fetched.clear();
    });
    let report = world.backup().await;
    let totals = report.totals;
    assert_eq!(
        (totals.seen, totals.assumed, totals.moved, totals.removed),
        (2, 2, 1, 1)
    );
    let counts = source.with(|state| (state.fetched.len(), state.located));
    assert_eq!(counts, (0, 1));
}

#[tokio::test]
async fn an_expired_cursor_fetches_the_differences_only() {
    for layout in [Layout::Mailbox, Layout::Drive] {
        let source = filled(layout, 5);
        let world = World::new(&source).await;
        world.backup().await;
        source.with(|state| {
            state.put("i3", "f0", b"new content");
            state.delete("i4");
            state.expire_cursors();
            state.fetched.clear();
        });
        let report = world.backup().await;
        assert_eq!(report.outcome, RunOutcome::Complete);
        assert_eq!(source.state().fetched.len(), 1, "{layout:?}");
        assert_eq!(report.totals.removed, 1);
    }
}

#[tokio::test]
async fn a_run_dropped_after_any_commit_is_resumed_and_fetches_nothing_twice() {
    for layout in [Layout::Mailbox, Layout::Drive] {
        let mut dropped = 0;
        for commits in 1.. {
            let source = filled(layout, 3);
            let world = World::new(&source).await;
            let finished = world.backup_dropped_after(commits).await.is_some();
            let before = source.state().fetched.len();
            let report = world.backup().await;
            assert_eq!(report.outcome, RunOutcome::Complete);
            let fetched = source.state().fetched.clone();
            assert_eq!(
                fetched_twice(&fetched).len(),
                0,
                "after {commits}: {fetched:?}"
            );
            assert_eq!(fetched.len(), 24, "{before} of them before the drop");
            let fresh = World::new(&source).await;
            fresh.backup().await;
            assert_eq!(world.state().await, fresh.state().await);
            if finished {
                break;
            }
            dropped += 1;
        }
        assert!(dropped >= 8, "only {dropped} drops");
    }
}

#[tokio::test]
async fn a_run_asked_to_stop_after_any_commit_publishes_what_it_has() {
    for commits in 1..10 {
        let source = filled(Layout::Mailbox, 3);
        let world = World::new(&source).await;
        let report = world.backup_stopped_after(commits).await;
        assert_eq!(report.outcome, RunOutcome::Interrupted);
        // The state directory is lost; the store alone must be enough.
        std::fs::remove_dir_all(world.state_dir.path()).unwrap();
        assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
        assert_eq!(fetched_twice(&source.state().fetched).len(), 0);
        let fresh = World::new(&source).await;
        fresh.backup().await;
        assert_eq!(world.state().await, fresh.state().await);
    }
}

#[tokio::test]
async fn a_corrupt_item_costs_no_more_than_itself_and_is_tried_again() {
    let source = filled(Layout::Mailbox, 5);
    source.state().set_corrupt("i7", true);
    let world = World::new(&source).await;
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::CompleteWithQuarantine);
    assert_eq!((report.totals.stored, report.totals.quarantined), (23, 1));
    assert_eq!(report.quarantined[0].item_id, "i7");
    let again = world.backup().await;
    assert_eq!(again.outcome, RunOutcome::CompleteWithQuarantine);
    assert!(again.totals.check());
    source.state().items.get_mut("i7").unwrap().corrupt = false;
    let healed = world.backup().await;
    assert_eq!(healed.outcome, RunOutcome::Complete);
    assert_eq!(healed.totals.stored, 1);
}

#[tokio::test]
async fn a_service_that_stays_down_fails_the_resource_and_harms_nothing() {
    let source = filled(Layout::Mailbox, 5);
    let world = World::new(&source).await;
    world.backup().await;
    let before = world.state().await;
    source.state().put("i99", "f0", b"new");
    // Owners, resource and hierarchy are let through; then the feed of one folder gives up.
    let tries = world.options.retry.tries_max as usize;
    let mut faults = vec![None; 3];
    faults.extend(vec![Some(ErrorKind::Unavailable); tries]);
    source.state().faults.extend(faults);
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::Partial);
    assert_eq!(report.resources[0].error.as_deref(), Some("on purpose"));
    assert_eq!(world.state().await, before);
    assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
    assert_eq!(world.state().await.items.len(), 25);
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

async fn equals_a_fresh_backup(world: &World) {
    let fresh = World::new(&world.source).await;
    fresh.backup().await;
    assert_eq!(world.state().await, fresh.state().await);
}

/// Tree, cursors and journal come from one base: a state directory put back from an older time
/// must not be mixed with a newer snapshot.
#[tokio::test]
async fn a_journal_of_another_base_is_dropped() {
    let source = filled(Layout::Mailbox, 3);
    let world = World::new(&source).await;
    assert!(world.backup_dropped_after(4).await.is_none());
    let saved = tempfile::tempdir().unwrap();
    copy_dir(world.state_dir.path(), saved.path());
    world.backup().await;
    source.with(|state| {
        for number in 0..24_u8 {
            state.put(&format!("i{number}"), "f0", &[number, 9]);
        }
        state.delete("i5");
    });
    world.backup().await;
    std::fs::remove_dir_all(world.state_dir.path()).unwrap();
    copy_dir(saved.path(), world.state_dir.path());
    let fetched = source.state().fetched.len();
    let report = world.backup().await;
    assert_eq!(report.resources[0].outcome, ResourceOutcome::Unchanged);
    assert_eq!(source.state().fetched.len(), fetched);
    equals_a_fresh_backup(&world).await;
}

#[tokio::test]
async fn a_journal_whose_content_is_gone_falls_back_to_the_snapshot() {
    let source = filled(Layout::Mailbox, 3);
    let world = World::new(&source).await;
    assert!(world.backup_dropped_after(4).await.is_none());
    let mut removed = 0;
    for entry in std::fs::read_dir(world.state_dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            std::fs::remove_dir_all(path).unwrap();
            removed += 1;
        }
    }
    assert_eq!(removed, 1, "the spool is a directory");
    assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
    equals_a_fresh_backup(&world).await;
}

#[tokio::test]
async fn a_journal_that_cannot_be_read_costs_work_and_nothing_else() {
    let source = filled(Layout::Drive, 3);
    let world = World::new(&source).await;
    assert!(world.backup_dropped_after(4).await.is_none());
    let mut spoiled = 0;
    for entry in std::fs::read_dir(world.state_dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "journal")
        {
            std::fs::write(&path, b"this is not a database, whatever its name says").unwrap();
            spoiled += 1;
        }
    }
    assert_eq!(spoiled, 1);
    assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
    equals_a_fresh_backup(&world).await;
}

#[tokio::test]
async fn a_fenced_run_goes_on_under_a_new_lease_and_fetches_nothing_again() {
    let source = filled(Layout::Mailbox, 2);
    let mut world = World::new(&source).await;
    world.options.checkpoint_items = 4;
    let committed = Committed::default();
    let fence = async {
        committed.0.notified().await;
        let leases = world.store.backend().list("leases/").await.unwrap();
        for info in leases {
            let id = info.name.as_str().strip_prefix("leases/").unwrap();
            let lease = id.parse().unwrap();
            world
                .store
                .break_lease(&lease, "it is in the way")
                .await
                .unwrap();
        }
    };
    let (report, ()) = tokio::join!(world.try_backup(&committed), fence);
    assert_eq!(report.unwrap().outcome, RunOutcome::Complete);
    let fetched = source.state().fetched.clone();
    assert_eq!(fetched.len(), 24, "{:?}", fetched_twice(&fetched));
    let leases = world.store.backend().list("leases/").await.unwrap();
    assert!(leases.len() >= 2, "it was not fenced");
    let fresh = World::new(&source).await;
    fresh.backup().await;
    assert_eq!(world.state().await, fresh.state().await);
}

#[tokio::test]
async fn a_reset_that_an_interrupted_run_met_is_not_met_again() {
    let source = MemorySource::new(Layout::Drive, 1);
    source.with(|state| {
        state.add_container("f0", "Inbox");
        for id in ["i0", "i1", "i2"] {
            state.put(id, "f0", b"skip");
        }
    });
    let world = World::new(&source).await;
    world.backup().await;
    source.with(|state| state.expire_cursors());
    assert!(world.backup_dropped_after(1).await.is_none());
    world.backup().await;
    let idle = world.backup().await;
    assert_eq!(idle.resources[0].outcome, ResourceOutcome::Unchanged);
}

/// Runs until so many contents came, whatever became of them.
async fn killed_at_content(world: &World, contents: usize) -> bool {
    let enough = std::future::poll_fn(|context| {
        if world.source.state().fetched.len() >= contents {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    });
    tokio::select! {
        biased;
        () = enough => true,
        report = world.backup() => {
            assert_eq!(report.outcome, RunOutcome::Complete);
            false
        }
    }
}

/// The law: what a crash fetches again of one resource is what came and was not kept, of all feeds
/// under way together, and what was in flight; a checkpoint on the way changes nothing in that.
#[tokio::test]
async fn a_kill_at_any_content_repeats_less_than_a_page_of_the_resource() {
    const PAGE: usize = 8;
    const KEPT: usize = 3;
    const REQUESTS: usize = 4;
    for checkpoint in [1, 5, 1000] {
        let (mut kills, mut most) = (0, 0);
        for contents in 1.. {
            let source = filled(Layout::Mailbox, PAGE);
            let mut world = World::new(&source).await;
            world.options.requests_per_resource = REQUESTS;
            world.options.keep_items = KEPT;
            world.options.checkpoint_items = checkpoint;
            if !killed_at_content(&world, contents).await {
                break;
            }
            kills += 1;
            assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
            let again = source.state().fetched.len() - 24;
            most = most.max(again);
            assert!(
                again <= KEPT + REQUESTS, // Less than a page.
                "killed at {contents}, checkpoints at {checkpoint}: {again} fetched again"
            );
            equals_a_fresh_backup(&world).await;
        }
        assert!(kills >= 16, "only {kills} kills");
        println!("{kills} kills, checkpoints at {checkpoint}: at most {most} fetched again");
    }
}

/// Killed again and again, a few contents at a time: what each life adds is kept.
#[tokio::test]
async fn lives_cut_short_one_after_another_repeat_no_more_each() {
    let source = filled(Layout::Mailbox, 8);
    let mut world = World::new(&source).await;
    world.options.requests_per_resource = 4;
    world.options.keep_items = 3;
    world.options.checkpoint_items = 5;
    let (mut lives, mut contents) = (0, 9);
    while killed_at_content(&world, contents).await {
        lives += 1;
        contents = source.state().fetched.len() + 9;
    }
    let again = source.state().fetched.len() - 24;
    assert!(again <= lives * 7, "{again} in {lives} lives");
    equals_a_fresh_backup(&world).await;
}

async fn a_stop_loses_no_removed_folder(lose_cursors: bool) {
    for after in 1..8 {
        let source = filled(Layout::Mailbox, 1);
        let mut world = World::new(&source).await;
        world.options.checkpoint_items = 1;
        world.backup().await;
        source.with(|state| {
            if lose_cursors {
                state.expire_cursors();
            }
            state.remove_container("f0");
            state.put("new", "f1", b"new");
        });
        world.backup_stopped_after(after).await;
        world.backup().await;
        let fresh = World::new(&source).await;
        fresh.backup().await;
        let (world, fresh) = (world.state().await, fresh.state().await);
        assert_eq!(world, fresh, "stopped after {after}");
    }
}

#[tokio::test]
async fn a_stop_right_after_a_folder_went_leaves_nothing_of_it_behind() {
    a_stop_loses_no_removed_folder(false).await;
}

#[tokio::test]
async fn a_stop_right_after_a_folder_was_not_listed_leaves_nothing_of_it_behind() {
    a_stop_loses_no_removed_folder(true).await;
}

/// Says when the first page is committed.
#[derive(Debug, Default)]
struct Committed(tokio::sync::Notify);

impl backup_engine::Observer for Committed {
    fn event(&self, event: &backup_engine::Event) {
        if matches!(event, backup_engine::Event::PageCommitted { .. }) {
            self.0.notify_one();
        }
    }
}
