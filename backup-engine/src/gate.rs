//! Gate: how many requests of one resource are in flight, and when none may start.
//!
//! A unit of work that is refused frees its place, waits outside, and comes back through the gate.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backup_store::catalog::ResourceId;
use backup_store::{Environment, StopSignal};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Observer};
use crate::options::RetryLimits;
use crate::retry::{Failure, NextStep, next_step};

/// A time before which nothing may start; shared by whatever the service throttles together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pause(Arc<Mutex<Option<Instant>>>);

impl Pause {
    fn extend(&self, until: Instant) {
        let mut pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pause.is_none_or(|present| present < until) {
            *pause = Some(until);
        }
    }

    fn until(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a gate needs from the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GateContext<'a> {
    pub(crate) environment: &'a dyn Environment,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) stop: &'a StopSignal,
    pub(crate) limits: &'a RetryLimits,
}

/// Lets the requests of one resource through.
#[derive(Debug)]
pub(crate) struct Gate<'a> {
    resource: ResourceId,
    permits: Semaphore,
    pause: Pause,
    successes: AtomicU64,
    context: GateContext<'a>,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(
        resource: ResourceId,
        requests: usize,
        pause: Pause,
        context: GateContext<'a>,
    ) -> Self {
        Self {
            resource,
            permits: Semaphore::new(requests.max(1)),
            pause,
            successes: AtomicU64::new(0),
            context,
        }
    }

    /// Returns how many units have succeeded.
    pub(crate) fn successes(&self) -> u64 {
        self.successes.load(Ordering::Relaxed)
    }

    /// Does one unit of work, again and again until it succeeds or its limits are reached.
    ///
    /// *Errors*: that of the last try; a request to stop ends the waiting, not the trying.
    pub(crate) async fn attempt<T, F>(&self, mut unit: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut retries = Retries::default();
        loop {
            let result = {
                let _permit = self.enter().await?;
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

    async fn enter(&self) -> Result<tokio::sync::SemaphorePermit<'_>> {
        loop {
            let permit = self.permits.acquire().await.map_err(|cause| {
                Error::new(ErrorKind::Unavailable, "the run has ended").with_source(cause)
            })?;
            match self.pause.until().filter(|until| *until > Instant::now()) {
                None => return Ok(permit),
                Some(until) => {
                    drop(permit);
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        () = self.context.stop.requested() => return Err(stopped()),
                    }
                }
            }
        }
    }

    /// Waits as long as the failure asks for, or returns it where trying again makes no sense.
    async fn wait_after(&self, error: Error, retries: &mut Retries) -> Result<()> {
        if !error.is_retryable() {
            return Err(error);
        }
        let now = Instant::now();
        let throttled = error.kind() == ErrorKind::Throttled;
        if !throttled {
            retries.tries += 1;
        }
        let failure = Failure {
            tries: retries.tries.max(1),
            since_first: now - *retries.first.get_or_insert(now),
            throttled,
            retry_after: error.retry_after(),
            random: self.random()?,
        };
        let NextStep::Wait(wait) = next_step(self.context.limits, &failure) else {
            return Err(error);
        };
        if throttled {
            self.pause.extend(now + wait);
        }
        self.announce(wait, &error);
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
    first: Option<Instant>,
}

fn stopped() -> Error {
    Error::new(
        ErrorKind::Throttled,
        "the run was asked to stop while the service asked to wait",
    )
}
