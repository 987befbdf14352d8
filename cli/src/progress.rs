//! Progress: bars on a terminal, lines in a log, objects with `--json`; always beside the results.

mod backup;
mod check;
mod restore;
mod ticker;

use std::borrow::Cow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{Output, Progress};
use crate::table::printable;

pub(crate) use backup::BackupProgress;
pub(crate) use check::show_check;
pub(crate) use restore::RestoreProgress;
pub(crate) use ticker::Ticker;

/// Adds a moving line that shows text, or `None` where no bars are drawn.
fn spinner(out: &Output, indent: &str) -> Option<ProgressBar> {
    if out.progress() != Progress::Bars {
        return None;
    }
    let template = format!("{indent}{{spinner}} {{wide_msg}} {{elapsed}}");
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    let bar = out.bars().add(bar);
    bar.enable_steady_tick(TICK);
    Some(bar)
}

/// Shows text on a bar; names in it come from elsewhere.
fn show(bar: Option<&ProgressBar>, text: &str) {
    if let Some(bar) = bar {
        bar.set_message(Cow::Owned(printable(text)));
    }
}

const TICK: Duration = Duration::from_millis(120);
