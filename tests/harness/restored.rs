//! Restores: stopped anywhere, or answered badly, and begun again, a restore leaves what one leaves
//! that nothing disturbs, and the next one adds nothing (O9).

use std::path::Path;
use std::sync::Arc;

use backup_store::catalog::{Service, SnapshotEntry};
use backup_store::fault::{Fault, FaultPlan};
use backup_store::{Backend, StopSignal};
use m365_auth::LimiterMode;
use m365_simulator::{MailboxKind, Tenant};
use restore_engine::{
    Destination, NoObserver, OutlookTarget, RestoreJournal, RestoreOutcome, RestoreReport,
    RestoreRequest, ScheduledTarget, execute, plan,
};

use super::clock::{Clock, TrueTime};
use super::guest::Guest;
use super::life::{client, live};
use super::network::{Network, Traffic};
use super::points::complete;
use super::scenario::Scenario;
use super::world::{Template, World};
use super::{mix, people};

/// To whom mail is restored.
const OTHER: &str = "bob@contoso.example";

/// A store with a mailbox in it, and a tenant with an empty one.
struct Stage<'a> {
    template: &'a Template,
    world: World,
    snapshot: SnapshotEntry,
    seed: u64,
}

/// Plays a restore that something befalls at each of its requests; returns how many.
///
/// *Errors*: what is there twice or not at all, and after what.
pub async fn play(template: &Template, seed: u64) -> Result<u64, String> {
    let stage = Stage::new(template, seed).await?;
    let peace = stage.world.tenant.fork();
    let journal = tempfile::tempdir().unwrap();
    let nothing = FaultPlan::new();
    let report = stage.restore(&peace, journal.path(), &nothing).await;
    let written = whole(report)?.written;
    let (expected, requests) = (held(&peace), nothing.effects().len() as u64);
    if written == 0 || expected.len() as u64 != written {
        return Err(format!("{written} written, {} are there", expected.len()));
    }
    for at in 0..requests {
        let faults = [Fault::StopBefore, Fault::AnswerLost, Fault::StopAfter];
        let fault = faults[((seed + at) % 3) as usize];
        let words = |cause: String| format!("seed {seed}, {fault:?} at request {at}: {cause}");
        let tenant = stage.world.tenant.fork();
        let journal = tempfile::tempdir().unwrap();
        let disturbed = FaultPlan::new().with(at, fault);
        // How it ends is its own affair.
        drop(stage.restore(&tenant, journal.path(), &disturbed).await);
        let nothing = FaultPlan::new();
        let again = stage.restore(&tenant, journal.path(), &nothing).await;
        whole(again).map_err(words)?;
        let idle = stage.restore(&tenant, journal.path(), &nothing).await;
        let idle = whole(idle).map_err(words)?.written;
        if idle > 0 {
            return Err(words(format!("another restore writes {idle} again")));
        }
        let found = held(&tenant);
        if found != expected {
            return Err(words(format!("{found:?} is there, not {expected:?}")));
        }
    }
    Ok(requests)
}

/// What is in the mailbox: where, and by which subject.
fn held(tenant: &Tenant) -> Vec<(String, String)> {
    let messages = tenant.messages(OTHER).into_iter();
    let mut held: Vec<_> = messages.map(|m| (m.folder_path, m.subject)).collect();
    held.sort();
    held
}

fn whole(ended: Option<Result<RestoreReport, String>>) -> Result<RestoreReport, String> {
    match ended {
        Some(Ok(report)) if report.outcome == RestoreOutcome::Complete => Ok(report),
        other => Err(format!("a restore ends as {other:?}")),
    }
}

impl<'a> Stage<'a> {
    async fn new(template: &'a Template, seed: u64) -> Result<Self, String> {
        let tenant = people::tiny(seed);
        tenant.add_user(OTHER, "Bob", MailboxKind::User);
        let mut world = template.world(&tenant);
        let manner = Scenario::First.manner(seed);
        let life = live(template, &mut world, &manner, FaultPlan::new(), seed).await;
        complete(life.report.as_ref())?;
        let backend: Arc<dyn Backend> = Arc::new(world.memory.clone());
        let clock = Clock::new(TrueTime::from(world.now_ms), 4);
        let store = template.open(backend, clock).await;
        let entries = store.map_err(words)?.snapshots().await.map_err(words)?;
        let own = |entry: &SnapshotEntry| {
            let resource = &entry.snapshot.resource;
            resource.service == Service::Outlook && resource.owner == people::USER
        };
        let snapshot = entries.into_iter().find(own);
        Ok(Self {
            template,
            world,
            snapshot: snapshot.ok_or("there is no snapshot")?,
            seed,
        })
    }

    /// Restores once, to the end or until the machine stops.
    async fn restore(
        &self,
        tenant: &Tenant,
        journal: &Path,
        faults: &FaultPlan,
    ) -> Option<Result<RestoreReport, String>> {
        let truth = TrueTime::from(self.world.now_ms);
        let clock = Clock::new(truth, mix(self.seed, 5));
        tenant.set_clock(move || truth.system());
        let guest = Guest::new();
        let network = Network::new(
            tenant,
            faults.clone(),
            100,
            Traffic::default(),
            None,
            clock.clone(),
            guest.clone(),
        );
        let manner = Scenario::First.manner(self.seed);
        let client = client(
            tenant,
            &manner,
            &network,
            &clock,
            (&guest, LimiterMode::Wait),
        );
        let run = async {
            let backend: Arc<dyn Backend> = Arc::new(self.world.memory.clone());
            let store = self.template.open(backend, clock.clone()).await;
            let store = store.map_err(words)?;
            let target = OutlookTarget::new(client, OTHER);
            let target = ScheduledTarget::new(target, guest.scheduler());
            let request = RestoreRequest {
                destination: Destination::Owner(OTHER.to_owned()),
                ..RestoreRequest::everything(self.snapshot.clone())
            };
            let planned = plan(&store, &request, &target).await.map_err(words)?;
            let journal = RestoreJournal::open(journal, &store).await.map_err(words)?;
            let stop = StopSignal::new();
            let done = execute(&store, &planned, &target, &journal, &NoObserver, &stop).await;
            done.map_err(words)
        };
        let ended = tokio::select! {
            biased;
            () = faults.stopped() => None,
            ended = run => Some(ended),
        };
        let in_order = ended.is_some();
        match guest.ends(in_order).pop() {
            Some(wrong) => Some(Err(wrong)),
            None => ended,
        }
    }
}

fn words(cause: impl std::fmt::Display) -> String {
    cause.to_string()
}
