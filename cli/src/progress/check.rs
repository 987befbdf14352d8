//! Progress of a check.

use backup_store::CheckProgress;
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
        let chunks = words::counted(progress.chunks, "chunk");
        show(
            self.0.as_ref(),
            &format!("{chunks}, {}", words::bytes(progress.bytes)),
        );
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
