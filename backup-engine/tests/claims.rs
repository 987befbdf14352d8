//! Runs that share their work: each resource is one worker's at a time, nothing is lost when a
//! worker is, and nothing that a stale worker does is continued.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use backup_engine::coordinator::{Answer, Ask, Grant, SqliteCoordinator, Wanted, WorkerId};
use backup_engine::{
    BackupJob, BackupOptions, Coordination, Coordinator, ErrorKind, Event, Observer, RunOutcome,
    RunReport, Silent, Source,
};
use backup_store::catalog::ResourceId;
use backup_store::{InlineOffload, StopSignal, SystemEnvironment};
use support::service::{Layout, MemorySource, fetched_twice};
use support::world::World;

const TERM: Duration = Duration::from_secs(3600);

async fn coordinator(world: &World, term: Duration) -> Arc<dyn Coordinator> {
    let path = world.state_dir.path().join("coordinator.sqlite");
    let (environment, work) = (Arc::new(SystemEnvironment), Arc::new(InlineOffload));
    let opened = SqliteCoordinator::open(&path, term, environment, work).await;
    Arc::new(opened.unwrap())
}

/// The options of a worker with a state folder of its own.
async fn options(world: &World, name: &str, shared: bool, term: Duration) -> BackupOptions {
    BackupOptions {
        state_dir: world.state_dir.path().join(name),
        coordination: Some(Coordination {
            coordinator: coordinator(world, term).await,
            worker: WorkerId::new(name),
            budget: "tenant".to_owned(),
            shared,
        }),
        ..world.options.clone()
    }
}

fn job(world: &World, options: BackupOptions) -> BackupJob {
    let source: Arc<dyn Source> = Arc::new(world.source.clone());
    BackupJob::new(world.store.clone(), vec![source], options)
}

async fn filled() -> World {
    let source = MemorySource::new(Layout::Mailbox, 2);
    {
        let mut state = source.state();
        state.add_container("f0", "Inbox");
        for number in 0..9 {
            state.put(&format!("i{number}"), "f0", &[number; 3]);
        }
    }
    let mut world = World::new(&source).await;
    world.options.checkpoint_items = 2;
    world
}

async fn run(job: &BackupJob) -> RunReport {
    job.run(&Silent, &StopSignal::new()).await.unwrap()
}

/// Claims the resource of the world from outside.
async fn steal(world: &World, from: &Arc<dyn Coordinator>, resource: &ResourceId) -> Grant {
    let ask = Ask {
        worker: WorkerId::new("thief"),
        store: world.store.id(),
        floor: 0,
        holding: Vec::new(),
        wanted: Wanted::Resource(resource.clone()),
    };
    match from.claim(ask).await.unwrap() {
        Answer::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

fn claimed_as(world: &World, report: &RunReport) -> ResourceId {
    let resource = &report.resources[0].resource;
    ResourceId::of(&world.source.service(), &resource.owner_id)
}

#[tokio::test]
async fn a_shared_run_is_done_once_and_its_workers_agree() {
    let world = filled().await;
    let first = job(&world, options(&world, "a", true, TERM).await);
    let second = job(&world, options(&world, "b", true, TERM).await);
    let (one, other) = tokio::join!(run(&first), run(&second));
    assert_eq!(one.run, other.run, "they share one run");
    let worked = one.resources.len() + other.resources.len();
    assert_eq!(worked, 1, "the one resource is one worker's");
    for report in [&one, &other] {
        assert_eq!(report.outcome, RunOutcome::Complete);
        assert_eq!(report.standing.unwrap().done, 1);
        assert_eq!(report.standing.unwrap().failed, 0);
    }
    let fresh = World::new(&world.source).await;
    fresh.backup().await;
    assert_eq!(world.state().await, fresh.state().await);
}

#[tokio::test]
async fn claim_tokens_of_snapshots_grow_from_claim_to_claim() {
    let world = filled().await;
    let mut last = 0;
    for (round, name) in ["a", "b", "a", "a", "b"].into_iter().enumerate() {
        world
            .source
            .state()
            .put("i0", "f0", &[100 + u8::try_from(round).unwrap(); 3]);
        run(&job(
            &world,
            options(&world, name, round % 2 == 0, TERM).await,
        ))
        .await;
        let token = world.newest().await.token;
        assert!(token > last, "{token} after {last}");
        last = token;
    }
}

/// Takes the claim away as soon as a page is committed, and publishes nothing itself.
#[derive(Debug)]
struct Thief(tokio::sync::Notify);

impl Observer for Thief {
    fn event(&self, event: &Event) {
        if matches!(event, Event::PageCommitted { .. }) {
            self.0.notify_one();
        }
    }
}

#[tokio::test]
async fn a_worker_whose_claim_is_lost_publishes_nothing_more_and_harms_nothing() {
    let world = filled().await;
    let report = run(&job(&world, options(&world, "a", false, TERM).await)).await;
    let resource = claimed_as(&world, &report);
    let before = world.newest().await;
    for number in 0..9 {
        world
            .source
            .state()
            .put(&format!("i{number}"), "f0", &[50 + number; 3]);
    }
    // Its claims run out at once, and it asks for them before it publishes.
    let hurried = job(&world, options(&world, "a", false, Duration::ZERO).await);
    let thief = Thief(tokio::sync::Notify::new());
    let lasting = coordinator(&world, TERM).await;
    let stop = StopSignal::new();
    let robbery = async {
        thief.0.notified().await;
        steal(&world, &lasting, &resource).await
    };
    let (ended, grant) = tokio::join!(hurried.run(&thief, &stop), robbery);
    let ended = ended.unwrap();
    assert!(ended.resources.is_empty(), "{:?}", ended.resources);
    assert!(
        ended.left_out[0].reason.contains("taken it over"),
        "{:?}",
        ended.left_out
    );
    let after = world.newest().await;
    assert!(after.token < grant.claim.token);
    assert!(after.token == before.token || after.parent.is_some());
    lasting.release(&grant.claim).await.unwrap();
    run(&job(&world, options(&world, "b", false, TERM).await)).await;
    assert!(world.newest().await.token > grant.claim.token);
    let fresh = World::new(&world.source).await;
    fresh.backup().await;
    assert_eq!(world.state().await, fresh.state().await);
}

#[tokio::test]
async fn a_second_process_under_the_same_name_ends_before_it_harms_the_first() {
    let world = filled().await;
    let options = options(&world, "a", false, TERM).await;
    let first = job(&world, options.clone());
    let thief = Thief(tokio::sync::Notify::new());
    let stop = StopSignal::new();
    let second = async {
        thief.0.notified().await;
        let refused = job(&world, options).run(&Silent, &StopSignal::new()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Journal);
    };
    let (ended, ()) = tokio::join!(first.run(&thief, &stop), second);
    let ended = ended.unwrap();
    assert_eq!(
        (ended.outcome, ended.left_out.len()),
        (RunOutcome::Complete, 0)
    );
}

#[tokio::test]
async fn a_run_waits_for_what_another_worker_holds() {
    let world = filled().await;
    let report = run(&job(&world, options(&world, "a", false, TERM).await)).await;
    let lasting = coordinator(&world, TERM).await;
    let grant = steal(&world, &lasting, &claimed_as(&world, &report)).await;
    world.source.state().put("i0", "f0", b"new");
    let waiting = job(&world, options(&world, "a", false, TERM).await);
    let heard = Waiting(tokio::sync::Notify::new());
    let stop = StopSignal::new();
    let released = async {
        heard.0.notified().await;
        lasting.release(&grant.claim).await.unwrap();
    };
    let (ended, ()) = tokio::join!(waiting.run(&heard, &stop), released);
    assert_eq!(ended.unwrap().totals.stored, 1);
}

#[tokio::test]
async fn what_another_worker_has_published_meanwhile_is_continued_and_not_fetched_again() {
    let world = filled().await;
    let first = job(&world, options(&world, "a", false, TERM).await);
    let second = job(&world, options(&world, "b", false, TERM).await);
    let thief = Thief(tokio::sync::Notify::new());
    let stop = StopSignal::new();
    let later = async {
        thief.0.notified().await;
        // It lists what is published now: not what the other one is about to publish.
        run(&second).await
    };
    let (one, other) = tokio::join!(first.run(&thief, &stop), later);
    assert_eq!(one.unwrap().totals.stored, 9);
    assert_eq!(
        (other.totals.stored, other.totals.seen),
        (0, 0),
        "{:?}",
        other.totals
    );
    let twice = fetched_twice(&world.source.state().fetched);
    assert!(twice.is_empty(), "{twice:?}");
    let listing = world.store.snapshots().await.unwrap();
    let roots = listing
        .iter()
        .filter(|entry| entry.snapshot.parent.is_none());
    assert_eq!(roots.count(), 1, "one line of snapshots");
}

/// Hears that a run waits for another worker.
#[derive(Debug)]
struct Waiting(tokio::sync::Notify);

impl Observer for Waiting {
    fn event(&self, event: &Event) {
        if let Event::Paused { cause, .. } = event
            && cause.contains("another worker")
        {
            self.0.notify_one();
        }
    }
}

#[tokio::test]
async fn what_a_dead_worker_left_is_done_by_the_others_or_by_itself() {
    for name in ["a", "b"] {
        let world = filled().await;
        let dead = job(
            &world,
            options(&world, "a", true, Duration::from_millis(50)).await,
        );
        let thief = Thief(tokio::sync::Notify::new());
        let stop = StopSignal::new();
        tokio::select! {
            biased;
            () = thief.0.notified() => {}
            _ = dead.run(&thief, &stop) => panic!("it ends before it dies"),
        }
        let next = job(&world, options(&world, name, true, TERM).await);
        let report = run(&next).await;
        assert_eq!(report.outcome, RunOutcome::Complete, "{name}");
        assert_eq!(report.resources.len(), 1);
        let fresh = World::new(&world.source).await;
        fresh.backup().await;
        assert_eq!(world.state().await, fresh.state().await);
    }
}
