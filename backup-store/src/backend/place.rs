//! Place: where a store lies, as people write it: a directory, or the address of a bucket.

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};

/// Names where a store lies.
///
/// *Shape*: `s3://bucket/prefix`, `azure://container/prefix`, `gs://bucket/prefix`; everything
/// without `://` is a directory. The prefix may be left out. Credentials are never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendPlace {
    /// A directory of this machine.
    Directory(PathBuf),
    /// A bucket of Amazon S3, or of a service that speaks its protocol.
    S3(BucketPlace),
    /// A container of Azure Blob Storage.
    Azure(BucketPlace),
    /// A bucket of Google Cloud Storage.
    Gcs(BucketPlace),
}

/// A bucket or container, and the prefix of the store's objects in it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketPlace {
    /// The bucket or container.
    pub bucket: String,
    /// The prefix, without slashes at its ends; may be empty.
    pub prefix: String,
}

impl BackendPlace {
    /// Reads a place.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] for an unknown scheme, and for an address that has no
    /// bucket, or more in it than bucket and prefix.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::Directory(PathBuf::from(text)));
        };
        let place = match scheme {
            "s3" => Self::S3,
            "azure" | "az" => Self::Azure,
            "gs" => Self::Gcs,
            _ => {
                let known = "known are s3://, azure:// and gs://";
                return Err(invalid(&format!("{scheme}://"), known));
            }
        };
        // Nothing after the scheme is repeated: it might hold a secret that does not belong here.
        let shown = format!("{scheme}://…");
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.trim_end_matches('/');
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if bucket.is_empty() || !bucket.bytes().all(allowed) {
            return Err(invalid(
                &shown,
                "it needs the name of a bucket, and no more",
            ));
        }
        let part =
            |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed);
        if !prefix.is_empty() && !prefix.split('/').all(part) {
            let words =
                "its prefix is not of letters, digits, `.`, `_`, `-`, in parts joined by `/`";
            return Err(invalid(&shown, words));
        }
        Ok(place(BucketPlace {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }))
    }
}

impl fmt::Display for BackendPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, place) = match self {
            Self::Directory(path) => return write!(f, "{}", path.display()),
            Self::S3(place) => ("s3", place),
            Self::Azure(place) => ("azure", place),
            Self::Gcs(place) => ("gs", place),
        };
        let separator = if place.prefix.is_empty() { "" } else { "/" };
        write!(f, "{scheme}://{}{separator}{}", place.bucket, place.prefix)
    }
}

fn invalid(place: &str, cause: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("place {place}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_and_shown_alike() {
        for text in [
            "s3://a-b.c/x/y",
            "azure://container",
            "gs://b/p",
            "/var/b",
            "C:\\b",
        ] {
            assert_eq!(BackendPlace::parse(text).unwrap().to_string(), text);
        }
        let place = BackendPlace::parse("s3://bucket/x/").unwrap();
        let BackendPlace::S3(place) = place else {
            panic!("{place:?}");
        };
        assert_eq!(
            (place.bucket.as_str(), place.prefix.as_str()),
            ("bucket", "x")
        );
    }

    #[test]
    fn what_is_no_place_is_refused_and_not_repeated() {
        for text in [
            "ftp://hunter2",
            "s3://",
            "s3:///x",
            "s3://key:hunter2@bucket",
            "azure://c/x?sig=hunter2",
            "gs://b/../hunter2",
            "gs://b//hunter2",
        ] {
            let error = BackendPlace::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
