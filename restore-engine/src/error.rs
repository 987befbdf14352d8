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
    /// The request cannot be planned: nothing selected, or source and destination do not fit.
    InvalidRequest,
    /// The destination, or the snapshot, does not exist.
    NotFound,
    /// The plan does not fit the store, the destination or this version of the program.
    PlanMismatch,
    /// The credential was refused; nothing can be written until that is changed.
    Credential,
    /// The destination refused the write or the read for lack of a permission.
    Forbidden,
    /// The service asked to come back later.
    Throttled,
    /// The service failed, or the connection broke; something may have been written.
    Service,
    /// The service refused this one item, and would refuse it again.
    Refused,
    /// The store could not be read.
    Store,
    /// The restore journal could not be read or written.
    Journal,
    /// Stored content is not what its record says.
    Damaged,
}

/// Describes one failure: what was attempted, why it failed, whether trying again can help.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    retryable: bool,
    sent: bool,
    retry_after: Option<Duration>,
    request_id: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error; `message` names the object, then the cause, and holds no secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::Throttled | ErrorKind::Service);
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            retryable,
            sent: kind == ErrorKind::Service,
            retry_after: None,
            request_id: None,
            source: None,
        }))
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Attaches the time the service asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Attaches the id under which the service logged the request.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> Self {
        self.0.request_id = Some(id.into());
        self
    }

    /// Says that nothing was sent or kept, so that repeating the call needs no probe first.
    #[must_use]
    pub fn with_nothing_written(mut self) -> Self {
        self.0.sent = false;
        self
    }

    /// Says that something was written before the failure, so that it is looked for first.
    #[must_use]
    pub fn with_something_written(mut self) -> Self {
        self.0.sent = true;
        self
    }

    /// Says whether the same call may succeed later, where the kind alone does not tell.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Puts `object` before the message, so that the text names what was being done.
    #[must_use]
    pub fn in_context(mut self, object: impl fmt::Display) -> Self {
        self.0.message = format!("{object}: {}", self.0.message);
        self
    }

    /// Returns what went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Tells whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Tells whether the failed call may have written something all the same.
    pub fn may_have_written(&self) -> bool {
        self.0.sent
    }

    /// Returns how long the service asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the id under which the service logged the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("retryable", &self.0.retryable)
            .field("retry_after", &self.0.retry_after)
            .field("request_id", &self.0.request_id)
            .field("source", &self.0.source)
            .finish()
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

impl From<m365_graph::Error> for Error {
    fn from(cause: m365_graph::Error) -> Self {
        use m365_graph::ErrorKind as Graph;
        let kind = match cause.kind() {
            Graph::Throttled => ErrorKind::Throttled,
            Graph::Connect | Graph::Transport | Graph::Service => ErrorKind::Service,
            Graph::Unauthorized | Graph::Credential => ErrorKind::Credential,
            Graph::Forbidden => ErrorKind::Forbidden,
            Graph::NotFound => ErrorKind::NotFound,
            _ => ErrorKind::Refused,
        };
        // What broke on the way, what the service failed at, and an answer that cannot be read: in
        // all three it may have acted.
        let acted = matches!(
            cause.kind(),
            Graph::Transport | Graph::Service | Graph::Malformed
        );
        let mut error = Self::new(kind, cause.to_string()).with_retryable(cause.is_retryable());
        error.0.sent = acted;
        error.0.retry_after = cause.retry_after();
        error.0.request_id = cause.request_id().map(str::to_owned);
        error.with_source(cause)
    }
}

impl From<m365_auth::Error> for Error {
    fn from(cause: m365_auth::Error) -> Self {
        Self::from(m365_graph::Error::from(cause))
    }
}

impl From<backup_store::Error> for Error {
    fn from(cause: backup_store::Error) -> Self {
        Self::new(ErrorKind::Store, cause.to_string())
            .with_retryable(cause.is_retryable())
            .with_source(cause)
    }
}
