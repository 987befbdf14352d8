//! Lives: one run of the engine in a world, under a fault plan.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backup_engine::{
    BackupJob, BackupOptions, Event, Observer, OneDriveSource, OutlookSource, Result, RunReport,
    Source,
};
use backup_store::fault::{Effect, FaultBackend, FaultPlan};
use backup_store::{Backend, StopSignal, Store};
use m365_auth::{Charge, LimitedTransport, LimiterMode, ServiceTransport, Transport};
use m365_graph::{GraphClient, GraphOptions};
use m365_simulator::Tenant;

use super::clock::{Clock, TrueTime};
use super::guest::Guest;
use super::mix;
use super::network::Network;
use super::signed_in::App;
use super::trouble::{Class, Phase, Trouble};
use super::world::{Template, World};

/// How a run goes about its work.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Messages per page.
    pub page: u32,
    /// Drive items per page.
    pub list_page: u32,
    pub requests_per_resource: usize,
    pub parallel_resources: usize,
    pub checkpoint_items: usize,
    /// So much of what came has some of it kept.
    pub keep_items: usize,
    pub latency_ms: u64,
    /// The run is asked to stop after so many pages, if at all.
    pub stop_after: Option<u64>,
    /// After how long what has come of a page is kept.
    pub keep_after_ms: u64,
}

/// How a life went.
#[derive(Debug)]
pub struct Life {
    /// What the run reported; `None` if the machine stopped.
    pub report: Option<Result<RunReport>>,
    pub effects: Vec<Effect>,
    /// The states of the tenant during it, by their places in the history.
    pub interval: std::ops::RangeInclusive<usize>,
    /// Contents that were fetched.
    pub fetched: Vec<String>,
    pub elapsed: Duration,
    pub backend: Arc<FaultBackend>,
}

/// Runs the engine once, to its end or until the machine stops.
pub async fn live(
    template: &Template,
    world: &mut World,
    manner: &Manner,
    plan: FaultPlan,
    seed: u64,
) -> Life {
    troubled(template, world, manner, plan, None, seed).await
}

/// Runs the engine once, while the service does something wrong.
pub async fn troubled(
    template: &Template,
    world: &mut World,
    manner: &Manner,
    plan: FaultPlan,
    trouble: Option<Arc<Trouble>>,
    seed: u64,
) -> Life {
    world.machine = world.machine.fork(&plan);
    world.lives += 1;
    world.traffic.fetched.clear();
    let from = world.traffic.history.len() - 1;
    let truth = TrueTime::from(world.now_ms);
    let clock = Clock::new(truth, mix(seed, world.lives));
    world.tenant.set_clock(move || truth.system());
    let memory: Arc<dyn Backend> = Arc::new(world.memory.clone());
    let backend = Arc::new(FaultBackend::new(memory, plan.clone()));
    let traffic = std::mem::take(&mut world.traffic);
    let jump = trouble
        .as_ref()
        .filter(|trouble| (trouble.class, trouble.phase) == (Class::ClockJump, Phase::Commit));
    let observer = Jumper {
        clock: clock.clone(),
        jump: jump.cloned(),
        commits: AtomicU64::new(0),
        stop_after: manner.stop_after,
        stop: StopSignal::new(),
    };
    let guest = Guest::new();
    let network = Network::new(
        &world.tenant,
        plan.clone(),
        manner.latency_ms,
        traffic,
        trouble,
        clock.clone(),
        guest.clone(),
    );
    let report = {
        let run = async {
            let store = open(template, world, backend.clone(), &clock).await?;
            let job = job(store, world, manner, &network, &clock, &guest);
            job.run(&observer, &observer.stop).await
        };
        tokio::select! {
            biased;
            () = plan.stopped() => None,
            report = run => Some(report),
        }
    };
    let report = report.filter(|_| !plan.is_stopped());
    world
        .wrong
        .extend(guest.ends(matches!(report, Some(Ok(_)))));
    world.traffic = std::mem::take(&mut *network.traffic());
    let elapsed = Duration::from_millis((truth.now_ms() - world.now_ms).unsigned_abs());
    world.now_ms = truth.now_ms();
    Life {
        report,
        effects: plan.effects(),
        interval: from..=world.traffic.history.len() - 1,
        fetched: world.traffic.fetched.clone(),
        elapsed,
        backend,
    }
}

/// Sets the clock off, or asks the run to stop, when a page is committed.
#[derive(Debug)]
struct Jumper {
    clock: Arc<Clock>,
    jump: Option<Arc<Trouble>>,
    commits: AtomicU64,
    stop_after: Option<u64>,
    stop: StopSignal,
}

impl Observer for Jumper {
    fn event(&self, event: &Event) {
        if !matches!(event, Event::PageCommitted { .. }) {
            return;
        }
        let before = self.commits.fetch_add(1, Ordering::Relaxed);
        if let Some(jump) = self.jump.as_ref().filter(|jump| jump.after == before) {
            self.clock.jump_by_lot(jump.seed);
        }
        if self.stop_after == Some(before + 1) {
            self.stop.request();
        }
    }
}

async fn open(
    template: &Template,
    world: &World,
    backend: Arc<FaultBackend>,
    clock: &Arc<Clock>,
) -> Result<Store> {
    let store = template.open(backend, clock.clone()).await?;
    Ok(store.on_disk(&world.machine.disk)?)
}

fn job(
    store: Store,
    world: &World,
    manner: &Manner,
    network: &Arc<Network>,
    clock: &Arc<Clock>,
    guest: &Guest,
) -> BackupJob {
    let guided = (guest, LimiterMode::Refuse);
    let client = client(&world.tenant, manner, network, clock, guided);
    let sources: Vec<Arc<dyn Source>> = vec![
        Arc::new(OutlookSource::new(client.clone())),
        Arc::new(OneDriveSource::new(client)),
    ];
    let options = BackupOptions {
        state_dir: PathBuf::from("/state"),
        parallel_resources: manner.parallel_resources,
        requests_per_resource: manner.requests_per_resource,
        checkpoint_items: manner.checkpoint_items,
        keep_items: manner.keep_items,
        scheduler: guest.scheduler().clone(),
        keep_after: Duration::from_millis(manner.keep_after_ms),
        ..BackupOptions::default()
    };
    BackupJob::new(store, sources, options).with_journal(&world.machine.journal)
}

/// A client for the tenant that retries nothing.
pub fn client(
    tenant: &Tenant,
    manner: &Manner,
    network: &Arc<Network>,
    clock: &Arc<Clock>,
    (guest, mode): (&Guest, LimiterMode),
) -> GraphClient {
    let network = network.clone();
    let service = move |request| network.clone().handle(request);
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(service));
    let (limiter, others) = (guest.scheduler().limiter().clone(), Charge::at(["app"]));
    let limited = LimitedTransport::new(transport.clone(), limiter, mode, others);
    let options = GraphOptions {
        message_page_size: manner.page,
        list_page_size: manner.list_page,
        environment: clock.clone(),
        ..GraphOptions::default()
    };
    App::of(tenant).client(transport, Arc::new(limited), options)
}
