//! Exchange: carries one form through our transport, and remembers the head of its answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use oauth2::{AsyncHttpClient, HttpRequest, HttpResponse};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Body, Transport, trace};

/// One request to the identity platform.
pub(super) struct Exchange {
    transport: Arc<dyn Transport>,
    head: Mutex<Head>,
    /// What was sent, to know it again when the answer repeats it.
    sent: Mutex<Zeroizing<Vec<u8>>>,
}

/// What the head of an answer said.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    date: Option<SystemTime>,
}

impl Head {
    fn new(status: StatusCode, headers: &HeaderMap) -> Self {
        Self {
            status,
            retry_after: crate::retry::retry_after(headers),
            date: crate::retry::date(headers),
        }
    }

    /// Says by how much this machine's clock differs from the service's, if it does.
    pub(super) fn skew(&self, now: SystemTime) -> Option<String> {
        let date = self.date?;
        let (difference, word) = match now.duration_since(date) {
            Ok(ahead) => (ahead, "ahead of"),
            Err(behind) => (behind.duration(), "behind"),
        };
        (difference >= TOLERATED_SKEW).then(|| {
            let minutes = difference.as_secs() / 60;
            format!("the clock of this machine is {minutes} minutes {word} the service's")
        })
    }
}

impl Exchange {
    pub(super) fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            head: Mutex::default(),
            sent: Mutex::default(),
        }
    }

    pub(super) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a text repeats something that was sent, as some refusals do.
    pub(super) fn is_repeated_in(&self, text: &str) -> bool {
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pairs = sent.split(|byte| *byte == b'&');
        pairs.any(|pair| {
            let raw = std::str::from_utf8(pair)
                .ok()
                .and_then(|pair| pair.split_once('='));
            let decoded = form_urlencoded::parse(pair).next();
            let (Some((name, raw)), Some((_, value))) = (raw, decoded) else {
                return false;
            };
            !["grant_type", "client_id", "scope"].contains(&name)
                && value.len() >= SHORTEST_SECRET
                && (text.contains(&*value) || text.contains(raw))
        })
    }

    /// Sends a request and reads its whole answer, up to 1 MiB.
    pub(super) async fn perform(&self, request: HttpRequest) -> Result<HttpResponse> {
        *self.sent.lock().unwrap_or_else(PoisonError::into_inner) =
            Zeroizing::new(request.body().clone());
        let request: Request<Body> = request.map(Body::from);
        let (mut parts, body) = trace::send(&*self.transport, request).await?.into_parts();
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) =
            Head::new(parts.status, &parts.headers);
        if parts.status.is_redirection() {
            let message = "the identity platform answered with a redirect, which is not followed";
            return Err(Error::new(ErrorKind::Malformed, message));
        }
        let bytes = body.collect(MAX_ANSWER_BYTES).await?;
        // Some proxies leave the type out or change it; the body decides.
        let json = HeaderValue::from_static("application/json");
        parts.headers.insert(CONTENT_TYPE, json);
        Ok(Response::from_parts(parts, bytes.to_vec()))
    }
}

impl<'c> AsyncHttpClient<'c> for Exchange {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.perform(request))
    }
}

/// The longest answer of the identity platform that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// The platform tolerates clocks that differ by less.
const TOLERATED_SKEW: Duration = Duration::from_secs(300);
/// What is shorter may stand in any text by chance, in bytes.
const SHORTEST_SECRET: usize = 6;
