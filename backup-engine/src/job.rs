//! Job: one run of a backup set, from the lease on the store to the run record.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use backup_store::catalog::{
    Drift, Resource, ResourceId, ResourceKind, RunRecord, SnapshotEntry, Totals, choose_parent,
};
use backup_store::{RunId, SnapshotId, StopSignal, Store, Timestamp, WriterOptions};
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Observer};
use crate::gate::{Gate, GateContext, Pause};
use crate::journal::{Header, Journal, Place};
use crate::mutant::{Mutant, mutated};
use crate::options::BackupOptions;
use crate::publish::Publisher;
use crate::reader::Reader;
use crate::report::{LeftOut, ResourceOutcome, ResourceReport, RunOutcome, RunReport};
use crate::resource::{ResourceRun, RunContext};
use crate::source::{Found, Owner, PauseScope, Source};
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
        let mut fenced = 0;
        loop {
            match self.run_under_lease(observer, stop).await {
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
    ) -> Result<RunReport> {
        let environment = self.store.environment().clone();
        let started = environment.now();
        let run = RunId::random(&*environment)?;
        let (journal, headers) = self.open_journal().await?;
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

        let (publisher, outbox) = Publisher::new(&writer, journal.clone(), observer);
        let context = RunContext {
            run,
            options: &self.options,
            store: &self.store,
            trees: Trees::new(writer.clone()),
            writer: &writer,
            journal,
            environment: environment.clone(),
            observer,
            stop,
            outbox,
        };
        let work = async {
            let found = self.work(&context, headers).await;
            drop(context);
            found
        };
        let (found, published) = futures_util::try_join!(work, publisher.run())?;

        let report = assemble(run, found, &published, stop.is_requested());
        let record = self.record(&report, started, environment.now());
        writer.put_run(&record).await?;
        writer.end().await?;
        observer.event(&Event::RunFinished {
            outcome: report.outcome,
        });
        Ok(report)
    }

    async fn open_journal(&self) -> Result<(Journal, Vec<Header>)> {
        let set = blake3::hash(self.options.set.as_bytes()).to_hex();
        let name = format!("backup-{}-{}.journal", self.store.id(), &set[..16]);
        let path: PathBuf = self.options.state_dir.join(name);
        let place = self.journal.clone().unwrap_or(Place::File(path));
        Journal::open(&place, &self.store, self.store.offload().clone()).await
    }

    /// Finds all owners, then works on their resources, several at once.
    async fn work(&self, context: &RunContext<'_>, headers: Vec<Header>) -> Result<Worked> {
        let owners = self.owners(context).await?;
        let journalled = headers
            .into_iter()
            .map(|header| (header.resource.clone(), header));
        let start = Start {
            context,
            journalled: journalled.collect(),
            listing: context.writer.snapshots(),
        };
        let pauses = self
            .sources
            .iter()
            .map(|_| Pause::default())
            .collect::<Vec<_>>();
        let tasks = owners.into_iter().map(|(number, owner)| {
            let pause = match self.sources[number].pause_scope() {
                PauseScope::Service => pauses[number].clone(),
                PauseScope::Resource => Pause::default(),
            };
            Task {
                source: &*self.sources[number],
                owner,
                pause,
            }
        });
        let ended = stream::iter(tasks)
            .map(|task| Box::pin(start.resource(task)))
            .buffer_unordered(self.options.parallel_resources.max(1))
            .try_collect::<Vec<_>>()
            .await?;
        let mut worked = Worked::default();
        for end in ended {
            match end {
                Ended::Worked(report) => worked.reports.push(*report),
                Ended::LeftOut(left_out) => worked.left_out.push(left_out),
                Ended::NotStarted => worked.not_started += 1,
            }
        }
        worked
            .reports
            .sort_by(|a, b| a.resource.id.cmp(&b.resource.id));
        Ok(worked)
    }

    /// Returns the owners, each with the position of its source.
    async fn owners(&self, context: &RunContext<'_>) -> Result<Vec<(usize, Owner)>> {
        let directory = ResourceId::new("directory");
        let gate = Gate::new(directory, 1, Pause::default(), context.gate_context());
        let mut owners = Vec::new();
        for (number, source) in self.sources.iter().enumerate() {
            if !self.options.selection.covers(&source.service()) {
                continue;
            }
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

    fn record(&self, report: &RunReport, started: Timestamp, finished: Timestamp) -> RunRecord {
        let resources = report.resources.iter();
        let unchanged = resources
            .clone()
            .filter(|r| r.outcome == ResourceOutcome::Unchanged);
        let failed = resources.clone().filter_map(|resource| {
            let cause = resource.error.clone()?;
            Some((resource.resource.id.clone(), cause))
        });
        let published = resources
            .clone()
            .filter(|r| r.outcome != ResourceOutcome::Unchanged);
        RunRecord {
            run: report.run,
            set: self.options.set.clone(),
            started,
            finished,
            outcome: report.outcome.to_catalog(),
            totals: report.totals,
            snapshots: published.filter_map(|resource| resource.snapshot).collect(),
            unchanged: unchanged
                .map(|resource| resource.resource.id.clone())
                .collect(),
            failed: failed.collect(),
            drift: report.drift,
        }
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
        }
    }
}

/// One resource to come.
struct Task<'a> {
    source: &'a dyn Source,
    owner: Owner,
    pause: Pause,
}

/// How a task ended.
enum Ended {
    Worked(Box<ResourceReport>),
    LeftOut(LeftOut),
    NotStarted,
}

/// How all tasks ended.
#[derive(Debug, Default)]
struct Worked {
    reports: Vec<ResourceReport>,
    left_out: Vec<LeftOut>,
    not_started: usize,
}

/// What the start of a resource needs: what is published, and what is journalled.
struct Start<'a> {
    context: &'a RunContext<'a>,
    journalled: HashMap<ResourceId, Header>,
    listing: Vec<SnapshotEntry>,
}

impl Start<'_> {
    async fn resource(&self, task: Task<'_>) -> Result<Ended> {
        let context = self.context;
        if context.stop.is_requested() {
            return Ok(Ended::NotStarted);
        }
        let id = ResourceId::of(&task.source.service(), &task.owner.id);
        let requests = context.options.requests_per_resource.max(1);
        let gate = Gate::new(id, requests, task.pause.clone(), context.gate_context());
        let resource = match gate.attempt(|| task.source.resource(&task.owner)).await {
            Ok(Found::Resource(resource)) => resource,
            Ok(Found::Nothing { reason }) => {
                let service = task.source.service();
                let owner = task.owner.principal_name;
                let left_out = LeftOut {
                    service,
                    owner,
                    reason,
                };
                let event = Event::ResourceLeftOut {
                    left_out: left_out.clone(),
                };
                context.observer.event(&event);
                return Ok(Ended::LeftOut(left_out));
            }
            Err(_) if context.stop.is_requested() => return Ok(Ended::NotStarted),
            Err(error) => {
                let report = Box::new(not_found(&task, &error));
                context.observer.event(&Event::ResourceFinished {
                    report: report.clone(),
                });
                return Ok(Ended::Worked(report));
            }
        };
        let reader = Reader {
            source: task.source,
            gate,
            resource,
            requests,
        };
        let run = self.resume(reader).await?;
        let report = Box::new(Box::pin(run.run()).await?);
        context.observer.event(&Event::ResourceFinished {
            report: report.clone(),
        });
        Ok(Ended::Worked(report))
    }

    /// Opens the state of a resource: its newest snapshot, and what the journal adds to it.
    async fn resume<'r>(&'r self, reader: Reader<'r>) -> Result<ResourceRun<'r>> {
        let context = self.context;
        let id = reader.resource.id.clone();
        let parent = choose_parent(&self.listing, &id).cloned();
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
            pages_resumed = kept.len();
            // Rows of a lease are numbered on, so that a snapshot of it covers those before it.
            sequence = sequence.max(parent.as_ref().map_or(0, |p| p.snapshot.journal_sequence));
        }
        let resource = reader.resource.clone();
        context.observer.event(&Event::ResourceStarted {
            resource,
            pages_resumed,
        });
        Ok(ResourceRun::new(
            context, reader, view, header, parent, sequence,
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
    ) -> Result<Vec<(u64, crate::journal::Entry)>> {
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
    }
}
