//! A small store for tests: two mailboxes, two runs, and a reader of everything that is in them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::catalog::samples::{container, item, resource};
use crate::catalog::{
    Browse, Findings, Item, ItemState, Outcome, Representation, RepresentationKind, RunRecord,
    Snapshot, Totals,
};
use crate::{
    Backend, ContentClass, CreateOptions, Environment, InlineOffload, KdfParams, MemoryBackend,
    ObjectName, Passphrase, Result, RunId, SnapshotId, Store, StoreOptions, Timestamp, Writer,
    WriterOptions,
};

pub(crate) const PASSPHRASE: &str = "correct horse";

/// Numbers that depend on a seed alone.
#[derive(Debug)]
pub(crate) struct Dice(blake3::OutputReader);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(
            blake3::Hasher::new()
                .update(&seed.to_le_bytes())
                .finalize_xof(),
        )
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        let number = u64::from_le_bytes(bytes) % limit as u64;
        usize::try_from(number).unwrap()
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// Ids and salts depend on a seed too, so that a case is the same every time.
impl Environment for Mutex<Dice> {
    fn now(&self) -> Timestamp {
        Timestamp::EPOCH
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        self.lock().unwrap().0.fill(bytes);
        Ok(())
    }
}

pub(crate) fn options() -> StoreOptions {
    StoreOptions {
        environment: Arc::new(Mutex::new(Dice::new(2))),
        offload: Arc::new(InlineOffload),
        cache_dir: None,
    }
}

pub(crate) async fn open(backend: &MemoryBackend) -> Result<Store> {
    let backend: Arc<dyn Backend> = Arc::new(backend.clone());
    Store::open(backend, &Passphrase::new(PASSPHRASE), options()).await
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// Everything that a reader can see: snapshots, records, and the bytes of contents.
pub(crate) type Contents = BTreeMap<String, Vec<u8>>;

pub(crate) struct Sample {
    pub(crate) objects: Vec<(ObjectName, Bytes)>,
    pub(crate) contents: Contents,
    /// Opened once: other places of the same store are opened with its keys.
    pub(crate) store: Store,
}

impl Sample {
    pub(crate) fn backend(&self) -> MemoryBackend {
        let backend = MemoryBackend::new();
        for (name, bytes) in &self.objects {
            backend.tamper(name, Some(bytes.clone()));
        }
        backend
    }

    /// Opens a place that holds this store, with the keys at hand and cold caches.
    pub(crate) async fn reopen(&self, backend: &MemoryBackend, seed: u64) -> Result<Store> {
        let options = StoreOptions {
            environment: Arc::new(Mutex::new(Dice::new(seed))),
            ..options()
        };
        let backend: Arc<dyn Backend> = Arc::new(backend.clone());
        self.store.reopen_at(backend, options).await
    }

    pub(crate) fn sole(&self, prefix: &str, at: usize) -> ObjectName {
        let mut names = self.objects.iter().map(|(name, _)| name);
        let found = names
            .by_ref()
            .filter(|name| name.as_str().starts_with(prefix))
            .nth(at);
        found.unwrap().clone()
    }
}

/// Writes two runs over two mailboxes, each run under a lease of its own.
pub(crate) async fn sample() -> Sample {
    sample_of(1).await
}

/// Writes another such store for every seed.
pub(crate) async fn sample_of(seed: u64) -> Sample {
    let backend = MemoryBackend::new();
    let options = || StoreOptions {
        environment: Arc::new(Mutex::new(Dice::new(1_000 + seed))),
        ..options()
    };
    let create = CreateOptions {
        kdf: KdfParams::minimum(),
    };
    let shared: Arc<dyn Backend> = Arc::new(backend.clone());
    let passphrase = Passphrase::new(PASSPHRASE);
    let store = Store::create(shared, &passphrase, create, options())
        .await
        .unwrap();
    let spool = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(seed);
    let mut parents: BTreeMap<&str, (SnapshotId, Snapshot)> = BTreeMap::new();
    for round in 1..=2u8 {
        let run = RunId::from_bytes([round; 16]);
        let writer = store
            .begin(writer_options(spool.path(), run))
            .await
            .unwrap();
        let mut published = Vec::new();
        for owner in ["alex", "dana"] {
            let snapshot = backup(&writer, run, owner, parents.get(owner), &mut dice).await;
            let id = writer.publish(vec![snapshot.clone()]).await.unwrap()[0];
            parents.insert(owner, (id, snapshot));
            published.push(id);
        }
        writer.put_run(&run_record(run, published)).await.unwrap();
        writer.end().await.unwrap();
    }
    let mut objects = Vec::new();
    for info in backend.list("").await.unwrap() {
        let bytes = backend.get(&info.name, None).await.unwrap();
        objects.push((info.name, bytes));
    }
    let mut trouble = Vec::new();
    let contents = read_all(&open(&backend).await.unwrap(), &mut trouble).await;
    assert!(trouble.is_empty(), "{trouble:?}");
    Sample {
        objects,
        contents,
        store,
    }
}

/// What a writer of a test needs.
pub(crate) fn writer_options(spool_dir: &std::path::Path, run: RunId) -> WriterOptions {
    WriterOptions {
        run,
        spool_dir: spool_dir.to_owned(),
        adopts: Vec::new(),
    }
}

fn run_record(run: RunId, snapshots: Vec<SnapshotId>) -> RunRecord {
    RunRecord {
        run,
        set: "nightly".to_owned(),
        started: Timestamp::EPOCH,
        finished: Timestamp::EPOCH,
        outcome: Outcome::Complete,
        totals: Totals::default(),
        snapshots,
        unchanged: Vec::new(),
        failed: Vec::new(),
        drift: None,
        findings: Findings::default(),
    }
}

/// Adds some messages and a large file to what the parent holds.
async fn backup(
    writer: &Writer,
    run: RunId,
    owner: &str,
    parent: Option<&(SnapshotId, Snapshot)>,
    dice: &mut Dice,
) -> Snapshot {
    let resource = resource(owner);
    let gatherer = writer.gather(&resource.id);
    let mut edits = Vec::new();
    for number in 0..12 {
        let length = if number == 0 && owner == "alex" {
            300_000
        } else {
            500 + dice.below(9_000)
        };
        let bytes = dice.bytes(length);
        let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
        let id = format!("{}-{number}", run.as_bytes()[0]);
        let mut item = item("inbox", number, &id, &format!("Message {number}"));
        item.size_bytes = content.length;
        let properties = format!("{{\"id\":\"{id}\"}}");
        let properties = gatherer.put(ContentClass::Metadata, properties.as_bytes());
        item.representations = vec![
            Representation {
                kind: RepresentationKind::GraphJson,
                content: properties.await.unwrap(),
            },
            Representation {
                kind: RepresentationKind::Mime,
                content,
            },
        ];
        // Some records are too long to stand in a node.
        item.recipients = vec!["x".repeat(if number == 5 { 6_000 } else { 10 })];
        edits.push((item.key.encode(), Some(item.encode())));
    }
    let mut inbox = container("inbox", None, "Inbox");
    let json = gatherer
        .put(ContentClass::Metadata, owner.as_bytes())
        .await
        .unwrap();
    inbox.properties = Some(json);
    gatherer.commit().await.unwrap();
    edits.sort();
    let empty = writer.empty_tree();
    let before = parent.map_or(empty, |(_, snapshot)| snapshot.items);
    let items = writer.apply(&before, edits).await.unwrap();
    let inbox = vec![(inbox.key(), Some(inbox.encode()))];
    let containers = writer.apply(&empty, inbox).await.unwrap();
    Snapshot {
        resource,
        set: "nightly".to_owned(),
        run,
        outcome: Outcome::Complete,
        token: writer.claim_token(),
        sequence: 1,
        parent: parent.map(|(id, _)| *id),
        parent_hash: None,
        started: Timestamp::EPOCH,
        finished: Timestamp::EPOCH,
        containers,
        items,
        notes: empty,
        enumerations: Vec::new(),
        cursors: Vec::new(),
        totals: Totals {
            seen: 12,
            stored: 12,
            ..Totals::default()
        },
        routes: Vec::new(),
        journal_sequence: 0,
    }
}

/// Reads everything that can be read, and notes what cannot.
pub(crate) async fn read_all(store: &Store, trouble: &mut Vec<String>) -> Contents {
    let mut contents = Contents::new();
    let listing = match store.snapshot_listing().await {
        Ok(listing) => listing,
        Err(cause) => {
            trouble.push(cause.to_string());
            return contents;
        }
    };
    trouble.extend(listing.damaged.iter().map(|(_, cause)| cause.to_string()));
    for entry in listing.snapshots {
        let id = entry.id;
        contents.insert(format!("{id}"), entry.snapshot.encode());
        let browse = Browse::new(store, &entry.snapshot);
        match browse.containers().await {
            Ok(containers) => {
                for each in containers {
                    contents.insert(format!("{id}/{}", each.id), each.encode());
                }
            }
            Err(cause) => trouble.push(cause.to_string()),
        }
        let mut items = browse.items();
        while let Some(item) = items.next().await {
            match item {
                Ok(item) => read_item(store, id, &item, &mut contents, trouble).await,
                Err(cause) => trouble.push(cause.to_string()),
            }
        }
    }
    contents
}

async fn read_item(
    store: &Store,
    snapshot: SnapshotId,
    item: &Item,
    contents: &mut Contents,
    trouble: &mut Vec<String>,
) {
    if item.state != ItemState::Stored {
        return; // In quarantine: what is left of it is not what it was.
    }
    let name = format!("{snapshot}/{}/{}", item.key.container, item.key.id);
    contents.insert(name.clone(), item.encode());
    for each in &item.representations {
        match store.open_content(&each.content).collect(1 << 20).await {
            Ok(bytes) => {
                contents.insert(format!("{name}/{}", each.kind), bytes);
            }
            Err(cause) => trouble.push(cause.to_string()),
        }
    }
}
