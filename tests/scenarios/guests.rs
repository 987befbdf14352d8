//! A restore beside a backup in one process: on one scheduler they are one polite guest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use backup_engine::{
    BackupJob, BackupOptions, OneDriveSource, OutlookSource, RunOutcome, Silent, Source,
};
use backup_store::StopSignal;
use backup_store::catalog::{Service, SnapshotEntry};
use http::StatusCode;
use m365_auth::{
    Charge, LimitTable, LimitedTransport, LimiterMode, Limits, QueueLimits, Scheduler,
    ServiceTransport, SharedLimiter, Transport, Unit,
};
use m365_simulator::{Tenant, Throttling};
use restore_engine::{
    NoObserver, OutlookTarget, RestoreJournal, RestoreOutcome, ScheduledTarget, Target, execute,
    plan,
};
use tokio::time::Instant;

use crate::restore::to;
use crate::support::{World, client_over, small_tenant};

/// What the service of this story allows for one mailbox in ten minutes.
const ALLOWED: u64 = 40;
const WINDOW: Duration = Duration::from_secs(600);

/// What the service was asked, and what it refused.
#[derive(Debug, Default)]
struct Asked {
    requests: AtomicU64,
    refused: AtomicU64,
}

fn scheduler() -> Scheduler {
    let mailbox = Limits::none()
        .with_concurrency(4)
        .with_window(Unit::Requests, ALLOWED, WINDOW);
    let table = LimitTable::new().with(["*", "*", "exchange", "*"], mailbox);
    Scheduler::new(SharedLimiter::new(table), QueueLimits::default())
}

/// A way to the tenant by the limiter of a scheduler.
fn way(
    tenant: &Tenant,
    asked: &Arc<Asked>,
    by: &Scheduler,
    mode: LimiterMode,
) -> Arc<dyn Transport> {
    let (tenant, asked) = (tenant.clone(), asked.clone());
    let service: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let (tenant, asked) = (tenant.clone(), asked.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let answer = tenant.handle(request).await?;
            asked.requests.fetch_add(1, Ordering::Relaxed);
            let refused = answer.status() == StatusCode::TOO_MANY_REQUESTS;
            asked
                .refused
                .fetch_add(u64::from(refused), Ordering::Relaxed);
            Ok::<_, std::io::Error>(answer)
        }
    }));
    let others = Charge::at(["app"]);
    Arc::new(LimitedTransport::new(
        service,
        by.limiter().clone(),
        mode,
        others,
    ))
}

/// Backs up the whole tenant while a mailbox is restored into another; returns requests and
/// refusals.
async fn side_by_side(of_backup: &Scheduler, of_restore: &Scheduler) -> (u64, u64) {
    let tenant = small_tenant(61);
    let (midnight, began) = (
        UNIX_EPOCH + Duration::from_secs(1_793_491_200),
        Instant::now(),
    );
    tenant.set_clock(move || midnight + began.elapsed());
    let world = World::new(&tenant).await;
    world.backup().await;
    tenant.set_throttling(Throttling {
        mailbox_requests: Some(ALLOWED),
        ..Throttling::default()
    });
    let snapshots = world.store.snapshots().await.unwrap().into_iter();
    let mail = |entry: &SnapshotEntry| entry.snapshot.resource.service == Service::Outlook;
    let mut mailboxes: Vec<_> = snapshots.filter(mail).collect();
    mailboxes.sort_by_key(|entry| entry.snapshot.items.entries);
    let (source, other) = (mailboxes.pop().unwrap(), mailboxes.pop().unwrap());
    let owner = other.snapshot.resource.owner.clone();

    let asked = Arc::new(Asked::default());
    let fresh = World::new(&tenant).await;
    let backup = async {
        let transport = way(&tenant, &asked, of_backup, LimiterMode::Refuse);
        let client = client_over(&tenant, transport);
        let sources: Vec<Arc<dyn Source>> = vec![
            Arc::new(OutlookSource::new(client.clone())),
            Arc::new(OneDriveSource::new(client)),
        ];
        let options = BackupOptions {
            scheduler: of_backup.clone(),
            ..fresh.options.clone()
        };
        let job = BackupJob::new(fresh.store.clone(), sources, options);
        job.run(&Silent, &StopSignal::new()).await.unwrap()
    };
    let restore = async {
        let transport = way(&tenant, &asked, of_restore, LimiterMode::Wait);
        let target = OutlookTarget::new(client_over(&tenant, transport), &owner);
        let target = ScheduledTarget::new(target, of_restore);
        let request = to(&owner, source, Some("Restored"));
        let planned = plan(&world.store, &request, &target).await.unwrap();
        let state = world.state_dir.path().join("restore");
        let journal = RestoreJournal::open(&state, &world.store).await.unwrap();
        let stop = StopSignal::new();
        let target: &dyn Target = &target;
        let report = execute(&world.store, &planned, target, &journal, &NoObserver, &stop).await;
        let report = report.unwrap();
        assert_eq!(report.outcome, RestoreOutcome::Complete, "{report:#?}");
        assert_eq!(report.written, planned.totals.write);
        report
    };
    let (backed_up, restored) = tokio::join!(backup, restore);
    assert_eq!(backed_up.outcome, RunOutcome::Complete);
    assert!(restored.written >= 10, "too little to be limited");
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    (count(&asked.requests), count(&asked.refused))
}

#[tokio::test(start_paused = true)]
async fn a_restore_and_a_backup_on_one_scheduler_are_not_refused() {
    let one = scheduler();
    let (requests, refused) = Box::pin(side_by_side(&one, &one)).await;
    assert!(requests > 4 * ALLOWED, "only {requests} requests");
    assert!(
        refused * 1000 <= requests,
        "{refused} of {requests} refused"
    );
    assert_eq!(one.load(), (0, 0));
}

/// That the test above can fail: two who do not know of each other ask for too much.
#[tokio::test(start_paused = true)]
async fn a_restore_and_a_backup_that_know_nothing_of_each_other_are_refused() {
    let (requests, refused) = Box::pin(side_by_side(&scheduler(), &scheduler())).await;
    assert!(refused * 1000 > requests, "{refused} of {requests} refused");
}
