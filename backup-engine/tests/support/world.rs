//! A store in memory, a state directory, and runs of the engine on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backup_engine::{
    BackupJob, BackupOptions, Event, Observer, Result, RetryLimits, RunReport, Silent, Source,
};
use backup_store::catalog::{Browse, Container, Item, Snapshot, choose_parent};
use backup_store::{
    CreateOptions, InlineOffload, KdfParams, MemoryBackend, Offload, Passphrase, StopSignal, Store,
    StoreOptions,
};
use tokio::sync::Notify;

use super::service::MemorySource;

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) source: MemorySource,
    pub(crate) options: BackupOptions,
    pub(crate) state_dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(source: &MemorySource) -> Self {
        Self::with_offload(source, Arc::new(InlineOffload)).await
    }

    /// A world whose store works through `offload`.
    pub(crate) async fn with_offload(source: &MemorySource, offload: Arc<dyn Offload>) -> Self {
        let backend = Arc::new(MemoryBackend::new());
        let mut create = CreateOptions::default();
        create.kdf = KdfParams::minimum();
        let options = StoreOptions {
            offload,
            ..StoreOptions::default()
        };
        let passphrase = Passphrase::new("correct horse");
        let store = Store::create(backend, &passphrase, create, options)
            .await
            .unwrap();
        let state_dir = tempfile::tempdir().unwrap();
        let options = BackupOptions {
            state_dir: state_dir.path().to_owned(),
            requests_per_resource: 1,
            retry: RetryLimits {
                first_wait: Duration::from_millis(1),
                longest_wait: Duration::from_millis(2),
                ..RetryLimits::default()
            },
            ..BackupOptions::default()
        };
        Self {
            store,
            source: source.clone(),
            options,
            state_dir,
        }
    }

    pub(crate) fn job(&self) -> BackupJob {
        let source: Arc<dyn Source> = Arc::new(self.source.clone());
        BackupJob::new(self.store.clone(), vec![source], self.options.clone())
    }

    pub(crate) async fn backup(&self) -> RunReport {
        self.try_backup(&Silent).await.unwrap()
    }

    pub(crate) async fn try_backup(&self, observer: &dyn Observer) -> Result<RunReport> {
        self.job().run(observer, &StopSignal::new()).await
    }

    /// Runs until `commits` pages are committed, then drops the run; `None` if it was dropped.
    pub(crate) async fn backup_dropped_after(&self, commits: usize) -> Option<RunReport> {
        let dropper = Dropper::new(commits);
        let job = self.job();
        let stop = StopSignal::new();
        tokio::select! {
            biased;
            () = dropper.reached.notified() => None,
            report = job.run(&dropper, &stop) => Some(report.unwrap()),
        }
    }

    /// Runs until `commits` pages are committed, then asks the run to stop.
    pub(crate) async fn backup_stopped_after(&self, commits: usize) -> RunReport {
        let dropper = Dropper::new(commits);
        self.job().run(&dropper, &dropper.stop).await.unwrap()
    }

    pub(crate) async fn newest(&self) -> Snapshot {
        let entries = self.store.snapshots().await.unwrap();
        let resource = entries
            .first()
            .expect("a snapshot")
            .snapshot
            .resource
            .id
            .clone();
        choose_parent(&entries, &resource).unwrap().snapshot.clone()
    }

    /// The newest state, with content in place of references, so that stores can be compared.
    pub(crate) async fn state(&self) -> State {
        let snapshot = self.newest().await;
        let browse = Browse::over(self.store.clone(), &snapshot);
        let mut state = State {
            containers: Vec::new(),
            items: Vec::new(),
        };
        for mut container in browse.containers().await.unwrap() {
            let properties = container.properties.take().unwrap();
            let properties = self
                .store
                .open_content(&properties)
                .collect(1 << 20)
                .await
                .unwrap();
            state.containers.push((container, properties));
        }
        let mut items = browse.items();
        while let Some(item) = items.next().await {
            let mut item = item.unwrap();
            let mut forms = Vec::new();
            for form in std::mem::take(&mut item.representations) {
                let bytes = self
                    .store
                    .open_content(&form.content)
                    .collect(1 << 20)
                    .await
                    .unwrap();
                forms.push((form.kind.to_string(), bytes));
            }
            state.items.push((item, forms));
        }
        state
    }
}

/// The stored forms of an item, each with its bytes.
pub(crate) type Forms = Vec<(String, Vec<u8>)>;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    pub(crate) containers: Vec<(Container, Vec<u8>)>,
    pub(crate) items: Vec<(Item, Forms)>,
}

/// Counts committed pages, and speaks up when there are enough.
#[derive(Debug)]
struct Dropper {
    left: AtomicUsize,
    reached: Notify,
    stop: StopSignal,
}

impl Dropper {
    fn new(commits: usize) -> Self {
        let left = AtomicUsize::new(commits);
        Self {
            left,
            reached: Notify::new(),
            stop: StopSignal::new(),
        }
    }
}

impl Observer for Dropper {
    fn event(&self, event: &Event) {
        if let Event::PageCommitted { .. } = event
            && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            self.reached.notify_one();
            self.stop.request();
        }
    }
}
