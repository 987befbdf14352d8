//! Gate: the units of work of one resource, each through its lane of the scheduler.
//!
//! A unit that is refused or fails frees its slot, waits outside, and comes back through the gate.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use backup_store::catalog::ResourceId;
use backup_store::{Environment, StopSignal};
use m365_auth::{Charge, Class, Lane, Scheduler, Slot};
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Observer};
use crate::options::RetryLimits;
use crate::retry::{Failure, NextStep, next_step};

/// What a gate needs from the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateContext<'a> {
    pub(crate) environment: &'a dyn Environment,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) stop: &'a StopSignal,
    pub(crate) limits: &'a RetryLimits,
    pub(crate) scheduler: &'a Scheduler,
}

/// Lets the units of work of one resource through.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    resource: ResourceId,
    lane: Lane,
    successes: AtomicU64,
    context: GateContext<'a>,
}

impl<'a> Gate<'a> {
    /// Opens a lane for at most `requests` units at once that count as `charge` says.
    pub(crate) fn new(
        resource: ResourceId,
        charge: Charge,
        requests: usize,
        context: GateContext<'a>,
    ) -> Self {
        Self {
            resource,
            lane: context.scheduler.lane(Class::Incremental, charge, requests),
            successes: AtomicU64::new(0),
            context,
        }
    }

    /// Returns how many units have succeeded.
    pub(crate) fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Says whose work this is.
    pub(crate) fn set_class(&self, class: Class) {
        self.lane.set_class(class);
    }

    /// Says how many items remain to be fetched.
    pub(crate) fn set_remaining(&self, items: u64) {
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        self.lane.set_remaining(BEST_PACE.saturating_mul(items));
    }

    /// Does one unit of work that brings little into memory; else like
    /// [`attempt_with`](Self::attempt_with).
    pub(crate) async fn attempt<T, F>(&self, unit: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.attempt_with(0, unit).await
    }

    /// Does one unit of work that brings `bytes` into memory, again and again until it succeeds or
    /// its limits are reached.
    ///
    /// *Errors*: that of the last try; a request to stop ends the waiting, not the trying.
    pub(crate) async fn attempt_with<T, F>(
        &self,
        bytes: u64,
        mut unit: impl FnMut() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut retries = Retries::default();
        loop {
            let result = {
                let _slot = self.enter(bytes, retries.first.is_some()).await?;
                unit().await
            };
            match result {
                Ok(value) => {
                    self.successes.fetch_add(1, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => self.wait_after(error, &mut retries).await?,
            }
        }
    }

    /// Waits for a slot; once a stop is requested, not for one that the service keeps back.
    async fn enter(&self, bytes: u64, comes_back: bool) -> Result<Slot> {
        let slot = self.lane.slot(bytes, comes_back);
        tokio::pin!(slot);
        tokio::select! {
            biased;
            slot = &mut slot => return Ok(slot),
            () = self.context.stop.requested() => {}
        }
        while !self.lane.is_held() {
            if let Ok(slot) = tokio::time::timeout(LOOK_AGAIN, &mut slot).await {
                return Ok(slot);
            }
        }
        Err(stopped())
    }

    /// Waits as long as the failure asks for, or returns it where trying again makes no sense.
    async fn wait_after(&self, error: Error, retries: &mut Retries) -> Result<()> {
        if !error.is_retryable() {
            return Err(error);
        }
        let now = Instant::now();
        retries.first.get_or_insert(now);
        if error.kind() == ErrorKind::NotAdmitted {
            // Nothing was sent, and no limit of tries is touched: the scheduler lets it go again.
            let wait = error.retry_after().unwrap_or_default();
            self.lane.hold(wait.max(SHORTEST_HOLD));
            return Ok(());
        }
        let throttled = error.kind() == ErrorKind::Throttled;
        if !throttled {
            retries.tries += 1;
        }
        let failure = Failure {
            tries: retries.tries.max(1),
            since_first: now - *retries.first_failure.get_or_insert(now),
            throttled,
            retry_after: error.retry_after(),
            random: self.random()?,
        };
        let NextStep::Wait(wait) = next_step(self.context.limits, &failure) else {
            return Err(error);
        };
        self.announce(wait, &error);
        if throttled {
            // The scheduler holds back whatever the service throttles together.
            self.lane.pause(wait);
            return Ok(());
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.context.stop.requested() => Err(error),
        }
    }

    fn announce(&self, wait: Duration, error: &Error) {
        tracing::debug!(resource = %self.resource, ?wait, %error, "a unit of work waits");
        self.context.observer.event(&Event::Paused {
            resource: self.resource.clone(),
            wait,
            cause: error.to_string(),
        });
    }

    fn random(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.context.environment.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[derive(Debug, Default)]
struct Retries {
    tries: u32,
    /// When it was first refused or failed, and when it first failed.
    first: Option<Instant>,
    first_failure: Option<Instant>,
}

fn stopped() -> Error {
    Error::new(
        ErrorKind::Throttled,
        "the run was asked to stop while the service asked to wait",
    )
}

/// The time of one item at the best pace that the service allows a mailbox: four requests at once,
/// a quarter of a second each. Only the order of resources depends on it.
const BEST_PACE: Duration = Duration::from_millis(63);
/// How often a unit that waits for its slot looks whether the service keeps it back.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A request that costs more than its lane says is not asked for again at once.
const SHORTEST_HOLD: Duration = Duration::from_millis(10);
