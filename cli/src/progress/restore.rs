//! Progress of a restore: how many of the planned items are written.

use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::ProgressBar;
use restore_engine::{Event, Observer};
use serde_json::json;

use super::{show, spinner};
use crate::failure::{Failure, Result};
use crate::output::{Output, Progress};
use crate::table::printable;
use crate::words;

/// Shows what a restore does.
#[derive(Debug)]
pub(crate) struct RestoreProgress {
    out: Output,
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    planned: u64,
    done: u64,
    bytes: u64,
    failure: Option<Failure>,
}

impl RestoreProgress {
    /// Starts to show progress the way `out` wants it.
    pub(crate) fn new(out: &Output) -> Self {
        Self {
            out: out.clone(),
            bar: spinner(out, ""),
            state: Mutex::default(),
        }
    }

    /// Takes the bar away, and reports whether progress could be written at all.
    pub(crate) fn finish(&self) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.lock().failure.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn object(&self, message_type: &str, fields: serde_json::Value) {
        if self.out.progress() != Progress::Json {
            return;
        }
        if let Err(failure) = self.out.object(message_type, fields) {
            self.lock().failure.get_or_insert(failure);
        }
    }

    fn line(&self, text: &str) {
        if matches!(self.out.progress(), Progress::Lines | Progress::Bars) {
            self.out.note(&printable(text));
        }
    }

    fn advance(&self, bytes: u64) {
        let mut state = self.lock();
        state.done += 1;
        state.bytes += bytes;
        let (done, planned) = (words::count(state.done), words::count(state.planned));
        let text = format!("{done} of {planned} items, {}", words::bytes(state.bytes));
        show(self.bar.as_ref(), &text);
    }
}

impl Observer for RestoreProgress {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Started { items, bytes, .. } => {
                self.lock().planned = *items;
                self.object("restore_started", json!({ "items": items, "bytes": bytes }));
            }
            Event::ContainerReady { path, created, .. } => {
                self.object(
                    "container_ready",
                    json!({ "path": path, "created": created }),
                );
            }
            Event::ItemWritten {
                path, name, bytes, ..
            } => {
                self.advance(*bytes);
                let fields = json!({ "path": path, "name": name, "bytes": bytes });
                self.object("item_written", fields);
            }
            Event::ItemSkipped {
                path, name, reason, ..
            } => {
                let fields = json!({ "path": path, "name": name, "reason": reason.explain() });
                self.object("item_skipped", fields);
            }
            Event::ItemFailed {
                path, name, cause, ..
            } => {
                self.line(&format!("failed: {path}/{name}: {cause}"));
                let fields = json!({ "path": path, "name": name, "cause": cause });
                self.object("item_failed", fields);
            }
            Event::ItemDiffers {
                path, name, fields, ..
            } => {
                self.line(&format!("differs: {path}/{name}: {}", fields.join(", ")));
                let fields = json!({ "path": path, "name": name, "fields": fields });
                self.object("item_differs", fields);
            }
            Event::ItemUnread {
                path, name, cause, ..
            } => {
                self.line(&format!("not read back: {path}/{name}: {cause}"));
                let fields = json!({ "path": path, "name": name, "cause": cause });
                self.object("item_unread", fields);
            }
            Event::Paused { wait, .. } => {
                self.line(&format!(
                    "waiting {}, as the service asks",
                    words::duration(*wait)
                ));
                self.object("paused", json!({ "seconds": wait.as_secs_f64() }));
            }
            _ => {}
        }
    }
}
