//! Progress of a check.

use backup_store::{CheckPhase, CheckProgress};
use indicatif::ProgressBar;

use super::{show, spinner};
use crate::output::Output;
use crate::words;

/// Shows how far a check is.
#[derive(Debug)]
pub(crate) struct CheckBar(Option<ProgressBar>);

impl CheckBar {
    /// Starts to show progress where bars are drawn.
    pub(crate) fn new(out: &Output) -> Self {
        Self(spinner(out, ""))
    }

    /// Shows how far the check is.
    pub(crate) fn advance(&self, progress: &CheckProgress) {
        let phase = match progress.phase {
            CheckPhase::Segments => "index",
            CheckPhase::Snapshots => "snapshots",
            CheckPhase::Packs => "packs",
            _ => "the rest",
        };
        let total = progress
            .total
            .map(|total| format!(" of {}", words::count(total)));
        let (done, total) = (words::count(progress.done), total.unwrap_or_default());
        let items = words::counted(progress.items, "item");
        let bytes = words::bytes(progress.bytes);
        show(
            self.0.as_ref(),
            &format!("{phase} {done}{total}; {items}, {bytes}"),
        );
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
