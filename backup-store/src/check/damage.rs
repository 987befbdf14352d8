//! Damage: stored objects flipped, cut, deleted and swapped. A check reports it, or nothing that
//! can be reached depended on it; and what is read is what was written, or an error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::*;
use crate::catalog::samples::{container, item, resource};
use crate::catalog::{
    Browse, Item, ItemState, Outcome, Representation, RepresentationKind, RunRecord, Snapshot,
    Totals,
};
use crate::{
    Backend, ContentClass, CreateOptions, Environment, InlineOffload, KdfParams, MemoryBackend,
    ObjectName, Passphrase, RunId, SnapshotId, StoreOptions, Timestamp, Writer, WriterOptions,
};

const PASSPHRASE: &str = "correct horse";

/// Numbers that depend on a seed alone.
#[derive(Debug)]
struct Dice(blake3::OutputReader);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(
            blake3::Hasher::new()
                .update(&seed.to_le_bytes())
                .finalize_xof(),
        )
    }

    fn below(&mut self, limit: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        let number = u64::from_le_bytes(bytes) % limit as u64;
        usize::try_from(number).unwrap()
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
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

fn options() -> StoreOptions {
    StoreOptions {
        environment: Arc::new(Mutex::new(Dice::new(2))),
        offload: Arc::new(InlineOffload),
        cache_dir: None,
    }
}

async fn open(backend: &MemoryBackend) -> Result<Store> {
    let backend: Arc<dyn Backend> = Arc::new(backend.clone());
    Store::open(backend, &Passphrase::new(PASSPHRASE), options()).await
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(work)
}

/// Everything that a reader can see: snapshots, records, and the bytes of contents.
type Contents = BTreeMap<String, Vec<u8>>;

struct Sample {
    objects: Vec<(ObjectName, Bytes)>,
    contents: Contents,
}

impl Sample {
    fn backend(&self) -> MemoryBackend {
        let backend = MemoryBackend::new();
        for (name, bytes) in &self.objects {
            backend.tamper(name, Some(bytes.clone()));
        }
        backend
    }

    fn sole(&self, prefix: &str, at: usize) -> ObjectName {
        let mut names = self.objects.iter().map(|(name, _)| name);
        let found = names
            .by_ref()
            .filter(|name| name.as_str().starts_with(prefix))
            .nth(at);
        found.unwrap().clone()
    }
}

/// Writes two runs over two mailboxes, each run under a lease of its own.
async fn sample() -> Sample {
    let backend = MemoryBackend::new();
    let create = CreateOptions {
        kdf: KdfParams::minimum(),
    };
    let shared: Arc<dyn Backend> = Arc::new(backend.clone());
    let passphrase = Passphrase::new(PASSPHRASE);
    let store = Store::create(shared, &passphrase, create, options())
        .await
        .unwrap();
    let spool = tempfile::tempdir().unwrap();
    let mut dice = Dice::new(1);
    let mut parents: BTreeMap<&str, (SnapshotId, Snapshot)> = BTreeMap::new();
    for round in 1..=2u8 {
        let run = RunId::from_bytes([round; 16]);
        let spool_dir = spool.path().to_owned();
        let options = WriterOptions {
            run,
            spool_dir,
            adopts: Vec::new(),
        };
        let writer = store.begin(options).await.unwrap();
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
    Sample { objects, contents }
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
        let length = if number == 0 {
            300_000
        } else {
            500 + dice.below(9_000)
        };
        let bytes = dice.bytes(length);
        let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
        let id = format!("{}-{number}", run.as_bytes()[0]);
        let mut item = item("inbox", number, &id, &format!("Message {number}"));
        item.size_bytes = content.length;
        item.representations = vec![Representation {
            kind: RepresentationKind::Mime,
            content,
        }];
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
async fn read_all(store: &Store, trouble: &mut Vec<String>) -> Contents {
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
    assert_eq!(item.state, ItemState::Stored);
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

async fn check(store: &Store, depth: CheckDepth) -> CheckReport {
    store.check(depth, &|_| {}).await.unwrap()
}

#[test]
fn whole_store_is_clean_and_counted() {
    run(async {
        let sample = sample().await;
        let store = open(&sample.backend()).await.unwrap();
        for depth in [CheckDepth::Structure, CheckDepth::AllData] {
            let report = check(&store, depth).await;
            assert!(report.is_clean(), "{depth:?}: {:?}", report.problems);
            assert_eq!(report.snapshots, 4);
            // Each tree is one leaf, so that the second run has a leaf of its own.
            assert_eq!(report.items, 2 * (12 + 24));
            assert!(report.bytes > 1_200_000, "{report:?}");
        }
    });
}

/// One way to damage a store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Damage {
    Flip(ObjectName, usize),
    Cut(ObjectName, usize),
    Delete(ObjectName),
    Swap(ObjectName, ObjectName),
}

impl Damage {
    fn draw(sample: &Sample, dice: &mut Dice) -> Self {
        let objects = &sample.objects;
        let (name, bytes) = &objects[dice.below(objects.len())];
        match dice.below(8) {
            0 => Self::Delete(name.clone()),
            1 => Self::Cut(name.clone(), dice.below(bytes.len())),
            2 => Self::Swap(name.clone(), objects[dice.below(objects.len())].0.clone()),
            _ => Self::Flip(name.clone(), dice.below(bytes.len() * 8)),
        }
    }

    fn apply(&self, sample: &Sample, backend: &MemoryBackend) {
        let bytes = |wanted: &ObjectName| {
            let found = sample.objects.iter().find(|(name, _)| name == wanted);
            found.unwrap().1.clone()
        };
        match self {
            Self::Delete(name) => backend.tamper(name, None),
            Self::Cut(name, at) => backend.tamper(name, Some(bytes(name).slice(..*at))),
            Self::Flip(name, bit) => {
                let mut damaged = bytes(name).to_vec();
                damaged[bit / 8] ^= 1 << (bit % 8);
                backend.tamper(name, Some(damaged.into()));
            }
            Self::Swap(a, b) => {
                backend.tamper(a, Some(bytes(b)));
                backend.tamper(b, Some(bytes(a)));
            }
        }
    }
}

/// What came of a damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The store said so when it was opened.
    Refused,
    /// The check said so.
    Reported,
    /// Nothing that can be reached depended on it.
    Harmless,
}

async fn judge(sample: &Sample, damage: &Damage) -> Verdict {
    let backend = sample.backend();
    damage.apply(sample, &backend);
    let Ok(store) = open(&backend).await else {
        return Verdict::Refused;
    };
    let mut trouble = Vec::new();
    let contents = read_all(&store, &mut trouble).await;
    for (name, bytes) in &contents {
        assert_eq!(
            Some(bytes),
            sample.contents.get(name),
            "{damage:?} changed {name}"
        );
    }
    let harmed = contents.len() < sample.contents.len() || !trouble.is_empty();
    let structure = check(&store, CheckDepth::Structure).await;
    let all = check(&store, CheckDepth::AllData).await;
    assert!(
        !harmed || !all.is_clean(),
        "{damage:?} is not reported: {trouble:?}"
    );
    let named = structure.problems.iter().all(|problem| {
        all.problems
            .iter()
            .any(|other| other.object == problem.object)
    });
    assert!(
        named,
        "{damage:?}: {:?} but {:?}",
        structure.problems, all.problems
    );
    if all.is_clean() {
        Verdict::Harmless
    } else {
        Verdict::Reported
    }
}

#[test]
fn every_damage_is_reported_or_harmless() {
    const CASES: u64 = 240;
    run(async {
        let sample = sample().await;
        let mut verdicts = Vec::new();
        for seed in 0..CASES {
            let damage = Damage::draw(&sample, &mut Dice::new(seed));
            let verdict = judge(&sample, &damage).await;
            if verdict == Verdict::Harmless {
                println!("harmless: {damage:?}");
            }
            verdicts.push(verdict);
        }
        let count = |wanted| {
            verdicts
                .iter()
                .filter(|verdict| **verdict == wanted)
                .count()
        };
        let (refused, reported) = (count(Verdict::Refused), count(Verdict::Reported));
        println!("{CASES} damages: {refused} refused, {reported} reported");
        assert!(
            refused > 0 && reported >= 100,
            "{refused} refused, {reported} reported"
        );
    });
}

#[test]
fn lost_pack_is_reported_with_the_items_that_need_it() {
    run(async {
        let sample = sample().await;
        let mut named = 0;
        let packs = sample
            .objects
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("packs/"));
        for (name, _) in packs {
            let backend = sample.backend();
            backend.tamper(name, None);
            let store = open(&backend).await.unwrap();
            let report = check(&store, CheckDepth::Structure).await;
            let dependents: Vec<_> = report
                .problems
                .iter()
                .flat_map(|problem| &problem.dependents)
                .collect();
            assert!(!dependents.is_empty(), "{name}: {:?}", report.problems);
            named += dependents
                .iter()
                .filter(|dependent| dependent.item.is_some())
                .count();
        }
        assert!(named > 0, "no item was named");
    });
}

#[test]
fn lost_slot_is_reported() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        backend.tamper(&sample.sole("snaps/", 0), None);
        let store = open(&backend).await.unwrap();
        let report = check(&store, CheckDepth::Structure).await;
        let objects: Vec<_> = report
            .problems
            .iter()
            .map(|each| each.object.as_str())
            .collect();
        assert!(
            objects.iter().any(|object| object.starts_with("lease ")),
            "{objects:?}"
        );
        assert!(
            objects.iter().any(|object| object.starts_with("snapshot ")),
            "{objects:?}"
        );
    });
}

#[test]
fn counts_that_do_not_add_up_are_reported() {
    run(async {
        let sample = sample().await;
        let store = open(&sample.backend()).await.unwrap();
        let mut snapshot = store.snapshots().await.unwrap().remove(0).snapshot;
        snapshot.totals.seen += 1;
        let spool = tempfile::tempdir().unwrap();
        let run = RunId::from_bytes([9; 16]);
        let spool_dir = spool.path().to_owned();
        let options = WriterOptions {
            run,
            spool_dir,
            adopts: Vec::new(),
        };
        let writer = store.begin(options).await.unwrap();
        let id = writer.publish(vec![snapshot]).await.unwrap()[0];
        let report = check(&store, CheckDepth::Structure).await;
        let [problem] = &report.problems[..] else {
            panic!("{:?}", report.problems);
        };
        assert_eq!(
            problem.to_string(),
            format!("snapshot {id}: its totals do not add up")
        );
        assert_eq!(problem.dependents[0].snapshot, id);
    });
}
