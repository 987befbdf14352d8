//! A transport over any request → response function: no socket, so that a simulated tenant or an
//! embedder's fake plugs in directly.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use http::{Request, Response};

use super::{Body, Transport};
use crate::error::{Error, ErrorKind, Result};

type Answer = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

/// Sends requests to a function instead of a socket.
pub struct ServiceTransport {
    service: Box<dyn Fn(Request<Bytes>) -> Answer + Send + Sync>,
}

impl ServiceTransport {
    /// Wraps `service`; an `io::Error` of it, or of its body, stands for a broken connection.
    ///
    /// *Shape*: `ConnectionRefused`, `NotFound`, `HostUnreachable`, `NetworkUnreachable` and
    /// `NotConnected` mean that nothing was sent; every other error that something may have been.
    pub fn new<F, Fut, S>(service: F) -> Self
    where
        F: Fn(Request<Bytes>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = io::Result<Response<S>>> + Send + 'static,
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let service = move |request: Request<Bytes>| -> Answer {
            let answer = service(request);
            Box::pin(async move { Ok(with_body(answer.await?)) })
        };
        Self {
            service: Box::new(service),
        }
    }
}

fn with_body<S>(response: Response<S>) -> Response<Body>
where
    S: Stream<Item = io::Result<Bytes>> + Send + 'static,
{
    let length = response
        .headers()
        .get(http::header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    response.map(|stream| {
        let stream = stream.map(|chunk| {
            chunk.map_err(|cause| {
                Error::new(ErrorKind::Transport, "the response body broke off").with_source(cause)
            })
        });
        Body::from_stream(stream, length)
    })
}

#[async_trait]
impl Transport for ServiceTransport {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (parts, body) = request.into_parts();
        let body = body.collect(MAX_REQUEST_BYTES).await?;
        (self.service)(Request::from_parts(parts, body))
            .await
            .map_err(|cause| {
                let (kind, message) = match cause.kind() {
                    io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::NotFound
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable
                    | io::ErrorKind::NotConnected => {
                        (ErrorKind::Connect, "no connection came about")
                    }
                    _ => (
                        ErrorKind::Transport,
                        "the connection broke before an answer",
                    ),
                };
                Error::new(kind, message).with_source(cause)
            })
    }
}

impl fmt::Debug for ServiceTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceTransport")
    }
}

/// The longest request body handed to a service in one piece, in bytes.
const MAX_REQUEST_BYTES: usize = 256 << 20;
