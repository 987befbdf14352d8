//! Replay: answers requests from a recording, without a network.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use http::{Request, Response};
use url::Url;

use super::recording::format::Outcome;
use super::recording::{Exchange, Payload, Recording};
use super::{Body, Transport};
use crate::error::{Error, ErrorKind, Result};
use crate::redact;

/// Answers each request with the first exchange of a recording that fits and was not used yet.
///
/// *Shape*: an exchange fits when method and address are the same; else when they are the same but
/// for what a recording hides: ids, names, values. Where nothing fits, the error says so; nothing
/// is made up.
pub struct ReplayTransport {
    left: Mutex<Vec<Option<Exchange>>>,
}

impl ReplayTransport {
    /// Answers from `recording`.
    pub fn new(recording: &Recording) -> Self {
        let exchanges = recording.exchanges().iter().cloned().map(Some).collect();
        Self {
            left: Mutex::new(exchanges),
        }
    }

    /// Returns how many exchanges were not asked for.
    pub fn left(&self) -> usize {
        self.with(|exchanges| exchanges.iter().flatten().count())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Option<Exchange>>) -> T) -> T {
        act(&mut self.left.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, request: &Request<Body>) -> Option<Exchange> {
        let url = Url::parse(&request.uri().to_string()).ok()?;
        let shape = redact::url(&url);
        let same = |exchange: &Exchange| {
            exchange.request.method == *request.method() && exchange.request.url == url
        };
        let alike = |exchange: &Exchange| {
            exchange.request.method == *request.method()
                && redact::url(&exchange.request.url) == shape
        };
        self.with(|exchanges| {
            let find = |fits: &dyn Fn(&Exchange) -> bool| {
                exchanges
                    .iter()
                    .position(|exchange| exchange.as_ref().is_some_and(fits))
            };
            let place = find(&same).or_else(|| find(&alike))?;
            exchanges.get_mut(place)?.take()
        })
    }
}

#[async_trait]
impl Transport for ReplayTransport {
    /// *Errors*: [`ErrorKind::NotRecorded`] where nothing fits; the failures that were recorded.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let exchange = self.take(&request).ok_or_else(|| {
            let address = redact::uri(request.uri());
            let message = format!(
                "the recording has no answer to {} {address}",
                request.method()
            );
            Error::new(ErrorKind::NotRecorded, message)
        })?;
        match exchange.outcome {
            Outcome::Unanswered { connected } => Err(match connected {
                false => Error::new(ErrorKind::Connect, "no connection came about, as recorded"),
                true => Error::new(ErrorKind::Transport, "the connection broke, as recorded"),
            }),
            Outcome::Answered(recorded) => {
                let body = match recorded.body {
                    Payload::Bytes(bytes) => Body::from(bytes),
                    Payload::Omitted(_) => Body::empty(),
                };
                let mut response = Response::new(body);
                *response.status_mut() = recorded.status;
                for (name, value) in recorded.headers {
                    response.headers_mut().append(name, value);
                }
                Ok(response)
            }
        }
    }
}

impl fmt::Debug for ReplayTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayTransport")
            .field("left", &self.left())
            .finish()
    }
}
