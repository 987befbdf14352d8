//! Measures the index and the item tree at scale:
//!
//! ```text
//! cargo run --release -p backup-store --features internals --example scale -- index [CHUNKS [DIR]]
//! cargo run --release -p backup-store --features internals --example scale -- tree [ITEMS [DIR]]
//! cargo run --release -p backup-store --features internals --example scale -- prune [CHUNKS [DIR]]
//! cargo run --release -p backup-store --features internals --example scale -- files [FILES [DIR]]
//! ```
//!
//! All default to 10 million, files to one million. It says first what disk it needs, and begins
//! only if `DIR` (by default a new temporary directory) is writable. `index 100000000` is the long
//! form.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_wrap,
    reason = "an example that prints what it measured"
)]

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use backup_store::catalog::{
    Item, ItemKey, ItemKind, ItemState, Resource, ResourceId, ResourceKind, Service, Snapshot,
    Totals,
};
use backup_store::tree::{
    BoundaryKey, Builder, Differences, Edit, NodeSource, NodeStore, Scan, apply, get,
};
use backup_store::{
    ChunkId, CreateOptions, Environment, ErrorKind, KdfParams, LocalBackend, Passphrase, RunId,
    Store, StoreOptions, SystemEnvironment, Timestamp, TreeRoot, Writer, WriterOptions,
};
use bytes::Bytes;
use tokio::time::Instant;

#[path = "scale/files.rs"]
mod files;
#[path = "scale/index.rs"]
mod index;
#[path = "scale/prune.rs"]
mod prune;

type Outcome<T> = Result<T, Box<dyn Error>>;

const LOOKUPS: u64 = 20_000;

fn main() -> Outcome<()> {
    // The system's allocator keeps what was freed, thread by thread: few threads, little memory.
    let threads = std::thread::available_parallelism()?.get();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.max_blocking_threads(threads + 1);
    let arguments = std::env::args().skip(1).collect();
    runtime.enable_all().build()?.block_on(run(arguments))
}

async fn run(arguments: Vec<String>) -> Outcome<()> {
    let mut arguments = arguments.into_iter();
    let what = arguments.next().unwrap_or_else(|| "index".to_owned());
    let usual = match what.as_str() {
        "files" => 1_000_000,
        _ => 10_000_000,
    };
    let count = arguments.next().map_or(Ok(usual), |text| text.parse())?;
    let kept = arguments.next().map(PathBuf::from);
    let temporary = tempfile::tempdir()?;
    let directory = kept.unwrap_or_else(|| temporary.path().to_owned());
    match what.as_str() {
        "index" => index::index(count, &directory).await,
        "look-up" => {
            let cache = arguments.next().unwrap_or_else(|| "cache".to_owned());
            index::look_up_in(count, &directory, &cache).await
        }
        "tree" => tree(count, &directory).await,
        "prune" => prune::prune(count, &directory).await,
        "prune-built" => prune::prune_built(&directory).await,
        "files" => files::files(count, &directory).await,
        other => Err(format!("{other}: neither index, tree, prune nor files").into()),
    }
}

/// Creates a store in a directory, with a cache beside it.
async fn create(directory: &Path) -> Outcome<(Store, Arc<LocalBackend>, StoreOptions)> {
    let backend = Arc::new(LocalBackend::create(directory.join("store"))?);
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    let options = StoreOptions {
        cache_dir: Some(directory.join("cache")),
        ..StoreOptions::default()
    };
    let store = Store::create(backend.clone(), &passphrase(), create, options.clone()).await?;
    Ok((store, backend, options))
}

fn passphrase() -> Passphrase {
    Passphrase::new("not a secret")
}

async fn writer(store: &Store, directory: &Path) -> Outcome<Writer> {
    let options = WriterOptions {
        run: RunId::random(&SystemEnvironment)?,
        spool_dir: directory.join("spool"),
        adopts: Vec::new(),
    };
    Ok(store.begin(options).await?)
}

/// Does a part in a process of its own, so that its memory is its own.
fn alone(part: &str, count: u64, directory: &Path, more: Option<&str>) -> Outcome<()> {
    let mut process = Command::new(std::env::current_exe()?);
    process.args([part, &count.to_string()]).arg(directory);
    match process.args(more).status()?.success() {
        true => Ok(()),
        false => Err(format!("{part} failed").into()),
    }
}

/// A snapshot of a resource with these items.
fn snapshot(writer: &Writer, resource: &str, items: TreeRoot) -> Snapshot {
    let now = SystemEnvironment.now();
    let empty = writer.empty_tree();
    Snapshot {
        resource: Resource {
            id: ResourceId::new(resource),
            service: Service::from("bench"),
            kind: ResourceKind::from("bench"),
            owner: String::new(),
            owner_id: String::new(),
            service_id: resource.to_owned(),
            name: resource.to_owned(),
        },
        set: "bench".to_owned(),
        run: RunId::from_bytes([1; 16]),
        outcome: backup_store::catalog::Outcome::Complete,
        token: writer.claim_token(),
        sequence: 1,
        parent: None,
        parent_hash: None,
        started: now,
        finished: now,
        containers: empty,
        items,
        notes: empty,
        enumerations: Vec::new(),
        cursors: Vec::new(),
        totals: Totals::default(),
        routes: Vec::new(),
        journal_sequence: 0,
    }
}

/// Lets the peak of resident memory begin anew, where the system can.
fn forget_peak() {
    if std::fs::write("/proc/self/clear_refs", "5").is_err() {
        println!("(the peak of memory is that of the whole command)");
    }
}

/// Peak and present resident memory, where the system tells.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kib / 1024)
    };
    match (value("VmHWM:"), value("VmRSS:")) {
        (Some(peak), Some(now)) => format!("memory {now} MiB, peak {peak} MiB"),
        _ => "memory: this system does not say".to_owned(),
    }
}

/// Nodes in one file, so that what is in memory is the tree's own.
struct FileNodes(Mutex<Kept>);

struct Kept {
    file: File,
    places: HashMap<ChunkId, (u64, usize)>,
    end: u64,
    reads: u64,
    written: u64,
    puts: u64,
}

impl FileNodes {
    fn create(path: &Path) -> Outcome<Self> {
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let (places, end) = (HashMap::new(), 0);
        Ok(Self(Mutex::new(Kept {
            file,
            places,
            end,
            reads: 0,
            written: 0,
            puts: 0,
        })))
    }

    fn take_counts(&self) -> (u64, u64, u64) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = (kept.reads, kept.puts, kept.written);
        (kept.reads, kept.puts, kept.written) = (0, 0, 0);
        counts
    }

    fn failed(cause: std::io::Error) -> backup_store::Error {
        backup_store::Error::new(ErrorKind::Local, format!("node file: {cause}"))
    }
}

impl NodeSource for FileNodes {
    async fn get(&self, id: &ChunkId) -> backup_store::Result<Bytes> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, length)) = kept.places.get(id).copied() else {
            let words = format!("node {id}: not there");
            return Err(backup_store::Error::new(ErrorKind::Missing, words));
        };
        kept.reads += 1;
        let mut bytes = vec![0; length];
        kept.file.seek(SeekFrom::Start(at)).map_err(Self::failed)?;
        kept.file.read_exact(&mut bytes).map_err(Self::failed)?;
        Ok(bytes.into())
    }
}

impl NodeStore for FileNodes {
    async fn put(&self, bytes: Bytes) -> backup_store::Result<ChunkId> {
        let id = ChunkId::from_bytes(*blake3::hash(&bytes).as_bytes());
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.puts += 1;
        if kept.places.contains_key(&id) {
            return Ok(id);
        }
        let end = kept.end;
        kept.file.seek(SeekFrom::Start(end)).map_err(Self::failed)?;
        kept.file.write_all(&bytes).map_err(Self::failed)?;
        kept.places.insert(id, (end, bytes.len()));
        kept.end += bytes.len() as u64;
        kept.written += bytes.len() as u64;
        Ok(id)
    }
}

/// One message of a mailbox of 50 folders; `version` changes its flags.
fn item_of(number: u64, count: u64, version: u64) -> Item {
    let folder = number / (count / 50).max(1);
    Item {
        key: ItemKey {
            container: format!("AAMkAGI2folder{folder:04}"),
            created: Timestamp::from_millis(1_500_000_000_000 + number as i64 * 7_000),
            id: format!("AAMkAGI2TG93AAA-{number:012}"),
        },
        kind: ItemKind::Message,
        name: format!("Minutes of meeting {number}"),
        sender: Some(format!("sender{}@contoso.example", number % 500)),
        recipients: vec![format!("alex{}@contoso.example", number % 7)],
        change_key: format!("CQAAABYAAAD{number}v{version}"),
        content_key: None,
        size_bytes: 20_000 + number % 9_000,
        modified: None,
        draft: false,
        state: ItemState::Stored,
        representations: Vec::new(),
    }
}

/// The same as the tree holds it.
fn item(number: u64, count: u64, version: u64) -> (Vec<u8>, Vec<u8>) {
    let item = item_of(number, count, version);
    (item.key.encode(), item.encode())
}

async fn tree(items: u64, directory: &Path) -> Outcome<()> {
    println!(
        "tree of {items} items: needs about {} MiB in {}",
        (items * 400) >> 20,
        directory.display()
    );
    let nodes = FileNodes::create(&directory.join("nodes"))?;
    let boundary = BoundaryKey::new([7; 32]);
    let began = Instant::now();
    let mut builder = Builder::new(&nodes, &boundary);
    let mut logical = 0;
    for number in 0..items {
        let (key, value) = item(number, items, 0);
        logical += (key.len() + value.len()) as u64;
        builder.push(key, value).await?;
    }
    let root = builder.finish().await?;
    let (_, puts, written) = nodes.take_counts();
    println!(
        "built in {:.1} s: {puts} nodes, {} MiB for {} MiB of records; {}",
        began.elapsed().as_secs_f64(),
        written >> 20,
        logical >> 20,
        memory(),
    );
    let mut last = root;
    for changes in [10, 1_000, 100_000, 1_000_000, items] {
        let changes = changes.min(items);
        let step = (items / changes).max(1);
        let edit = |number: u64| {
            let (key, value) = item(number * step, items, changes);
            (key, Some(value))
        };
        let edits = (0..changes).map(edit);
        last = change(&nodes, &boundary, last, edits, "scattered flag changes").await?;
    }
    let fresh = |number: u64| {
        let (key, value) = item(items + number, items, 0);
        (key, Some(value))
    };
    change(
        &nodes,
        &boundary,
        last,
        (0..10).map(fresh),
        "new messages in an inbox",
    )
    .await?;
    look_up_items(&nodes, &last, items).await?;
    let began = Instant::now();
    let mut scan = Scan::new(&nodes, &last, ..);
    let mut seen = 0u64;
    while let Some(entry) = scan.next().await {
        entry?;
        seen += 1;
    }
    println!(
        "scanned {seen} items in {:.1} s; {}",
        began.elapsed().as_secs_f64(),
        memory()
    );
    if seen == items {
        Ok(())
    } else {
        Err("the scan lost items".into())
    }
}

/// Finds items by their keys, scattered, without a cache.
async fn look_up_items(nodes: &FileNodes, root: &TreeRoot, items: u64) -> Outcome<()> {
    nodes.take_counts();
    let began = Instant::now();
    let step = (items / LOOKUPS).max(1);
    let (mut asked, mut found) = (0u64, 0u64);
    for number in (0..items).step_by(usize::try_from(step)?) {
        let (key, _) = item(number, items, 0);
        asked += 1;
        found += u64::from(get(nodes, root, &key).await?.is_some());
    }
    let each = began.elapsed().as_secs_f64() * 1e6 / asked as f64;
    let (reads, _, _) = nodes.take_counts();
    println!(
        "{asked} lookups: {each:.0} µs each, {:.1} nodes read each; {}",
        reads as f64 / asked as f64,
        memory()
    );
    if found == asked {
        Ok(())
    } else {
        Err("a lookup is wrong".into())
    }
}

/// Applies edits and finds them again by comparing.
async fn change(
    nodes: &FileNodes,
    boundary: &BoundaryKey,
    root: TreeRoot,
    edits: impl Iterator<Item = Edit> + Send,
    what: &str,
) -> Outcome<TreeRoot> {
    nodes.take_counts();
    let began = Instant::now();
    let (mut count, mut bytes) = (0u64, 0);
    let edits = edits.inspect(|(key, value)| {
        count += 1;
        bytes += key.len() + value.as_ref().map_or(0, Vec::len);
    });
    let changed = apply(nodes, boundary, &root, edits).await?;
    let applied = began.elapsed().as_secs_f64();
    let (reads, puts, written) = nodes.take_counts();
    let began = Instant::now();
    let mut differences = Differences::new(nodes, &root, &changed);
    let mut found = 0;
    while let Some(difference) = differences.next().await {
        difference?;
        found += 1;
    }
    let (read, _, _) = nodes.take_counts();
    println!(
        "{count} {what}: applied in {applied:.2} s, {reads} nodes read, {puts} written, {} KiB, \
         write amplification {:.1}; found again in {:.2} s, {read} nodes read; {}",
        written >> 10,
        written as f64 / bytes as f64,
        began.elapsed().as_secs_f64(),
        memory(),
    );
    if found == count {
        Ok(changed)
    } else {
        Err("the comparison lost changes".into())
    }
}
