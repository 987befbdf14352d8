//! `copy`: copies snapshots into another store, or brings a replica up to date.

use backup_store::{
    CopyOptions, CopyProgress, CopyReport, ReplicaOptions, ReplicaReport, RunId, WriterOptions,
};
use serde_json::json;

use crate::args::CopyArgs;
use crate::config::Config;
use crate::connect::{Context, OpenStore, state_folder};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Ticker;
use crate::table::printable;
use crate::{secrets, snapshots, words};

/// Runs the command.
pub(crate) async fn run(context: &Context, args: CopyArgs) -> Result<Exit> {
    let config = context.config()?;
    let from = context.open_store(config.as_ref()).await?;
    let unlock = || match &args.to_passphrase_file {
        Some(path) => secrets::read_passphrase(path).map(Into::into),
        None => secrets::unlock(&context.global, config.as_ref()),
    };
    let to = context.open_store_at(args.to.clone(), unlock, None).await?;
    if from.store.id() == to.store.id() {
        if !args.snapshots.is_empty()
            || args.filter.owner.is_some()
            || args.filter.service.is_some()
        {
            let message = "a replica holds all of its store, no selection";
            return Err(Failure::usage(message)
                .next("leave --snapshot, --owner and --service out, or copy into another store"));
        }
        let options = ReplicaOptions {
            follow_deletions: !args.keep_deleted,
        };
        return fill(&context.output, &from, &to, options).await;
    }
    copy(context, config.as_ref(), &from, &to, &args).await
}

/// Brings a replica up to date, and says what was copied.
pub(crate) async fn fill(
    out: &Output,
    from: &OpenStore,
    to: &OpenStore,
    options: ReplicaOptions,
) -> Result<Exit> {
    let ticker = Ticker::new(out);
    let tell = |progress| show(&ticker, progress);
    let filled = from.store.fill_replica(&to.store, options, &tell).await;
    ticker.finish();
    let report = filled.map_err(to.failed("copy to"))?;
    describe_replica(out, &report)?;
    if report.is_complete() {
        return Ok(Exit::Complete);
    }
    let message = format!("the replica in {} is not complete", to.place);
    Err(Failure::new(Exit::Failed, message)
        .next("check both stores: m365-backup check --all-data --store PATH"))
}

async fn copy(
    context: &Context,
    config: Option<&Config>,
    from: &OpenStore,
    to: &OpenStore,
    args: &CopyArgs,
) -> Result<Exit> {
    let mut chosen = snapshots::list(from, &args.filter).await?;
    if !args.snapshots.is_empty() {
        chosen = Vec::new();
        for wanted in &args.snapshots {
            chosen.extend(snapshots::select(from, wanted, &args.filter).await?);
        }
    }
    let run = RunId::random(to.store.environment().as_ref()).map_err(to.failed("copy to"))?;
    let options = CopyOptions {
        resources: None,
        snapshots: Some(chosen.iter().map(|entry| entry.id).collect()),
        writer: WriterOptions {
            run,
            spool_dir: state_folder(config, &to.store)?.join("copy"),
            adopts: Vec::new(),
        },
    };
    let ticker = Ticker::new(&context.output);
    let tell = |progress| show(&ticker, progress);
    let copied = from.store.copy_to(&to.store, options, &tell).await;
    ticker.finish();
    let report = copied.map_err(to.failed("copy to"))?;
    describe_copy(&context.output, &report)
}

fn show(ticker: &Ticker, progress: CopyProgress) {
    ticker.show(&format!(
        "{} of {}; {}, {}",
        words::count(progress.done),
        words::count(progress.total),
        words::counted(progress.items, "item"),
        words::bytes(progress.bytes),
    ));
}

fn describe_replica(out: &Output, report: &ReplicaReport) -> Result<()> {
    if out.is_json() {
        let damaged: Vec<_> = report
            .damaged
            .iter()
            .map(|(name, cause)| json!({ "object": name.as_str(), "cause": cause }))
            .collect();
        let conflicts: Vec<_> = report.conflicts.iter().map(|name| name.as_str()).collect();
        return out.object(
            "summary",
            json!({
                "packs": report.packs.objects,
                "pack_bytes": report.packs.bytes,
                "segments": report.segments.objects,
                "snapshot_sets": report.snapshot_sets.objects,
                "other": report.other.objects,
                "known": report.known,
                "deleted": report.deleted.objects,
                "damaged": damaged,
                "conflicts": conflicts,
            }),
        );
    }
    for (name, cause) in &report.damaged {
        out.line(&printable(&format!("damaged, not copied: {name}: {cause}")))?;
    }
    for name in &report.conflicts {
        out.line(&format!("differs in the replica, left as it is: {name}"))?;
    }
    out.line(&format!(
        "copied {} ({}), {}, {}; {} were there already, {} deleted",
        words::counted(report.packs.objects, "pack"),
        words::bytes(report.packs.bytes),
        words::counted(report.segments.objects, "segment"),
        words::counted(report.snapshot_sets.objects, "snapshot set"),
        words::counted(report.known, "object"),
        words::count(report.deleted.objects),
    ))
}

fn describe_copy(out: &Output, report: &CopyReport) -> Result<Exit> {
    for damage in &report.damaged {
        let item = damage.item.as_ref().map(|key| key.id.as_str());
        if out.is_json() {
            let fields = json!({
                "resource": damage.resource.as_str(),
                "snapshot": damage.snapshot.to_string(),
                "item": item,
                "cause": damage.cause,
            });
            out.object("damaged", fields)?;
        } else {
            let (resource, item) = (&damage.resource, item.unwrap_or("all of it"));
            let line = format!("damaged: {resource}: {item}: {}", damage.cause);
            out.line(&printable(&line))?;
        }
    }
    if out.is_json() {
        out.object(
            "summary",
            json!({
                "snapshots": report.copied.len(),
                "known": report.known,
                "forgotten": report.forgotten.len(),
                "items": report.items,
                "bytes": report.bytes,
                "damaged": report.damaged.len(),
            }),
        )?;
    } else {
        out.line(&format!(
            "copied {}, {}, {} read; {} were there already",
            words::counted(report.copied.len() as u64, "snapshot"),
            words::counted(report.items, "item"),
            words::bytes(report.bytes),
            words::counted(report.known, "snapshot"),
        ))?;
    }
    Ok(if report.damaged.is_empty() {
        Exit::Complete
    } else {
        Exit::Quarantined
    })
}
