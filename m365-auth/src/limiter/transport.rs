//! The limiter as a transport: requests wait, or are refused, before they are sent.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};

use super::{Charge, Feedback, Permit, SharedLimiter};
use crate::error::{Error, ErrorKind, Result};
use crate::transport::{Body, Transport};

/// Says what happens to a request that is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimiterMode {
    /// It waits its turn: for callers without a scheduler of their own.
    Wait,
    /// It is not sent, and the error says when to ask again: for schedulers.
    Refuse,
}

/// Sends requests as a limiter admits them, and tells it what the service says of its limits.
///
/// A request is charged as the [`Charge`] among its extensions says; without one, at the node of
/// all others. It counts as under way until its response body has been read or dropped.
#[derive(Debug)]
pub struct LimitedTransport {
    inner: std::sync::Arc<dyn Transport>,
    limiter: SharedLimiter,
    mode: LimiterMode,
    others: Charge,
    left: u8,
}

impl LimitedTransport {
    /// Puts `limiter` before `inner`; `others` is charged for requests that name no charge.
    pub fn new(
        inner: std::sync::Arc<dyn Transport>,
        limiter: SharedLimiter,
        mode: LimiterMode,
        others: Charge,
    ) -> Self {
        Self {
            inner,
            limiter,
            mode,
            others,
            left: 0,
        }
    }

    /// Sets which share of every budget the requests leave to others, in percent; a budget is a
    /// window of a day or more.
    #[must_use]
    pub fn leaving(mut self, percent: u8) -> Self {
        self.left = percent.min(100);
        self
    }

    async fn permit(&self, charge: &Charge) -> Result<Permit> {
        match self.mode {
            LimiterMode::Wait => Ok(self.limiter.acquire(charge).await),
            LimiterMode::Refuse => self.limiter.try_acquire(charge).map_err(|refusal| {
                let message = "the request was not sent: a limit does not admit it now";
                let error = Error::new(ErrorKind::NotAdmitted, message);
                match refusal.not_before {
                    Some(wait) => error.with_retry_after(wait),
                    None => error,
                }
            }),
        }
    }
}

#[async_trait]
impl Transport for LimitedTransport {
    /// *Errors*: [`ErrorKind::NotAdmitted`] in the mode that refuses, with
    /// [`retry_after`](Error::retry_after) where a time is known; those of the inner transport.
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let charge = request.extensions().get::<Charge>();
        let charge = charge.unwrap_or(&self.others).clone().leaving(self.left);
        let mut permit = self.permit(&charge).await?;
        let response = self.inner.send(request).await?;
        let mut heard = feedback(response.status(), response.headers());
        let response = if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let (response, said) = look_at(response).await;
            heard.crowded = said;
            response
        } else {
            response
        };
        permit.note(heard);
        Ok(response.map(|body| hold(body, permit)))
    }
}

/// Reads the beginning of a refusal for what it says, and hands it on whole.
///
/// *Source*: answers seen by others: Outlook names `MailboxConcurrency` in its words only.
async fn look_at(response: Response<Body>) -> (Response<Body>, bool) {
    let (head, mut body) = response.into_parts();
    let (mut pieces, mut text) = (Vec::new(), Vec::new());
    while text.len() < REFUSAL_BYTES
        && let Some(piece) = body.chunk().await
    {
        let ended = piece.is_err();
        if let Ok(bytes) = &piece {
            text.extend_from_slice(bytes);
        }
        pieces.push(piece);
        if ended {
            break;
        }
    }
    let crowded = text
        .windows(CROWDED.len())
        .any(|part| part.eq_ignore_ascii_case(CROWDED));
    let length = body.length();
    let rest = stream::unfold(body, |mut body| async move {
        let piece = body.chunk().await?;
        Some((piece, body))
    });
    let body = Body::from_stream(stream::iter(pieces).chain(rest), length);
    (Response::from_parts(head, body), crowded)
}

/// How much of a refusal is looked at.
const REFUSAL_BYTES: usize = 4 << 10;
/// What a refusal for too many requests at once says.
const CROWDED: &[u8] = b"concurrency";

/// Keeps the permit until the body has been read or dropped, and counts its bytes.
fn hold(body: Body, permit: Permit) -> Body {
    let length = body.length();
    let stream = stream::unfold((body, permit), |(mut body, mut permit)| async move {
        let chunk = body.chunk().await?;
        if let Ok(bytes) = &chunk {
            permit.note_bytes(bytes.len() as u64);
        }
        Some((chunk, (body, permit)))
    });
    Body::from_stream(stream, length)
}

/// Reads what an answer says of the service's limits.
///
/// *Source*: Microsoft Graph, throttling guidance; SharePoint Online, avoid getting throttled or blocked.
fn feedback(status: StatusCode, headers: &HeaderMap) -> Feedback {
    let number = |name: &str| -> Option<f64> {
        let text = headers.get(name)?.to_str().ok()?;
        text.trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    };
    let wait = crate::retry::retry_after(headers);
    let refused = status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::SERVICE_UNAVAILABLE && wait.is_some();
    let reset = number("ratelimit-reset")
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let share = number("x-ms-throttle-limit-percentage");
    Feedback {
        units: number("x-ms-resource-unit").map(whole),
        pause: if refused { wait.max(reset) } else { None },
        throttled: refused,
        limit: number("ratelimit-limit").map(whole),
        remaining: number("ratelimit-remaining").map(whole),
        reset,
        used_percent: share.map(|share| u8::try_from(whole(share * 100.0)).unwrap_or(u8::MAX)),
        ..Feedback::default()
    }
}

/// Rounds a billed number up.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, which is what a number beyond all sense should do"
)]
fn whole(number: f64) -> u64 {
    number.max(0.0).ceil() as u64
}
