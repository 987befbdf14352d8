//! Eight writers and a prune at once, without a lock: nothing is lost. And backups where nothing
//! may ever be deleted.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::future_not_send,
    reason = "tests; the figures are printed"
)]

mod common;

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use backup_store::{
    Backend, Capabilities, CheckDepth, ContentClass, CreateOptions, Error, ErrorKind, Fencing,
    KdfParams, LocalBackend, MemoryBackend, ObjectInfo, ObjectName, PruneOptions, Put, Result,
    RunId, SnapshotId, Store, StoreOptions, WriterOptions,
};
use bytes::Bytes;
use common::{noise, passphrase, published};

const WRITERS: u8 = 8;
const SNAPSHOTS: u8 = 4;
/// Fencing costs work: who fences without end lets nobody finish.
const FENCING_TURNS: u32 = 6;

/// What was published, and what prune was asked to forget.
#[derive(Default)]
struct Ledger {
    published: Mutex<BTreeSet<SnapshotId>>,
    forgotten: Mutex<BTreeSet<SnapshotId>>,
    fenced: Mutex<u32>,
}

async fn create(backend: Arc<dyn Backend>) {
    let mut options = CreateOptions::default();
    options.kdf = KdfParams::minimum();
    Store::create(backend, &passphrase(), options, StoreOptions::default())
        .await
        .unwrap();
}

async fn open(backend: &Arc<dyn Backend>) -> Store {
    let options = StoreOptions::default();
    Store::open(Arc::clone(backend), &passphrase(), options)
        .await
        .unwrap()
}

fn options(spool: &Path) -> WriterOptions {
    WriterOptions {
        run: RunId::from_bytes([1; 16]),
        spool_dir: spool.to_owned(),
        adopts: Vec::new(),
    }
}

/// Publishes snapshots of contents that other writers publish as well; takes a new lease whenever
/// it is fenced, and puts everything again.
async fn write(
    backend: &Arc<dyn Backend>,
    number: u8,
    spool: &Path,
    ledger: &Ledger,
) -> Result<()> {
    let store = open(backend).await;
    let mut writer = store.begin(options(spool)).await?;
    for round in 0..SNAPSHOTS {
        let contents = vec![noise(60_000, round), noise(20_000, 10 + number % 3)];
        loop {
            let attempt = published(&writer, &number.to_string(), &contents).await;
            match attempt {
                Ok(id) => {
                    ledger.published.lock().unwrap().insert(id);
                    break;
                }
                Err(cause) if cause.kind() == ErrorKind::Fenced => {
                    *ledger.fenced.lock().unwrap() += 1;
                    assert_eq!(writer.end().await.unwrap_err().kind(), ErrorKind::Fenced);
                    writer = store.begin(options(spool)).await?;
                }
                Err(cause) => return Err(cause),
            }
        }
        writer.keep_up(&[]).await?;
        tokio::task::yield_now().await;
    }
    match writer.end().await {
        Err(cause) if cause.kind() == ErrorKind::Fenced => Ok(()),
        ended => ended,
    }
}

/// Forgets every second snapshot it sees, again and again; fences a few times.
async fn prune(backend: &Arc<dyn Backend>, ledger: &Ledger, over: &AtomicBool) -> u64 {
    let store = open(backend).await;
    let mut deleted = 0;
    let mut turn = 0u32;
    loop {
        let last = over.load(Ordering::SeqCst);
        let mut options = PruneOptions::new();
        let listing = store.snapshots().await.unwrap();
        options.forget = listing.iter().map(|entry| entry.id).step_by(2).collect();
        if last || (turn % 2 == 1 && turn < FENCING_TURNS) {
            options.fencing = Fencing::All;
        }
        ledger.forgotten.lock().unwrap().extend(&options.forget);
        let report = store.prune(&options, &|_| {}).await.unwrap();
        deleted += report.deleted.packs;
        turn += 1;
        if last {
            return deleted;
        }
        tokio::task::yield_now().await;
    }
}

/// Whatever the backend: everything that was published and not forgotten is there, and whole.
async fn nothing_is_lost(backend: Arc<dyn Backend>) {
    create(Arc::clone(&backend)).await;
    let (ledger, over) = (Ledger::default(), AtomicBool::new(false));
    let directory = tempfile::tempdir().unwrap();
    let spools: Vec<_> = (0..WRITERS)
        .map(|n| directory.path().join(n.to_string()))
        .collect();
    let writers = async {
        let all = (0..)
            .zip(&spools)
            .map(|(number, spool)| write(&backend, number, spool, &ledger));
        for result in futures_util::future::join_all(all).await {
            result.unwrap();
        }
        over.store(true, Ordering::SeqCst);
    };
    let ((), deleted) = tokio::join!(writers, prune(&backend, &ledger, &over));
    let store = open(&backend).await;
    let found: BTreeSet<_> = store
        .snapshots()
        .await
        .unwrap()
        .iter()
        .map(|entry| entry.id)
        .collect();
    let published: BTreeSet<_> = ledger.published.lock().unwrap().clone();
    let forgotten = ledger.forgotten.lock().unwrap().clone();
    let fenced = *ledger.fenced.lock().unwrap();
    println!(
        "{} published, {} left, {deleted} packs deleted, {fenced} times fenced",
        published.len(),
        found.len()
    );
    assert_eq!(published.len(), usize::from(WRITERS * SNAPSHOTS));
    let kept = published.iter().filter(|id| !forgotten.contains(id));
    assert!(
        kept.clone().all(|id| found.contains(id)),
        "a published snapshot is gone"
    );
    assert!(deleted > 0, "something was to be deleted");
    let report = store.check(CheckDepth::AllData, &|_| {}).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[tokio::test]
async fn eight_writers_and_a_prune_lose_nothing_in_memory() {
    nothing_is_lost(Arc::new(MemoryBackend::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_and_a_prune_lose_nothing_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    nothing_is_lost(Arc::new(LocalBackend::create(directory.path()).unwrap())).await;
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
