//! The guest: whether the client keeps to what it was told, request by request.
//!
//! Oracles: no request comes before the time that a refusal named (O5); with the published limits
//! on, the service itself refuses nothing (O6); memory credits stay within their bound, and all are
//! given back (O8).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use http::{HeaderMap, Request, StatusCode, header};
use m365_auth::{QueueLimits, Scheduler, SharedLimiter};
use m365_graph::limits::{TenantSize, limit_table};
use tokio::time::Instant;

/// Watches the requests of one life.
#[derive(Debug)]
pub struct Guest {
    scheduler: Scheduler,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    under_way: BTreeMap<Lane, usize>,
    paused: BTreeMap<Lane, Instant>,
    wrong: Vec<String>,
}

/// What the service limits as one, in a tenant of one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    Mailbox,
    Drive,
}

/// Says where a request counts, if anywhere.
pub fn lane_of<B>(request: &Request<B>) -> Option<Lane> {
    let (host, path) = (
        request.uri().host().unwrap_or_default(),
        request.uri().path(),
    );
    if !host.starts_with("graph.") {
        return None;
    }
    if path.contains("/mailFolders") || path.contains("/messages") {
        return Some(Lane::Mailbox);
    }
    path.contains("/drives/").then_some(Lane::Drive)
}

impl Guest {
    /// Prepares a life with the published limits, and with little memory.
    pub fn new() -> Arc<Self> {
        let limiter = SharedLimiter::new(limit_table(TenantSize::default()));
        let mut limits = QueueLimits::default();
        limits.bytes = CREDIT_BYTES;
        Arc::new(Self {
            scheduler: Scheduler::new(limiter, limits),
            seen: Mutex::default(),
        })
    }

    pub fn scheduler(&self) -> &Scheduler {
        &self.scheduler
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// A request arrives, and is under way until the answer is dropped.
    pub fn arrives(self: &Arc<Self>, lane: Option<Lane>) -> UnderWay {
        let bytes = self.scheduler.bytes_under_way();
        let mut seen = self.seen();
        if bytes > CREDIT_BYTES {
            let wrong = format!("{bytes} bytes are under way, {CREDIT_BYTES} are allowed");
            seen.wrong.push(wrong);
        }
        if let Some(lane) = lane {
            let now = Instant::now();
            if let Some(until) = seen.paused.get(&lane).filter(|until| **until > now) {
                let early = *until - now;
                let wrong = format!("{lane:?}: a request came {early:?} before it was allowed");
                seen.wrong.push(wrong);
            }
            let under_way = seen.under_way.entry(lane).or_default();
            *under_way += 1;
            if lane == Lane::Mailbox && *under_way > MAILBOX_MAX {
                let wrong = format!("{under_way} requests at once for one mailbox");
                seen.wrong.push(wrong);
            }
        }
        UnderWay(self.clone(), lane)
    }

    /// The service has answered, on purpose or by itself.
    pub fn hears(&self, lane: Option<Lane>, status: StatusCode, headers: &HeaderMap) {
        let seconds = headers.get(header::RETRY_AFTER);
        let seconds = seconds.and_then(|value| value.to_str().ok()?.parse().ok());
        if let (StatusCode::TOO_MANY_REQUESTS, Some(lane), Some(seconds)) = (status, lane, seconds)
        {
            let until = Instant::now() + Duration::from_secs(seconds);
            let mut seen = self.seen();
            let known = seen.paused.entry(lane).or_insert(until);
            *known = until.max(*known);
        }
    }

    /// The service itself has answered, without anything going wrong on purpose.
    pub fn is_served(&self, status: StatusCode, path: &str) {
        if status == StatusCode::TOO_MANY_REQUESTS {
            let wrong = format!("the service refuses {path}: too many requests");
            self.seen().wrong.push(wrong);
        }
    }

    /// Says what was wrong in this life.
    pub fn ends(&self, in_order: bool) -> Vec<String> {
        let mut wrong = std::mem::take(&mut self.seen().wrong);
        let (load, bytes) = (self.scheduler.load(), self.scheduler.bytes_under_way());
        if in_order && (load, bytes) != ((0, 0), 0) {
            wrong.push(format!(
                "{load:?} units and {bytes} bytes are not given back"
            ));
        }
        wrong
    }
}

/// A request that is under way.
#[derive(Debug)]
pub struct UnderWay(Arc<Guest>, Option<Lane>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(lane) = self.1 {
            *self.0.seen().under_way.entry(lane).or_insert(1) -= 1;
        }
    }
}

/// Room for two messages of unknown length.
const CREDIT_BYTES: u64 = 300 << 10;
/// What Exchange allows one app.
const MAILBOX_MAX: usize = 4;
