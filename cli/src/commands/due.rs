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
///
/// Reads the newest run records first, and no further back than to what answers both questions.
pub(crate) async fn due(open: &OpenStore, config: &Config) -> Result<Dues> {
    let (hours, days) = (config.schedule.every_hours, config.sync_check.interval_days);
    let now = open.store.environment().now();
    let newest = open.store.newest_runs().await;
    let mut newest = newest.map_err(open.failed("read"))?;
    let (mut runs, mut parts): (Vec<RunRecord>, Vec<RunRecord>) = (Vec::new(), Vec::new());
    loop {
        let next = newest.next().await.map_err(open.failed("read"))?;
        // The records of one run follow each other.
        let goes_on = |run: &RunRecord| parts.last().is_none_or(|part| part.run == run.run);
        if !next.as_ref().is_some_and(goes_on) {
            runs.extend(merge_runs(parts.drain(..)));
            if next.is_none() || is_told(&runs, hours, days, now) {
                break;
            }
        }
        parts.extend(next.filter(|run| run.set == config.name));
    }
    Ok(Dues {
        backup: backup(&runs, hours),
        sync_check: sync_check(&runs, days),
    })
}

/// Tells whether older runs can change nothing: what they would tell of is due anyway.
fn is_told(runs: &[RunRecord], hours: u32, days: u32, now: Timestamp) -> bool {
    let overdue = |hours: u64| {
        let interval = Duration::from_secs(hours * 3600);
        let started = runs.last().map(|run| run.started);
        sync_check_due(None, started, Some(interval)).is_some_and(|due| due <= now)
    };
    let backed_up = matches!(backup(runs, hours), Due::At(_)) || overdue(hours.into());
    let checked = |run: &RunRecord| run.drift.is_some_and(|drift| drift.repaired);
    let checked = runs.iter().any(checked) || overdue(u64::from(days) * 24);
    backed_up && (days == 0 || checked)
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
