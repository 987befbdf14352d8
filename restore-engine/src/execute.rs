//! Execute: does what a plan lists, item by item, logged, verified, resumable.

mod container;
mod item;
mod tally;

use std::sync::Arc;

use backup_store::catalog::{Browse, Container, SnapshotEntry};
use backup_store::{StopSignal, Store};
use tokio::sync::Semaphore;

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Observer};
use crate::journal::{Execution, RestoreJournal};
use crate::plan::RestorePlan;
use crate::report::{RestoreOutcome, RestoreReport};
use crate::retry::{Pause, after_failure};
use crate::target::Target;
use tally::Tally;

/// Content that may be in memory at once, in units of [`CREDIT_BYTES`].
const CREDITS: u32 = 128;

/// One unit of memory credit: 1 MiB.
const CREDIT_BYTES: u64 = 1 << 20;

/// Executes `plan`: writes what it lists, reads every item back, compares.
///
/// The destination is looked at again first: what an earlier execution wrote is not written again,
/// and what appeared since the plan was made is left alone. Executing one plan twice adds nothing.
/// After a stop, or a crash, executing the same plan, or a new one for the same request, goes on.
///
/// *Units and limits*: about 128 MiB of content in memory at once, whatever the plan's size.
///
/// *Errors*: what ends the whole restore: a plan that does not fit, a journal or a snapshot that
/// cannot be read, a credential that is refused. What concerns one item is in the report.
///
/// *Cancel safety*: may be dropped at any time, like a crash; a [`StopSignal`] ends it in order.
pub async fn execute(
    store: &Store,
    plan: &RestorePlan,
    target: &dyn Target,
    journal: &RestoreJournal,
    observer: &dyn Observer,
    stop: &StopSignal,
) -> Result<RestoreReport> {
    plan.validate()?;
    if target.place().await? != plan.place {
        let cause = format!("plan {}: was made for another destination", plan.id);
        return Err(Error::new(ErrorKind::PlanMismatch, cause));
    }
    let entry = snapshot_of(store, plan).await?;
    let browse = Browse::over(store.clone(), &entry.snapshot);
    let containers = browse.containers().await?;
    let run = Run {
        store,
        plan,
        target,
        browse: &browse,
        containers: &containers,
        execution: journal.execution(&plan.id).await?,
        observer,
        stop,
        tally: Tally::new(plan),
        pause: Pause::default(),
        credits: Arc::new(Semaphore::new(CREDITS as usize)),
    };
    observer.event(&Event::Started {
        items: plan.totals.write,
        bytes: plan.totals.bytes,
    });
    let whole = run.all().await?;
    let report = run.tally.report(!whole);
    // What could not be read back stays in the journal, so that the same plan verifies it.
    if report.outcome != RestoreOutcome::Interrupted && report.unverified == 0 {
        run.execution.finish().await?;
    }
    observer.event(&Event::Finished { report: &report });
    Ok(report)
}

async fn snapshot_of(store: &Store, plan: &RestorePlan) -> Result<SnapshotEntry> {
    let mut listing = store.find_snapshots(&[plan.snapshot]).await?;
    let found = listing.snapshots.pop();
    let found = found.filter(|entry| entry.snapshot.resource.id.as_str() == plan.resource);
    // What cannot be read is not gone.
    if let (None, Some((_, cause))) = (&found, listing.damaged.pop()) {
        return Err(cause.into());
    }
    found.ok_or_else(|| {
        let cause = format!("snapshot {}: is not in the store", plan.snapshot);
        Error::new(ErrorKind::NotFound, cause)
    })
}

/// Everything one execution needs at hand.
struct Run<'a> {
    store: &'a Store,
    plan: &'a RestorePlan,
    target: &'a dyn Target,
    browse: &'a Browse<Store>,
    containers: &'a [Container],
    execution: Execution,
    observer: &'a dyn Observer,
    stop: &'a StopSignal,
    tally: Tally,
    pause: Pause,
    credits: Arc<Semaphore>,
}

/// What came of an effect that is tried several times.
enum Attempt<T> {
    /// It succeeded.
    Done(T),
    /// A stop was requested before it did.
    Stopped,
}

impl Run<'_> {
    /// Decides whether a failed try is followed by another one, and lets everyone wait for it.
    ///
    /// *Errors*: gives `error` back when there shall be no further try.
    fn wait_after(&self, tried: u32, error: Error) -> Result<()> {
        match after_failure(tried, &error) {
            None => Err(error),
            Some(wait) => {
                self.pause.set(wait);
                self.observer.event(&Event::Paused { wait });
                tracing::debug!(tried, ?wait, "a try failed");
                Ok(())
            }
        }
    }

    /// Tries something that may be repeated without harm until it succeeds, fails or is stopped.
    async fn repeat<T, F>(&self, mut action: impl FnMut() -> F) -> Result<Attempt<T>>
    where
        F: Future<Output = Result<T>>,
    {
        let mut tried = 0;
        while self.pause.pass(self.stop).await {
            tried += 1;
            match action().await {
                Ok(value) => return Ok(Attempt::Done(value)),
                Err(error) => self.wait_after(tried, error)?,
            }
        }
        Ok(Attempt::Stopped)
    }
}

/// Tells whether an error concerns the whole restore rather than one item.
fn is_fatal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Journal | ErrorKind::Credential)
}
