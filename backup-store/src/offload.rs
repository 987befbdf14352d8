//! Offload: where blocking and computing work runs, so that no crate owns a thread.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};

/// One piece of blocking or computing work.
pub type Job = Box<dyn FnOnce() + Send>;

/// Runs blocking or computing work away from the async executor.
#[async_trait]
pub trait Offload: fmt::Debug + Send + Sync {
    /// Runs `job` to its end, or drops it unrun when that is no longer possible.
    ///
    /// The first poll hands the job over: from then on it needs no further poll to be run, so that
    /// callers may keep several jobs under way and wait for one of them.
    ///
    /// *Cancel safety*: when the future is dropped, a job that was handed over still runs.
    async fn run(&self, job: Job);

    /// Returns how many jobs run at once: a hint for whoever has many that do not depend on each
    /// other.
    fn width(&self) -> usize {
        1
    }
}

/// Runs `work` through `offload` and returns what it returned.
///
/// *Errors*: [`ErrorKind::Interrupted`] when the work was dropped unrun, or panicked.
pub async fn offload<T: Send + 'static>(
    offload: &dyn Offload,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let (answer, done) = oneshot::channel();
    offload
        .run(Box::new(move || {
            // A caller that went away does not want the answer.
            drop(answer.send(work()));
        }))
        .await;
    done.await.map_err(|cause| {
        let words = "offloaded work ended without a result: its runtime stopped or it panicked";
        Error::new(ErrorKind::Interrupted, words).with_source(cause)
    })
}

/// Runs every job at once, on the calling thread: for simulation, and for callers without threads.
#[derive(Debug, Clone, Copy, Default)]
pub struct InlineOffload;

#[async_trait]
impl Offload for InlineOffload {
    async fn run(&self, job: Job) {
        job();
    }
}

/// Runs jobs on the blocking threads of the caller's tokio runtime, one permit per core.
#[cfg(feature = "tokio")]
#[derive(Debug, Clone)]
pub struct TokioOffload {
    permits: std::sync::Arc<tokio::sync::Semaphore>,
    width: usize,
}

#[cfg(feature = "tokio")]
impl TokioOffload {
    /// Creates an offload with one permit per core of this machine.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self::with_permits(cores)
    }

    /// Creates an offload that runs at most `permits` jobs at once (at least one).
    pub fn with_permits(permits: usize) -> Self {
        let width = permits.max(1);
        let permits = std::sync::Arc::new(tokio::sync::Semaphore::new(width));
        Self { permits, width }
    }
}

#[cfg(feature = "tokio")]
impl Default for TokioOffload {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "tokio")]
#[async_trait]
impl Offload for TokioOffload {
    async fn run(&self, job: Job) {
        let permits = std::sync::Arc::clone(&self.permits);
        let hold = |permit| {
            move || {
                let _held: tokio::sync::OwnedSemaphorePermit = permit;
                job();
            }
        };
        let done = if let Ok(permit) = std::sync::Arc::clone(&permits).try_acquire_owned() {
            tokio::task::spawn_blocking(hold(permit)).await
        } else {
            // A task of its own waits for the permit: a caller that polls something else
            // meanwhile must not hold a permit without using it.
            let task = tokio::spawn(async move {
                match permits.acquire_owned().await {
                    Ok(permit) => tokio::task::spawn_blocking(hold(permit)).await,
                    Err(_) => Ok(()), // Never closed; the job would be dropped, its caller told.
                }
            });
            task.await.and_then(|done| done)
        };
        if let Err(cause) = done {
            tracing::error!(%cause, "offloaded work did not finish");
        }
    }

    fn width(&self) -> usize {
        self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_offloads_return_the_answer() {
        assert_eq!(offload(&InlineOffload, || 6 * 7).await.unwrap(), 42);
        #[cfg(feature = "tokio")]
        assert_eq!(offload(&TokioOffload::new(), || 6 * 7).await.unwrap(), 42);
    }

    #[cfg(feature = "tokio")]
    #[tokio::test]
    async fn a_panic_becomes_an_error() {
        let result = offload(&TokioOffload::new(), || -> u8 { panic!("on purpose") }).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
