//! `restore`: shows what will be written and where, asks, writes, reads back and compares.

mod choose;
mod report;

use backup_store::catalog::{Outcome, Service, SnapshotEntry};
use m365_auth::{RetryPolicy, Scheduler};
use m365_graph::GraphClient;
use restore_engine::{
    ConflictRule, Destination, DriveTarget, OutlookTarget, RestoreJournal, RestoreOutcome,
    RestorePlan, RestoreReport, RestoreRequest, ScheduledTarget, Target,
};

use crate::args::{Conflict, RestoreArgs};
use crate::connect::{Context, OpenStore, graph_client_for_restore, scheduler, state_folder};
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_restore};
use crate::progress::RestoreProgress;
use crate::snapshots;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: RestoreArgs) -> Result<Exit> {
    let config = context.required_config()?;
    if args.snapshot == "latest" && args.filter.owner.is_none() {
        return Err(
            Failure::usage("`latest` alone does not say whose data to restore")
                .next("add --owner, as in: m365-backup restore latest --owner ada@contoso.example"),
        );
    }
    let open = context.open_store(Some(&config)).await?;
    let entries = snapshots::select(&open, &args.snapshot, &args.filter).await?;
    entries
        .iter()
        .for_each(|entry| warn_of_gaps(context, entry));
    let scheduler = scheduler();
    let graph = graph_client_for_restore(&config, &scheduler, RetryPolicy::none())?;

    let mut jobs = Vec::new();
    for entry in entries {
        let part = choose::selection(&open, &entry, args.path.as_deref()).await?;
        let Some(selection) = part else { continue };
        let request = RestoreRequest {
            selection,
            destination: args
                .to
                .clone()
                .map_or(Destination::Original, Destination::Owner),
            into_folder: args.into_folder.clone(),
            conflict: rule(args.conflict),
            ..RestoreRequest::everything(entry)
        };
        let target = target(&graph, &scheduler, &request)?;
        let plan = restore_engine::plan(&open.store, &request, target.as_ref())
            .await
            .map_err(|error| from_restore("plan the restore", &open.place, &error))?;
        jobs.push((plan, target));
    }
    if jobs.is_empty() {
        let path = args.path.unwrap_or_default();
        return Err(crate::places::Places::nothing_at(&path));
    }
    for (plan, _) in &jobs {
        report::plan(&context.output, plan)?;
    }
    if args.dry_run || jobs.iter().all(|(plan, _)| plan.is_empty()) {
        report::nothing_written(&context.output, args.dry_run)?;
        return Ok(Exit::Complete);
    }
    if !args.yes && !context.output.ask("Restore this?")? {
        context.output.note("nothing was written");
        return Ok(Exit::Complete);
    }
    let state = state_folder(Some(&config), &open.store)?;
    let journal = RestoreJournal::open(&state, &open.store)
        .await
        .map_err(|error| from_restore("open the restore journal", &open.place, &error))?;
    let mut exit = Exit::Complete;
    for (plan, target) in &jobs {
        let report = execute(context, &open, plan, target.as_ref(), &journal).await?;
        report::done(&context.output, plan, &report)?;
        exit = worse(exit, exit_of(&report));
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(exit)
}

async fn execute(
    context: &Context,
    open: &OpenStore,
    plan: &RestorePlan,
    target: &dyn Target,
    journal: &RestoreJournal,
) -> Result<RestoreReport> {
    let progress = RestoreProgress::new(&context.output);
    let result =
        restore_engine::execute(&open.store, plan, target, journal, &progress, &context.stop).await;
    progress.finish()?;
    result.map_err(|error| from_restore("restore", &open.place, &error))
}

/// Builds what writes to the destination of a request.
pub(crate) fn target(
    graph: &GraphClient,
    scheduler: &Scheduler,
    request: &RestoreRequest,
) -> Result<Box<dyn Target>> {
    let (graph, owner) = (graph.clone(), request.owner());
    match &request.snapshot.snapshot.resource.service {
        Service::Outlook => {
            let target = OutlookTarget::new(graph, owner);
            Ok(Box::new(ScheduledTarget::new(target, scheduler)))
        }
        Service::OneDrive => {
            let target = DriveTarget::new(graph, owner);
            Ok(Box::new(ScheduledTarget::new(target, scheduler)))
        }
        other => Err(
            Failure::new(Exit::Failed, format!("this version cannot restore {other}"))
                .next("use the version of m365-backup that made the snapshot, or a newer one"),
        ),
    }
}

fn rule(conflict: Conflict) -> ConflictRule {
    match conflict {
        Conflict::Skip => ConflictRule::Skip,
        Conflict::Copy => ConflictRule::Copy,
        Conflict::Replace => ConflictRule::Replace,
    }
}

fn exit_of(report: &RestoreReport) -> Exit {
    match report.outcome {
        RestoreOutcome::Complete => Exit::Complete,
        RestoreOutcome::CompleteWithErrors => Exit::Partial,
        RestoreOutcome::Interrupted => Exit::Interrupted,
        _ => Exit::Failed,
    }
}

fn worse(a: Exit, b: Exit) -> Exit {
    if a.code() >= b.code() { a } else { b }
}

fn warn_of_gaps(context: &Context, entry: &SnapshotEntry) {
    let snapshot = &entry.snapshot;
    if !matches!(snapshot.outcome, Outcome::Partial | Outcome::Checkpoint) {
        return;
    }
    context.output.warn(&format!(
        "the snapshot of {} ({}) from {} is not complete: {}",
        snapshot.resource.owner,
        snapshot.resource.service,
        words::time(snapshot.finished),
        snapshot.outcome,
    ));
}
