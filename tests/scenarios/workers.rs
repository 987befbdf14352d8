//! Two workers on one budget: together they stay within what the service allows one app.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup_engine::coordinator::{SqliteCoordinator, WorkerId};
use backup_engine::{
    BackupJob, BackupOptions, Coordination, Coordinator, OneDriveSource, OutlookSource, RunOutcome,
    Silent, Source,
};
use backup_store::{InlineOffload, StopSignal, SystemEnvironment};
use m365_auth::{
    Charge, LimitTable, LimitedTransport, LimiterMode, Limits, QueueLimits, Scheduler,
    ServiceTransport, SharedLimiter, Transport, Unit,
};
use m365_simulator::Tenant;
use tokio::time::Instant;

use crate::support::{World, client_over, small_tenant};

/// What the service of this story allows: so many requests in any span of a minute.
const ALLOWED: u64 = 60;
const MINUTE: Duration = Duration::from_secs(60);

/// When requests came to the service.
type Log = Arc<Mutex<Vec<Instant>>>;

/// The options of one worker, with a limiter of its own that knows of no other.
fn worker(
    world: &World,
    name: &str,
    log: &Log,
    coordinator: &Arc<dyn Coordinator>,
) -> (BackupOptions, Vec<Arc<dyn Source>>) {
    let (tenant, log) = (world.tenant.clone(), log.clone());
    let service: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let (tenant, log) = (tenant.clone(), log.clone());
        async move {
            log.lock().unwrap().push(Instant::now());
            tokio::time::sleep(Duration::from_millis(100)).await;
            tenant.handle(request).await
        }
    }));
    let allowed = Limits::none().with_window(Unit::Requests, ALLOWED, MINUTE);
    let table = LimitTable::new().with(["*", "*"], allowed);
    let scheduler = Scheduler::new(SharedLimiter::new(table), QueueLimits::default());
    let limiter = scheduler.limiter().clone();
    let others = Charge::at(["app", "tenant"]);
    let service = LimitedTransport::new(service, limiter, LimiterMode::Refuse, others);
    let client = client_over(&world.tenant, Arc::new(service));
    let sources: Vec<Arc<dyn Source>> = vec![
        Arc::new(OutlookSource::new(client.clone())),
        Arc::new(OneDriveSource::new(client)),
    ];
    let options = BackupOptions {
        state_dir: world.state_dir.path().join(name),
        scheduler,
        parallel_resources: 1,
        coordination: Some(Coordination {
            coordinator: coordinator.clone(),
            worker: WorkerId::new(name),
            budget: "tenant".to_owned(),
            shared: true,
        }),
        ..world.options.clone()
    };
    (options, sources)
}

async fn coordinator(world: &World) -> Arc<dyn Coordinator> {
    let path = world.state_dir.path().join("coordinator.sqlite");
    let (environment, work) = (Arc::new(SystemEnvironment), Arc::new(InlineOffload));
    let opened = SqliteCoordinator::open(&path, MINUTE, environment, work).await;
    Arc::new(opened.unwrap())
}

fn most_in_a_minute(log: &[Instant]) -> usize {
    let within = |from: &Instant| {
        let inside = log.iter().filter(|at| *at >= from && **at < *from + MINUTE);
        inside.count()
    };
    log.iter().map(within).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn two_workers_together_stay_within_the_limits_of_the_service() {
    let tenant: Tenant = small_tenant(51);
    let world = World::new(&tenant).await;
    let coordinator = coordinator(&world).await;
    let log = Log::default();
    for name in ["a", "b"] {
        let id = WorkerId::new(name);
        coordinator.enter(&id, "tenant").await.unwrap();
    }
    let run = async |name| {
        let (options, sources) = worker(&world, name, &log, &coordinator);
        let job = BackupJob::new(world.store.clone(), sources, options);
        job.run(&Silent, &StopSignal::new()).await.unwrap()
    };
    let (one, other) = tokio::join!(run("a"), run("b"));
    for report in [&one, &other] {
        assert_eq!(report.outcome, RunOutcome::Complete);
        assert!(!report.resources.is_empty(), "it had a part of the work");
    }
    let log = log.lock().unwrap();
    let most = most_in_a_minute(&log);
    assert!(most as u64 <= ALLOWED, "{most} requests in a minute");
    assert!(log.len() as u64 > 2 * ALLOWED, "too few: {}", log.len());
}
