//! `sync-check`: compares the whole tenant with the catalog, and repairs what differs.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use backup_engine::{RunReport, SyncCheck, sync_check_due};
use backup_store::Timestamp;
use backup_store::catalog::{Drift, RunRecord};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::backup;
use crate::args::SyncCheckArgs;
use crate::config::Config;
use crate::connect::{Context, OpenStore, state_folder};
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::Output;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: SyncCheckArgs) -> Result<Exit> {
    let check = if args.dry_run {
        SyncCheck::Report
    } else {
        SyncCheck::Repair
    };
    backup::run_with(context, args.what, Some(check)).await
}

/// Returns when the next check of the set is due, if one ever is.
///
/// Reads the run records that are new to this machine, newest first, and no further back than to
/// what answers the question.
pub(crate) async fn due(open: &OpenStore, config: &Config) -> Result<Option<Timestamp>> {
    let days = u64::from(config.sync_check.interval_days);
    let Some(interval) = (days > 0).then(|| Duration::from_secs(days * 24 * 3600)) else {
        return Ok(None);
    };
    let path = state_folder(Some(config), &open.store)?.join("sync-checks.json");
    // It spares reading; without it, or if it cannot be read, the records tell the same.
    let read = fs::read(&path).ok();
    let mut sets: BTreeMap<String, History> = read
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let history = sets.entry(config.name.clone()).or_default();
    let now = open.store.environment().now();
    let overdue = |since| sync_check_due(None, Some(since), Some(interval)) <= Some(now);
    let newest = open.store.newest_runs().await;
    let mut runs = newest.map_err(open.failed("read"))?;
    let mut newest = None;
    while let Some(run) = runs.next().await.map_err(open.failed("read"))? {
        let id = run.run.to_string();
        if history.seen.as_ref() == Some(&id) {
            break;
        }
        newest.get_or_insert(id);
        if run.set == config.name && history.is_told_by(&run, overdue) {
            break;
        }
    }
    history.seen = newest.or(history.seen.take());
    let time = |millis: Option<i64>| millis.map(Timestamp::from_millis);
    let (checked, first) = (time(history.checked), time(history.first_run));
    let kept = serde_json::to_vec(&sets).unwrap_or_default();
    if let Err(cause) =
        fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| fs::write(&path, kept))
    {
        tracing::warn!(path = %path.display(), %cause, "the next run reads older records again");
    }
    Ok(sync_check_due(checked, first, Some(interval)))
}

/// What the run records of a set have told so far.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct History {
    /// The newest run whose record was read.
    seen: Option<String>,
    /// When the last check ended, in milliseconds since 1970.
    checked: Option<i64>,
    /// When the first run began that was read.
    first_run: Option<i64>,
}

impl History {
    /// Takes a record, newer ones first; tells whether older ones can change nothing.
    fn is_told_by(&mut self, run: &RunRecord, overdue: impl Fn(Timestamp) -> bool) -> bool {
        let first = self.first_run.unwrap_or(i64::MAX);
        self.first_run = Some(first.min(run.started.as_millis()));
        if run.drift.is_some_and(|drift| drift.repaired) {
            self.checked = self.checked.max(Some(run.finished.as_millis()));
            return true;
        }
        overdue(run.started)
    }
}

/// Says what the check of a run found.
pub(crate) fn show(out: &Output, report: &RunReport) -> Result<()> {
    if out.is_json() {
        return Ok(());
    }
    let Some(drift) = &report.drift else {
        out.warn("the Data Synchronization Check could not be made of everything; run it again");
        return Ok(());
    };
    let Drift {
        listed,
        missing,
        stale,
        surplus,
        surplus_bytes,
        containers,
        proved,
        disproved,
        repaired,
    } = *drift;
    let end = match (drift.is_none(), repaired) {
        (true, _) => "catalog and service agree",
        (false, true) => "repaired",
        (false, false) => "nothing was repaired",
    };
    out.line(&format!(
        "drift: of {} listed, {} missing, {} stale, {} surplus ({}), {} different; {} of {} \
         assumed contents were others; {end}",
        words::counted(listed, "item"),
        words::count(missing),
        words::count(stale),
        words::count(surplus),
        words::bytes(surplus_bytes),
        words::counted(containers, "folder"),
        words::count(disproved),
        words::count(proved),
    ))
}

/// Returns what a check found as an object for `--json`.
pub(crate) fn describe(drift: &Drift) -> serde_json::Value {
    json!({
        "listed": drift.listed,
        "missing": drift.missing,
        "stale": drift.stale,
        "surplus": drift.surplus,
        "surplus_bytes": drift.surplus_bytes,
        "containers": drift.containers,
        "proved": drift.proved,
        "disproved": drift.disproved,
        "repaired": drift.repaired,
    })
}
