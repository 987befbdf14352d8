//! A run that ends anywhere costs the page at hand; the next one goes on where it ended.

use std::task::Poll;
use std::time::Duration;

use backup_engine::{RunOutcome, Silent};
use backup_store::StopSignal;
use m365_simulator::{ChangeSpec, Tenant};

use crate::support::{World, assert_same, content_requests, small_tenant};

fn one_by_one(world: &mut World) {
    world.options.parallel_resources = 1;
    world.options.requests_per_resource = 1;
}

async fn uninterrupted(tenant: &Tenant) -> World {
    let world = World::new(tenant).await;
    assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
    world
}

#[tokio::test]
async fn a_run_dropped_after_any_commit_fetches_nothing_committed_again() {
    let expected = uninterrupted(&small_tenant(30)).await.state().await;
    let mut drops = 0;
    for commits in 1.. {
        let tenant = small_tenant(30);
        let mut world = World::new(&tenant).await;
        one_by_one(&mut world);
        let finished = world.backup_dropped_after(commits).await.is_some();
        let report = world.backup().await;
        assert_eq!(report.outcome, RunOutcome::Complete);
        let items = expected
            .values()
            .map(|state| state.items.len() as u64)
            .sum::<u64>();
        assert_eq!(
            content_requests(&tenant),
            items,
            "dropped after {commits} commits"
        );
        assert_same(&world.state().await, &expected);
        if finished {
            break;
        }
        drops += 1;
    }
    assert!(drops > 10, "only {drops} drops");
}

#[tokio::test]
async fn runs_dropped_again_and_again_come_to_the_same_end() {
    let tenant = small_tenant(31);
    let world = World::new(&tenant).await;
    let mut runs = 0;
    while world.backup_dropped_after(1 + runs % 3).await.is_none() {
        runs += 1;
        assert!(runs < 500, "it does not come to an end");
    }
    assert!(runs > 5, "only {runs} drops");
    assert_same(
        &world.state().await,
        &uninterrupted(&tenant).await.state().await,
    );
}

/// Runs until so many contents were asked for in all, whatever page they belong to.
async fn backup_dropped_at_content(world: &World, contents: u64) {
    let enough = std::future::poll_fn(|context| {
        if content_requests(&world.tenant) >= contents {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    });
    let (job, stop) = (world.job(), StopSignal::new());
    tokio::select! {
        biased;
        () = enough => {}
        report = job.run(&Silent, &stop) => assert!(report.is_err(), "it came to its end"),
    }
}

#[tokio::test]
async fn what_came_of_a_page_is_not_fetched_again() {
    let expected = uninterrupted(&small_tenant(34)).await.state().await;
    let items = expected.values().map(|state| state.items.len() as u64);
    let items = items.sum::<u64>();
    for contents in [3, 8, 13, 18, 29, 41] {
        let tenant = small_tenant(34);
        let mut world = World::new(&tenant).await;
        one_by_one(&mut world);
        world.options.keep_after = Duration::ZERO;
        backup_dropped_at_content(&world, contents).await;
        assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
        let again = content_requests(&tenant) - items;
        assert!(again <= 2, "dropped at {contents}: {again} fetched again");
        assert_same(&world.state().await, &expected);
    }
}

#[tokio::test]
async fn what_came_of_a_page_and_was_deleted_or_changed_since_is_not_kept() {
    for contents in [3, 8, 13, 18, 29, 41] {
        let tenant = small_tenant(35);
        let mut world = World::new(&tenant).await;
        one_by_one(&mut world);
        world.options.keep_after = Duration::ZERO;
        backup_dropped_at_content(&world, contents).await;
        tenant.change(&ChangeSpec {
            seed: contents,
            amount: 80,
        });
        assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
        assert_same(
            &world.state().await,
            &uninterrupted(&tenant).await.state().await,
        );
    }
}

#[tokio::test]
async fn an_incremental_run_dropped_anywhere_comes_to_the_same_end() {
    for commits in [1, 2, 3, 5, 8] {
        let tenant = small_tenant(32);
        let world = World::new(&tenant).await;
        world.backup().await;
        tenant.change(&ChangeSpec {
            seed: 5,
            amount: 60,
        });
        world.backup_dropped_after(commits).await;
        tenant.change(&ChangeSpec {
            seed: 6,
            amount: 30,
        });
        assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
        assert_same(
            &world.state().await,
            &uninterrupted(&tenant).await.state().await,
        );
    }
}

#[tokio::test]
async fn a_run_asked_to_stop_publishes_what_it_has_and_needs_no_journal() {
    let tenant = small_tenant(33);
    let mut world = World::new(&tenant).await;
    one_by_one(&mut world);
    let report = world.backup_stopped_after(4).await;
    assert_eq!(report.outcome, RunOutcome::Interrupted);
    std::fs::remove_dir_all(world.state_dir.path()).unwrap();
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::Complete);
    let state = world.state().await;
    let items = state
        .values()
        .map(|state| state.items.len() as u64)
        .sum::<u64>();
    assert_eq!(content_requests(&tenant), items);
    assert_same(&state, &uninterrupted(&tenant).await.state().await);
}
