//! `runs`: lists what was run, and how it ended.

use std::time::Duration;

use backup_engine::merge_runs;
use backup_store::Timestamp;
use backup_store::catalog::{Alarm, RunRecord};
use serde_json::{Value, json};

use super::backup::totals;
use super::snapshots::short_id;
use super::sync_check;
use crate::args::RunsArgs;
use crate::config::Config;
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::Output;
use crate::table::{Align, Table};
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: RunsArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let mut runs = read(&open, config.as_ref()).await?;
    if let Some(last) = args.last {
        runs.drain(..runs.len().saturating_sub(last));
    }
    let out = &context.output;
    if out.is_json() {
        for run in &runs {
            out.object("run", describe(run))?;
        }
        out.object("summary", json!({ "runs": runs.len() }))?;
    } else if runs.is_empty() {
        out.note("no runs yet");
    } else {
        show(out, &runs)?;
    }
    Ok(Exit::Complete)
}

/// Reads the runs of the set, or of all sets where none is named, oldest first.
pub(crate) async fn read(open: &OpenStore, config: Option<&Config>) -> Result<Vec<RunRecord>> {
    let runs = open.store.runs().await.map_err(open.failed("read"))?;
    let own = |run: &RunRecord| config.is_none_or(|config| run.set == config.name);
    Ok(merge_runs(runs.into_iter().filter(own)))
}

fn show(out: &Output, runs: &[RunRecord]) -> Result<()> {
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("started (UTC)", Align::Left),
        ("took", Align::Right),
        ("set", Align::Left),
        ("resources", Align::Right),
        ("seen", Align::Right),
        ("stored", Align::Right),
        ("removed", Align::Right),
        ("fetched", Align::Right),
        ("outcome", Align::Left),
    ]);
    for run in runs {
        table.row([
            short_id(&run.run.to_string()),
            words::time(run.started),
            words::duration(between(run.started, run.finished)),
            run.set.clone(),
            words::count(resources(run)),
            words::count(run.totals.seen),
            words::count(run.totals.stored),
            words::count(run.totals.removed),
            words::bytes(run.totals.bytes),
            outcome(run),
        ]);
    }
    out.table(&table)?;
    out.note(&words::counted(runs.len() as u64, "run"));
    Ok(())
}

fn outcome(run: &RunRecord) -> String {
    let mut words = vec![run.outcome.to_string()];
    if run.findings.part {
        words.push("a part of the set".to_owned());
    }
    if run.drift.is_some() {
        words.push("checked".to_owned());
    }
    if !run.findings.alarms.is_empty() {
        let count = run.findings.alarms.len() as u64;
        words.push(words::counted(count, "alarm"));
    }
    words.join(", ")
}

/// Counts the resources that a run worked on.
pub(crate) fn resources(run: &RunRecord) -> u64 {
    // A checkpoint of a resource is not among the snapshots of a record: only the last one is.
    (run.snapshots.len() + run.unchanged.len()) as u64
}

fn between(started: Timestamp, finished: Timestamp) -> Duration {
    let took = finished.as_millis().saturating_sub(started.as_millis());
    Duration::from_millis(u64::try_from(took).unwrap_or(0))
}

/// Returns a run as an object for `--json`.
pub(crate) fn describe(run: &RunRecord) -> Value {
    json!({
        "run": run.run.to_string(),
        "set": run.set,
        "started": run.started.to_string(),
        "finished": run.finished.to_string(),
        "outcome": run.outcome.as_str(),
        "part": run.findings.part,
        "resources": resources(run),
        "resources_unchanged": run.unchanged.len(),
        "totals": totals(&run.totals),
        "failed": run.failed.len(),
        "nothing_there": run.findings.gaps.len(),
        "drift": run.drift.as_ref().map(sync_check::describe),
        "alarms": run.findings.alarms.iter().map(alarm).collect::<Vec<_>>(),
    })
}

/// Returns an alarm as an object for `--json`.
pub(crate) fn alarm(alarm: &Alarm) -> Value {
    json!({
        "resource": alarm.resource.as_str(),
        "items": alarm.items,
        "rewritten": alarm.rewritten,
        "removed": alarm.removed,
    })
}

/// Says what is alarming, and what to do.
pub(crate) fn warn(out: &Output, alarm: &Alarm) {
    out.warn(&crate::table::printable(&format!(
        "mass change in {}: of {}, {} have another content and {} are gone; earlier snapshots are \
         untouched: pin them if this was not meant (m365-backup pin add)",
        alarm.resource,
        words::counted(alarm.items, "item"),
        words::count(alarm.rewritten),
        words::count(alarm.removed),
    )));
}
