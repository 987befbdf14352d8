//! The one error of this crate: opaque, typed by kind, free of secrets.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

/// Shorthand for a result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says coarsely what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An object that should be in the store is not there.
    NotFound,
    /// The place holds no store.
    NotAStore,
    /// The place already holds a store, or the beginnings of one.
    StoreExists,
    /// The store has a format version that this program does not know.
    UnsupportedFormat,
    /// No key slot opens with this passphrase.
    WrongPassphrase,
    /// No key slot opens with this recovery code.
    WrongRecoveryCode,
    /// No key slot opens with this key file.
    WrongKeyFile,
    /// The secret opened this store once; the root key was changed without it.
    RecipientRemoved,
    /// Stored bytes are not what was written.
    Damaged,
    /// A record, a listing or another input breaks the rules of its layout.
    Malformed,
    /// Content is not in the store, though something refers to it.
    Missing,
    /// The store is older than what this machine has seen of it.
    RolledBack,
    /// The lease was ended by someone else; a new one is needed, nothing is lost.
    Fenced,
    /// A name that should be ours holds other bytes.
    Conflict,
    /// The backend, or the disk of the spool, has no room left.
    StorageFull,
    /// The operating system or the service refused access.
    PermissionDenied,
    /// The backend failed in another way; trying again may help.
    Backend,
    /// The backend lacks a property that the operation needs.
    Unsupported,
    /// A local file (spool, cache) could not be used.
    Local,
    /// The spool directory is in use by another process.
    SpoolInUse,
    /// Something is larger than the format or the caller allows.
    TooLarge,
    /// An argument is not valid.
    InvalidInput,
    /// The operating system gave no randomness or clock.
    Environment,
    /// Work was stopped before it was done: a cancelled call, or a pool that went away.
    Interrupted,
}

/// Describes one failure: the object, the cause, and whether trying again can help.
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

    /// Turns a failure of the operating system into an error about `object`.
    ///
    /// A full disk and a refused access get kinds of their own; everything else becomes `otherwise`.
    pub fn from_io(otherwise: ErrorKind, object: impl fmt::Display, cause: io::Error) -> Self {
        let (kind, words) = match cause.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                (ErrorKind::StorageFull, "no space left")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                (ErrorKind::PermissionDenied, "permission denied")
            }
            io::ErrorKind::NotFound => (ErrorKind::NotFound, "not found"),
            _ => (otherwise, "the operating system reported an error"),
        };
        Self::new(kind, format!("{object}: {words} ({cause})")).with_source(cause)
    }

    /// Attaches the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Attaches the time to wait before trying again.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.0.retry_after = Some(wait);
        self
    }

    /// Returns what went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Tells whether the same call may succeed later without anyone changing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::Backend | ErrorKind::Interrupted)
    }

    /// Returns how long to wait before trying again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub(crate) fn damaged(object: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::new(ErrorKind::Damaged, format!("{object} is damaged: {cause}"))
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
