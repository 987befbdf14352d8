//! Counting: how many requests went out, what came of them, and how many bytes went each way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::stream;
use http::{Request, Response};

use super::{Body, Transport};
use crate::error::Result;

/// Counts what goes through another transport.
#[derive(Debug)]
pub struct CountingTransport {
    inner: Arc<dyn Transport>,
    counts: Arc<Counts>,
}

/// Holds the counts of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Traffic {
    /// Requests handed to the network.
    pub requests: u64,
    /// Answers with a status below 400.
    pub accepted: u64,
    /// Answers with a status from 400 on, those counted as throttled left out.
    pub refused: u64,
    /// Answers with status 429 or 503.
    pub throttled: u64,
    /// Requests without an answer.
    pub unanswered: u64,
    /// Bytes of request bodies.
    pub bytes_sent: u64,
    /// Bytes of response bodies, after decompression.
    pub bytes_received: u64,
}

#[derive(Debug, Default)]
struct Counts {
    requests: AtomicU64,
    accepted: AtomicU64,
    refused: AtomicU64,
    throttled: AtomicU64,
    unanswered: AtomicU64,
    bytes_sent: AtomicU64,
    bytes_received: AtomicU64,
}

impl CountingTransport {
    /// Wraps `inner`; all counts begin at zero.
    pub fn new(inner: Arc<dyn Transport>) -> Self {
        Self {
            inner,
            counts: Arc::default(),
        }
    }

    /// Returns the counts so far.
    pub fn traffic(&self) -> Traffic {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.counts;
        Traffic {
            requests: read(&counts.requests),
            accepted: read(&counts.accepted),
            refused: read(&counts.refused),
            throttled: read(&counts.throttled),
            unanswered: read(&counts.unanswered),
            bytes_sent: read(&counts.bytes_sent),
            bytes_received: read(&counts.bytes_received),
        }
    }
}

#[async_trait]
impl Transport for CountingTransport {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let counts = Arc::clone(&self.counts);
        add(&counts.requests, 1);
        let request = request.map(|body| match body.as_bytes() {
            Some(bytes) => {
                add(&counts.bytes_sent, bytes.len() as u64);
                body
            }
            None => counted(body, Arc::clone(&counts), |counts| &counts.bytes_sent),
        });
        let response = match self.inner.send(request).await {
            Ok(response) => response,
            Err(error) => {
                add(&counts.unanswered, 1);
                return Err(error);
            }
        };
        add(
            match response.status().as_u16() {
                429 | 503 => &counts.throttled,
                ..400 => &counts.accepted,
                _ => &counts.refused,
            },
            1,
        );
        Ok(response.map(|body| counted(body, counts, |counts| &counts.bytes_received)))
    }
}

fn add(count: &AtomicU64, amount: u64) {
    count.fetch_add(amount, Ordering::Relaxed);
}

/// Counts the bytes of a body as they are read.
fn counted(body: Body, counts: Arc<Counts>, which: fn(&Counts) -> &AtomicU64) -> Body {
    let length = body.length();
    let stream = stream::unfold((body, counts), move |(mut body, counts)| async move {
        let chunk = body.chunk().await?;
        if let Ok(bytes) = &chunk {
            add(which(&counts), bytes.len() as u64);
        }
        Some((chunk, (body, counts)))
    });
    Body::from_stream(stream, length)
}
