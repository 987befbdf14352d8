//! The one error of this crate: opaque, typed by kind, free of secrets.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

/// Shorthand for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says coarsely what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection came about; nothing was sent.
    Connect,
    /// The connection broke after something may have been sent.
    Transport,
    /// The service asked to come back later.
    Throttled,
    /// The service failed on its side.
    Service,
    /// The token was refused.
    Unauthorized,
    /// The app, or whom it impersonates, may not do this.
    Forbidden,
    /// EWS is turned off for this tenant or for this app; only an administrator can change that.
    Disabled,
    /// A folder, item or mailbox is not there.
    NotFound,
    /// Something changed meanwhile, or exists already.
    Conflict,
    /// A sync state is no longer valid: read everything again.
    CursorReset,
    /// The service cannot deliver this item.
    ItemCorrupt,
    /// The service did not try this one, because an earlier one of the same call failed.
    NotAttempted,
    /// An answer, or an item, passed a limit.
    TooLarge,
    /// The request was refused here, before sending, by the origin policy.
    OriginRefused,
    /// A mailbox is full.
    QuotaExceeded,
    /// The service does not accept such a request.
    InvalidRequest,
    /// An answer could not be understood.
    Malformed,
    /// No token could be had.
    Credential,
}

/// Describes one failure: what was attempted, why it failed, whether trying again can help.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    code: Option<String>,
    status: Option<u16>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            code: None,
            status: None,
            request_id: None,
            retry_after: None,
            source: None,
        }))
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, message)
    }

    /// Makes an error of a response code of the service, such as `ErrorItemNotFound`.
    pub(crate) fn from_code(code: &str, text: &str) -> Self {
        let kind = crate::code::kind_of(code);
        let message = if text.is_empty() {
            "the service refused the request"
        } else {
            text
        };
        let mut error = Self::new(kind, message);
        error.0.code = Some(code.to_owned());
        error
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait.or(self.0.retry_after);
        self
    }

    pub(crate) fn with_status(mut self, status: u16) -> Self {
        self.0.status = Some(status);
        self
    }

    pub(crate) fn with_request_id(mut self, id: Option<&str>) -> Self {
        self.0.request_id = id.map(str::to_owned);
        self
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Returns what went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Tells whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Connect
                | ErrorKind::Transport
                | ErrorKind::Throttled
                | ErrorKind::Service
                | ErrorKind::NotAttempted
        )
    }

    /// Returns how long the service asked to wait, if it did; zero is a value it uses.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the service's own code, such as `ErrorServerBusy`.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// Returns the HTTP status of the answer, if there was one.
    pub fn status(&self) -> Option<u16> {
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
        let kind = match error.kind() {
            Auth::Connect => ErrorKind::Connect,
            Auth::Transport => ErrorKind::Transport,
            Auth::TooLarge => ErrorKind::TooLarge,
            Auth::OriginRefused => ErrorKind::OriginRefused,
            Auth::Throttled | Auth::NotAdmitted => ErrorKind::Throttled,
            Auth::Service => ErrorKind::Service,
            Auth::Malformed => ErrorKind::Malformed,
            _ => ErrorKind::Credential,
        };
        let wait = error.retry_after();
        Self::new(kind, "the request to exchange web services failed")
            .with_retry_after(wait)
            .with_source(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        match (&self.0.code, self.0.status) {
            (Some(code), _) => write!(f, " ({code})"),
            (None, Some(status)) => write!(f, " (status {status})"),
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
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}
