//! Bandwidth: holds a backend to so many bytes a second in each direction.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

use super::{Backend, Capabilities, ObjectInfo, ObjectName, Put};
use crate::error::Result;

/// Bytes per second that a backend may be sent and asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bandwidth {
    /// Towards the backend; none is no limit.
    pub up: Option<u64>,
    /// From the backend; none is no limit.
    pub down: Option<u64>,
}

impl Bandwidth {
    /// Limits both directions; `None` is no limit.
    pub fn new(up: Option<u64>, down: Option<u64>) -> Self {
        Self { up, down }
    }
}

/// Holds the average over a second or more to a limit; clones share it.
///
/// An object goes out in one piece, then the next waits until it is paid for: a limit smaller than
/// an object's size a second still lets it pass. Listings are not counted.
#[derive(Debug, Clone)]
pub struct BandwidthBackend {
    inner: Arc<dyn Backend>,
    up: Option<Arc<Bucket>>,
    down: Option<Arc<Bucket>>,
}

impl BandwidthBackend {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>, limit: Bandwidth) -> Self {
        let bucket = |rate: Option<u64>| rate.map(|rate| Arc::new(Bucket::new(rate)));
        Self {
            inner,
            up: bucket(limit.up),
            down: bucket(limit.down),
        }
    }
}

/// A token bucket that holds a second's worth, and may owe.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// When all that was taken is paid for.
    paid: Mutex<Option<Instant>>,
}

impl Bucket {
    fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            paid: Mutex::new(None),
        }
    }

    /// Waits until what others took is paid for.
    async fn wait(&self) {
        // Whoever waits first goes first: the lock is fair, and held while waiting.
        let paid = self.paid.lock().await;
        if let Some(paid) = *paid {
            tokio::time::sleep_until(paid).await;
        }
    }

    /// Takes bytes; those who come later wait for them.
    async fn take(&self, bytes: usize) {
        let nanos = (bytes as u128).saturating_mul(1_000_000_000) / u128::from(self.rate);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let mut paid = self.paid.lock().await;
        // What was not used in the last second is forfeit.
        let floor = Instant::now().checked_sub(Duration::from_secs(1));
        let begin = (*paid).max(floor).unwrap_or_else(Instant::now);
        *paid = begin.checked_add(cost).or(*paid);
    }
}

#[async_trait]
impl Backend for BandwidthBackend {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        if let Some(up) = &self.up {
            up.wait().await;
            up.take(bytes.len()).await;
        }
        self.inner.put_new(name, bytes).await
    }

    fn takes_files(&self) -> bool {
        self.up.is_none() && self.inner.takes_files()
    }

    async fn put_new_file(&self, name: &ObjectName, file: &Path) -> Result<Option<Put>> {
        match self.up {
            // What goes out is counted: the bytes are put.
            Some(_) => Ok(None),
            None => self.inner.put_new_file(name, file).await,
        }
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        let Some(down) = &self.down else {
            return self.inner.get(name, range).await;
        };
        down.wait().await;
        let bytes = self.inner.get(name, range).await?;
        down.take(bytes.len()).await;
        Ok(bytes)
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.inner.list(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        self.inner.delete(name).await
    }

    async fn probe(&self) -> Result<Capabilities> {
        self.inner.probe().await
    }
}
