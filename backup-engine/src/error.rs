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
    /// The service asked to come back later.
    Throttled,
    /// A limit that this program keeps did not let a request go; nothing was sent.
    NotAdmitted,
    /// The service took too long; the same call for less may succeed.
    TimedOut,
    /// The service failed on its side, or the connection did; the same call may succeed later.
    Unavailable,
    /// The service refused: the credential, its permissions, or the request.
    Denied,
    /// What was asked for is not there.
    NotFound,
    /// A user that the selection names is not in the tenant.
    UserNotFound,
    /// The item itself is the cause: it is corrupt, blocked, too large, or not what was announced.
    Item,
    /// An answer of the service could not be understood.
    Malformed,
    /// The store refused or failed.
    Store,
    /// The backup journal on this machine failed.
    Journal,
    /// What says who works on which resource cannot be reached or read.
    Coordinator,
    /// A setting is missing or contradicts another.
    Configuration,
}

/// Describes one failure: what was attempted, why it failed, whether trying again can help.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    retry_after: Option<Duration>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error; `message` names the object, then the cause, and holds no secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
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

    /// Attaches the time the service asked to wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    /// Returns what went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Tells whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        use ErrorKind::{NotAdmitted, Throttled, TimedOut, Unavailable};
        matches!(
            self.0.kind,
            Throttled | NotAdmitted | TimedOut | Unavailable
        )
    }

    /// Tells whether the lease of this run was ended by somebody else.
    pub(crate) fn is_fenced(&self) -> bool {
        let source = self.0.source.as_ref();
        source
            .and_then(|source| source.downcast_ref::<backup_store::Error>())
            .is_some_and(|cause| cause.kind() == backup_store::ErrorKind::Fenced)
    }

    /// Returns how long the service asked to wait, if it did.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
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
            .field("retry_after", &self.0.retry_after)
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

impl From<backup_store::Error> for Error {
    fn from(cause: backup_store::Error) -> Self {
        Self::new(ErrorKind::Store, format!("the store failed: {cause}")).with_source(cause)
    }
}

impl From<rusqlite::Error> for Error {
    fn from(cause: rusqlite::Error) -> Self {
        let message = format!("the backup journal failed: {cause}");
        Self::new(ErrorKind::Journal, message).with_source(cause)
    }
}
