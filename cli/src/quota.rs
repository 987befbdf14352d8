//! Quota: how much a set may hold, asked before a backup begins and said when it has ended.

use backup_store::StatsOptions;

use crate::config::{Limits, Quota};
use crate::connect::OpenStore;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::words;

/// What a set holds, as far as there is a limit for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    stored: Option<u64>,
    logical: Option<u64>,
}

/// Warns where a soft limit is passed, and refuses to go on where a hard one is.
pub(crate) async fn refuse_if_full(out: &Output, open: &OpenStore, quota: &Quota) -> Result<()> {
    for (what, bytes, limits) in measured(open, quota).await? {
        if let Some(hard) = limits.hard().filter(|hard| bytes >= *hard) {
            let (bytes, hard) = (words::bytes(bytes), words::bytes(hard));
            let message = format!("the quota is used up: {bytes} {what}, of {hard}");
            return Err(Failure::new(Exit::Failed, message).next(
                "free space with: m365-backup retention apply; or raise `quota` in the config",
            ));
        }
        warn(out, what, bytes, limits);
    }
    Ok(())
}

/// Warns where a limit is passed.
pub(crate) async fn warn_if_over(out: &Output, open: &OpenStore, quota: &Quota) -> Result<()> {
    for (what, bytes, limits) in measured(open, quota).await? {
        warn(out, what, bytes, limits);
    }
    Ok(())
}

fn warn(out: &Output, what: &str, bytes: u64, limits: Limits) {
    let passed = |limit: Option<u64>| limit.filter(|limit| bytes >= *limit);
    if let Some(hard) = passed(limits.hard()) {
        let (bytes, hard) = (words::bytes(bytes), words::bytes(hard));
        out.warn(&format!(
            "{bytes} {what} pass the quota of {hard}: the next backup will not start"
        ));
    } else if let Some(soft) = passed(limits.soft()) {
        let (bytes, soft) = (words::bytes(bytes), words::bytes(soft));
        out.warn(&format!(
            "{bytes} {what} pass the quota of {soft}; nothing is refused yet"
        ));
    }
}

async fn measured(
    open: &OpenStore,
    quota: &Quota,
) -> Result<impl Iterator<Item = (&'static str, u64, Limits)> + use<>> {
    let (stored, logical) = (quota.stored, quota.logical);
    let held = Held {
        stored: match stored.is_set() {
            true => Some(stored_bytes(open).await?),
            false => None,
        },
        logical: match logical.is_set() {
            true => Some(logical_bytes(open).await?),
            false => None,
        },
    };
    let stored = held.stored.map(|bytes| ("are stored", bytes, stored));
    let logical = held.logical.map(|bytes| ("are backed up", bytes, logical));
    Ok(stored.into_iter().chain(logical))
}

/// Sums up the objects of the store.
async fn stored_bytes(open: &OpenStore) -> Result<u64> {
    let objects = open
        .store
        .backend()
        .list("")
        .await
        .map_err(open.failed("measure"))?;
    Ok(objects.iter().map(|object| object.size).sum())
}

/// Sums up what all snapshots hold, each item once for every state that differs.
async fn logical_bytes(open: &OpenStore) -> Result<u64> {
    let options = StatsOptions { exclusive: false };
    let report = open.store.stats(options, &|_| {}).await;
    Ok(report.map_err(open.failed("measure"))?.sizes.logical)
}
