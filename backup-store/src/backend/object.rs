//! Object backend: S3, Azure Blob Storage and Google Cloud Storage, by conditional create.
//!
//! Nothing of the library underneath shows: options in, a [`Backend`] out. It asks each thing
//! once; [`RetryBackend`](super::RetryBackend) asks again.

mod azure;
mod gcs;
mod s3;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode,
    PutOptions, PutPayload, RetryConfig,
};
use zeroize::Zeroizing;

#[cfg(feature = "azure")]
pub use self::azure::{AzureCredentials, AzureOptions};
#[cfg(feature = "gcs")]
pub use self::gcs::GcsOptions;
#[cfg(feature = "s3")]
pub use self::s3::S3Options;
use super::{Backend, Capabilities, ObjectInfo, ObjectName, Put};
use crate::error::{Error, ErrorKind, Result};

/// The longest one request may take: a pack over a slow line.
const REQUEST_LIMIT: Duration = Duration::from_secs(600);
/// The longest a server may take to accept a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);
/// Characters of a service's own words that an error repeats.
const WORDS_LIMIT: usize = 300;

/// A secret of a service: never shown, and wiped when dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(Zeroizing::new(secret.into()))
    }

    fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a client of the library underneath can do.
trait Client: ObjectStore + PaginatedListStore {}
impl<T: ObjectStore + PaginatedListStore> Client for T {}

/// Keeps objects in a bucket of a cloud service; clones share the connections.
///
/// Made from [`S3Options`], `AzureOptions` or `GcsOptions`, as the features `s3`, `azure` and
/// `gcs` allow.
#[derive(Clone)]
pub struct ObjectBackend {
    client: Arc<dyn Client>,
    /// The place, as people write it.
    place: String,
    /// What stands before each name: empty, or with a slash at its end.
    prefix: String,
}

impl ObjectBackend {
    fn new(client: impl Client, scheme: &str, bucket: &str, prefix: &str) -> Result<Self> {
        let place = format!("{scheme}://{bucket}/{prefix}");
        let prefix = prefix.trim_matches('/');
        Path::parse(prefix).map_err(|_| {
            let words = format!("place {place}: its prefix is not a path");
            Error::new(ErrorKind::InvalidInput, words)
        })?;
        let separator = if prefix.is_empty() { "" } else { "/" };
        Ok(Self {
            client: Arc::new(client),
            place,
            prefix: format!("{prefix}{separator}"),
        })
    }

    fn path(&self, name: &ObjectName) -> Result<Path> {
        Path::parse(format!("{}{name}", self.prefix)).map_err(|_| {
            let words = format!("object {name}: not a path of this backend");
            Error::new(ErrorKind::InvalidInput, words)
        })
    }

    fn failed(&self, object: impl fmt::Display, cause: &object_store::Error) -> Error {
        let (kind, words) = explain(cause);
        let words = format!("{object} at {}: {words}", self.place);
        Error::new(kind, words)
    }

    /// Returns the size of an object.
    async fn size(&self, name: &ObjectName) -> Result<u64> {
        let found = self.client.head(&self.path(name)?).await;
        let found = found.map_err(|cause| self.failed(format_args!("object {name}"), &cause))?;
        Ok(found.size)
    }
}

impl fmt::Debug for ObjectBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectBackend({})", self.place)
    }
}

#[async_trait]
impl Backend for ObjectBackend {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        let options = PutOptions::from(PutMode::Create);
        let payload = PutPayload::from_bytes(bytes);
        let path = self.path(name)?;
        match self.client.put_opts(&path, payload, options).await {
            Ok(_) => Ok(Put::Created),
            Err(
                object_store::Error::AlreadyExists { .. }
                | object_store::Error::Precondition { .. },
            ) => Ok(Put::AlreadyExists),
            Err(cause) => Err(self.failed(format_args!("object {name}"), &cause)),
        }
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        if range.as_ref().is_some_and(Range::is_empty) {
            self.size(name).await?;
            return Ok(Bytes::new());
        }
        let options = GetOptions {
            range: range.clone().map(GetRange::Bounded),
            ..GetOptions::default()
        };
        let path = self.path(name)?;
        let read = async { self.client.get_opts(&path, options).await?.bytes().await };
        let cause = match read.await {
            Ok(bytes) => return Ok(bytes),
            Err(cause) => cause,
        };
        let missing = matches!(cause, object_store::Error::NotFound { .. });
        if let Some(range) = range.filter(|_| !missing)
            && self.size(name).await? <= range.start
        {
            // The services call a range that begins beyond the end an error.
            return Ok(Bytes::new());
        }
        Err(self.failed(format_args!("object {name}"), &cause))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let wanted = format!("{}{prefix}", self.prefix);
        let mut found = Vec::new();
        let mut page_token = None;
        loop {
            let options = PaginatedListOptions {
                page_token,
                ..PaginatedListOptions::default()
            };
            let page = self.client.list_paginated(Some(&wanted), options).await;
            let page =
                page.map_err(|cause| self.failed(format_args!("listing {prefix:?}"), &cause))?;
            for object in page.result.objects {
                let path = object.location.as_ref();
                let name = path.strip_prefix(&self.prefix).map(ObjectName::new);
                // Other names are not ours.
                if let Some(Ok(name)) = name {
                    let size = object.size;
                    found.push(ObjectInfo { name, size });
                }
            }
            page_token = page.page_token;
            if page_token.is_none() {
                break;
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        match self.client.delete(&self.path(name)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(cause) => Err(self.failed(format_args!("object {name}"), &cause)),
        }
    }

    async fn probe(&self) -> Result<Capabilities> {
        super::probe::probe(self).await
    }
}

/// No retries of its own, and time enough for a pack.
fn connection(allow_http: bool) -> (ClientOptions, RetryConfig) {
    let client = ClientOptions::new()
        .with_timeout(REQUEST_LIMIT)
        .with_connect_timeout(CONNECT_LIMIT)
        .with_allow_http(allow_http);
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: 0,
        retry_timeout: REQUEST_LIMIT,
    };
    (client, retry)
}

/// Says what an error means for us, and repeats the service's words without what may be secret.
fn explain(cause: &object_store::Error) -> (ErrorKind, String) {
    use object_store::Error as Cause;
    let words = scrub(&cause.to_string());
    let kind = match cause {
        Cause::NotFound { .. } => ErrorKind::NotFound,
        Cause::PermissionDenied { .. } | Cause::Unauthenticated { .. } => {
            ErrorKind::PermissionDenied
        }
        Cause::NotSupported { .. } | Cause::NotImplemented { .. } => ErrorKind::Unsupported,
        Cause::InvalidPath { .. } | Cause::UnknownConfigurationKey { .. } => {
            ErrorKind::InvalidInput
        }
        _ if is_full(&words) => ErrorKind::StorageFull,
        // A listing of what is not there has no kind of its own underneath.
        _ if words.contains("404 Not Found") => ErrorKind::NotFound,
        _ => ErrorKind::Backend,
    };
    (kind, words)
}

/// Tells by the service's words that it has no room; the library underneath has no kind for it.
fn is_full(words: &str) -> bool {
    let signs = [
        "507 ",
        "InsufficientStorage",
        "StorageFull",
        "QuotaExceeded",
        "AccountLimitExceeded",
    ];
    signs.iter().any(|sign| words.contains(sign))
}

/// Cuts queries, which may hold signatures, out of a text, and the text to a readable length.
fn scrub(text: &str) -> String {
    let mut shown = String::new();
    let mut in_query = false;
    for letter in text.chars().take(10 * WORDS_LIMIT) {
        let ends = letter.is_whitespace() || "\"'()<>".contains(letter);
        in_query = in_query && !ends;
        if in_query {
            continue;
        }
        shown.push(if letter.is_control() { ' ' } else { letter });
        if letter == '?' {
            shown.push('…');
            in_query = true;
        }
    }
    let mut cut: String = shown.chars().take(WORDS_LIMIT).collect();
    if cut.len() < shown.len() {
        cut.push('…');
    }
    cut
}

/// The error of options that the library underneath does not take.
fn refused(place: &str, cause: &object_store::Error) -> Error {
    let (_, words) = explain(cause);
    Error::new(ErrorKind::InvalidInput, format!("place {place}: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(words: &str) -> object_store::Error {
        object_store::Error::Generic {
            store: "S3",
            source: words.to_owned().into(),
        }
    }

    #[test]
    fn a_signature_in_an_address_is_never_repeated() {
        let words = "sending (https://a.example/c/x?sv=1&sig=hunter2%3D) failed: timeout";
        let (kind, shown) = explain(&generic(words));
        assert_eq!(kind, ErrorKind::Backend);
        assert!(shown.contains("/c/x?…) failed: timeout"), "{shown}");
        assert!(!shown.contains("hunter2"));
        assert!(explain(&generic(&"x".repeat(5000))).1.chars().count() <= WORDS_LIMIT + 1);
    }

    #[test]
    fn a_full_service_and_a_refusing_one_have_kinds_of_their_own() {
        let full = "Server returned non-2xx status code: 507 Insufficient Storage";
        assert_eq!(explain(&generic(full)).0, ErrorKind::StorageFull);
        let nowhere = "Server returned non-2xx status code: 404 Not Found: NoSuchBucket";
        assert_eq!(explain(&generic(nowhere)).0, ErrorKind::NotFound);
        let denied = object_store::Error::PermissionDenied {
            path: "x".to_owned(),
            source: "403".into(),
        };
        assert_eq!(explain(&denied).0, ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
    }
}
