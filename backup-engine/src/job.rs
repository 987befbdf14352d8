//! Job: one run of a backup set, from the lease on the store to the run record.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use backup_store::catalog::{
    Drift, Resource, ResourceId, ResourceKind, SnapshotEntry, Totals, choose_parent,
};
use backup_store::{RunId, SnapshotId, StopSignal, Store, WriterOptions};
use futures_util::{StreamExt, TryStreamExt, stream};
use m365_auth::QueueLimits;

use crate::claims::{Claims, Hold, Taken, Verdict};
use crate::coordinator::{Coordination, SharedRun, Standing, Wanted};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Observer};
use crate::gate::{Gate, GateContext};
use crate::journal::{Entry, Header, Journal, Place, hang_together};
use crate::mutant::{Mutant, mutated};
use crate::options::BackupOptions;
use crate::publish::Publisher;
use crate::reader::Reader;
use crate::record::TAKEN_OVER;
use crate::report::{LeftOut, ResourceOutcome, ResourceReport, RunOutcome, RunReport};
use crate::resource::{ResourceRun, RunContext};
use crate::source::{Found, Owner, Source};
use crate::sync_check::SyncCheck;
use crate::tasks::{Assigned, Desk, Next, Task};
use crate::trees::Trees;
use crate::view::View;

/// Backs up what a selection covers into a store.
///
/// ```no_run
/// # async fn example(store: backup_store::Store, client: m365_graph::GraphClient)
/// # -> backup_engine::Result<()> {
/// use std::sync::Arc;
/// use backup_engine::{BackupJob, BackupOptions, Silent, source::OutlookSource};
///
/// let sources: Vec<Arc<dyn backup_engine::Source>> = vec![Arc::new(OutlookSource::new(client))];
/// let job = BackupJob::new(store, sources, BackupOptions::default());
/// let report = job.run(&Silent, &backup_store::StopSignal::new()).await?;
/// println!("{}", report.outcome.as_str());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BackupJob {
    store: Store,
    sources: Vec<Arc<dyn Source>>,
    options: BackupOptions,
    /// Where the journal lies, if not in the folder that the options name.
    journal: Option<Place>,
}

impl BackupJob {
    /// Creates a job; nothing happens before [`run`](Self::run).
    pub fn new(store: Store, sources: Vec<Arc<dyn Source>>, options: BackupOptions) -> Self {
        Self {
            store,
            sources,
            options,
            journal: None,
        }
    }

    pub(crate) fn options(&self) -> &BackupOptions {
        &self.options
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps the backup journal in memory, where it can fail (feature `fault-injection`).
    #[cfg(feature = "fault-injection")]
    #[must_use]
    pub fn with_journal(mut self, journal: &crate::fault::SimulatedJournal) -> Self {
        self.journal = Some(Place::Simulated(journal.clone()));
        self
    }

    /// Runs the backup to its end, or until `stop` is given: then the pages at hand are finished,
    /// what is committed is published, and the report says so.
    ///
    /// *Errors*: what concerns the run as a whole: a chosen user who is not there, the store, the
    /// journal, a login refused while looking for users. What concerns one resource or one item is
    /// in the report.
    ///
    /// *Cancel safety*: may be dropped at any time. Earlier snapshots are as they were; pages that
    /// were committed are taken over by the next run from the same `state_dir`.
    pub async fn run(&self, observer: &dyn Observer, stop: &StopSignal) -> Result<RunReport> {
        let mut entered = false;
        let ended = self.run_to_end(observer, stop, &mut entered).await;
        // Before it has the journal, it may be a second process under the name of the first.
        if entered
            && let Some(Coordination {
                coordinator,
                worker,
                ..
            }) = &self.options.coordination
            && let Err(error) = coordinator.leave(worker).await
        {
            tracing::warn!(%error, "what this worker held is free when its claims run out");
        }
        ended
    }

    async fn run_to_end(
        &self,
        observer: &dyn Observer,
        stop: &StopSignal,
        entered: &mut bool,
    ) -> Result<RunReport> {
        let mut fenced = 0;
        loop {
            match self.run_under_lease(observer, stop, entered).await {
                // A prune did not wait for this writer. What is committed is taken over under a
                // new lease, as after a crash; what prune removed is fetched again.
                Err(error) if error.is_fenced() && fenced < FENCED_MAX => {
                    fenced += 1;
                    tracing::warn!(%error, "the run begins again under a new lease");
                }
                ended => return ended,
            }
        }
    }

    async fn run_under_lease(
        &self,
        observer: &dyn Observer,
        stop: &StopSignal,
        entered: &mut bool,
    ) -> Result<RunReport> {
        let environment = self.store.environment().clone();
        let started = environment.now();
        let (journal, headers) = self.open_journal().await?;
        let (run, shared, options) = self.join(entered).await?;
        let adopts = headers
            .iter()
            .flat_map(|header| header.leases.iter().copied())
            .collect();
        let spool_dir = self
            .options
            .state_dir
            .join(format!("spool-{}", self.store.id()));
        let writer = self
            .store
            .begin(WriterOptions {
                run,
                spool_dir,
                adopts,
            })
            .await?;
        observer.event(&Event::RunStarted { run });
        if let Some(units) = self.options.max_parallel {
            let mut limits = QueueLimits::default();
            limits.units = units.max(1);
            self.options.scheduler.set_limits(limits);
        }

        let coordination = self.options.coordination.as_ref();
        let claims = Claims::new(coordination, shared, self.store.id(), writer.claim_token());
        let (publisher, outbox) = Publisher::new(&writer, journal.clone(), observer, &claims);
        let context = RunContext {
            run,
            options: &options,
            store: &self.store,
            trees: Trees::new(writer.clone()),
            writer: &writer,
            journal,
            environment: environment.clone(),
            observer,
            stop,
            outbox,
            claims: &claims,
        };
        let work = async {
            let found = self.work(&context, headers).await;
            drop(context);
            found
        };
        let working = async { futures_util::try_join!(work, publisher.run()) };
        let limiter = self.options.scheduler.limiter();
        // Before anything is sent.
        let divided = claims.divide(limiter, self.shared_depth()).await?;
        let (found, published) = tokio::select! {
            biased;
            done = working => done?,
            () = claims.keep_alive(&divided) => {
                return Err(Error::new(ErrorKind::Coordinator, "no end"));
            }
            never = self.options.bandwidth.keep(limiter, &*environment) => match never {},
        };

        let mut report = assemble(run, found, &published, stop.is_requested());
        report.alarms = self.alarms(&report).await?;
        for alarm in &report.alarms {
            let alarm = alarm.clone();
            observer.event(&Event::MassChange { alarm });
        }
        let record = self.record(&report, started, environment.now());
        writer.put_run(&record).await?;
        writer.end().await?;
        observer.event(&Event::RunFinished {
            outcome: report.outcome,
        });
        Ok(report)
    }

    /// Returns how many names of the limiter lead to what workers have in common: a resource belongs
    /// to whoever has its claim.
    fn shared_depth(&self) -> usize {
        let above = |source: &Arc<dyn Source>| source.charge("").path().len().saturating_sub(1);
        self.sources.iter().map(above).max().unwrap_or(0)
    }

    async fn open_journal(&self) -> Result<(Journal, Vec<Header>)> {
        let set = blake3::hash(self.options.set.as_bytes()).to_hex();
        let name = format!("backup-{}-{}.journal", self.store.id(), &set[..16]);
        let path: PathBuf = self.options.state_dir.join(name);
        let place = self.journal.clone().unwrap_or(Place::File(path));
        Journal::open(&place, &self.store, self.store.offload().clone()).await
    }

    /// Begins a run, or joins the one that workers share: then its decisions are those of whoever
    /// opened it.
    async fn join(
        &self,
        entered: &mut bool,
    ) -> Result<(RunId, Option<SharedRun>, Cow<'_, BackupOptions>)> {
        let run = RunId::begin(self.store.environment().as_ref())?;
        let mut options = Cow::Borrowed(&self.options);
        let Some(coordination) = &self.options.coordination else {
            return Ok((run, None, options));
        };
        *entered = true;
        // Before the lease: what others do from now on is told with each claim.
        let check = self.options.sync_check == SyncCheck::Repair;
        let (store, set) = (self.store.id(), &self.options.set);
        let shared = coordination.join(store, set, run, check).await?;
        if let Some(shared) = shared {
            options.to_mut().sync_check = match shared.sync_check {
                true => SyncCheck::Repair,
                false => SyncCheck::Off,
            };
        }
        Ok((shared.map_or(run, |shared| shared.run), shared, options))
    }

    /// Finds what there is to do, then works on it, several resources at once.
    async fn work(&self, context: &RunContext<'_>, headers: Vec<Header>) -> Result<Worked> {
        let journalled = headers
            .into_iter()
            .map(|header| (header.resource.clone(), header));
        let start = Start {
            context,
            journalled: journalled.collect(),
        };
        let desk = Desk::new(self.sources.iter().map(|source| &**source));
        let mut worked = Worked::default();
        match context.claims.shared() {
            Some((coordination, shared)) => {
                if !shared.listed {
                    let tasks = self.tasks(context, &desk).await?;
                    let run = shared.run;
                    desk.offer(context, (coordination, run), tasks).await?;
                    if !context.stop.is_requested() {
                        coordination.coordinator.set_listed(run).await?;
                    }
                }
                self.work_on_shared(&start, &desk, shared.run, &mut worked)
                    .await?;
            }
            None => {
                let tasks = self.tasks(context, &desk).await?;
                self.work_on_all(&start, tasks, &mut worked).await?;
            }
        }
        worked
            .reports
            .sort_by(|a, b| a.resource.id.cmp(&b.resource.id));
        Ok(worked)
    }

    /// Works on every task; those that other workers hold come last, as they are let go.
    async fn work_on_all(
        &self,
        start: &Start<'_>,
        mut tasks: Vec<Task<'_>>,
        worked: &mut Worked,
    ) -> Result<()> {
        let mut patient = false;
        while !tasks.is_empty() {
            let mut ended = stream::iter(tasks)
                .map(|task| Box::pin(start.claimed(task, patient)))
                .buffer_unordered(self.options.parallel_resources.max(1));
            let mut held = Vec::new();
            while let Some(end) = ended.try_next().await? {
                worked.take(end, &mut held);
            }
            drop(ended);
            tasks = held;
            patient = true;
        }
        Ok(())
    }

    /// Works on what nobody else holds of a run, until all of it is done, here or elsewhere.
    async fn work_on_shared(
        &self,
        start: &Start<'_>,
        desk: &Desk<'_>,
        run: RunId,
        worked: &mut Worked,
    ) -> Result<()> {
        let next = async |ended: bool| {
            if ended {
                return Ok::<_, Error>(None);
            }
            let next = desk.next(start.context, run).await?;
            let is_last = !matches!(next, Next::Task(_));
            Ok(Some((next, is_last)))
        };
        let ended = stream::try_unfold(false, next)
            .map_ok(|next| Box::pin(start.next(next)))
            .try_buffer_unordered(self.options.parallel_resources.max(1));
        let mut ended = std::pin::pin!(ended);
        while let Some(end) = ended.try_next().await? {
            worked.take(end, &mut Vec::new());
        }
        Ok(())
    }

    async fn tasks<'t>(
        &'t self,
        context: &RunContext<'_>,
        desk: &Desk<'t>,
    ) -> Result<Vec<Task<'t>>> {
        let owners = self.owners(context).await?;
        let task = |(number, owner)| desk.task(number, owner);
        Ok(owners.into_iter().filter_map(task).collect())
    }

    /// Returns the owners, each with the position of its source.
    async fn owners(&self, context: &RunContext<'_>) -> Result<Vec<(usize, Owner)>> {
        let directory = ResourceId::new("directory");
        let mut owners = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            if !self.options.selection.covers(&source.service()) {
                continue;
            }
            let charge = source.charge_of_owners();
            let gate = Gate::new(directory.clone(), charge, 1, context.gate_context());
            let mut from = None;
            loop {
                let list = || source.owners(&self.options.selection, from.as_ref());
                let page = gate.attempt(list).await?;
                owners.extend(page.owners.into_iter().map(|owner| (number, owner)));
                context.observer.event(&Event::OwnersFound {
                    found: owners.len(),
                });
                from = page.next;
                if from.is_none() || context.stop.is_requested() {
                    break;
                }
            }
        }
        Ok(owners)
    }
}

/// A run that is fenced more often than this ends; the next one goes on.
const FENCED_MAX: u32 = 3;

impl<'a> RunContext<'a> {
    fn gate_context(&'a self) -> GateContext<'a> {
        GateContext {
            environment: &*self.environment,
            observer: self.observer,
            stop: self.stop,
            limits: &self.options.retry,
            scheduler: &self.options.scheduler,
        }
    }
}

/// How a task ended.
enum Ended<'a> {
    Worked(Box<ResourceReport>),
    LeftOut(LeftOut),
    Held(Task<'a>),
    /// All of a shared run is done.
    AllDone(Standing),
    NotStarted,
}

/// How all tasks ended.
#[derive(Debug, Default)]
struct Worked {
    reports: Vec<ResourceReport>,
    left_out: Vec<LeftOut>,
    not_started: usize,
    standing: Option<Standing>,
}

impl Worked {
    fn take<'a>(&mut self, end: Ended<'a>, held: &mut Vec<Task<'a>>) {
        match end {
            Ended::Worked(report) => self.reports.push(*report),
            Ended::LeftOut(left_out) => self.left_out.push(left_out),
            Ended::Held(task) => held.push(task),
            Ended::AllDone(standing) => self.standing = Some(standing),
            Ended::NotStarted => self.not_started += 1,
        }
    }
}

/// What the start of a resource needs beside what is published.
struct Start<'a> {
    context: &'a RunContext<'a>,
    journalled: HashMap<ResourceId, Header>,
}

impl Start<'_> {
    /// Works on what comes next in a shared run.
    async fn next<'t>(&self, next: Next<'t>) -> Result<Ended<'t>> {
        match next {
            Next::Task(assigned) => self.resource(assigned).await,
            Next::Done(standing) => Ok(Ended::AllDone(standing)),
            Next::Stopped => Ok(Ended::NotStarted),
        }
    }

    /// Works on a task as soon as nobody else does, or hands it back where that may take long.
    async fn claimed<'t>(&self, task: Task<'t>, patient: bool) -> Result<Ended<'t>> {
        let context = self.context;
        let mut announced = false;
        loop {
            if context.stop.is_requested() {
                return Ok(Ended::NotStarted);
            }
            match context
                .claims
                .take(Wanted::Resource(task.claimed_as()))
                .await?
            {
                Taken::Held { hold, moved, .. } => {
                    return self.resource(Assigned { task, hold, moved }).await;
                }
                Taken::Wait(_) | Taken::Done(_) if !patient => return Ok(Ended::Held(task)),
                Taken::Done(_) => return Ok(Ended::NotStarted),
                Taken::Wait(wait) => {
                    if !std::mem::replace(&mut announced, true) {
                        context.observer.event(&Event::Paused {
                            resource: task.claimed_as(),
                            wait,
                            cause: "another worker has it".to_owned(),
                        });
                    }
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(wait) => {}
                        () = context.stop.requested() => {}
                    }
                }
            }
        }
    }

    async fn resource<'t>(&self, assigned: Assigned<'t>) -> Result<Ended<'t>> {
        let Assigned { task, hold, moved } = assigned;
        let (ended, verdict) = self.look_up(&task, &hold, moved).await?;
        if let Some(verdict) = verdict {
            self.context.claims.settle(&hold, &verdict).await?;
        }
        Ok(ended)
    }

    /// Finds the resource and brings it up to date; returns what becomes of the claim, if that is
    /// not decided by what was published.
    async fn look_up<'t>(
        &self,
        task: &Task<'t>,
        hold: &Hold,
        moved: bool,
    ) -> Result<(Ended<'t>, Option<Verdict>)> {
        let context = self.context;
        if context.stop.is_requested() {
            return Ok((Ended::NotStarted, Some(Verdict::Left)));
        }
        let requests = context.options.requests_per_resource.max(1);
        let charge = task.source.charge(&task.owner.id);
        let gate = Gate::new(task.claimed_as(), charge, requests, context.gate_context());
        let resource = match gate.attempt(|| task.source.resource(&task.owner)).await {
            Ok(Found::Resource(resource)) => resource,
            Ok(Found::Nothing { reason }) => {
                return Ok((self.left_out(task, reason), Some(Verdict::Done)));
            }
            Err(_) if context.stop.is_requested() => {
                return Ok((Ended::NotStarted, Some(Verdict::Left)));
            }
            Err(error) => {
                let report = Box::new(not_found(task, &error));
                context.observer.event(&Event::ResourceFinished {
                    report: report.clone(),
                });
                let verdict = Verdict::Failed(error.to_string());
                return Ok((Ended::Worked(report), Some(verdict)));
            }
        };
        let (id, charge) = (
            resource.id.clone(),
            task.source.charge(&resource.service_id),
        );
        let reader = Reader {
            source: task.source,
            gate: Gate::new(id, charge, requests, context.gate_context()),
            resource,
            requests,
            page_sizes: Mutex::default(),
            keep_after: context.options.keep_after,
            keep_items: context.options.keep_items,
            unkept: AtomicUsize::new(0),
        };
        let run = self.resume(reader, hold, moved).await?;
        let report = Box::new(Box::pin(run.run()).await?);
        if hold.is_lost() {
            let reason = TAKEN_OVER.to_owned();
            return Ok((self.left_out(task, reason), None));
        }
        context.observer.event(&Event::ResourceFinished {
            report: report.clone(),
        });
        Ok((Ended::Worked(report), None))
    }

    fn left_out<'t>(&self, task: &Task<'t>, reason: String) -> Ended<'t> {
        let left_out = LeftOut {
            service: task.source.service(),
            owner: task.owner.principal_name.clone(),
            reason,
        };
        self.context.observer.event(&Event::ResourceLeftOut {
            left_out: left_out.clone(),
        });
        Ended::LeftOut(left_out)
    }

    /// Opens the state of a resource: its newest snapshot, and what the journal adds to it.
    async fn resume<'r>(
        &'r self,
        reader: Reader<'r>,
        hold: &Hold,
        moved: bool,
    ) -> Result<ResourceRun<'r>> {
        let context = self.context;
        let id = reader.resource.id.clone();
        let parent = if moved {
            choose_parent(&context.writer.list_snapshots().await?, &id).cloned()
        } else {
            context.writer.parent_of(&id).await?
        };
        let base = parent.as_ref().map(|entry| entry.id);
        context.outbox.continues(&id, base);
        let trees = context.trees.clone();
        let mut view = View::open(trees, parent.as_ref().map(|entry| &entry.snapshot)).await?;
        let mut header = Header {
            resource: id.clone(),
            leases: vec![context.writer.lease()],
            base,
        };
        let mut sequence = 0;
        let mut pages_resumed = 0;
        if let Some(journalled) = self.journalled.get(&id) {
            let kept = self.kept_entries(journalled, parent.as_ref()).await?;
            header.leases = journalled.leases.clone();
            header.leases.push(context.writer.lease());
            match kept.first() {
                Some((first, _)) => context.journal.cover(&header, first - 1).await?,
                None => context.journal.cover(&header, u64::MAX >> 1).await?,
            }
            for (number, entry) in &kept {
                view.apply(entry).await?;
                sequence = *number;
            }
            pages_resumed = kept.iter().filter(|(_, entry)| !entry.is_ahead).count();
            // Rows of a lease are numbered on, so that a snapshot of it covers those before it.
            sequence = sequence.max(parent.as_ref().map_or(0, |p| p.snapshot.journal_sequence));
        } else {
            // What this run wrote under an earlier claim that it lost.
            context.journal.cover(&header, u64::MAX >> 1).await?;
        }
        let resource = reader.resource.clone();
        context.observer.event(&Event::ResourceStarted {
            resource,
            pages_resumed,
        });
        Ok(ResourceRun::new(
            context,
            reader,
            view,
            header,
            parent,
            sequence,
            hold.clone(),
        ))
    }

    /// Returns the entries of the journal that still hold on top of `parent`.
    ///
    /// They hold if they build on it, or if it was published from them, and if all their content is
    /// still there. Otherwise the feeds fall back to the cursors of the snapshot.
    async fn kept_entries(
        &self,
        journalled: &Header,
        parent: Option<&SnapshotEntry>,
    ) -> Result<Vec<(u64, Entry)>> {
        let mut entries = match self.context.journal.entries(&journalled.resource).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::Journal => {
                tracing::warn!(resource = %journalled.resource, %error, "entries are dropped");
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        if journalled.base != parent.map(|entry| entry.id) {
            match parent {
                Some(parent) if journalled.leases.contains(&parent.lease) => {
                    entries.retain(|(number, _)| *number > parent.snapshot.journal_sequence);
                }
                _ if mutated(Mutant::MixedBase) => {
                    entries
                        .iter_mut()
                        .for_each(|(_, entry)| entry.edits.clear());
                }
                _ => entries.clear(),
            }
        }
        if !hang_together(entries.iter().map(|(_, entry)| entry)) {
            tracing::warn!(resource = %journalled.resource, "entries that lack a part are dropped");
            entries.clear();
        }
        let mut packs = entries
            .iter()
            .flat_map(|(_, entry)| entry.packs.clone())
            .collect::<Vec<_>>();
        packs.sort_unstable();
        packs.dedup();
        if !packs.is_empty() && !self.context.writer.packs_present(&packs).await? {
            tracing::warn!(resource = %journalled.resource, "packs of the journal are gone");
            entries.clear();
        }
        Ok(entries)
    }
}

/// Reports a resource that could not even be looked up.
fn not_found(task: &Task<'_>, error: &Error) -> ResourceReport {
    let service = task.source.service();
    ResourceReport {
        resource: Resource {
            id: ResourceId::of(&service, &task.owner.id),
            service,
            kind: ResourceKind::Other("unknown".to_owned()),
            owner: task.owner.principal_name.clone(),
            owner_id: task.owner.id.clone(),
            service_id: String::new(),
            name: task.owner.name.clone(),
        },
        outcome: ResourceOutcome::Partial,
        feeds: 0,
        totals: Totals::default(),
        snapshot: None,
        quarantined: Vec::new(),
        drift: None,
        error: Some(error.to_string()),
    }
}

fn assemble(
    run: RunId,
    worked: Worked,
    published: &HashMap<ResourceId, SnapshotId>,
    stopped: bool,
) -> RunReport {
    let Worked {
        mut reports,
        left_out,
        not_started,
        standing,
    } = worked;
    let mut totals = Totals::default();
    let mut quarantined = Vec::new();
    for report in &mut reports {
        if let Some(id) = published.get(&report.resource.id) {
            report.snapshot = Some(*id);
        }
        totals.add(&report.totals);
        quarantined.extend(report.quarantined.iter().cloned());
    }
    let drift =
        reports
            .iter()
            .map(|report| report.drift)
            .try_fold(Drift::default(), |mut sum, drift| {
                sum.add(&drift?);
                Some(sum)
            });
    let drift = drift.filter(|_| not_started == 0 && !reports.is_empty());
    let any = |outcome| reports.iter().any(|report| report.outcome == outcome);
    let outcome = if not_started > 0 || any(ResourceOutcome::Interrupted) {
        RunOutcome::Interrupted
    } else if any(ResourceOutcome::Partial) {
        RunOutcome::Partial
    } else if !quarantined.is_empty() {
        RunOutcome::CompleteWithQuarantine
    } else {
        RunOutcome::Complete
    };
    tracing::debug!(%run, ?outcome, stopped, "the run has ended");
    RunReport {
        run,
        outcome,
        resources: reports,
        left_out,
        totals,
        quarantined,
        drift,
        alarms: Vec::new(),
        standing,
    }
}
