//! Eight writers and a prune at once, without a lock, over any backend: nothing is lost.
//!
//! The tests play it in memory and in a directory, `examples/try_backend.rs` on real servers.
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::future_not_send,
    reason = "tests, and an example for tests"
)]

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use backup_store::{
    Backend, CheckDepth, CreateOptions, ErrorKind, Fencing, KdfParams, PruneOptions, Result, RunId,
    SnapshotId, Store, StoreOptions, WriterOptions,
};

use crate::common::{noise, passphrase, published};

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

pub async fn create(backend: Arc<dyn Backend>) {
    let mut options = CreateOptions::default();
    options.kdf = KdfParams::minimum();
    Store::create(backend, &passphrase(), options, StoreOptions::default())
        .await
        .unwrap();
}

pub async fn open(backend: &Arc<dyn Backend>) -> Store {
    let options = StoreOptions::default();
    Store::open(Arc::clone(backend), &passphrase(), options)
        .await
        .unwrap()
}

pub fn options(spool: &Path) -> WriterOptions {
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
        options.sole_pruner = true;
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

/// What came of it.
#[derive(Debug)]
pub struct Figures {
    published: usize,
    left: usize,
    deleted: u64,
    fenced: u32,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{WRITERS} writers and a prune: {} published, {} left and whole, {} packs deleted, {} \
             times fenced",
            self.published, self.left, self.deleted, self.fenced
        )
    }
}

/// Whatever the backend: everything that was published and not forgotten is there, and whole.
pub async fn nothing_is_lost(backend: Arc<dyn Backend>) -> Figures {
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
    assert_eq!(published.len(), usize::from(WRITERS * SNAPSHOTS));
    let kept = published.iter().filter(|id| !forgotten.contains(id));
    assert!(
        kept.clone().all(|id| found.contains(id)),
        "a published snapshot is gone"
    );
    assert!(deleted > 0, "something was to be deleted");
    let report = store.check(CheckDepth::AllData, &|_| {}).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    Figures {
        published: published.len(),
        left: found.len(),
        deleted,
        fenced,
    }
}
