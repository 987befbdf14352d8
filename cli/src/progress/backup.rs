//! Progress of a backup: one line for the run, one for each resource that is worked on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backup_engine::report::ResourceReport;
use backup_engine::{Event, Observer};
use backup_store::catalog::{ResourceId, Totals};
use indicatif::ProgressBar;
use serde_json::json;

use super::{show, spinner};
use crate::commands::backup::totals;
use crate::failure::{Failure, Result};
use crate::output::{Output, Progress};
use crate::words;

/// Shows what a backup does.
#[derive(Debug)]
pub(crate) struct BackupProgress {
    out: Output,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    run: Option<ProgressBar>,
    active: BTreeMap<ResourceId, Active>,
    finished: u64,
    done: Totals,
    failure: Option<Failure>,
}

#[derive(Debug)]
struct Active {
    label: String,
    totals: Totals,
    bar: Option<ProgressBar>,
}

impl BackupProgress {
    /// Starts to show progress the way `out` wants it.
    pub(crate) fn new(out: &Output) -> Self {
        let run = spinner(out, "");
        show(run.as_ref(), "looking for mailboxes and drives");
        let state = State {
            run,
            active: BTreeMap::new(),
            finished: 0,
            done: Totals::default(),
            failure: None,
        };
        Self {
            out: out.clone(),
            state: Mutex::new(state),
        }
    }

    /// Takes the bars away, and reports whether progress could be written at all.
    pub(crate) fn finish(&self) -> Result<()> {
        let mut state = self.lock();
        for active in state.active.values() {
            clear(active.bar.as_ref());
        }
        clear(state.run.as_ref());
        state.failure.take().map_or(Ok(()), Err)
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
            self.out.note(&crate::table::printable(text));
        }
    }

    fn started(&self, resource: &backup_store::catalog::Resource) {
        let label = format!("{} {}", resource.owner, resource.service);
        let bar = spinner(&self.out, "  ");
        show(bar.as_ref(), &label);
        let active = Active {
            label,
            totals: Totals::default(),
            bar,
        };
        self.lock().active.insert(resource.id.clone(), active);
    }

    fn advanced(&self, resource: &ResourceId, totals: &Totals) {
        let mut state = self.lock();
        if let Some(active) = state.active.get_mut(resource) {
            active.totals = *totals;
            show(
                active.bar.as_ref(),
                &format!("{}: {}", active.label, brief(totals)),
            );
        }
        state.show_run();
    }

    fn finished(&self, report: &ResourceReport) {
        let mut state = self.lock();
        if let Some(active) = state.active.remove(&report.resource.id) {
            clear(active.bar.as_ref());
        }
        state.finished += 1;
        state.done.add(&report.totals);
        state.show_run();
    }
}

impl State {
    fn show_run(&self) {
        let mut totals = self.done;
        self.active
            .values()
            .for_each(|active| totals.add(&active.totals));
        let done = words::counted(self.finished, "resource");
        show(
            self.run.as_ref(),
            &format!("{done} done, {}", brief(&totals)),
        );
    }
}

impl Observer for BackupProgress {
    fn event(&self, event: &Event) {
        match event {
            Event::RunStarted { run, .. } => {
                self.object("run_started", json!({ "run": run.to_string() }));
            }
            Event::ResourceLeftOut { left_out, .. } => self.object(
                "resource_left_out",
                json!({
                    "owner": left_out.owner,
                    "service": left_out.service.as_str(),
                    "reason": left_out.reason,
                }),
            ),
            Event::ResourceStarted {
                resource,
                pages_resumed,
                ..
            } => {
                self.started(resource);
                self.object(
                    "resource_started",
                    json!({
                        "resource": resource.id.as_str(),
                        "owner": resource.owner,
                        "service": resource.service.as_str(),
                        "pages_resumed": pages_resumed,
                    }),
                );
            }
            Event::PageCommitted {
                resource,
                feed,
                totals: so_far,
                ..
            } => {
                self.advanced(resource, so_far);
                self.object(
                    "page_committed",
                    json!({
                        "resource": resource.as_str(),
                        "feed": feed,
                        "totals": totals(so_far),
                    }),
                );
            }
            Event::ItemQuarantined { item, .. } => {
                self.line(&format!("quarantined: {}: {}", item.name, item.cause));
                self.object(
                    "item_quarantined",
                    json!({
                        "resource": item.resource.as_str(),
                        "id": item.item_id,
                        "name": item.name,
                        "cause": item.cause,
                    }),
                );
            }
            Event::ResourceFinished { report, .. } => self.report(report),
            Event::Paused {
                resource,
                wait,
                cause,
                ..
            } => {
                let time = words::duration(*wait);
                self.line(&format!("waiting {time} for {resource}: {cause}"));
                self.object(
                    "paused",
                    json!({
                        "resource": resource.as_str(),
                        "seconds": wait.as_secs_f64(),
                        "cause": cause,
                    }),
                );
            }
            _ => {}
        }
    }
}

impl BackupProgress {
    fn report(&self, report: &ResourceReport) {
        self.finished(report);
        let resource = &report.resource;
        if self.out.progress() == Progress::Lines {
            let what = report
                .error
                .clone()
                .unwrap_or_else(|| brief(&report.totals));
            self.line(&format!("{} {}: {what}", resource.owner, resource.service));
        }
        self.object(
            "resource_finished",
            json!({
                "resource": resource.id.as_str(),
                "owner": resource.owner,
                "service": resource.service.as_str(),
                "snapshot": report.snapshot.map(|id| id.to_string()),
                "feeds": report.feeds,
                "totals": totals(&report.totals),
                "error": report.error,
            }),
        );
    }
}

fn brief(totals: &Totals) -> String {
    let Totals {
        seen,
        stored,
        removed,
        moved,
        bytes,
        ..
    } = totals;
    let mut text = format!(
        "{} seen, {} stored",
        words::counted(*seen, "item"),
        words::count(*stored)
    );
    for (count, word) in [(moved, "moved"), (removed, "removed")] {
        if *count > 0 {
            text.push_str(&format!(", {} {word}", words::count(*count)));
        }
    }
    if *bytes > 0 {
        text.push_str(&format!(", {}", words::bytes(*bytes)));
    }
    text
}

fn clear(bar: Option<&ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
}
