//! The one error of this crate: opaque, typed by kind, free of secrets.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// Shorthand for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says coarsely what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection came about; nothing was sent, so sending again is safe.
    Connect,
    /// The connection broke after something may have been sent, or an answer ended in the middle.
    Transport,
    /// The service asked to come back later.
    Throttled,
    /// The service failed on its side.
    Service,
    /// The service did not accept the token, a fresh one included.
    Unauthorized,
    /// The application lacks a permission, or a policy forbids the call.
    Forbidden,
    /// The object is not there.
    NotFound,
    /// Something of that name exists, or the object is in another state.
    Conflict,
    /// The cursor is no longer valid: the feed must be enumerated anew.
    CursorReset,
    /// The object has changed since the version that the request named.
    PreconditionFailed,
    /// The service cannot give this item although it exists.
    ItemCorrupt,
    /// The service refuses this item by policy: malware, or locked.
    Blocked,
    /// A request or an answer is longer than allowed.
    TooLarge,
    /// An address was refused here, before sending, by the origin policy.
    OriginRefused,
    /// What arrived is not what the service said it would be.
    Integrity,
    /// The mailbox or drive is full.
    QuotaExceeded,
    /// The service does not understand the request, or the caller's arguments contradict.
    InvalidRequest,
    /// An answer could not be understood.
    Malformed,
    /// No token could be had.
    Credential,
    /// A part of a batch was not tried, because one that it waits for has failed.
    DependencyFailed,
}

/// Describes one failure: what was attempted, why it failed, whether trying again can help.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    code: Option<String>,
    service_message: Option<String>,
    status: Option<StatusCode>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error; `message` names the object, then the cause, and holds no secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            code: None,
            service_message: None,
            status: None,
            request_id: None,
            retry_after: None,
            source: None,
        }))
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Attaches the service's own code, such as `ErrorItemNotFound`.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.0.code = Some(code.into());
        self
    }

    /// Attaches the HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.0.status = Some(status);
        self
    }

    /// Attaches the id under which the service logged the request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = Some(id.into());
        self
    }

    /// Attaches the time the service asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    pub(crate) fn with_service_message(mut self, message: String) -> Self {
        self.0.service_message = Some(message);
        self
    }

    /// Returns the same error without its cause, for each of several that failed together.
    pub(crate) fn copied(&self) -> Self {
        let Inner {
            kind,
            status,
            retry_after,
            ..
        } = *self.0;
        Self(Box::new(Inner {
            kind,
            message: self.0.message.clone(),
            code: self.0.code.clone(),
            service_message: self.0.service_message.clone(),
            status,
            request_id: self.0.request_id.clone(),
            retry_after,
            source: None,
        }))
    }

    /// Puts `object` before the message, as in `the message: not found`.
    pub(crate) fn about(mut self, object: &str) -> Self {
        self.0.message = format!("{object}: {}", self.0.message);
        self
    }

    /// Returns what went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Tells whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{Connect, Service, Throttled, Transport};
        matches!(self.0.kind, Connect | Transport | Throttled | Service)
    }

    /// Returns how long the service asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the service's own code, such as `ErrorItemNotFound`, in the service's spelling.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Returns the service's own words; they may name people and items, so they are not part of
    /// `Display` or `Debug`.
    pub fn service_message(&self) -> Option<&str> {
        self.0.service_message.as_deref()
    }

    /// Returns the HTTP status, if there was an answer.
    pub fn status(&self) -> Option<StatusCode> {
        self.0.status
    }

    /// Returns the id under which the service logged the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

impl From<m365_auth::Error> for Error {
    fn from(error: m365_auth::Error) -> Self {
        use m365_auth::ErrorKind as Auth;
        let (kind, message) = match error.kind() {
            Auth::Connect => (ErrorKind::Connect, "no connection came about"),
            Auth::Transport => (ErrorKind::Transport, "the connection broke"),
            Auth::TooLarge => (ErrorKind::TooLarge, "the answer is longer than allowed"),
            Auth::OriginRefused => (ErrorKind::OriginRefused, "the address is not allowed"),
            Auth::Throttled => (ErrorKind::Throttled, "the identity platform asks to wait"),
            Auth::NotAdmitted => (
                ErrorKind::Throttled,
                "a limit does not admit the request now",
            ),
            Auth::Service => (ErrorKind::Service, "the identity platform failed"),
            Auth::Malformed => (ErrorKind::Malformed, "an answer could not be understood"),
            _ => (ErrorKind::Credential, "no token could be had"),
        };
        let mut mapped = Self::new(kind, message);
        mapped.0.code = error.service_code().map(str::to_owned);
        mapped.0.request_id = error.request_id().map(str::to_owned);
        mapped.0.retry_after = error.retry_after();
        mapped.with_source(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match (&self.0.code, self.0.status) {
            (Some(code), Some(status)) => write!(f, " ({code}, status {})", status.as_u16()),
            (Some(code), None) => write!(f, " ({code})"),
            (None, Some(status)) => write!(f, " (status {})", status.as_u16()),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("code", &self.0.code)
            .field("status", &self.0.status)
            .field("request_id", &self.0.request_id)
            .field("retry_after", &self.0.retry_after)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
