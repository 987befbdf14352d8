//! Eight writers and a prune at once, without a lock: nothing is lost. And backups where nothing
//! may ever be deleted.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::future_not_send,
    reason = "tests; the figures are printed"
)]

mod common;
mod crowd;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use backup_store::{
    Backend, Capabilities, ContentClass, Error, ErrorKind, LocalBackend, MemoryBackend, ObjectInfo,
    ObjectName, PruneOptions, Put, Result,
};
use bytes::Bytes;
use common::{noise, published};
use crowd::{create, nothing_is_lost, open, options};

#[tokio::test]
async fn eight_writers_and_a_prune_lose_nothing_in_memory() {
    let figures = nothing_is_lost(Arc::new(MemoryBackend::new())).await;
    println!("{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_and_a_prune_lose_nothing_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Arc::new(LocalBackend::create(directory.path()).unwrap());
    println!("{}", nothing_is_lost(backend).await);
}

/// A place where nothing can be deleted.
#[derive(Debug, Clone, Default)]
struct AppendOnly(MemoryBackend);

#[async_trait]
impl Backend for AppendOnly {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        self.0.put_new(name, bytes).await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        self.0.get(name, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.0.list(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        let words = format!("object {name}: may not be deleted");
        Err(Error::new(ErrorKind::PermissionDenied, words))
    }

    async fn probe(&self) -> Result<Capabilities> {
        backup_store::backend::probe(self).await
    }
}

#[tokio::test]
async fn backup_needs_no_right_to_delete_and_prune_says_that_it_does() {
    let backend: Arc<dyn Backend> = Arc::new(AppendOnly::default());
    create(Arc::clone(&backend)).await;
    let store = open(&backend).await;
    let directory = tempfile::tempdir().unwrap();
    let writer = store.begin(options(directory.path())).await.unwrap();
    let contents = [noise(70_000, 1)];
    let id = published(&writer, "1", &contents).await.unwrap();
    let gatherer = writer.gatherer();
    let content = gatherer
        .put(ContentClass::Binary, &contents[0])
        .await
        .unwrap();
    gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
    let reader = open(&backend).await;
    assert_eq!(reader.snapshots().await.unwrap()[0].id, id);
    assert_eq!(
        reader
            .open_content(&content)
            .collect(1 << 20)
            .await
            .unwrap(),
        contents[0]
    );
    let mut options = PruneOptions::new();
    options.forget = [id].into();
    let refused = store.prune(&options, &|_| {}).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    assert!(
        refused
            .to_string()
            .contains("prune: objects may not be deleted"),
        "{refused}"
    );
    assert!(
        backend.list("gc/").await.unwrap().is_empty(),
        "nothing was planned"
    );
}
