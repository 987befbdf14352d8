//! The engine alone, over metadata: its CPU time and its memory, for a tenant of any size.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use backup_engine::{BackupJob, BackupOptions, OutlookSource, RunReport, Silent, Source};
use backup_store::{
    CreateOptions, InlineOffload, KdfParams, LocalBackend, Passphrase, StopSignal, Store,
    StoreOptions,
};
use m365_auth::{Cloud, QueueLimits, Scheduler, SharedLimiter};
use m365_graph::limits::{TenantSize, limit_table};
use tokio::time::Instant;

use crate::metadata::{Answering, HOST, Sizes, WithoutContent, cpu_nanoseconds, transport};
use crate::signed_in::App;
use crate::world::limited;

/// What one run over metadata has shown.
#[derive(Debug)]
pub(crate) struct Alone {
    pub(crate) report: RunReport,
    pub(crate) took: Duration,
    pub(crate) requests: u64,
    /// CPU time of the engine: that of the answers is left out.
    pub(crate) cpu: Duration,
    pub(crate) answers: Duration,
    pub(crate) peak_mib: u64,
}

/// Creates an empty store in a folder, so that what it holds takes no memory.
pub(crate) async fn store(folder: &Path) -> Store {
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    let options = StoreOptions {
        offload: Arc::new(InlineOffload),
        ..StoreOptions::default()
    };
    let backend = LocalBackend::create_with(folder.join("store"), Arc::new(InlineOffload));
    let backend = Arc::new(backend.expect("a folder"));
    let created = Store::create(backend, &Passphrase::new("bench"), create, options).await;
    created.expect("a store")
}

/// Runs the engine once with the options that it has by default.
pub(crate) async fn run(
    store: &Store,
    folder: &Path,
    sizes: &Arc<Sizes>,
    latency: Duration,
) -> Alone {
    let answering = Arc::new(Answering::default());
    let limiter = SharedLimiter::new(limit_table(TenantSize::default()));
    let scheduler = Scheduler::new(limiter.clone(), QueueLimits::default());
    let wire = transport(sizes, &answering, latency);
    let source = WithoutContent {
        mail: OutlookSource::new(limited(&app(), wire, &limiter)),
        limiter,
        latency,
        answering: Arc::clone(&answering),
    };
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(source)];
    let options = BackupOptions {
        state_dir: folder.join("state"),
        scheduler,
        ..BackupOptions::default()
    };
    let job = BackupJob::new(store.clone(), sources, options);
    let (began, before) = (Instant::now(), cpu_nanoseconds());
    let report = Box::pin(job.run(&Silent, &StopSignal::new())).await;
    let spent = cpu_nanoseconds().saturating_sub(before);
    let answers = answering.nanoseconds.load(Ordering::Relaxed);
    Alone {
        report: report.expect("a run"),
        took: began.elapsed(),
        requests: answering.requests.load(Ordering::Relaxed),
        cpu: Duration::from_nanos(spent.saturating_sub(answers)),
        answers: Duration::from_nanos(answers),
        peak_mib: peak_mib(),
    }
}

/// The app of a tenant that only answers.
fn app() -> App {
    let (login, ews) = ("https://login.example/", "https://ews.example/");
    let cloud = Cloud::from_record("generated", login, HOST, ews);
    App {
        cloud: cloud.expect("addresses"),
        tenant: "contoso".to_owned(),
        id: "app".to_owned(),
        secret: "secret".to_owned(),
    }
}

/// The most memory that this program ever had; 0 where the system does not say.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) / 1024
}
