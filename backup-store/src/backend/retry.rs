//! Retry: asks a backend again after errors that may pass, a bounded number of times.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, ObjectInfo, ObjectName, Put};
use crate::environment::Environment;
use crate::error::{Error, Result};

/// How often, and how patiently, a call is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendRetry {
    /// Tries of one call, the first included; at least one.
    pub tries: u32,
    /// The wait after the first try; it doubles with each further one.
    pub first_wait: Duration,
    /// The longest wait, whatever the backend asks for.
    pub longest_wait: Duration,
}

impl Default for BackendRetry {
    /// Six tries in about half a minute.
    fn default() -> Self {
        Self {
            tries: 6,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
        }
    }
}

/// Tries calls again that failed with an error of which [`Error::is_retryable`] says that it may
/// pass.
///
/// A put whose answer was lost and that is tried again reports
/// [`AlreadyExists`](Put::AlreadyExists), as the trait allows. A wait is drawn between the half
/// and the whole of what is due, so that many writers do not come back at once; where the backend
/// said how long to wait, it is never shorter.
#[derive(Debug, Clone)]
pub struct RetryBackend {
    inner: Arc<dyn Backend>,
    policy: BackendRetry,
    environment: Arc<dyn Environment>,
}

impl RetryBackend {
    /// Wraps a backend.
    pub fn new(
        inner: Arc<dyn Backend>,
        policy: BackendRetry,
        environment: Arc<dyn Environment>,
    ) -> Self {
        Self {
            inner,
            policy,
            environment,
        }
    }

    /// Waits after try number `tried`, or gives the error back.
    async fn wait(&self, tried: u32, cause: Error) -> Result<()> {
        if !cause.is_retryable() || tried >= self.policy.tries {
            return Err(cause);
        }
        let doubled = self.policy.first_wait.checked_mul(1 << (tried - 1).min(16));
        let due = doubled.map_or(self.policy.longest_wait, |due| {
            due.min(self.policy.longest_wait)
        });
        let mut dice = [0; 4];
        self.environment.fill(&mut dice)?;
        let share = f64::from(u32::from_le_bytes(dice)) / f64::from(u32::MAX);
        let mut wait = due.mul_f64(0.5 + share / 2.0);
        if let Some(asked) = cause.retry_after() {
            wait = wait.max(asked.min(self.policy.longest_wait));
        }
        tracing::debug!(%cause, tried, ?wait, "the backend is asked again");
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

/// Calls until it succeeds, or no more tries are left.
macro_rules! retried {
    ($self:ident, $call:expr) => {{
        let mut tried = 0;
        loop {
            tried += 1;
            match $call.await {
                Ok(answer) => return Ok(answer),
                Err(cause) => $self.wait(tried, cause).await?,
            }
        }
    }};
}

#[async_trait]
impl Backend for RetryBackend {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        retried!(self, self.inner.put_new(name, bytes.clone()))
    }

    fn takes_files(&self) -> bool {
        self.inner.takes_files()
    }

    async fn put_new_file(&self, name: &ObjectName, file: &Path) -> Result<Option<Put>> {
        retried!(self, self.inner.put_new_file(name, file))
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        retried!(self, self.inner.get(name, range.clone()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        retried!(self, self.inner.list(prefix))
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        retried!(self, self.inner.delete(name))
    }

    async fn probe(&self) -> Result<Capabilities> {
        // Not tried again as a whole, nor through this wrapper: a lost answer would look like a
        // dishonest backend.
        self.inner.probe().await
    }
}
