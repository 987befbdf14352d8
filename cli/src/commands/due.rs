//! When the next backup and the next synchronization check of a set are due, by its run records.

use std::time::Duration;

use backup_engine::{merge_runs, sync_check_due};
use backup_store::Timestamp;
use backup_store::catalog::{Outcome, RunRecord};

use crate::config::Config;
use crate::connect::OpenStore;
use crate::failure::Result;

/// When something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Now,
    At(Timestamp),
}

/// What is due when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dues {
    pub(crate) backup: Due,
    /// `None` before the first run, or if the check is disabled.
    pub(crate) sync_check: Option<Timestamp>,
}

/// Returns when the set is due; every worker on every machine finds the same.
pub(crate) async fn due(open: &OpenStore, config: &Config) -> Result<Dues> {
    let runs = open.store.runs().await.map_err(open.failed("read"))?;
    let own = runs.into_iter().filter(|run| run.set == config.name);
    let runs = merge_runs(own);
    Ok(Dues {
        backup: backup(&runs, config.schedule.every_hours),
        sync_check: sync_check(&runs, config.sync_check.interval_days),
    })
}

/// A backup is due so many hours after the start of the last that came to its end.
fn backup(runs: &[RunRecord], every_hours: u32) -> Due {
    let whole = runs.iter().filter(|run| !run.findings.part);
    let ended = whole.filter(|run| run.outcome != Outcome::Checkpoint);
    let every = i64::from(every_hours) * 3_600_000;
    match ended.map(|run| run.started).max() {
        None => Due::Now,
        Some(last) => Due::At(Timestamp::from_millis(
            last.as_millis().saturating_add(every),
        )),
    }
}

fn sync_check(runs: &[RunRecord], days: u32) -> Option<Timestamp> {
    let checked = runs
        .iter()
        .filter(|run| run.drift.is_some_and(|drift| drift.repaired));
    let last = checked.map(|run| run.finished).max();
    let first = runs.iter().map(|run| run.started).min();
    let interval = (days > 0).then(|| Duration::from_secs(u64::from(days) * 24 * 3600));
    sync_check_due(last, first, interval)
}
