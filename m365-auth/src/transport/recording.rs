//! Recording: keeps requests and answers as text that can be read, sent to others and replayed,
//! without anything that names a person or opens a door.

pub(crate) mod format;
mod scrub;
mod xml;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{Request, Response};

use super::{Body, Transport};
use crate::error::{ErrorKind, Result};

pub use format::{Exchange, Payload, RecordedRequest, RecordedResponse, Recording};
use scrub::Scrubber;

/// Records what goes through another transport.
///
/// *Shape*: what is known to be harmless is kept: words of the services, names of schema fields,
/// counts, statuses, request ids. Ids, names, addresses, texts, tokens and hosts become
/// pseudonyms, the same ones everywhere in a recording, so that it still hangs together and its
/// links still lead to its other exchanges. Bodies that are neither JSON, nor a form, nor XML are left
/// out, their length kept.
///
/// *Units and limits*: bodies up to 4 MiB, 10,000 exchanges; what goes beyond is left out and
/// counted.
pub struct RecordingTransport {
    inner: Arc<dyn Transport>,
    tape: Arc<Mutex<Tape>>,
}

struct Tape {
    scrubber: Scrubber,
    exchanges: Vec<Exchange>,
    left_out: u64,
}

impl RecordingTransport {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn Transport>) -> Self {
        Self::with_fields(inner, std::iter::empty::<String>())
    }

    /// Wraps `inner`, and keeps the names of further JSON fields of a schema; their values stay
    /// hidden.
    pub fn with_fields<N: Into<String>>(
        inner: Arc<dyn Transport>,
        fields: impl IntoIterator<Item = N>,
    ) -> Self {
        let fields = fields.into_iter().map(Into::into).collect();
        Self {
            inner,
            tape: Arc::new(Mutex::new(Tape {
                scrubber: Scrubber::new(fields),
                exchanges: Vec::new(),
                left_out: 0,
            })),
        }
    }

    /// Returns what was recorded so far: exchanges whose answer was read to its end or dropped.
    pub fn recording(&self) -> Recording {
        Recording::new(lock(&self.tape).exchanges.clone())
    }

    /// Returns how many exchanges did not find room.
    pub fn left_out(&self) -> u64 {
        lock(&self.tape).left_out
    }
}

#[async_trait]
impl Transport for RecordingTransport {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>> {
        let (recorded, keeps) = {
            let mut tape = lock(&self.tape);
            let recorded = tape.scrubber.request(&request);
            (recorded, tape.exchanges.len() < MAX_EXCHANGES)
        };
        let outcome = self.inner.send(request).await;
        if !keeps {
            lock(&self.tape).left_out += 1;
            return outcome;
        }
        match outcome {
            Err(error) => {
                let connected = error.kind() != ErrorKind::Connect;
                let exchange = Exchange::unanswered(recorded, connected);
                lock(&self.tape).exchanges.push(exchange);
                Err(error)
            }
            Ok(response) => {
                let (head, body) = response.into_parts();
                let kept = Kept {
                    tape: Arc::clone(&self.tape),
                    pending: Some((recorded, head.clone())),
                    bytes: Some(BytesMut::new()),
                    length: 0,
                };
                Ok(Response::from_parts(head, tee(body, kept)))
            }
        }
    }
}

/// An answer that is still being read; put on the tape when it is dropped.
struct Kept {
    tape: Arc<Mutex<Tape>>,
    pending: Option<(RecordedRequest, http::response::Parts)>,
    /// `None` when the body is too long to be kept.
    bytes: Option<BytesMut>,
    length: u64,
}

impl Kept {
    fn take(&mut self, chunk: &Bytes) {
        self.length += chunk.len() as u64;
        match &mut self.bytes {
            Some(bytes) if bytes.len() + chunk.len() <= MAX_BODY_BYTES => {
                bytes.extend_from_slice(chunk);
            }
            bytes => *bytes = None,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some((request, head)) = self.pending.take() else {
            return;
        };
        let bytes = self.bytes.take().map(BytesMut::freeze);
        let mut tape = lock(&self.tape);
        let response = tape.scrubber.response(&head, bytes.as_ref(), self.length);
        tape.exchanges.push(Exchange::answered(request, response));
    }
}

fn tee(body: Body, kept: Kept) -> Body {
    let length = body.length();
    let stream = stream::unfold((body, kept), |(mut body, mut kept)| async move {
        let chunk = body.chunk().await?;
        if let Ok(bytes) = &chunk {
            kept.take(bytes);
        }
        Some((chunk, (body, kept)))
    });
    Body::from_stream(stream, length)
}

fn lock(tape: &Mutex<Tape>) -> MutexGuard<'_, Tape> {
    tape.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for RecordingTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecordingTransport")
            .field("exchanges", &lock(&self.tape).exchanges.len())
            .finish_non_exhaustive()
    }
}

/// The longest body that is kept, in bytes.
const MAX_BODY_BYTES: usize = 4 << 20;
/// The most exchanges that are kept.
const MAX_EXCHANGES: usize = 10_000;
