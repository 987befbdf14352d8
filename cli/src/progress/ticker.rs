//! Progress of work that has one line to show.

use indicatif::ProgressBar;

use super::{show, spinner};
use crate::output::Output;

/// Shows one line that moves, where bars are drawn.
#[derive(Debug)]
pub(crate) struct Ticker(Option<ProgressBar>);

impl Ticker {
    /// Starts to show progress.
    pub(crate) fn new(out: &Output) -> Self {
        Self(spinner(out, ""))
    }

    /// Shows how far the work is.
    pub(crate) fn show(&self, text: &str) {
        show(self.0.as_ref(), text);
    }

    /// Takes the line away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
