//! Stories of restore: a generated tenant is backed up by backup-engine, written to another user by
//! restore-engine, and compared field by field by the simulator, which knows neither.

use std::path::Path;
use std::sync::Arc;

use backup_engine::{BackupJob, BackupOptions, OneDriveSource, OutlookSource, Silent};
use backup_store::catalog::{Service, SnapshotEntry};
use backup_store::{
    CreateOptions, KdfParams, MemoryBackend, Passphrase, StopSignal, Store, StoreOptions,
};
use bytes::Bytes;
use m365_auth::{ServiceTransport, Transport};
use m365_graph::GraphClient;
use m365_simulator::compare::{self, Comparison};
use m365_simulator::tenant::message::{Address, Attachment, Flag, Importance};
use m365_simulator::{Fault, FaultPlan, FaultRule, MessageInfo, NewMessage, Tenant, TenantSpec};
use restore_engine::{
    ConflictRule, Destination, DriveTarget, NoObserver, OutlookTarget, RestoreJournal,
    RestoreOutcome, RestorePlan, RestoreReport, RestoreRequest, Target, execute, plan,
};
use tempfile::TempDir;

use crate::support::client_over;

/// A tenant, a client that speaks to it in process, and a store with one backup of it.
pub(crate) struct Story {
    pub(crate) tenant: Tenant,
    pub(crate) client: GraphClient,
    pub(crate) store: Store,
    dir: TempDir,
}

fn in_process(tenant: &Tenant) -> Arc<dyn Transport> {
    let service = tenant.clone();
    Arc::new(ServiceTransport::new(
        move |request: http::Request<Bytes>| {
            let tenant = service.clone();
            async move { tenant.handle(request).await }
        },
    ))
}

impl Story {
    async fn begin(seed: u64) -> Self {
        Self::begin_over(seed, in_process).await
    }

    /// Begins with a transport of one's own to the tenant.
    pub(crate) async fn begin_over(
        seed: u64,
        transport: impl FnOnce(&Tenant) -> Arc<dyn Transport>,
    ) -> Self {
        let spec = TenantSpec {
            seed,
            users: 4,
            messages_per_user: 60,
            files_per_user: 25,
            logical_bytes: 12 << 20,
            ..TenantSpec::default()
        };
        let tenant = Tenant::generate(spec).unwrap();
        let client = client_over(&tenant, transport(&tenant));
        let dir = TempDir::new().unwrap();
        let mut create = CreateOptions::default();
        create.kdf = KdfParams::minimum();
        let passphrase = Passphrase::new("only for tests");
        let backend = Arc::new(MemoryBackend::new());
        let options = StoreOptions::default();
        let store = Store::create(backend, &passphrase, create, options)
            .await
            .unwrap();
        let story = Self {
            tenant,
            client,
            store,
            dir,
        };
        story.back_up().await;
        story
    }

    /// Takes a backup of the whole tenant.
    pub(crate) async fn back_up(&self) {
        let state_dir = self.dir.path().join("backup");
        let options = BackupOptions {
            state_dir,
            ..BackupOptions::default()
        };
        let outlook = Arc::new(OutlookSource::new(self.client.clone()));
        let drives = Arc::new(OneDriveSource::new(self.client.clone()));
        let job = BackupJob::new(self.store.clone(), vec![outlook, drives], options);
        let report = job.run(&Silent, &StopSignal::new()).await.unwrap();
        assert!(report.totals.check(), "{report:?}");
    }

    pub(crate) async fn snapshot(&self, service: Service, owner: &str) -> SnapshotEntry {
        let entries = self.store.snapshots().await.unwrap();
        let mut found = entries.into_iter().filter(|entry| {
            let resource = &entry.snapshot.resource;
            resource.service == service && resource.owner == owner
        });
        found.next_back().unwrap()
    }

    /// Two users that have both a mailbox and a drive.
    pub(crate) fn two_users(&self) -> (String, String) {
        let users = self.tenant.users().into_iter();
        let mut both = users.filter(|user| user.mailbox.is_some() && user.has_drive);
        let mut name = || both.next().unwrap().principal_name;
        (name(), name())
    }

    async fn run(&self, plan: &RestorePlan, target: &dyn Target, state: &Path) -> RestoreReport {
        let journal = RestoreJournal::open(state, &self.store).await.unwrap();
        let stop = StopSignal::new();
        execute(&self.store, plan, target, &journal, &NoObserver, &stop)
            .await
            .unwrap()
    }

    /// Counts the messages below a folder; the comparison does not mind surplus ones.
    fn messages_below(&self, user: &str, folder: &str) -> u64 {
        let messages = self.tenant.messages(user).into_iter();
        let path = |message: &MessageInfo| message.folder_path.trim_start_matches('/').to_owned();
        messages
            .filter(|message| path(message).starts_with(folder))
            .count() as u64
    }

    /// Restores to `target`, twice, and returns the first report.
    pub(crate) async fn restore(
        &self,
        request: &RestoreRequest,
        target: &dyn Target,
    ) -> RestoreReport {
        let state = self.dir.path().join("restore");
        let first = plan(&self.store, request, target).await.unwrap();
        let report = self.run(&first, target, &state).await;
        assert!(report.check(), "{report:?}");
        assert_eq!(report.outcome, RestoreOutcome::Complete, "{report:#?}");
        assert_eq!(report.written, first.totals.write);
        assert!(report.written > 0);
        let again = self.run(&first, target, &state).await;
        assert_eq!(again.written, 0, "a second run adds nothing: {again:?}");
        let second = plan(&self.store, request, target).await.unwrap();
        assert!(second.is_empty(), "a second plan is empty: {second}");
        report
    }
}

fn assert_holds(found: &Comparison, written: u64) {
    assert!(found.holds(), "{:#?}", found.mismatches);
    assert!(
        found.compared >= written,
        "{} compared, {written} written",
        found.compared
    );
}

pub(crate) fn to(owner: &str, snapshot: SnapshotEntry, folder: Option<&str>) -> RestoreRequest {
    let mut request = RestoreRequest::everything(snapshot);
    request.destination = Destination::Owner(owner.to_owned());
    request.into_folder = folder.map(str::to_owned);
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_restored_to_another_user_equals_its_source() {
    let story = Story::begin(11).await;
    let (adele, bob) = story.two_users();
    let snapshot = story.snapshot(Service::Outlook, &adele).await;
    let target = OutlookTarget::new(story.client.clone(), &bob);
    let report = story
        .restore(&to(&bob, snapshot.clone(), Some("Restored")), &target)
        .await;
    let found = compare::mailbox(&story.tenant, &adele, &bob, Some("Restored"));
    assert_holds(&found, report.written);
    assert_eq!(story.messages_below(&bob, "Restored"), report.written);
    let report = story.restore(&to(&bob, snapshot, None), &target).await;
    let found = compare::mailbox(&story.tenant, &adele, &bob, None);
    assert!(
        found.compared >= report.written,
        "merged into the other mailbox: {found:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drive_restored_to_another_user_equals_its_source() {
    let story = Story::begin(12).await;
    let (adele, bob) = story.two_users();
    let snapshot = story.snapshot(Service::OneDrive, &adele).await;
    let target = DriveTarget::new(story.client.clone(), &bob);
    let report = story
        .restore(&to(&bob, snapshot, Some("Restored")), &target)
        .await;
    let found = compare::drive(&story.tenant, &adele, &bob, Some("Restored"));
    assert_holds(&found, report.written);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restoring_over_an_unchanged_original_writes_nothing() {
    let story = Story::begin(13).await;
    let (adele, _) = story.two_users();
    for rule in [
        ConflictRule::Skip,
        ConflictRule::Copy,
        ConflictRule::Replace,
    ] {
        let services: [(Service, Box<dyn Target>); 2] = [
            (
                Service::Outlook,
                Box::new(OutlookTarget::new(story.client.clone(), &adele)),
            ),
            (
                Service::OneDrive,
                Box::new(DriveTarget::new(story.client.clone(), &adele)),
            ),
        ];
        for (service, target) in services {
            let snapshot = story.snapshot(service.clone(), &adele).await;
            let mut request = RestoreRequest::everything(snapshot);
            request.conflict = rule;
            let plan = plan(&story.store, &request, target.as_ref()).await.unwrap();
            assert!(plan.is_empty(), "{service} {rule:?}: {plan}");
            assert!(plan.totals.skip > 0);
        }
    }
}

/// A message whose attachments fit neither into one call nor into one request each.
pub(crate) fn large_message() -> NewMessage {
    let bytes = |length: usize, step: usize| -> Vec<u8> {
        (0..length)
            .map(|at| (at.wrapping_mul(step) >> 3).to_le_bytes()[0])
            .collect()
    };
    let people = |name: &str| Address::new(name, format!("{name}@contoso.example"));
    NewMessage {
        subject: "Large".into(),
        html: Some("<p>three files</p>".into()),
        text: None,
        from: Some(people("adele")),
        to: vec![people("bob"), people("eve")],
        cc: Vec::new(),
        attachments: vec![
            Attachment::new("small.bin", "application/x-small", bytes(1_000, 7)),
            Attachment::new("middle.bin", "application/x-middle", bytes(2_600_000, 11)),
            Attachment::new("large.bin", "application/x-large", bytes(5_000_000, 13)),
        ],
        received: 1_750_000_000,
        draft: false,
        read: true,
        flag: Flag::default(),
        importance: Importance::default(),
        categories: vec!["Blue".into()],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_while_writing_double_nothing_and_lose_nothing() {
    let story = Story::begin(14).await;
    let (adele, bob) = story.two_users();
    let added = story.tenant.add_message(&adele, "inbox", large_message());
    assert!(added.is_some());
    story.back_up().await;
    // The one attachment that travels in a call of its own is added, and the answer lost: what the
    // message has become must be found, removed and written again.
    let rules = [
        ("*mailFolders/{id}/messages", 9, 3, Fault::LostAnswer),
        ("*messages/{id}/attachments", 0, 1, Fault::LostAnswer),
        ("*createUploadSession", 0, 1, Fault::Throttled(Some(0))),
        ("*childFolders", 4, 2, Fault::LostAnswer),
    ];
    let mut faults = FaultPlan::new(14);
    for (route, after, times, fault) in rules {
        faults = faults.with(FaultRule::new(route, fault).after(after).times(times));
    }
    let snapshot = story.snapshot(Service::Outlook, &adele).await;
    let target = OutlookTarget::new(story.client.clone(), &bob);
    story.tenant.set_faults(faults);
    let report = story
        .restore(&to(&bob, snapshot, Some("Restored")), &target)
        .await;
    assert_eq!(story.tenant.faults_hit(), 7);
    story.tenant.set_faults(FaultPlan::default());
    let found = compare::mailbox(&story.tenant, &adele, &bob, Some("Restored"));
    assert_holds(&found, report.written);
    assert_eq!(story.messages_below(&bob, "Restored"), report.written);
}
