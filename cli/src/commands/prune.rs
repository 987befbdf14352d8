//! `prune`: removes what nothing needs, and the snapshots that are to be forgotten.

use std::collections::BTreeSet;

use backup_store::{
    Fencing, PruneOptions, PruneOutcome, PrunePhase, PruneReport, RepackOptions, RunId, SnapshotId,
};
use serde_json::json;

use crate::args::{PruneArgs, PruneHow};
use crate::config::Config;
use crate::connect::{Context, OpenStore, state_folder};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Ticker;
use crate::{pins, snapshots, words};

/// Runs the command.
pub(crate) async fn run(context: &Context, args: PruneArgs) -> Result<Exit> {
    let config = context.config()?;
    if config.is_none() && !args.forget.is_empty() {
        refuse_without_pins(&context.output, args.ignore_pins)?;
    }
    let open = context.open_store(config.as_ref()).await?;
    let mut forget = BTreeSet::new();
    for wanted in &args.forget {
        let found = snapshots::select_one(&open, wanted).await?;
        forget.insert(found.id);
    }
    prune(context, config.as_ref(), &open, &args.how, forget).await
}

/// Pins stand beside the config of a set: without it nobody knows what must be kept.
fn refuse_without_pins(out: &Output, ignore: bool) -> Result<()> {
    if ignore {
        out.warn("no config is named: snapshots are forgotten even if they are pinned");
        return Ok(());
    }
    let failure = "no config is named, so that pins are not known: nothing is forgotten";
    Err(Failure::usage(failure)
        .next("name the set with --config FILE; or add --ignore-pins if nothing may be pinned"))
}

/// Forgets snapshots and removes what nothing needs; asks before anything is deleted.
pub(crate) async fn prune(
    context: &Context,
    config: Option<&Config>,
    open: &OpenStore,
    how: &PruneHow,
    forget: BTreeSet<SnapshotId>,
) -> Result<Exit> {
    let out = &context.output;
    let mut options = PruneOptions::new();
    options.forget = forget;
    options.pins = pinned(config, open).await?;
    options.sole_pruner = how.sole_pruner;
    options.dry_run = true;
    if how.repack_below > 0 {
        let environment = open.store.environment().as_ref();
        let own = RunId::random(environment).map_err(open.failed("prune"))?;
        options.repack = Some(RepackOptions {
            below_percent: how.repack_below,
            spool_dir: state_folder(config, &open.store)?
                .join("prune")
                .join(own.to_string()),
        });
    }
    if how.fence {
        options.fencing = Fencing::All;
    }
    // Without a question to ask, reading what is needed once is enough.
    if how.dry_run || !how.yes {
        let planned = measure(out, open, &options).await?;
        show(out, &planned)?;
        if how.dry_run || planned.outcome == PruneOutcome::Nothing {
            return Ok(Exit::Complete);
        }
        if !out.ask("Forget and delete this?")? {
            out.note("nothing was deleted");
            return Ok(Exit::Complete);
        }
    }
    options.dry_run = false;
    let report = measure(out, open, &options).await?;
    show(out, &report)?;
    if report.outcome == PruneOutcome::Waiting {
        out.note(
            "nothing was deleted yet: a writer at work may still need it; run the same command \
             again later, or with --fence if that writer is gone",
        );
    }
    Ok(Exit::Complete)
}

/// Returns the snapshots that are pinned, by the config or beside it; each must be there.
async fn pinned(config: Option<&Config>, open: &OpenStore) -> Result<BTreeSet<SnapshotId>> {
    let Some(config) = config else {
        return Ok(BTreeSet::new());
    };
    let entries = open.snapshots().await?;
    let pins = pins::pinned(config, open, &entries).await?;
    Ok(pins::kept(&pins, &entries).collect())
}

async fn measure(out: &Output, open: &OpenStore, options: &PruneOptions) -> Result<PruneReport> {
    let ticker = Ticker::new(out);
    let tell = |progress: backup_store::PruneProgress| {
        let phase = match progress.phase {
            PrunePhase::Marking => "reading what is needed",
            PrunePhase::Repacking => "writing packs anew",
            PrunePhase::Settling => "seeing to writers",
            PrunePhase::Deleting => "deleting",
            _ => "working",
        };
        let total = progress.total.map(words::count);
        let total = total
            .map(|total| format!(" of {total}"))
            .unwrap_or_default();
        ticker.show(&format!("{phase}: {}{total}", words::count(progress.done)));
    };
    let pruned = open.store.prune(options, &tell).await;
    ticker.finish();
    pruned.map_err(open.failed("prune"))
}

fn show(out: &Output, report: &PruneReport) -> Result<()> {
    if out.is_json() {
        return out.object("summary", describe(report));
    }
    let forgotten = words::counted(report.forgotten.len() as u64, "snapshot");
    let amount = |amount: &backup_store::Amount| {
        let packs = words::counted(amount.packs, "pack");
        format!("{packs} ({})", words::bytes(amount.bytes))
    };
    match report.outcome {
        PruneOutcome::Nothing => out.line("nothing to forget, and nothing that is not needed")?,
        PruneOutcome::Planned => out.line(&format!(
            "would forget {forgotten}, delete {}, write the rest of {} anew, and keep {}",
            amount(&report.condemned),
            amount(&report.repacked),
            amount(&report.kept),
        ))?,
        PruneOutcome::Waiting => out.line(&format!(
            "{} condemned; waiting for {}",
            amount(&report.condemned),
            words::counted(report.waiting.len() as u64, "writer"),
        ))?,
        _ => out.line(&format!(
            "forgot {forgotten}, deleted {}, {} and {}; {} are kept",
            amount(&report.deleted),
            words::counted(report.segments_deleted, "segment"),
            words::counted(report.sets_deleted, "snapshot set"),
            amount(&report.kept),
        ))?,
    }
    if report.missing_chunks > 0 {
        out.warn(&format!(
            "{} that kept snapshots need are in no pack; see: m365-backup check",
            words::counted(report.missing_chunks, "chunk")
        ));
    }
    for lease in &report.waiting {
        out.note(&format!("  waiting for the writer with lease {lease}"));
    }
    Ok(())
}

fn describe(report: &PruneReport) -> serde_json::Value {
    let outcome = match report.outcome {
        PruneOutcome::Nothing => "nothing",
        PruneOutcome::Planned => "planned",
        PruneOutcome::Waiting => "waiting",
        _ => "done",
    };
    let ids = |ids: &mut dyn Iterator<Item = String>| ids.collect::<Vec<_>>();
    json!({
        "outcome": outcome,
        "forgotten": ids(&mut report.forgotten.iter().map(ToString::to_string)),
        "kept_packs": report.kept.packs,
        "condemned_packs": report.condemned.packs,
        "condemned_bytes": report.condemned.bytes,
        "repacked_packs": report.repacked.packs,
        "deleted_packs": report.deleted.packs,
        "deleted_bytes": report.deleted.bytes,
        "segments_deleted": report.segments_deleted,
        "sets_deleted": report.sets_deleted,
        "missing_chunks": report.missing_chunks,
        "waiting_for": ids(&mut report.waiting.iter().map(ToString::to_string)),
    })
}
