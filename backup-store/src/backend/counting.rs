//! Counting: how many requests and bytes went to a backend, by operation.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, ObjectInfo, ObjectName, Put};
use crate::error::Result;

/// What one kind of request came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestCount {
    /// Requests made, failed ones included.
    pub requests: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Bytes sent or received; of listings, the objects listed.
    pub bytes: u64,
}

/// What all requests to a backend came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendCounts {
    /// Puts.
    pub put: RequestCount,
    /// Reads of objects or parts of them.
    pub get: RequestCount,
    /// Listings.
    pub list: RequestCount,
    /// Deletions.
    pub delete: RequestCount,
}

/// Counts what passes; clones share the counts. A probe is not counted; files are put by their
/// bytes, which are.
#[derive(Debug, Clone)]
pub struct CountingBackend {
    inner: Arc<dyn Backend>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    put: Counter,
    get: Counter,
    list: Counter,
    delete: Counter,
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

impl Counter {
    fn note<T>(&self, answer: &Result<T>, bytes: impl FnOnce(&T) -> usize) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        match answer {
            Ok(answer) => self
                .bytes
                .fetch_add(bytes(answer) as u64, Ordering::Relaxed),
            Err(_) => self.failed.fetch_add(1, Ordering::Relaxed),
        };
    }

    fn read(&self) -> RequestCount {
        RequestCount {
            requests: self.requests.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

impl CountingBackend {
    /// Wraps a backend.
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self {
            inner,
            counters: Arc::default(),
        }
    }

    /// Returns what was counted so far.
    pub fn counts(&self) -> BackendCounts {
        BackendCounts {
            put: self.counters.put.read(),
            get: self.counters.get.read(),
            list: self.counters.list.read(),
            delete: self.counters.delete.read(),
        }
    }
}

#[async_trait]
impl Backend for CountingBackend {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        let length = bytes.len();
        let answer = self.inner.put_new(name, bytes).await;
        self.counters.put.note(&answer, |_| length);
        answer
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        let answer = self.inner.get(name, range).await;
        self.counters.get.note(&answer, Bytes::len);
        answer
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let answer = self.inner.list(prefix).await;
        self.counters.list.note(&answer, Vec::len);
        answer
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        let answer = self.inner.delete(name).await;
        self.counters.delete.note(&answer, |()| 0);
        answer
    }

    async fn probe(&self) -> Result<Capabilities> {
        self.inner.probe().await
    }
}
