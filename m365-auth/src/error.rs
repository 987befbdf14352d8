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
    /// No connection came about; nothing was sent, so sending again is safe.
    Connect,
    /// The connection broke, or timed out, after something may have been sent.
    Transport,
    /// A response body was longer than the caller allowed.
    TooLarge,
    /// The request was refused here, before sending, by the origin policy.
    OriginRefused,
    /// The identity platform refused the client or its credential: wrong, expired or unknown.
    CredentialRefused,
    /// A person must sign in or consent again.
    InteractionNeeded,
    /// The identity platform asked to come back later.
    Throttled,
    /// The identity platform failed on its side.
    Service,
    /// An answer could not be understood.
    Malformed,
    /// A setting is missing or contradicts another.
    Configuration,
    /// The operating system gave no randomness or clock.
    Environment,
    /// An answer to a sign-in does not belong to the sign-in that waits for it.
    AnswerRefused,
    /// A store of tokens could not be read, opened with its key, or written.
    TokenStore,
    /// The request was not sent, because a limit does not admit it now; see
    /// [`Error::retry_after`].
    NotAdmitted,
    /// A recording holds no answer to the request.
    NotRecorded,
}

/// Describes one failure: what was attempted, why it failed, whether trying again can help.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    service_code: Option<String>,
    request_id: Option<String>,
    retry_after: Option<Duration>,
    next_step: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// Creates an error; `message` names the object, then the cause, and holds no secret.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            service_code: None,
            request_id: None,
            retry_after: None,
            next_step: None,
            source: None,
        }))
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Attaches the service's own code, such as `AADSTS7000215`.
    #[must_use]
    pub fn with_service_code(mut self, code: impl Into<String>) -> Self {
        self.0.service_code = Some(code.into());
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

    /// Attaches what a person can do about it.
    #[must_use]
    pub fn with_next_step(mut self, step: &'static str) -> Self {
        self.0.next_step = Some(step);
        self
    }

    /// Returns the same error once more, for several callers who waited for one outcome.
    pub(crate) fn shared(original: &std::sync::Arc<Self>) -> Self {
        Self(Box::new(Inner {
            kind: original.0.kind,
            message: original.0.message.clone(),
            service_code: original.0.service_code.clone(),
            request_id: original.0.request_id.clone(),
            retry_after: original.0.retry_after,
            next_step: original.0.next_step,
            source: Some(Box::new(std::sync::Arc::clone(original))),
        }))
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
                | ErrorKind::NotAdmitted
        )
    }

    /// Returns how long to wait: as the service asked, or until a limit may admit the request.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the service's own code, such as `AADSTS7000215`.
    pub fn service_code(&self) -> Option<&str> {
        self.0.service_code.as_deref()
    }

    /// Returns what a person can do about it, as a sentence without a full stop.
    pub fn next_step(&self) -> Option<&'static str> {
        self.0.next_step
    }

    /// Returns the id under which the service logged the request.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(code) = &self.0.service_code {
            write!(f, " ({code})")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("service_code", &self.0.service_code)
            .field("request_id", &self.0.request_id)
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
