//! Progress of a check.

use backup_store::{CheckPhase, CheckProgress};

use super::Ticker;
use crate::words;

/// Shows how far a check is.
pub(crate) fn show_check(ticker: &Ticker, progress: &CheckProgress) {
    let phase = match progress.phase {
        CheckPhase::Objects => "objects",
        CheckPhase::Segments => "index",
        CheckPhase::Packs => "packs",
        CheckPhase::Snapshots => "snapshots",
        _ => "the rest",
    };
    let total = progress
        .total
        .map(|total| format!(" of {}", words::count(total)));
    let (done, total) = (words::count(progress.done), total.unwrap_or_default());
    let items = words::counted(progress.items, "item");
    let bytes = words::bytes(progress.bytes.max(progress.read_bytes));
    ticker.show(&format!("{phase} {done}{total}; {items}, {bytes}"));
}
