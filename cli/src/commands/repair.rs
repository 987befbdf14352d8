//! `repair`: brings back what is damaged where somebody still has it, and names what is lost.

use backup_store::{
    RepairOptions, RepairPhase, RepairPlan, RepairProgress, RepairReport, RunId, WriterOptions,
};
use serde_json::json;

use crate::args::RepairArgs;
use crate::commands::snapshots::short_id;
use crate::connect::{Context, state_folder};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::Output;
use crate::progress::Ticker;
use crate::table::printable;
use crate::{secrets, words};

/// Runs the command.
pub(crate) async fn run(context: &Context, args: RepairArgs) -> Result<Exit> {
    let config = context.config()?;
    let out = &context.output;
    let open = context.open_store(config.as_ref()).await?;
    if args.accept_older && !args.dry_run {
        open.store
            .accept_older()
            .await
            .map_err(open.failed("repair"))?;
        out.note("what this machine has seen of the store is forgotten");
    }
    let mut options = RepairOptions::default();
    for place in args.from {
        let unlock = || secrets::unlock(&context.global, config.as_ref());
        let replica = context.open_store_at(place, unlock, None).await?;
        options.replicas.push(replica.store);
    }
    let ticker = Ticker::new(out);
    let tell = |progress| show(&ticker, progress);
    let planned = open.store.plan_repair(options, &tell).await;
    ticker.finish();
    let plan = planned.map_err(open.failed("check"))?;
    describe_plan(out, &plan)?;
    if plan.is_empty() && plan.restores_everything() {
        if out.is_json() {
            out.object("summary", describe(&RepairReport::default(), &plan))?;
        }
        return Ok(Exit::Complete);
    }
    if args.dry_run || (!args.yes && !out.ask("Repair this?")?) {
        out.note("nothing was written");
        return Ok(end(&plan));
    }
    let run = RunId::random(open.store.environment().as_ref()).map_err(open.failed("repair"))?;
    let writer = WriterOptions {
        run,
        spool_dir: state_folder(config.as_ref(), &open.store)?.join("repair"),
        adopts: Vec::new(),
    };
    let exit = end(&plan);
    let beyond = plan.clone();
    let ticker = Ticker::new(out);
    let tell = |progress| show(&ticker, progress);
    let repaired = open.store.repair(plan, writer, &tell).await;
    ticker.finish();
    let report = repaired.map_err(open.failed("repair"))?;
    if out.is_json() {
        out.object("summary", describe(&report, &beyond))?;
        return Ok(exit);
    }
    out.line(&format!(
        "repaired: {} indexed, {} stored again ({}), {} copied; {} published again, {} of them \
         with {} in quarantine",
        words::counted(report.indexed, "pack"),
        words::counted(report.chunks, "chunk"),
        words::bytes(report.bytes),
        words::counted(report.objects, "object"),
        words::counted(
            report.republished + report.repaired.len() as u64,
            "snapshot"
        ),
        words::count(report.repaired.len() as u64),
        words::counted(report.quarantined, "item"),
    ))?;
    if report.quarantined > 0 {
        out.note("the next backup fetches those items again, if the service still has them");
    }
    Ok(exit)
}

/// What is lost for good makes the repair a partial one.
fn end(plan: &RepairPlan) -> Exit {
    if plan.restores_everything() {
        Exit::Complete
    } else {
        Exit::Quarantined
    }
}

fn show(ticker: &Ticker, progress: RepairProgress) {
    let phase = match progress.phase {
        RepairPhase::Checking => "reading all data",
        RepairPhase::Planning => "looking for what is damaged elsewhere",
        RepairPhase::Fetching => "storing again",
        RepairPhase::Publishing => "publishing",
        _ => "working",
    };
    let total = progress.total.map(words::count);
    let total = total
        .map(|total| format!(" of {total}"))
        .unwrap_or_default();
    ticker.show(&format!("{phase}: {}{total}", words::count(progress.done)));
}

fn describe_plan(out: &Output, plan: &RepairPlan) -> Result<()> {
    for item in &plan.refetch {
        if out.is_json() {
            let fields = json!({
                "resource": item.resource.as_str(),
                "item": item.item.id,
                "name": item.name,
                "representation": item.representation.as_str(),
                "snapshot": item.snapshot.to_string(),
            });
            out.object("lost", fields)?;
        } else {
            let id = short_id(&item.snapshot.to_string());
            let line = format!("lost: {}, snapshot {id}: {}", item.resource, item.name);
            out.line(&printable(&line))?;
        }
    }
    if out.is_json() {
        return Ok(());
    }
    for object in &plan.beyond {
        out.line(&format!("damaged, and nobody has it whole: {object}"))?;
    }
    if plan.is_empty() && plan.restores_everything() {
        return out.line("nothing to repair");
    }
    out.line(&format!(
        "to repair: {} to index, {} to store again ({}), {} to copy, {} to publish again",
        words::counted(plan.index.len() as u64, "pack"),
        words::counted(plan.chunks, "chunk"),
        words::bytes(plan.bytes),
        words::counted(plan.objects.len() as u64, "object"),
        words::counted(
            (plan.republished.len() + plan.snapshots.len()) as u64,
            "snapshot"
        ),
    ))?;
    if plan.lost_chunks > 0 {
        out.line(&format!(
            "{} that snapshots need and nobody has",
            words::counted(plan.lost_chunks, "chunk")
        ))?;
    }
    Ok(())
}

fn describe(report: &RepairReport, plan: &RepairPlan) -> serde_json::Value {
    json!({
        "indexed": report.indexed,
        "chunks": report.chunks,
        "bytes": report.bytes,
        "objects": report.objects,
        "republished": report.republished,
        "repaired": report.repaired.len(),
        "quarantined": report.quarantined,
        "lost_chunks": plan.lost_chunks,
        "lost_items": plan.refetch.len(),
        "beyond": plan.beyond.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
    })
}
