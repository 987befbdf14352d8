//! Trouble: what a service, or the way to it, does wrong at some requests of one kind.

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{HeaderValue, Request, Response, header};
use m365_simulator::Tenant;
use serde_json::Value;

use super::mix;
use super::network::{BodyStream, Traffic, is_content};
use super::people::touch;
use super::truth::Truth;

/// A class of faults of the service or of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// 429, with `Retry-After` or without.
    Throttled,
    /// 503.
    Unavailable,
    /// 500, 502 or 504.
    ServerError,
    /// No answer for a hundred seconds.
    Timeout,
    /// The connection breaks before the headers.
    ResetBefore,
    /// The connection breaks in the body.
    ResetInBody,
    /// The body ends early, and nothing says how long it should be.
    Truncated,
    /// The body is as long as it should be, and wrong.
    WrongBytes,
    /// 401: the token is worth nothing any more.
    Unauthorized,
    /// 403: a quota is used up.
    Quota,
    /// 404: it is not there any more.
    Vanished,
    /// 410: the cursor is too old.
    Gone,
    /// The address of the content is too old.
    ExpiredUrl,
    /// A page is told again, in another order, with entries twice.
    OddPages,
    /// Something changes between page and content.
    Change,
    /// The clock of the machine jumps.
    ClockJump,
}

/// The part of a run in which something goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Enumerate,
    Fetch,
    Commit,
}

/// What goes wrong, at which requests.
#[derive(Debug)]
pub struct Trouble {
    pub class: Class,
    pub phase: Phase,
    /// Requests of the phase that pass first.
    pub after: u64,
    /// Requests that are hit then.
    pub hits: u64,
    pub seed: u64,
    matched: Mutex<u64>,
}

impl Trouble {
    pub fn new(class: Class, phase: Phase, after: u64, hits: u64, seed: u64) -> Self {
        Self {
            class,
            phase,
            after,
            hits,
            seed,
            matched: Mutex::new(0),
        }
    }

    /// Counts a request that fits; tells whether it is hit.
    pub fn strikes(&self, host: &str, path: &str) -> bool {
        if !fits(self.class, self.phase, host, path) {
            return false;
        }
        let mut matched = self.matched.lock().unwrap();
        *matched += 1;
        *matched > self.after && *matched <= self.after + self.hits
    }

    /// Counts the requests that were hit.
    pub fn struck(&self) -> u64 {
        let matched = *self.matched.lock().unwrap();
        matched.saturating_sub(self.after).min(self.hits)
    }

    /// Answers in place of the service, or changes something before it answers.
    pub async fn instead(
        &self,
        tenant: &Tenant,
        traffic: &Mutex<Traffic>,
        request: &Request<Bytes>,
    ) -> Option<io::Result<Response<BodyStream>>> {
        let lot = mix(self.seed, self.after);
        let refusal = |status: u16, code: &str| {
            let body = format!("{{\"error\":{{\"code\":\"{code}\",\"message\":\"on purpose\"}}}}");
            Some(Ok(answer(status, body.into())))
        };
        match self.class {
            Class::Throttled if lot.is_multiple_of(2) => {
                let mut answer = answer(429, "{}".into());
                let wait = HeaderValue::from(1 + lot % 20);
                answer.headers_mut().insert(header::RETRY_AFTER, wait);
                Some(Ok(answer))
            }
            Class::Throttled => refusal(429, "ApplicationThrottled"),
            Class::Unavailable => refusal(503, "serviceNotAvailable"),
            Class::ServerError => refusal([500, 502, 504][(lot % 3) as usize], "generalException"),
            Class::Timeout => {
                tokio::time::sleep(Duration::from_secs(100)).await;
                Some(Err(io::ErrorKind::TimedOut.into()))
            }
            Class::ResetBefore => Some(Err(io::ErrorKind::ConnectionReset.into())),
            Class::Unauthorized => refusal(401, "InvalidAuthenticationToken"),
            Class::Quota => refusal(403, "quotaLimitReached"),
            Class::Gone => refusal(410, "resyncRequired"),
            Class::ExpiredUrl => refusal([401, 403, 404, 410][(lot % 4) as usize], "expired"),
            Class::Vanished | Class::Change if !self.is_late() => {
                self.act(tenant, traffic, request.uri().path());
                None
            }
            _ => None,
        }
    }

    /// Tells whether something changes after the answer, not before.
    pub fn is_late(&self) -> bool {
        self.class == Class::Change && self.seed.is_multiple_of(2)
    }

    /// Changes what a request is about, or takes it away.
    pub fn act(&self, tenant: &Tenant, traffic: &Mutex<Traffic>, path: &str) {
        let lot = mix(self.seed, self.after);
        touch(tenant, path, self.class == Class::Vanished, lot);
        let truth = Truth::of(tenant);
        traffic.lock().unwrap().history.push(truth.into());
    }

    /// Spoils an answer.
    pub async fn afterwards(
        &self,
        answer: Response<BodyStream>,
    ) -> io::Result<Response<BodyStream>> {
        if !answer.status().is_success() {
            return Ok(answer);
        }
        let (mut parts, body) = answer.into_parts();
        let pieces: Vec<Bytes> = body.try_collect().await?;
        let body = Bytes::from(pieces.concat());
        let half = body.len() / 2;
        match self.class {
            Class::ResetInBody => {
                let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
                let pieces = stream::iter([Ok(body.slice(..half)), broken]);
                return Ok(Response::from_parts(parts, pieces.boxed()));
            }
            Class::Truncated => {
                parts.headers.remove(header::CONTENT_LENGTH);
                return Ok(Response::from_parts(parts, whole(body.slice(..half))));
            }
            Class::WrongBytes => {
                let mut wrong = body.to_vec();
                if let Some(byte) = wrong.get_mut(half) {
                    *byte = 0;
                }
                return Ok(Response::from_parts(parts, whole(wrong.into())));
            }
            Class::OddPages => {
                parts.headers.remove(header::CONTENT_LENGTH);
                return Ok(Response::from_parts(parts, whole(odd(&body))));
            }
            _ => {}
        }
        Ok(Response::from_parts(parts, whole(body)))
    }
}

fn answer(status: u16, body: Bytes) -> Response<BodyStream> {
    let mut answer = Response::new(whole(body));
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap();
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

fn whole(body: Bytes) -> BodyStream {
    stream::iter([Ok(body)]).boxed()
}

/// Tells all entries of a page twice, once in the other order.
fn odd(body: &Bytes) -> Bytes {
    let Ok(mut page) = serde_json::from_slice::<Value>(body) else {
        return body.clone();
    };
    if let Some(entries) = page.get_mut("value").and_then(Value::as_array_mut) {
        let again: Vec<Value> = entries.iter().rev().cloned().collect();
        entries.extend(again);
    }
    page.to_string().into()
}

/// Tells whether a request is of the kind that a class of faults meets in this phase.
pub fn fits(class: Class, phase: Phase, host: &str, path: &str) -> bool {
    let of_content_host = host.contains("content");
    match phase {
        Phase::Commit => false,
        Phase::Fetch if class == Class::ExpiredUrl => of_content_host,
        Phase::Fetch => is_content(path) || of_content_host,
        Phase::Enumerate => {
            let only_feeds = matches!(class, Class::Gone | Class::OddPages);
            let login = path.contains("/oauth2/");
            let feed = path.contains("delta") || !only_feeds;
            feed && !is_content(path) && !of_content_host && !login
        }
    }
}
