//! One tracing span per request: method, redacted URL, status, latency, request ids.

use http::{HeaderMap, Request, Response};
use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use super::{Body, Transport};
use crate::error::Result;

/// Sends `request` within a span of its own.
///
/// The time until the head of the response is recorded, in milliseconds.
pub(crate) async fn send(
    transport: &dyn Transport,
    request: Request<Body>,
) -> Result<Response<Body>> {
    let span = tracing::debug_span!(
        "request",
        method = %request.method(),
        url = %crate::redact::uri(request.uri()),
        client_request_id = header(request.headers(), "client-request-id"),
        status = field::Empty,
        request_id = field::Empty,
        latency_ms = field::Empty,
    );
    let started = Instant::now();
    let result = transport.send(request).instrument(span.clone()).await;
    let latency = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.record("latency_ms", latency);
    report(&span, &result);
    result
}

fn report(span: &Span, result: &Result<Response<Body>>) {
    match result {
        Ok(response) => {
            span.record("status", response.status().as_u16());
            if let Some(id) = header(response.headers(), "request-id") {
                span.record("request_id", id);
            }
            tracing::debug!(parent: span, "answered");
        }
        Err(error) => tracing::debug!(parent: span, kind = ?error.kind(), "not answered"),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
