//! What every story needs: a tenant, a store in memory, and runs of the backup engine on them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backup_engine::{
    BackupJob, BackupOptions, Event, Observer, OneDriveSource, OutlookSource, RetryLimits,
    RunReport, Silent, Source,
};
use backup_store::catalog::{
    Browse, Container, Item, ItemState, RepresentationKind, ResourceId, Snapshot, choose_parent,
};
use backup_store::{
    Backend, CreateOptions, InlineOffload, KdfParams, MemoryBackend, Passphrase, StopSignal, Store,
    StoreOptions,
};
use m365_auth::{ServiceTransport, Transport};
use m365_graph::{GraphClient, GraphOptions};
use m365_simulator::{Tenant, TenantSpec};
use tokio::sync::Notify;

use crate::signed_in::App;

/// A tenant of a few people, with little in it.
pub(crate) fn small_tenant(seed: u64) -> Tenant {
    Tenant::generate(TenantSpec {
        seed,
        users: 3,
        messages_per_user: 24,
        files_per_user: 8,
        logical_bytes: 2 << 20,
        mail_dir: None,
        files_dir: None,
    })
    .unwrap()
}

/// Returns a client for the tenant that retries nothing.
pub(crate) fn client(tenant: &Tenant) -> GraphClient {
    let service = tenant.clone();
    let transport: Arc<dyn Transport> = Arc::new(ServiceTransport::new(move |request| {
        let service = service.clone();
        async move {
            // A real request lets others run; so that a run can be dropped here, this one does.
            tokio::task::yield_now().await;
            service.handle(request).await
        }
    }));
    client_over(tenant, transport)
}

/// Returns a client for the tenant that retries nothing, over a transport of the caller's.
pub(crate) fn client_over(tenant: &Tenant, transport: Arc<dyn Transport>) -> GraphClient {
    App::of(tenant).client(transport.clone(), transport, GraphOptions::default())
}

/// A store for a tenant.
pub(crate) struct World {
    pub(crate) tenant: Tenant,
    pub(crate) backend: Arc<MemoryBackend>,
    pub(crate) store: Store,
    pub(crate) options: BackupOptions,
    pub(crate) state_dir: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new(tenant: &Tenant) -> Self {
        let backend = Arc::new(MemoryBackend::new());
        let mut create = CreateOptions::default();
        create.kdf = KdfParams::minimum();
        let options = StoreOptions {
            offload: Arc::new(InlineOffload),
            ..StoreOptions::default()
        };
        let passphrase = Passphrase::new("correct horse");
        let store = Store::create(backend.clone(), &passphrase, create, options)
            .await
            .unwrap();
        let state_dir = tempfile::tempdir().unwrap();
        let retry = RetryLimits {
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_millis(2),
            ..RetryLimits::default()
        };
        let options = BackupOptions {
            state_dir: state_dir.path().to_owned(),
            retry,
            ..BackupOptions::default()
        };
        Self {
            tenant: tenant.clone(),
            backend,
            store,
            options,
            state_dir,
        }
    }

    pub(crate) fn job(&self) -> BackupJob {
        let client = client(&self.tenant);
        let sources: Vec<Arc<dyn Source>> = vec![
            Arc::new(OutlookSource::new(client.clone())),
            Arc::new(OneDriveSource::new(client)),
        ];
        BackupJob::new(self.store.clone(), sources, self.options.clone())
    }

    pub(crate) async fn backup(&self) -> RunReport {
        let report = self.job().run(&Silent, &StopSignal::new()).await.unwrap();
        assert!(
            report.totals.check(),
            "totals do not add up: {:?}",
            report.totals
        );
        report
    }

    /// Runs until `commits` pages are committed, then drops the run; `None` if it was dropped.
    pub(crate) async fn backup_dropped_after(&self, commits: usize) -> Option<RunReport> {
        let counter = Counter::new(commits);
        let (job, stop) = (self.job(), StopSignal::new());
        tokio::select! {
            biased;
            () = counter.reached.notified() => None,
            report = job.run(&counter, &stop) => Some(report.unwrap()),
        }
    }

    /// Runs until `commits` pages are committed, then asks the run to stop.
    pub(crate) async fn backup_stopped_after(&self, commits: usize) -> RunReport {
        let counter = Counter::new(commits);
        self.job().run(&counter, &counter.stop).await.unwrap()
    }

    /// The newest snapshot of each resource.
    pub(crate) async fn newest(&self) -> BTreeMap<ResourceId, Snapshot> {
        let entries = self.store.snapshots().await.unwrap();
        let mut newest = BTreeMap::new();
        for entry in &entries {
            let id = &entry.snapshot.resource.id;
            let chosen = choose_parent(&entries, id).unwrap();
            newest.insert(id.clone(), chosen.snapshot.clone());
        }
        newest
    }

    /// The newest state of everything, with content in place of references.
    pub(crate) async fn state(&self) -> BTreeMap<ResourceId, State> {
        let mut states = BTreeMap::new();
        for (id, snapshot) in self.newest().await {
            states.insert(id, self.state_of(&snapshot).await);
        }
        states
    }

    pub(crate) async fn state_of(&self, snapshot: &Snapshot) -> State {
        let browse = Browse::over(self.store.clone(), snapshot);
        let mut state = State::default();
        for mut container in browse.containers().await.unwrap() {
            let properties = container.properties.take().unwrap();
            let properties = self
                .store
                .open_content(&properties)
                .collect(LIMIT)
                .await
                .unwrap();
            let properties = String::from_utf8(properties).unwrap();
            state.containers.push((container, properties));
        }
        let mut items = browse.items();
        while let Some(item) = items.next().await {
            let mut item = item.unwrap();
            let mut forms = BTreeMap::new();
            for form in std::mem::take(&mut item.representations) {
                let bytes = self
                    .store
                    .open_content(&form.content)
                    .collect(LIMIT)
                    .await
                    .unwrap();
                forms.insert(form.kind, bytes);
            }
            state.items.push((item, forms));
        }
        state
    }

    /// How many objects of a kind the store has.
    pub(crate) async fn objects(&self, prefix: &str) -> usize {
        self.backend.list(prefix).await.unwrap().len()
    }
}

const LIMIT: u64 = 64 << 20;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct State {
    pub(crate) containers: Vec<(Container, String)>,
    pub(crate) items: Vec<(Item, BTreeMap<RepresentationKind, Vec<u8>>)>,
}

/// Says where two states differ, shortly: whole states are megabytes.
pub(crate) fn assert_same(
    found: &BTreeMap<ResourceId, State>,
    expected: &BTreeMap<ResourceId, State>,
) {
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>()
    );
    for (id, expected) in expected {
        let found = &found[id];
        let containers = |state: &State| state.containers.clone();
        assert_eq!(
            containers(found),
            containers(expected),
            "containers of {id}"
        );
        let keys = |state: &State| {
            state
                .items
                .iter()
                .map(|(item, _)| (item.key.clone(), item.name.clone()))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(found), keys(expected), "items of {id}");
        for ((item, forms), (expected, expected_forms)) in found.items.iter().zip(&expected.items) {
            assert_eq!(item, expected, "record in {id}");
            for (kind, bytes) in expected_forms {
                let found = String::from_utf8_lossy(&forms[kind]);
                let expected = String::from_utf8_lossy(bytes);
                assert!(
                    found == expected,
                    "{kind} of {item:?}:\n{found:.600}\n{expected:.600}"
                );
            }
            assert_eq!(forms.len(), expected_forms.len());
            let quarantined = matches!(item.state, ItemState::Quarantined { .. });
            assert!(
                forms.len() == 2 || quarantined || matches!(item.state, ItemState::Skipped { .. })
            );
        }
    }
}

/// Requests for content so far: messages, and files.
pub(crate) fn content_requests(tenant: &Tenant) -> u64 {
    let counters = tenant.counters();
    let content = |route: &str| route.ends_with("/$value") || route.ends_with("/content");
    counters
        .routes()
        .filter(|(route, _)| content(route))
        .map(|(_, count)| count)
        .sum()
}

/// Feeds of all resources of a run.
pub(crate) fn feeds(report: &RunReport) -> u64 {
    report
        .resources
        .iter()
        .map(|resource| resource.feeds as u64)
        .sum()
}

/// Counts committed pages, and speaks up when there are enough.
#[derive(Debug)]
struct Counter {
    left: AtomicUsize,
    reached: Notify,
    stop: StopSignal,
}

impl Counter {
    fn new(commits: usize) -> Self {
        let left = AtomicUsize::new(commits);
        Self {
            left,
            reached: Notify::new(),
            stop: StopSignal::new(),
        }
    }
}

impl Observer for Counter {
    fn event(&self, event: &Event) {
        if let Event::PageCommitted { .. } = event
            && self.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            self.reached.notify_one();
            self.stop.request();
        }
    }
}
