//! What the tests of this crate share: a clock that stands, counted tokens, a recording service.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use m365_auth::{
    AccessToken, Audience, Environment, Error, ErrorKind, Result, Secret, ServiceTransport,
    TokenProvider, Transport,
};

/// A clock that moves only when told, and random bytes that count.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64, AtomicU64);

impl Clock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl Environment for Clock {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_790_000_000 + self.0.load(Ordering::Relaxed))
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        let number = self.1.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        for (place, byte) in bytes.iter_mut().enumerate() {
            *byte = number[place % 8];
        }
        Ok(())
    }
}

/// Gives `token-1`, `token-2` and so on, each for an hour.
#[derive(Debug)]
pub struct Counted {
    pub clock: Arc<Clock>,
    pub given: AtomicU64,
    pub failing: AtomicU64,
}

impl Counted {
    pub fn new() -> Arc<Self> {
        let clock = Arc::new(Clock::default());
        Arc::new(Self {
            clock,
            given: AtomicU64::new(0),
            failing: AtomicU64::new(0),
        })
    }

    pub fn count(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl TokenProvider for Counted {
    async fn token(&self, _: &Audience) -> Result<AccessToken> {
        tokio::task::yield_now().await;
        let number = self.given.fetch_add(1, Ordering::Relaxed) + 1;
        if self.failing.load(Ordering::Relaxed) > 0 {
            return Err(Error::new(ErrorKind::Service, "out of order"));
        }
        let expires_at = self.clock.now() + Duration::from_secs(3_600);
        Ok(AccessToken::new(
            Secret::new(format!("token-{number}")),
            expires_at,
        ))
    }

    async fn invalidate(&self, _: &Audience, _: &AccessToken) {}
}

/// What a service saw.
pub type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

pub fn answer(status: u16, body: &str) -> Response<Bytes> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Response::builder().status(status).body(body).unwrap()
}

/// A transport whose answers are made by `respond`, and that keeps what it was sent.
pub fn service<F>(respond: F) -> (Arc<dyn Transport>, Seen)
where
    F: Fn(&Request<Bytes>) -> Response<Bytes> + Send + Sync + 'static,
{
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let transport = ServiceTransport::new(move |request: Request<Bytes>| {
        let response = respond(&request);
        kept.lock().unwrap().push(request);
        let response = response.map(|body| stream::iter([Ok::<_, io::Error>(body)]));
        async move { Ok(response) }
    });
    (Arc::new(transport), seen)
}
