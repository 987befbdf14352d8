//! Conformance: what every [`Backend`] must do, as checks that an implementation's tests run.

use bytes::Bytes;

use crate::backend::{Backend, ObjectName, Put};
use crate::error::{Error, ErrorKind, Result};

/// Checks a backend that holds nothing yet; returns the first rule it breaks.
///
/// *Errors*: those of the backend, and [`ErrorKind::Unsupported`] naming the rule.
pub async fn check(backend: &dyn Backend) -> Result<()> {
    objects_are_created_once(backend).await?;
    ranges_are_cut_at_the_end(backend).await?;
    listings_are_sorted_and_by_prefix(backend).await?;
    missing_objects_are_not_found(backend).await?;
    one_of_many_creators_wins(backend).await
}

fn rule(holds: bool, words: &str) -> Result<()> {
    if holds {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("backend: breaks the rule: {words}"),
    ))
}

async fn objects_are_created_once(backend: &dyn Backend) -> Result<()> {
    let name = ObjectName::new("conformance/once")?;
    let put = backend.put_new(&name, Bytes::from_static(b"first")).await?;
    rule(put == Put::Created, "a free name is created")?;
    let put = backend
        .put_new(&name, Bytes::from_static(b"second"))
        .await?;
    rule(put == Put::AlreadyExists, "a taken name is not created")?;
    let bytes = backend.get(&name, None).await?;
    rule(bytes == "first", "what was created stays as it was")?;
    backend.delete(&name).await?;
    backend.delete(&name).await?;
    let put = backend.put_new(&name, Bytes::new()).await?;
    rule(put == Put::Created, "a deleted name is free")?;
    rule(
        backend.get(&name, None).await?.is_empty(),
        "an empty object is an object",
    )?;
    backend.delete(&name).await
}

async fn ranges_are_cut_at_the_end(backend: &dyn Backend) -> Result<()> {
    let name = ObjectName::new("conformance/range")?;
    backend
        .put_new(&name, Bytes::from_static(b"0123456789"))
        .await?;
    for (range, expected) in [
        (0..10, "0123456789"),
        (3..5, "34"),
        (8..99, "89"),
        (10..20, ""),
        (50..60, ""),
        (4..4, ""),
    ] {
        let found = backend.get(&name, Some(range)).await?;
        rule(
            found == expected,
            "a range gives its bytes, cut at the end of the object",
        )?;
    }
    backend.delete(&name).await
}

async fn listings_are_sorted_and_by_prefix(backend: &dyn Backend) -> Result<()> {
    let names = [
        "conformance/l/b",
        "conformance/l/a.1",
        "conformance/l/a/2",
        "conformance/la",
    ];
    for (size, name) in (1usize..).zip(names) {
        backend
            .put_new(&ObjectName::new(name)?, Bytes::from(vec![0; size]))
            .await?;
    }
    for (prefix, expected) in [
        ("conformance/l/", &[(2, 1), (3, 2), (1, 0)][..]),
        ("conformance/l/a", &[(2, 1), (3, 2)]),
        ("conformance/l", &[(2, 1), (3, 2), (1, 0), (4, 3)]),
        ("conformance/x", &[]),
        ("elsewhere/", &[]),
    ] {
        let listed = backend.list(prefix).await?;
        let found: Vec<_> = listed
            .iter()
            .map(|info| (info.size, info.name.as_str()))
            .collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(size, at)| (*size, names[*at]))
            .collect();
        rule(
            found == expected,
            "a listing has all names with the prefix, sorted, with sizes",
        )?;
    }
    for name in names {
        backend.delete(&ObjectName::new(name)?).await?;
    }
    let left = backend.list("conformance/").await?;
    rule(left.is_empty(), "a deleted object is not listed")
}

async fn missing_objects_are_not_found(backend: &dyn Backend) -> Result<()> {
    let name = ObjectName::new("conformance/missing")?;
    for range in [None, Some(0..4)] {
        let kind = backend
            .get(&name, range)
            .await
            .err()
            .map(|cause| cause.kind());
        rule(
            kind == Some(ErrorKind::NotFound),
            "an object that is not there is not found",
        )?;
    }
    Ok(())
}

async fn one_of_many_creators_wins(backend: &dyn Backend) -> Result<()> {
    let found = backend.probe().await?;
    rule(
        found.put_if_absent,
        "of racing creators exactly one wins, and is told so",
    )?;
    rule(
        found.listed_after_put,
        "an object is listed once its put has returned",
    )?;
    let left = backend.list("probe/").await?;
    rule(left.is_empty(), "a probe leaves nothing behind")
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use super::*;
    use crate::backend::{Capabilities, LocalBackend, MemoryBackend, ObjectInfo, probe};
    use crate::offload::InlineOffload;

    #[tokio::test]
    async fn the_memory_backend_conforms() {
        check(&MemoryBackend::new()).await.unwrap();
        let found = probe(&MemoryBackend::new()).await.unwrap();
        assert!(found.put_if_absent && found.listed_after_put);
    }

    #[cfg(feature = "tokio")]
    #[tokio::test(flavor = "multi_thread")]
    async fn the_local_backend_conforms_on_threads() {
        let directory = tempfile::tempdir().unwrap();
        let backend = LocalBackend::create(directory.path().join("a/b")).unwrap();
        check(&backend).await.unwrap();
        let again = LocalBackend::open(directory.path().join("a/b")).unwrap();
        assert!(
            again.list("").await.unwrap().is_empty(),
            "staged files are never listed"
        );
    }

    #[tokio::test]
    async fn the_local_backend_conforms_inline_and_names_what_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let opened = LocalBackend::open_with(&missing, Arc::new(InlineOffload));
        let error = opened.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("missing"), "{error}");
        let backend = LocalBackend::create_with(&missing, Arc::new(InlineOffload)).unwrap();
        check(&backend).await.unwrap();
    }

    /// A backend that accepts conditional puts and does not honour them.
    #[derive(Debug, Default)]
    struct Dishonest(MemoryBackend);

    #[async_trait::async_trait]
    impl Backend for Dishonest {
        async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
            self.0.tamper(name, Some(bytes));
            Ok(Put::Created)
        }
        async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
            self.0.get(name, range).await
        }
        async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
            self.0.list(prefix).await
        }
        async fn delete(&self, name: &ObjectName) -> Result<()> {
            self.0.delete(name).await
        }
        async fn probe(&self) -> Result<Capabilities> {
            probe(self).await
        }
    }

    #[tokio::test]
    async fn a_dishonest_backend_is_found_out() {
        assert!(!Dishonest::default().probe().await.unwrap().put_if_absent);
        let error = check(&Dishonest::default()).await.unwrap_err();
        assert!(error.to_string().contains("not created"), "{error}");
    }
}
