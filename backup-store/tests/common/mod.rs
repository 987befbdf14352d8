//! What the tests of the store share: a store in memory, and things to put into it.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own share"
)]

use std::path::PathBuf;
use std::sync::Arc;

use backup_store::catalog::{
    Item, ItemKey, ItemKind, ItemState, Outcome, Representation, RepresentationKind, Resource,
    ResourceId, ResourceKind, Service, Snapshot, Totals,
};
use backup_store::{
    Backend, ContentClass, ContentRef, CreateOptions, KdfParams, LeaseId, MemoryBackend,
    Passphrase, Result, RunId, SnapshotId, Store, StoreOptions, Timestamp, Writer, WriterOptions,
};

/// A store in memory with a spool directory on disk.
pub struct World {
    pub memory: MemoryBackend,
    pub store: Store,
    pub directory: tempfile::TempDir,
}

pub fn passphrase() -> Passphrase {
    Passphrase::new("correct horse")
}

fn create_options() -> CreateOptions {
    let mut options = CreateOptions::default();
    options.kdf = KdfParams::minimum();
    options
}

impl World {
    pub async fn new() -> Self {
        Self::with(StoreOptions::default()).await
    }

    pub async fn with(options: StoreOptions) -> Self {
        let memory = MemoryBackend::new();
        let backend: Arc<dyn Backend> = Arc::new(memory.clone());
        let store = Store::create(backend, &passphrase(), create_options(), options)
            .await
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        Self {
            memory,
            store,
            directory,
        }
    }

    /// A copy of the store as it is now, with a spool directory of its own.
    pub async fn copy(&self) -> Self {
        let memory = MemoryBackend::new();
        for info in self.memory.list("").await.unwrap() {
            let bytes = self.memory.get(&info.name, None).await.unwrap();
            memory.put_new(&info.name, bytes).await.unwrap();
        }
        let backend: Arc<dyn Backend> = Arc::new(memory.clone());
        let store = Store::open(backend, &passphrase(), StoreOptions::default())
            .await
            .unwrap();
        Self {
            memory,
            store,
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::new(self.memory.clone())
    }

    pub fn spool(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    pub async fn create_again(&self) -> Result<Store> {
        let options = StoreOptions::default();
        Store::create(self.backend(), &passphrase(), create_options(), options).await
    }

    pub async fn reopen(&self) -> Store {
        self.try_reopen().await.unwrap()
    }

    pub async fn try_reopen(&self) -> Result<Store> {
        Store::open(self.backend(), &passphrase(), StoreOptions::default()).await
    }

    pub async fn begin(&self) -> Writer {
        self.begin_adopting(Vec::new()).await
    }

    pub async fn begin_adopting(&self, adopts: Vec<LeaseId>) -> Writer {
        self.store.begin(self.options(adopts)).await.unwrap()
    }

    pub fn options(&self, adopts: Vec<LeaseId>) -> WriterOptions {
        WriterOptions {
            run: RunId::from_bytes([1; 16]),
            spool_dir: self.spool(),
            adopts,
        }
    }

    pub async fn stored_bytes(&self, prefix: &str) -> u64 {
        let listed = self.memory.list(prefix).await.unwrap();
        listed.iter().map(|info| info.size).sum()
    }
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new_keyed(&[seed; 32])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// A message with these attachments, in lines of base64 as mail programs write them.
pub fn message(attachments: &[&[u8]]) -> Vec<u8> {
    let mut message = b"From: a@contoso.example\r\nSubject: Minutes\r\n\r\nSee below.\r\n".to_vec();
    for attachment in attachments {
        message.extend_from_slice(b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n");
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, attachment);
        for line in text.as_bytes().chunks(76) {
            message.extend_from_slice(line);
            message.extend_from_slice(b"\r\n");
        }
    }
    message.extend_from_slice(b"--b--\r\n");
    message
}

pub fn resource(owner: &str) -> Resource {
    Resource {
        id: ResourceId::new(format!("outlook:{owner}")),
        service: Service::Outlook,
        kind: ResourceKind::UserMailbox,
        owner: format!("{owner}@contoso.example"),
        owner_id: owner.to_owned(),
        service_id: owner.to_owned(),
        name: owner.to_owned(),
    }
}

pub fn snapshot(writer: &Writer, resource: Resource) -> Snapshot {
    Snapshot {
        resource,
        set: "set".to_owned(),
        run: RunId::from_bytes([1; 16]),
        outcome: Outcome::Complete,
        token: writer.claim_token(),
        sequence: 1,
        parent: None,
        parent_hash: None,
        started: Timestamp::EPOCH,
        finished: Timestamp::EPOCH,
        containers: writer.empty_tree(),
        items: writer.empty_tree(),
        notes: writer.empty_tree(),
        enumerations: Vec::new(),
        cursors: Vec::new(),
        totals: Totals::default(),
        routes: Vec::new(),
        journal_sequence: 0,
    }
}

/// Publishes a snapshot of one resource that holds these contents, on top of nothing.
pub async fn published(writer: &Writer, owner: &str, contents: &[Vec<u8>]) -> Result<SnapshotId> {
    let snapshot = gathered(writer, owner, contents).await?;
    Ok(writer.publish(vec![snapshot]).await?[0])
}

/// Makes such a snapshot.
pub async fn gathered(writer: &Writer, owner: &str, contents: &[Vec<u8>]) -> Result<Snapshot> {
    let resource = resource(owner);
    let gatherer = writer.gather(&resource.id);
    let mut edits = Vec::new();
    for (number, bytes) in contents.iter().enumerate() {
        let content = gatherer.put(ContentClass::Binary, bytes).await?;
        let item = item(number, content, bytes.len());
        edits.push((item.key.encode(), Some(item.encode())));
    }
    gatherer.commit().await?;
    edits.sort();
    let mut snapshot = snapshot(writer, resource);
    snapshot.items = writer.apply(&writer.empty_tree(), edits).await?;
    Ok(snapshot)
}

fn item(number: usize, content: ContentRef, size: usize) -> Item {
    Item {
        key: ItemKey {
            container: "inbox".to_owned(),
            created: Timestamp::EPOCH,
            id: format!("item {number}"),
        },
        kind: ItemKind::File,
        name: format!("file {number}"),
        sender: None,
        recipients: Vec::new(),
        change_key: "1".to_owned(),
        content_key: None,
        size_bytes: size as u64,
        modified: None,
        draft: false,
        state: ItemState::Stored,
        representations: vec![Representation {
            kind: RepresentationKind::Content,
            content,
        }],
    }
}
