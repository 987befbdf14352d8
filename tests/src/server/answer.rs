//! Answers: streamed bodies, JSON, and the services' error bodies.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, HeaderValue, Response, header};
use serde_json::{Value, json};

use super::call::Call;
use super::status;
use crate::tenant::urls::Door;

/// A streamed response body: pieces of bytes, or the error of a broken connection.
pub struct ByteStream(Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>);

/// What a route function answers with.
pub(crate) type Answer = Response<ByteStream>;

/// What a route function returns: an answer, or the service's refusal.
pub(crate) type Outcome = Result<Answer, Refusal>;

/// The media type of Graph's answers.
const JSON_TYPE: &str = "application/json;odata.metadata=minimal;odata.streaming=true;\
    IEEE754Compatible=false;charset=utf-8";

/// Bytes per piece of a streamed body.
const PIECE_BYTES: usize = 64 * 1024;

impl ByteStream {
    /// Streams whatever `stream` gives.
    pub fn new(stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// Streams nothing.
    pub fn empty() -> Self {
        Self::from_bytes(Bytes::new())
    }

    /// Streams `bytes` in pieces of 64 KiB.
    pub fn from_bytes(mut bytes: Bytes) -> Self {
        let pieces = std::iter::from_fn(move || {
            let size = bytes.len().min(PIECE_BYTES);
            (size > 0).then(|| Ok(bytes.split_to(size)))
        });
        Self::new(futures_util::stream::iter(pieces))
    }

    /// Collects the whole body.
    ///
    /// *Errors*: what the stream ends with, such as a connection cut by fault plan.
    pub async fn collect(mut self) -> io::Result<Bytes> {
        let mut whole = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| self.0.as_mut().poll_next(cx)).await {
            whole.extend_from_slice(&piece?);
        }
        Ok(Bytes::from(whole))
    }
}

impl Stream for ByteStream {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByteStream(..)")
    }
}

/// A refusal in the style of Graph: status, code, message, further headers.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_string(),
            message: message.into(),
            headers: Vec::new(),
        }
    }

    /// Adds a header to the refusal.
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Refuses a request that the service cannot make sense of.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// Refuses a path that no service knows.
    pub(crate) fn no_such_segment(call: &Call) -> Self {
        let last = call.segments.last().map_or("", String::as_str);
        Self::bad_request(format!("Resource not found for the segment '{last}'."))
    }

    /// Refuses a message, folder or attachment that is not there.
    pub(crate) fn item_not_found() -> Self {
        Self::new(
            404,
            "ErrorItemNotFound",
            "The specified object was not found in the store.",
        )
    }

    /// Renders the refusal as Graph does.
    pub(crate) fn into_answer(self, call: &Call) -> Answer {
        if call.door == Door::SharePoint {
            return self.into_sharepoint_answer();
        }
        let client_id = call.header("client-request-id").unwrap_or(&call.request_id);
        let body = json!({"error": {
            "code": self.code,
            "message": self.message,
            "innerError": {
                "date": graph_date((call.tenant.lock().clock)()),
                "request-id": call.request_id,
                "client-request-id": client_id,
            },
        }});
        let mut answer = json(self.status, &body);
        for (name, value) in &self.headers {
            put_header(&mut answer, name, value);
        }
        answer
    }
}

impl Refusal {
    /// Renders the refusal as the REST of SharePoint does in its plainest JSON.
    fn into_sharepoint_answer(self) -> Answer {
        let body = json!({"odata.error": {
            "code": self.code,
            "message": {"lang": "en-US", "value": self.message},
        }});
        let mut answer = json(self.status, &body);
        for (name, value) in &self.headers {
            put_header(&mut answer, name, value);
        }
        answer
    }
}

/// Answers with JSON.
pub(crate) fn json(code: u16, value: &Value) -> Answer {
    let mut answer = bytes(code, JSON_TYPE, Bytes::from(value.to_string()));
    put_header(&mut answer, "odata-version", "4.0");
    answer
}

/// Answers with bytes of a media type.
pub(crate) fn bytes(code: u16, media_type: &str, body: Bytes) -> Answer {
    let length = body.len();
    let mut answer = Response::new(ByteStream::from_bytes(body));
    *answer.status_mut() = status(code);
    put_header(&mut answer, "content-type", media_type);
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    answer
}

/// Answers without a body.
pub(crate) fn empty(code: u16) -> Answer {
    let mut answer = Response::new(ByteStream::empty());
    *answer.status_mut() = status(code);
    answer
}

/// Adds a header; a value that no header can hold is left out.
pub(crate) fn put_header(answer: &mut Answer, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (
        HeaderName::from_bytes(name.as_bytes()),
        HeaderValue::from_str(value),
    ) {
        answer.headers_mut().insert(name, value);
    }
}

/// Renders a time for a `Date` header.
pub(crate) fn http_date(time: SystemTime) -> String {
    render(time, "%a, %d %b %Y %H:%M:%S GMT")
}

/// Renders a time as Graph's errors do, without a zone.
pub(crate) fn graph_date(time: SystemTime) -> String {
    render(time, "%Y-%m-%dT%H:%M:%S")
}

/// Renders seconds since 1970 as Graph's properties do.
pub(crate) fn instant(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
        .unwrap_or_default()
}

fn render(time: SystemTime, pattern: &str) -> String {
    jiff::Timestamp::try_from(time)
        .map(|time| time.strftime(pattern).to_string())
        .unwrap_or_default()
}
