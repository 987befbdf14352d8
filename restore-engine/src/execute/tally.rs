//! Tally: counts while a plan is executed, and makes the report.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::loss::{LossCode, Losses};
use crate::plan::RestorePlan;
use crate::report::{DETAILS_MAX, ItemDetail, RestoreOutcome, RestoreReport};

/// Counts what became of each item.
#[derive(Debug)]
pub(super) struct Tally {
    plan: String,
    planned: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    written: u64,
    resumed: u64,
    skipped: u64,
    failed: u64,
    verified: u64,
    unverified: u64,
    mismatched: u64,
    bytes: u64,
    containers_created: u64,
    mismatches: Vec<ItemDetail>,
    unread: Vec<ItemDetail>,
    failures: Vec<ItemDetail>,
    container_failures: Vec<ItemDetail>,
    container_failed: u64,
    losses: Losses,
}

/// What is known of an item that was written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done<'a> {
    pub(super) path: &'a str,
    pub(super) name: &'a str,
    pub(super) bytes: u64,
    pub(super) resumed: bool,
    pub(super) losses: &'a [LossCode],
    pub(super) differs: &'a [String],
    /// Why it could not be read back, if so.
    pub(super) unread: Option<&'a str>,
}

impl Tally {
    pub(super) fn new(plan: &RestorePlan) -> Self {
        let in_containers: u64 = plan.containers.iter().map(|each| each.unavailable).sum();
        // Items without a container of the plan are never met again: they are skipped here.
        let skipped = plan.totals.unavailable.saturating_sub(in_containers);
        Self {
            plan: plan.id.clone(),
            planned: plan.totals.selected,
            counts: Mutex::new(Counts {
                skipped,
                ..Counts::default()
            }),
        }
    }

    pub(super) fn written(&self, done: Done<'_>) {
        let mut counts = self.counts();
        counts.written += 1;
        match done.unread {
            None => counts.verified += 1,
            Some(cause) => {
                counts.unverified += 1;
                push(&mut counts.unread, done.path, done.name, cause);
            }
        }
        counts.resumed += u64::from(done.resumed);
        counts.bytes += done.bytes;
        for code in done.losses {
            counts.losses.add(*code, done.name);
        }
        if !done.differs.is_empty() {
            counts.mismatched += 1;
            let cause = done.differs.join("; ");
            push(&mut counts.mismatches, done.path, done.name, &cause);
        }
    }

    pub(super) fn skipped(&self, count: u64) {
        self.counts().skipped += count;
    }

    pub(super) fn failed(&self, path: &str, name: &str, cause: &str) {
        let mut counts = self.counts();
        counts.failed += 1;
        push(&mut counts.failures, path, name, cause);
    }

    /// Counts a container that could not be made, with the items that therefore were not written.
    pub(super) fn container_failed(&self, path: &str, cause: &str, items: u64) {
        let mut counts = self.counts();
        counts.failed += items;
        counts.container_failed += 1;
        push(&mut counts.container_failures, path, "", cause);
    }

    pub(super) fn container_created(&self) {
        self.counts().containers_created += 1;
    }

    pub(super) fn report(&self, stopped: bool) -> RestoreReport {
        let counts = self.counts();
        let reached = counts.written + counts.skipped + counts.failed;
        let remaining = self.planned.saturating_sub(reached);
        let wrong = counts.failed + counts.mismatched + counts.unverified + counts.container_failed;
        let outcome = if stopped {
            RestoreOutcome::Interrupted
        } else if wrong > 0 {
            RestoreOutcome::CompleteWithErrors
        } else {
            RestoreOutcome::Complete
        };
        RestoreReport {
            plan: self.plan.clone(),
            outcome,
            planned: self.planned,
            written: counts.written,
            resumed: counts.resumed,
            skipped: counts.skipped,
            failed: counts.failed,
            remaining,
            verified: counts.verified,
            unverified: counts.unverified,
            mismatched: counts.mismatched,
            bytes: counts.bytes,
            containers_created: counts.containers_created,
            mismatches: counts.mismatches.clone(),
            unread: counts.unread.clone(),
            failures: counts.failures.clone(),
            container_failures: counts.container_failures.clone(),
            losses: counts.losses.clone().into_vec(),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // Counts are whole after every statement, whatever panicked elsewhere.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn push(list: &mut Vec<ItemDetail>, path: &str, name: &str, cause: &str) {
    if list.len() < DETAILS_MAX {
        list.push(ItemDetail {
            path: path.into(),
            name: name.into(),
            cause: cause.into(),
        });
    }
}
