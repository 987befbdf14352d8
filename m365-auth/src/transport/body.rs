//! Body: the bytes of a request or response, whole or streamed, without a third party's type.

use std::fmt;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt;

use crate::error::{Error, ErrorKind, Result};

type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// Holds the bytes of a request or a response.
///
/// A body made from bytes can be sent again; a streamed one can be read once.
pub struct Body(Inner);

enum Inner {
    Whole(Bytes),
    Stream {
        stream: ByteStream,
        length: Option<u64>,
    },
}

impl Body {
    /// Returns a body without bytes.
    pub fn empty() -> Self {
        Self(Inner::Whole(Bytes::new()))
    }

    /// Wraps a stream of chunks; `length` is the total if it is known.
    pub fn from_stream(
        stream: impl Stream<Item = Result<Bytes>> + Send + 'static,
        length: Option<u64>,
    ) -> Self {
        Self(Inner::Stream {
            stream: Box::pin(stream),
            length,
        })
    }

    /// Returns the bytes if they are all here.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Inner::Whole(bytes) => Some(bytes),
            Inner::Stream { .. } => None,
        }
    }

    /// Returns the total length if it is known, in bytes.
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Inner::Whole(bytes) => Some(bytes.len() as u64),
            Inner::Stream { length, .. } => *length,
        }
    }

    /// Returns the next chunk, or `None` at the end.
    ///
    /// *Cancel safety*: no chunk is lost when the future is dropped.
    pub async fn chunk(&mut self) -> Option<Result<Bytes>> {
        match &mut self.0 {
            Inner::Whole(bytes) if bytes.is_empty() => None,
            Inner::Whole(bytes) => Some(Ok(std::mem::take(bytes))),
            Inner::Stream { stream, .. } => stream.next().await,
        }
    }

    /// Reads everything into memory, up to `limit` bytes.
    ///
    /// *Errors*: [`ErrorKind::TooLarge`] as soon as the limit is passed.
    pub async fn collect(mut self, limit: usize) -> Result<Bytes> {
        if let Inner::Whole(bytes) = &self.0 {
            return if bytes.len() > limit {
                Err(too_large(limit))
            } else {
                Ok(bytes.clone())
            };
        }
        let mut whole = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if whole.len() + chunk.len() > limit {
                return Err(too_large(limit));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.freeze())
    }
}

fn too_large(limit: usize) -> Error {
    Error::new(
        ErrorKind::TooLarge,
        format!("the body is longer than the {limit} bytes allowed"),
    )
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl<B: Into<Bytes>> From<B> for Body {
    fn from(bytes: B) -> Self {
        Self(Inner::Whole(bytes.into()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length() {
            Some(length) => write!(f, "Body({length} bytes)"),
            None => f.write_str("Body(streamed)"),
        }
    }
}
