//! The format is what FORMAT.md says: a reader written from it alone agrees with the crate, and the
//! published test vectors come out byte for byte.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod independent;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_store::catalog::{
    Container, ContainerKind, Findings, Item, ItemKey, ItemKind, ItemState, Outcome,
    Representation, RepresentationKind, ResourceId, RunNote, RunRecord, Totals,
};
use backup_store::fault::{FaultPlan, SeededEnvironment, SimulatedDisk};
use backup_store::{
    Backend, ContentClass, ContentRef, CreateOptions, InlineOffload, KdfParams, KeyFile,
    MemoryBackend, Passphrase, RecoveryCode, Rotation, RunId, SlotOptions, Store, StoreOptions,
    Timestamp, TreeRoot, Unlock, Writer, WriterOptions,
};
use common::{message, noise, resource, snapshot};
use independent::compare::{agree, objects_of};
use independent::{Objects, Reader, Secret};
use proptest::prelude::*;

const PASSPHRASE: &str = "correct horse battery staple";

fn environment(seed: u64) -> Arc<SeededEnvironment> {
    Arc::new(SeededEnvironment::new(seed))
}

fn code() -> RecoveryCode {
    RecoveryCode::generate(&SeededEnvironment::new(2)).unwrap()
}

fn key_file() -> KeyFile {
    KeyFile::generate(&SeededEnvironment::new(3)).unwrap()
}

fn cheap(label: &str) -> SlotOptions {
    let mut options = SlotOptions::labelled(label);
    options.kdf = KdfParams::minimum();
    options
}

/// Creates a store whose every byte depends on the seed alone.
async fn create(memory: &MemoryBackend, unlock: impl Into<Unlock>, seed: u64) -> Store {
    let backend: Arc<dyn Backend> = Arc::new(memory.clone());
    let options = StoreOptions {
        environment: environment(seed),
        offload: Arc::new(InlineOffload),
        cache_dir: None,
    };
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    let store = Store::create(Arc::clone(&backend), unlock, create, options)
        .await
        .unwrap();
    let disk = SimulatedDisk::new(FaultPlan::new());
    store
        .restart(backend, &disk, environment(seed + 1000))
        .await
        .unwrap()
}

async fn begin(store: &Store, run: u8) -> Writer {
    let options = WriterOptions {
        run: RunId::from_bytes([run; 16]),
        spool_dir: PathBuf::from("/spool"),
        adopts: Vec::new(),
    };
    store.begin(options).await.unwrap()
}

fn container(id: &str, properties: Option<ContentRef>) -> Container {
    Container {
        id: id.to_owned(),
        parent: (id != "inbox").then(|| "inbox".to_owned()),
        name: format!("Folder {id}"),
        kind: ContainerKind::MailFolder,
        well_known: (id == "inbox").then(|| "inbox".to_owned()),
        hidden: false,
        change_key: Some("7".to_owned()),
        created: Some(Timestamp::from_millis(-5)),
        modified: None,
        properties,
    }
}

fn item(container: &str, number: i64, state: ItemState, contents: Vec<ContentRef>) -> Item {
    let kinds = [RepresentationKind::Mime, RepresentationKind::GraphJson];
    let representations = kinds.into_iter().zip(contents);
    Item {
        key: ItemKey {
            container: container.to_owned(),
            created: Timestamp::from_millis(number - 3),
            id: format!("item {number}"),
        },
        kind: ItemKind::Message,
        name: format!("Nº {number}"),
        sender: Some("ada@contoso.example".to_owned()),
        recipients: vec!["bob@contoso.example".to_owned(); usize::try_from(number % 3).unwrap()],
        change_key: format!("key {number}"),
        content_key: None,
        size_bytes: 1000,
        modified: Some(Timestamp::from_millis(77)),
        draft: number == 1,
        state,
        representations: representations
            .map(|(kind, content)| Representation { kind, content })
            .collect(),
    }
}

fn note() -> RunNote {
    RunNote {
        first_seen: Timestamp::from_millis(99),
        tries: 3,
        content_assumed: true,
        route: "graph".to_owned(),
    }
}

/// The store of the test vectors: three recipients, two key epochs, one snapshot, a run record.
async fn vector_store() -> (MemoryBackend, Store) {
    let memory = MemoryBackend::new();
    let store = create(&memory, Passphrase::new(PASSPHRASE), 1).await;
    store.add_key(code(), cheap("safe")).await.unwrap();
    let gone = store.add_key(key_file(), cheap("gone")).await.unwrap();
    let rotation = Rotation {
        keep: vec![Passphrase::new(PASSPHRASE).into(), code().into()],
        add: vec![(key_file().into(), cheap("server"))],
        remove: vec![gone.recipient.unwrap()],
    };
    store.rotate_keys(rotation).await.unwrap();
    let writer = begin(&store, 1).await;
    let gatherer = writer.gather(&ResourceId::new("outlook:ada"));
    let properties = gatherer.put(ContentClass::Metadata, b"{\"displayName\":\"Inbox\"}");
    let properties = properties.await.unwrap();
    let attachment = noise(5000, 9);
    let mail = message(&[&attachment]);
    let mail = gatherer.put(ContentClass::Mail, &mail).await.unwrap();
    let json = br#"{"subject":"hello","subject2":"hello","subject3":"hello"}"#;
    let json = gatherer.put(ContentClass::Metadata, json).await.unwrap();
    let file = gatherer
        .put(ContentClass::Binary, &attachment)
        .await
        .unwrap();
    let empty = gatherer.put(ContentClass::Text, b"").await.unwrap();
    gatherer.commit().await.unwrap();
    let cause = "the service says no".to_owned();
    let items = [
        item("inbox", 1, ItemState::Stored, vec![mail, json]),
        item("inbox\0sub", 2, ItemState::Stored, vec![file, empty]),
        item(
            "inbox",
            3,
            ItemState::Skipped {
                reason: cause.clone(),
            },
            Vec::new(),
        ),
        item(
            "inbox",
            4,
            ItemState::Quarantined {
                representation: RepresentationKind::Mime,
                cause,
            },
            Vec::new(),
        ),
    ];
    let containers = [
        container("inbox", Some(properties)),
        container("inbox\0sub", None),
    ];
    publish(&writer, &containers, &items, 1).await;
    let run = RunRecord {
        run: RunId::from_bytes([1; 16]),
        set: "set".to_owned(),
        started: Timestamp::EPOCH,
        finished: Timestamp::from_millis(5),
        outcome: Outcome::CompleteWithQuarantine,
        totals: Totals::default(),
        snapshots: Vec::new(),
        unchanged: vec![ResourceId::new("outlook:bob")],
        failed: vec![(ResourceId::new("outlook:eve"), "no licence".to_owned())],
        drift: None,
        findings: Findings::default(),
    };
    writer.put_run(&run).await.unwrap();
    (memory, store)
}

async fn publish(writer: &Writer, containers: &[Container], items: &[Item], sequence: u64) {
    let mut snapshot = snapshot(writer, resource("ada"));
    let edits = containers
        .iter()
        .map(|one| (one.key().to_vec(), one.encode()));
    snapshot.containers = apply(writer, &snapshot.containers, edits).await;
    let edits = items.iter().map(|one| (one.key.encode(), one.encode()));
    snapshot.items = apply(writer, &snapshot.items, edits).await;
    let noted = items
        .iter()
        .filter(|one| one.key.created.as_millis() % 4 == 1);
    let edits = noted.map(|one| (one.key.encode(), note().encode()));
    snapshot.notes = apply(writer, &snapshot.notes, edits).await;
    snapshot.sequence = sequence;
    writer.publish(vec![snapshot]).await.unwrap();
}

async fn apply(
    writer: &Writer,
    root: &TreeRoot,
    records: impl Iterator<Item = (Vec<u8>, Vec<u8>)>,
) -> TreeRoot {
    let sorted: BTreeMap<_, _> = records.collect();
    let edits = sorted.into_iter().map(|(key, value)| (key, Some(value)));
    writer.apply(root, edits).await.unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap()
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn read_files(folder: &Path, prefix: &str, into: &mut Objects) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read_files(&entry.path(), &format!("{name}/"), into);
        } else {
            into.insert(name, fs::read(entry.path()).unwrap());
        }
    }
}

/// Says in text what a reader meets on the way from the passphrase to the contents.
fn described(objects: &Objects) -> String {
    let reader = Reader::open(objects, &Secret::Passphrase(PASSPHRASE.to_owned())).unwrap();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let keys = &reader.keys;
    let mut text = format!("passphrase: {PASSPHRASE}\n");
    writeln!(text, "recovery code: {}", code().to_text().as_str()).unwrap();
    writeln!(
        text,
        "key file: {}",
        key_file().to_text().lines().nth(1).unwrap()
    )
    .unwrap();
    for (name, value) in [
        ("store id", &keys.store[..]),
        ("recipient key of the passphrase", &keys.recipient_key),
        ("root 0", &keys.roots[0]),
        ("root 1", &keys.roots[1]),
        ("content key 1", &keys.content_key(1).unwrap()),
        ("catalog key 1", &keys.catalog_key(1).unwrap()),
        ("chunk-id key", &keys.chunk_id),
        ("chunker key", &keys.chunker),
        ("tree boundary key", &keys.boundary_key()),
        ("gear key", &keys.gear_key()),
    ] {
        writeln!(text, "{name}: {}", hex(value)).unwrap();
    }
    for (resource, snapshot) in reader.newest().unwrap() {
        writeln!(text, "snapshot {} of {resource}", hex(&snapshot.id)).unwrap();
        for (name, root) in [
            ("containers", &snapshot.containers),
            ("items", &snapshot.items),
            ("notes", &snapshot.notes),
        ] {
            writeln!(
                text,
                "  {name}: {} entries, node {}",
                root.entries,
                hex(&root.node)
            )
            .unwrap();
        }
        for container in reader.containers(&snapshot).unwrap() {
            writeln!(text, "  container {:?} {:?}", container.id, container.name).unwrap();
        }
        for item in reader.items(&snapshot).unwrap() {
            writeln!(
                text,
                "  item {:?} {:?} {:?}",
                item.container, item.id, item.name
            )
            .unwrap();
            for (kind, content) in &item.representations {
                let bytes = reader.content(content).unwrap();
                let plain = blake3::hash(&bytes).to_hex();
                writeln!(
                    text,
                    "    {kind}: {} bytes, unkeyed BLAKE3 {plain}",
                    bytes.len()
                )
                .unwrap();
                for chunk in &content.chunks {
                    writeln!(text, "      chunk {}", hex(chunk)).unwrap();
                }
            }
        }
    }
    text
}

#[test]
fn the_test_vectors_come_out_byte_for_byte() {
    let (memory, _) = runtime().block_on(vector_store());
    let made = runtime().block_on(objects_of(&memory));
    let mut published = Objects::new();
    read_files(&folder().join("store"), "", &mut published);
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        names(&made),
        names(&published),
        "the vectors must be made anew"
    );
    for (name, bytes) in &made {
        assert!(published[name] == *bytes, "object {name} has other bytes");
    }
    let expected = fs::read_to_string(folder().join("expected.txt")).unwrap();
    assert_eq!(described(&made), expected);
}

#[test]
#[ignore = "writes the test vectors anew: only when the format changes"]
fn regenerate_the_test_vectors() {
    let (memory, _) = runtime().block_on(vector_store());
    let made = runtime().block_on(objects_of(&memory));
    let store = folder().join("store");
    if store.exists() {
        fs::remove_dir_all(&store).unwrap();
    }
    for (name, bytes) in &made {
        let path = store.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(folder().join("expected.txt"), described(&made)).unwrap();
}

#[test]
fn the_published_store_opens_with_every_secret_in_both_ways() {
    let mut published = Objects::new();
    read_files(&folder().join("store"), "", &mut published);
    let memory = MemoryBackend::new();
    for (name, bytes) in &published {
        let name = backup_store::ObjectName::new(name.clone()).unwrap();
        memory.tamper(&name, Some(bytes.clone().into()));
    }
    let (code, file) = (code(), key_file());
    let secrets: [(Unlock, Secret); 3] = [
        (
            Passphrase::new(PASSPHRASE).into(),
            Secret::Passphrase(PASSPHRASE.to_owned()),
        ),
        (
            (&code).into(),
            Secret::RecoveryCode(code.to_text().to_string()),
        ),
        ((&file).into(), Secret::KeyFile(file.to_text().to_string())),
    ];
    for (unlock, secret) in secrets {
        let backend: Arc<dyn Backend> = Arc::new(memory.clone());
        let contents = runtime().block_on(async {
            let options = StoreOptions {
                offload: Arc::new(InlineOffload),
                ..StoreOptions::default()
            };
            let store = Store::open(backend, unlock, options).await.unwrap();
            agree(&store, &published, &secret).await
        });
        assert_eq!(contents, 5);
    }
}

/// What a random store is made of.
#[derive(Debug, Clone)]
struct Shape {
    seed: u64,
    /// For each run: items put (by number), bytes of each, and whether the root key changes after.
    runs: Vec<(Vec<u8>, usize, bool)>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let items = prop::collection::vec(any::<u8>(), 0..60);
    let run = (items, 0..20_000usize, any::<bool>());
    let runs = prop::collection::vec(run, 1..4);
    (any::<u64>(), runs).prop_map(|(seed, runs)| Shape {
        seed: seed / 2,
        runs,
    })
}

async fn random_store(shape: &Shape) -> (MemoryBackend, Store) {
    let memory = MemoryBackend::new();
    let store = create(&memory, key_file(), shape.seed).await;
    for (number, (numbers, length, rotate)) in (1u8..).zip(&shape.runs) {
        let writer = begin(&store, number).await;
        let gatherer = writer.gather(&ResourceId::new("outlook:ada"));
        let mut items = BTreeMap::new();
        for each in numbers {
            let bytes = noise(*length, each % 5);
            let bytes = if each % 2 == 0 {
                message(&[&bytes])
            } else {
                bytes
            };
            let content = gatherer.put(ContentClass::Mail, &bytes).await.unwrap();
            let mut item = item("inbox", i64::from(*each), ItemState::Stored, vec![content]);
            // Some records are long enough to fill nodes, some to lie outside of them.
            item.name = "name ".repeat(usize::from(*each) * 5);
            items.insert(item.key.encode(), item);
        }
        gatherer.commit().await.unwrap();
        let items: Vec<Item> = items.into_values().collect();
        publish(&writer, &[container("inbox", None)], &items, number.into()).await;
        writer.end().await.unwrap();
        if *rotate {
            let rotation = Rotation {
                keep: vec![key_file().into()],
                ..Rotation::default()
            };
            store.rotate_keys(rotation).await.unwrap();
        }
    }
    (memory, store)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn an_independent_reader_finds_what_the_crate_finds(shape in shape()) {
        runtime().block_on(async {
            let (memory, store) = random_store(&shape).await;
            let objects = objects_of(&memory).await;
            let secret = Secret::KeyFile(key_file().to_text().to_string());
            agree(&store, &objects, &secret).await;
            let reader = Reader::open(&objects, &secret).unwrap();
            assert_eq!(reader.check_segments(), Ok(0));
        });
    }
}

#[test]
fn a_large_file_and_many_items_are_read_alike() {
    let shape = Shape {
        seed: 5,
        runs: vec![((0..=255).collect(), 300, true)],
    };
    runtime().block_on(async {
        let (memory, store) = random_store(&shape).await;
        let writer = begin(&store, 9).await;
        let gatherer = writer.gather(&ResourceId::new("onedrive:ada"));
        let large = noise(3 << 20, 1);
        let large = gatherer.put(ContentClass::Binary, &large).await.unwrap();
        assert!(large.chunk_ids().count() > 1);
        gatherer.commit().await.unwrap();
        let items = [item("root", 1, ItemState::Stored, vec![large])];
        publish(&writer, &[container("root", None)], &items, 7).await;
        let objects = objects_of(&memory).await;
        let secret = Secret::KeyFile(key_file().to_text().to_string());
        assert_eq!(agree(&store, &objects, &secret).await, 257);
        let reader = Reader::open(&objects, &secret).unwrap();
        let levels: Vec<u8> = reader
            .snapshots()
            .unwrap()
            .iter()
            .map(|one| one.items.level)
            .collect();
        assert!(
            levels.iter().any(|level| *level > 0),
            "no tree had more than a leaf: {levels:?}"
        );
    });
}
