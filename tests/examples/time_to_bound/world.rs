//! One run: the whole engine against the simulated tenant, on virtual time, over a line.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backup_engine::{
    BackupJob, BackupOptions, OutlookSource, RunOutcome, RunReport, Silent, Source,
};
use backup_store::{
    CreateOptions, InlineOffload, KdfParams, MemoryBackend, Passphrase, StopSignal, Store,
    StoreOptions,
};
use futures_util::StreamExt;
use http::StatusCode;
use m365_auth::{
    Charge, LimitedTransport, LimiterMode, Limits, QueueLimits, Scheduler, ServiceTransport,
    SharedLimiter, Transport, Unit,
};
use m365_graph::limits::{TenantSize, limit_table};
use m365_graph::{GraphClient, GraphOptions};
use m365_simulator::{Fault, FaultPlan, FaultRule, Tenant, Throttling};
use tokio::time::Instant;

use crate::bound::Physics;
use crate::signed_in::App;

/// How somebody goes about it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strategy {
    pub(crate) name: &'static str,
    /// Mailboxes open at once, requests to each, requests in all and whether those are fewer where as
    /// much comes, requests a second in all.
    pub(crate) mailboxes: usize,
    pub(crate) each: usize,
    pub(crate) in_all: usize,
    pub(crate) adaptive: bool,
    pub(crate) a_second: Option<u64>,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Troubles {
    pub(crate) errors: f64,
    pub(crate) resets: f64,
    pub(crate) crashes: u32,
}

/// What a run has shown.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) took: Duration,
    pub(crate) answers: u64,
    pub(crate) refused: u64,
    pub(crate) stored: u64,
    pub(crate) complete: bool,
}

/// What went over the line.
#[derive(Debug, Default)]
struct Meter {
    answers: AtomicU64,
    refused: AtomicU64,
    /// When the line is free again.
    free: Mutex<Option<Instant>>,
}

impl Meter {
    /// Waits until a body has come over the line, one after the other.
    async fn carry(&self, bytes: usize, line: f64) {
        let takes = Duration::from_secs_f64(bytes as f64 / line);
        let arrives = {
            let mut free = self
                .free
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let now = Instant::now();
            let arrives = free.map_or(now, |free| free.max(now)) + takes;
            *free = Some(arrives);
            arrives
        };
        tokio::time::sleep_until(arrives).await;
    }
}

/// A transport to the tenant with latency (in the tenant) and a line; counts what comes back.
///
/// Bodies of messages are shrunk, and the line with them; other answers are not, so that only the
/// share that bodies were shrunk to goes over it.
fn transport(tenant: &Tenant, meter: &Arc<Meter>, line: f64, shrunk: f64) -> Arc<dyn Transport> {
    let (tenant, meter) = (tenant.clone(), Arc::clone(meter));
    Arc::new(ServiceTransport::new(move |request| {
        let (tenant, meter) = (tenant.clone(), Arc::clone(&meter));
        async move {
            let is_body = request.uri().path().ends_with("$value");
            let answer = tenant.handle(request).await?;
            meter.answers.fetch_add(1, Ordering::Relaxed);
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                meter.refused.fetch_add(1, Ordering::Relaxed);
            }
            let (head, mut body) = answer.into_parts();
            let mut pieces = Vec::new();
            let mut bytes = 0;
            while let Some(piece) = body.next().await {
                bytes += piece.as_ref().map_or(0, |piece| piece.len());
                pieces.push(piece);
            }
            let counted = if is_body {
                bytes
            } else {
                (bytes as f64 * shrunk) as usize
            };
            meter.carry(counted, line).await;
            let body = futures_util::stream::iter(pieces);
            Ok(http::Response::from_parts(head, body))
        }
    }))
}

/// Gives the tenant its limits, its latency, its troubles and the virtual clock.
fn prepare(tenant: &Tenant, users: usize, physics: &Physics, troubles: &Troubles) {
    let origin = Instant::now();
    let epoch = UNIX_EPOCH + Duration::from_secs(1_793_491_200);
    tenant.set_clock(move || -> SystemTime { epoch + origin.elapsed() });
    tenant.set_throttling(Throttling::documented(users as u64));
    let rule = |fault, share| FaultRule::new("*", fault).with_probability(share);
    let plan = FaultPlan::new(7)
        .with(rule(Fault::Unavailable, troubles.errors))
        .with(rule(Fault::Reset, troubles.resets))
        .with(FaultRule::new("*", Fault::Slow(physics.latency)));
    tenant.set_faults(plan);
    tenant.reset_counters();
}

/// Limits every request but those for tokens.
pub(crate) fn limited(app: &App, wire: Arc<dyn Transport>, limiter: &SharedLimiter) -> GraphClient {
    let others = Charge::at(["app"]);
    let limited = LimitedTransport::new(wire.clone(), limiter.clone(), LimiterMode::Refuse, others);
    app.client(wire, Arc::new(limited), GraphOptions::default())
}

fn scheduler(strategy: &Strategy) -> Scheduler {
    let limiter = SharedLimiter::new(limit_table(TenantSize::default()));
    if let Some(rate) = strategy.a_second {
        let second = Duration::from_secs(1);
        limiter.set_overall(Limits::none().with_window(Unit::Requests, rate, second));
    }
    let mut limits = QueueLimits::default();
    limits.units = strategy.in_all;
    limits.adaptive = strategy.adaptive;
    Scheduler::new(limiter, limits)
}

async fn store() -> Store {
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    let options = StoreOptions {
        offload: Arc::new(InlineOffload),
        ..StoreOptions::default()
    };
    let backend = Arc::new(MemoryBackend::new());
    let created = Store::create(backend, &Passphrase::new("bench"), create, options).await;
    created.expect("a store")
}

/// Plays one run, with its crashes, from nothing to the end.
pub(crate) async fn play(
    tenant: &Tenant,
    users: usize,
    strategy: &Strategy,
    troubles: &Troubles,
    physics: &Physics,
    about: (Duration, f64),
) -> Outcome {
    let (bound, shrunk) = about;
    prepare(tenant, users, physics, troubles);
    let meter = Arc::new(Meter::default());
    let wire = transport(tenant, &meter, physics.line, shrunk);
    let store = store().await;
    let folder = tempfile::tempdir().expect("a folder");
    let started = Instant::now();
    let report: RunReport = 'run: {
        for crash in 1..=troubles.crashes + 1 {
            let scheduler = scheduler(strategy);
            let client = limited(&App::of(tenant), Arc::clone(&wire), scheduler.limiter());
            let sources: Vec<Arc<dyn Source>> = vec![Arc::new(OutlookSource::new(client))];
            let options = BackupOptions {
                state_dir: folder.path().to_owned(),
                scheduler,
                parallel_resources: strategy.mailboxes,
                requests_per_resource: strategy.each,
                ..BackupOptions::default()
            };
            let job = BackupJob::new(store.clone(), sources, options);
            let stop = StopSignal::new();
            let run = Box::pin(job.run(&Silent, &stop));
            if crash > troubles.crashes {
                break 'run run.await.expect("a run");
            }
            // Spread over the run, so that each crash loses pages under way.
            let until = started + bound * crash / (troubles.crashes + 1);
            if let Ok(ended) = tokio::time::timeout_at(until, run).await {
                break 'run ended.expect("a run");
            }
        }
        unreachable!("the last run has no crash")
    };
    let took = started.elapsed();
    Outcome {
        took,
        answers: meter.answers.load(Ordering::Relaxed),
        refused: meter.refused.load(Ordering::Relaxed),
        stored: report.totals.stored,
        complete: report.outcome == RunOutcome::Complete,
    }
}
