//! `backup`: brings into the store what changed since the last run.

use std::sync::Arc;

use backup_engine::{
    BackupJob, BackupOptions, OneDriveSource, OutlookSource, ResourceOutcome, RunOutcome,
    RunReport, Selection, Source, SyncCheck, Users,
};
use backup_store::catalog::{Service, Totals};
use m365_auth::Scheduler;
use serde_json::json;

use super::due::{Due, due};
use super::{runs, sync_check};
use crate::args::{BackupArgs, PartArgs};
use crate::config::{Config, Users as ConfiguredUsers};
use crate::connect::{Context, OpenStore, graph_client, scheduler};
use crate::coordination::Seat;
use crate::exit::Exit;
use crate::failure::{Result, from_backup};
use crate::output::Output;
use crate::progress::BackupProgress;
use crate::table::printable;
use crate::words;
use crate::{quota, snapshots};

/// Runs the command.
pub(crate) async fn run(context: &Context, args: BackupArgs) -> Result<Exit> {
    let config = context.required_config()?;
    let open = context.open_store(Some(&config)).await?;
    if args.due && !is_due(context, &config, &open).await? {
        return Ok(Exit::Complete);
    }
    run_with(context, &config, &open, &args.part, None).await
}

/// Makes a backup; without a word on the Data Synchronization Check, it is made when it is due.
pub(crate) async fn run_with(
    context: &Context,
    config: &Config,
    open: &OpenStore,
    part: &PartArgs,
    check: Option<SyncCheck>,
) -> Result<Exit> {
    let backup = Backup {
        context,
        config,
        open,
        part,
        check,
        seat: &Seat::of_backup(config, open)?,
    };
    Ok(exit(&backup.run().await?))
}

/// Tells whether the schedule asks for a backup, and says so if not.
async fn is_due(context: &Context, config: &Config, open: &OpenStore) -> Result<bool> {
    let dues = due(open, config).await?;
    let now = open.store.environment().now();
    let next = match (dues.backup, dues.sync_check) {
        (Due::Now, _) => return Ok(true),
        (Due::At(backup), None) => backup,
        (Due::At(backup), Some(check)) => backup.min(check),
    };
    if next <= now {
        return Ok(true);
    }
    let out = &context.output;
    if out.is_json() {
        let fields = json!({ "outcome": "nothing is due", "next": next.to_string() });
        out.object("summary", fields)?;
    } else {
        let next = words::time(next);
        out.line(&format!(
            "nothing is due; the next backup is due at {next} UTC"
        ))?;
    }
    Ok(false)
}

/// One run of a set, or this worker's part of one.
#[derive(Debug)]
pub(crate) struct Backup<'a> {
    pub(crate) context: &'a Context,
    pub(crate) config: &'a Config,
    pub(crate) open: &'a OpenStore,
    pub(crate) part: &'a PartArgs,
    pub(crate) check: Option<SyncCheck>,
    pub(crate) seat: &'a Seat,
}

impl Backup<'_> {
    /// Makes the backup and says how it went.
    pub(crate) async fn run(&self) -> Result<RunReport> {
        let Self {
            context,
            config,
            open,
            ..
        } = self;
        quota::refuse_if_full(&context.output, open, &config.quota).await?;
        let selection = selection(config, self.part)?;
        let scheduler = scheduler();
        let sources = sources(config, &selection, &scheduler)?;
        let check = self.sync_check().await?;
        let options = BackupOptions {
            sync_check: check,
            set: config.name.clone(),
            selection,
            scheduler,
            max_parallel: config.parallelism.max_parallel,
            bandwidth: config.parallelism.bandwidth(),
            parallel_resources: config.parallelism.resources,
            requests_per_resource: config.parallelism.requests_per_resource,
            state_dir: self.seat.folder.clone(),
            part: !self.part.is_all(),
            alarm: config.alarm.thresholds(),
            coordination: Some(self.seat.coordination(config, open).await?),
            ..BackupOptions::default()
        };
        let progress = BackupProgress::new(&context.output);
        let job = BackupJob::new(open.store.clone(), sources, options);
        let result = job.run(&progress, &context.stop).await;
        progress.finish()?;
        let report = result.map_err(|error| from_backup(&open.place, &error))?;
        print(&context.output, &report)?;
        if check != SyncCheck::Off {
            sync_check::show(&context.output, &report)?;
        }
        for alarm in &report.alarms {
            runs::warn(&context.output, alarm);
        }
        quota::warn_if_over(&context.output, open, &config.quota).await?;
        Ok(report)
    }

    /// Decides whether this run makes the check.
    async fn sync_check(&self) -> Result<SyncCheck> {
        if let Some(check) = self.check {
            return Ok(check);
        }
        let due = due(self.open, self.config).await?.sync_check;
        let now = self.open.store.environment().now();
        // A part of the set cannot stand for all of it.
        if due.is_some_and(|due| due <= now) && self.part.is_all() {
            let note = "the Data Synchronization Check is due: everything is listed and compared";
            self.context.output.note(note);
            return Ok(SyncCheck::Repair);
        }
        Ok(SyncCheck::Off)
    }
}

fn sources(
    config: &Config,
    selection: &Selection,
    scheduler: &Scheduler,
) -> Result<Vec<Arc<dyn Source>>> {
    let graph = graph_client(config, scheduler)?;
    let mut sources: Vec<Arc<dyn Source>> = Vec::new();
    if selection.covers(&Service::Outlook) {
        sources.push(Arc::new(OutlookSource::new(graph.clone())));
    }
    if selection.covers(&Service::OneDrive) {
        sources.push(Arc::new(OneDriveSource::new(graph)));
    }
    Ok(sources)
}

fn selection(config: &Config, args: &PartArgs) -> Result<Selection> {
    let users = match (&args.users[..], &config.selection.users) {
        ([], ConfiguredUsers::Word(_)) => Users::All,
        ([], ConfiguredUsers::Chosen(users)) => Users::Chosen(users.clone()),
        (users, _) => Users::Chosen(users.to_vec()),
    };
    let services = if args.services.is_empty() {
        &config.selection.services
    } else {
        &args.services
    };
    Ok(Selection {
        users,
        exclude: config.selection.exclude.clone(),
        services: services
            .iter()
            .map(|name| snapshots::service(name))
            .collect::<Result<_>>()?,
    })
}

/// Returns how the program ends after this run.
pub(crate) fn exit(report: &RunReport) -> Exit {
    match report.outcome {
        RunOutcome::Complete => Exit::Complete,
        RunOutcome::CompleteWithQuarantine => Exit::Quarantined,
        RunOutcome::Partial => Exit::Partial,
        RunOutcome::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    }
}

fn print(out: &Output, report: &RunReport) -> Result<()> {
    if out.is_json() {
        return out.object("summary", describe(report));
    }
    for resource in &report.resources {
        if let Some(error) = &resource.error {
            let (owner, service) = (&resource.resource.owner, &resource.resource.service);
            out.line(&printable(&format!("failed: {owner}, {service}: {error}")))?;
        }
    }
    for item in &report.quarantined {
        let (name, cause) = (&item.name, &item.cause);
        out.line(&printable(&format!(
            "quarantined: {}: {name}: {cause}",
            item.resource
        )))?;
    }
    let Totals {
        seen,
        stored,
        unchanged,
        skipped,
        quarantined,
        removed,
        moved,
        bytes,
        ..
    } = report.totals;
    out.line(&format!(
        "{}: {} seen in {}: {} stored, {} unchanged, {} skipped, {} quarantined; {} moved, {} \
         removed; {} fetched",
        report.outcome.as_str(),
        words::counted(seen, "item"),
        words::counted(report.resources.len() as u64, "resource"),
        words::count(stored),
        words::count(unchanged),
        words::count(skipped),
        words::count(quarantined),
        words::count(moved),
        words::count(removed),
        words::bytes(bytes),
    ))?;
    match report.outcome {
        RunOutcome::Interrupted => {
            out.note("what was committed is kept; run the same command again to go on from there");
        }
        RunOutcome::CompleteWithQuarantine => {
            out.note("quarantined items are tried again in every run");
        }
        RunOutcome::Partial => out.note("run the same command again; it fetches what is missing"),
        _ => {}
    }
    Ok(())
}

/// Returns a run as an object for `--json`.
pub(crate) fn describe(report: &RunReport) -> serde_json::Value {
    let failed: Vec<_> = report
        .resources
        .iter()
        .filter_map(|resource| {
            let cause = resource.error.as_ref()?;
            Some(json!({ "resource": resource.resource.id.as_str(), "cause": cause }))
        })
        .collect();
    let unchanged = |outcome: &ResourceOutcome| matches!(outcome, ResourceOutcome::Unchanged);
    json!({
        "run": report.run.to_string(),
        "outcome": report.outcome.as_str(),
        "exit_code": exit(report).code(),
        "resources": report.resources.len(),
        "resources_unchanged":
            report.resources.iter().filter(|resource| unchanged(&resource.outcome)).count(),
        "feeds": report.resources.iter().map(|resource| resource.feeds).sum::<usize>(),
        "totals": totals(&report.totals),
        "set": report.standing.map(|set| json!({ "done": set.done, "failed": set.failed })),
        "alarms": report.alarms.iter().map(runs::alarm).collect::<Vec<_>>(),
        "drift": report.drift.as_ref().map(sync_check::describe),
        "failed": failed,
        "quarantined": report.quarantined.iter().map(|item| json!({
            "resource": item.resource.as_str(),
            "id": item.item_id,
            "name": item.name,
            "representation": item.representation.as_str(),
            "cause": item.cause,
        })).collect::<Vec<_>>(),
    })
}

/// Returns totals as an object for `--json`.
pub(crate) fn totals(totals: &Totals) -> serde_json::Value {
    json!({
        "seen": totals.seen,
        "stored": totals.stored,
        "unchanged": totals.unchanged,
        "assumed": totals.assumed,
        "skipped": totals.skipped,
        "quarantined": totals.quarantined,
        "removed": totals.removed,
        "moved": totals.moved,
        "bytes": totals.bytes,
    })
}
