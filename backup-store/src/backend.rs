//! Backend: where objects lie. The narrow seam under everything else in this crate.

mod bandwidth;
mod counting;
mod local;
mod memory;
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
mod object;
mod place;
mod probe;
mod retry;

use std::fmt;
use std::ops::Range;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

pub use self::bandwidth::{Bandwidth, BandwidthBackend};
pub use self::counting::{BackendCounts, CountingBackend, RequestCount};
pub use self::local::LocalBackend;
pub(crate) use self::local::{create_directories, replace_file, sync_directory};
pub use self::memory::MemoryBackend;
#[cfg(feature = "gcs")]
pub use self::object::GcsOptions;
#[cfg(feature = "s3")]
pub use self::object::S3Options;
#[cfg(feature = "azure")]
pub use self::object::{AzureCredentials, AzureOptions};
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
pub use self::object::{ObjectBackend, Secret};
pub use self::place::{BackendPlace, BucketPlace};
pub use self::probe::probe;
pub use self::retry::{BackendRetry, RetryBackend};
use crate::error::{Error, ErrorKind, Result};

/// Names an object in a backend.
///
/// *Shape*: parts of `a-z`, `0-9`, `.`, `_`, `-`, joined by `/`; no part is empty or begins with a
/// dot, so that a name is a safe relative path on every system. At most 200 bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// Longest name in bytes.
    pub const MAX_BYTES: usize = 200;

    /// Checks a name.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] for a name outside the shape.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let part =
            |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed);
        if name.len() <= Self::MAX_BYTES && name.split('/').all(part) {
            return Ok(Self(name));
        }
        let shown: String = name.chars().take(80).collect();
        Err(Error::new(
            ErrorKind::InvalidInput,
            format!("object name {shown:?}: not allowed"),
        ))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectInfo {
    /// Name of the object.
    pub name: ObjectName,
    /// Its size in bytes.
    pub size: u64,
}

/// Says what came of a create-only put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Put {
    /// The object was created by this call.
    Created,
    /// The name was taken already, perhaps by an earlier try of the same call.
    AlreadyExists,
}

/// Says what a backend was found to guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Of several creators of one name exactly one is told that it created it.
    pub put_if_absent: bool,
    /// An object is listed as soon as its put has returned.
    pub listed_after_put: bool,
}

/// Keeps objects: written once, whole or not at all, never changed.
///
/// The module `conformance` (feature `conformance`) checks an implementation.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync {
    /// Creates an object that must not exist yet; once this returns, it is durable.
    ///
    /// *Errors*: [`ErrorKind::StorageFull`], [`ErrorKind::PermissionDenied`]; others are retryable,
    /// and leave open whether the object was created.
    ///
    /// *Cancel safety*: when dropped, the object may or may not exist, whole.
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put>;

    /// Tells whether [`put_new_file`](Self::put_new_file) is worth a try.
    fn takes_files(&self) -> bool {
        false
    }

    /// Creates an object, which must not exist yet, of a file of this machine that is whole, synced
    /// and never written to again; once this returns, it is durable. The caller may delete the file
    /// afterwards.
    ///
    /// `None`, which is what a backend without a better way answers, says that nothing was created:
    /// the bytes are then put.
    ///
    /// *Errors*: those of [`put_new`](Self::put_new).
    ///
    /// *Cancel safety*: when dropped, the object may or may not exist, whole.
    async fn put_new_file(&self, _name: &ObjectName, _file: &Path) -> Result<Option<Put>> {
        Ok(None)
    }

    /// Reads an object, or the given range of its bytes; a range beyond the end is cut short.
    ///
    /// *Errors*: [`ErrorKind::NotFound`].
    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes>;

    /// Lists the objects whose names begin with `prefix`, in the order of their names.
    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>>;

    /// Deletes an object; one that is not there is deleted already.
    async fn delete(&self, name: &ObjectName) -> Result<()>;

    /// Lists the objects of which the backend keeps more than one version, if it can tell.
    ///
    /// Objects are created once, so that a second version is a sign of interference, or of a
    /// server that does not honour create-only puts.
    async fn several_versions(&self) -> Result<Option<Vec<ObjectName>>> {
        Ok(None)
    }

    /// Finds out what this backend guarantees, by trying; includes a race of creators.
    ///
    /// Leaves its traces under `probe/` where nothing may be deleted.
    async fn probe(&self) -> Result<Capabilities>;
}

/// Cuts a range to an object of `size` bytes.
fn clamp(range: Option<Range<u64>>, size: u64) -> Range<u64> {
    let range = range.unwrap_or(0..size);
    let end = range.end.min(size);
    range.start.min(end)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_safe_relative_path() {
        for name in ["config", "keys/0.ab", "snaps/0a-b_c.0"] {
            assert_eq!(ObjectName::new(name).unwrap().as_str(), name);
        }
        let long = "a".repeat(201);
        for name in [
            "", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "A", "a b", "ä", &long,
        ] {
            assert!(ObjectName::new(name).is_err(), "{name}");
        }
    }
}
