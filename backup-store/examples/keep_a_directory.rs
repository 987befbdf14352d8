//! Keeps a directory tree in a store, and gives the same tree back.
//!
//! ```text
//! keep_a_directory init  STORE            create a store in an empty directory
//! keep_a_directory put   STORE NAME DIR   keep DIR as the snapshot NAME
//! keep_a_directory get   STORE NAME DIR   write the newest snapshot called NAME to DIR
//! keep_a_directory check STORE            read everything and verify it
//! ```
//!
//! The passphrase is in `BACKUP_STORE_PASSPHRASE`. One store holds one tree. A `put` begins with the
//! newest snapshot: a file of the same path, size and modified time is not read again. Names, bytes,
//! links, modified times and the right to execute are kept; owners and other rights are not.
//!
//! What an embedder does is all here, in this order: open a store, begin a writer, gather content,
//! apply the changes to the trees, publish a snapshot. Files are `items`, folders are `containers`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_store::catalog::{
    Browse, Container, Item, ItemState, Outcome, Representation, RepresentationKind, Resource,
    ResourceId, ResourceKind, Service, Snapshot, Totals, choose_parent,
};
use backup_store::{
    CheckDepth, ContentClass, ContentRef, CreateOptions, Environment, Gatherer, LocalBackend,
    Passphrase, RunId, Store, StoreOptions, SystemEnvironment, TreeRoot, Writer, WriterOptions,
};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::task::{JoinHandle, spawn_blocking};

#[path = "keep_a_directory/disk.rs"]
mod disk;

use disk::{
    Entry, below, checked, finish_file, finish_folder, folder_path, link, path_of, read_folder,
    read_item, read_piece, write_item,
};

#[cfg(test)]
#[path = "keep_a_directory/tests.rs"]
mod tests;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

/// Small files are read and written in batches: so many, or so many bytes.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: u64 = 2 << 20;
/// Contents that are read from the store at the same time.
const READERS: usize = 8;
/// Changes that are applied to the item tree at once.
const EDITS: usize = 10_000;
/// The container that stands for the directory itself.
const TOP: &str = ".";

fn main() -> Result<()> {
    // The system's allocator keeps what was freed, thread by thread: few threads, little memory.
    let threads = std::thread::available_parallelism()?.get();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.max_blocking_threads(threads + 1);
    runtime.enable_all().build()?.block_on(run())
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["init", place] => init(place).await,
        ["put", place, name, directory] => {
            put(&open(place).await?, &cache_dir()?, name, directory).await
        }
        ["get", place, name, directory] => get(&open(place).await?, name, directory).await,
        ["check", place] => check(&open(place).await?).await,
        _ => Err("usage: keep_a_directory init|put|get|check STORE [NAME DIR]".into()),
    }
}

async fn init(place: &str) -> Result<()> {
    let backend = Arc::new(LocalBackend::create(place)?);
    let create = CreateOptions::default();
    let store = Store::create(backend, &passphrase()?, create, StoreOptions::default()).await?;
    say(&format!("created store {}", store.id()));
    Ok(())
}

async fn open(place: &str) -> Result<Store> {
    let backend = Arc::new(LocalBackend::open(place)?);
    let options = StoreOptions {
        cache_dir: Some(cache_dir()?),
        ..StoreOptions::default()
    };
    Ok(Store::open(backend, &passphrase()?, options).await?)
}

async fn put(store: &Store, cache: &Path, name: &str, directory: &str) -> Result<()> {
    let began = SystemEnvironment.now();
    let run = RunId::random(&SystemEnvironment)?;
    // What a crash left in the spool directory is recovered by the next run.
    let writer = store
        .begin(WriterOptions {
            run,
            spool_dir: cache.join(format!("spool-{}", store.id())),
            adopts: Vec::new(),
        })
        .await?;
    let listing = store.snapshots().await?;
    let parent = choose_parent(&listing, &resource().id);
    let mut keeping = Keeping::new(&writer, directory, parent.map(|entry| &entry.snapshot)).await?;
    keeping.keep_tree().await?;
    let (containers, items, totals) = keeping.finish().await?;
    let snapshot = Snapshot {
        resource: resource(),
        set: name.to_owned(),
        run,
        outcome: Outcome::Complete,
        token: writer.claim_token(),
        sequence: 1,
        parent: parent.map(|entry| entry.id),
        parent_hash: parent.map(|entry| entry.hash),
        started: began,
        finished: SystemEnvironment.now(),
        containers,
        items,
        notes: writer.empty_tree(),
        enumerations: Vec::new(),
        cursors: Vec::new(),
        totals,
        routes: Vec::new(),
        journal_sequence: 0,
    };
    // Packs, then their index, then the snapshot: it exists when this returns.
    writer.publish(vec![snapshot]).await?;
    writer.end().await?;
    let Totals {
        stored, unchanged, ..
    } = totals;
    say(&format!(
        "kept {name}: {stored} files stored, {unchanged} unchanged"
    ));
    Ok(())
}

/// An item with its bytes.
type Read = (Item, Vec<u8>);

/// A directory on its way into the store.
struct Keeping<'a> {
    writer: &'a Writer,
    gatherer: Gatherer,
    top: PathBuf,
    /// What the newest snapshot holds.
    known: Option<Browse>,
    known_containers: HashMap<String, Container>,
    containers: TreeRoot,
    items: TreeRoot,
    container_edits: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    item_edits: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Small files that are not read yet, and those that are being read.
    batch: Vec<(Item, PathBuf)>,
    reading: Option<JoinHandle<io::Result<Vec<Read>>>>,
    totals: Totals,
}

impl<'a> Keeping<'a> {
    async fn new(writer: &'a Writer, top: &str, parent: Option<&Snapshot>) -> Result<Self> {
        let known = parent.map(|snapshot| Browse::new(writer.store(), snapshot));
        let containers = match &known {
            Some(known) => known.containers().await?,
            None => Vec::new(),
        };
        let by_id = |container: Container| (container.id.clone(), container);
        Ok(Self {
            writer,
            gatherer: writer.gather(&resource().id),
            top: PathBuf::from(top),
            known,
            known_containers: containers.into_iter().map(by_id).collect(),
            containers: parent.map_or(writer.empty_tree(), |snapshot| snapshot.containers),
            items: parent.map_or(writer.empty_tree(), |snapshot| snapshot.items),
            container_edits: BTreeMap::new(),
            item_edits: BTreeMap::new(),
            batch: Vec::new(),
            reading: None,
            totals: Totals::default(),
        })
    }

    /// Walks the directory, folder by folder, and keeps what is new.
    async fn keep_tree(&mut self) -> Result<()> {
        let mut folders = vec![(TOP.to_owned(), None)];
        while let Some((folder, above)) = folders.pop() {
            let (container, entries) = self.read_folder(&folder, above).await?;
            let mut gone = self.known_items(&folder).await?;
            if self.known_containers.remove(&folder).as_ref() != Some(&container) {
                let record = Some(container.encode());
                self.container_edits.insert(container.key(), record);
            }
            // The last one is walked first.
            for entry in entries.into_iter().rev() {
                match entry {
                    Entry::Folder(name) => {
                        folders.push((below(&folder, &name), Some(folder.clone())));
                    }
                    Entry::Item(item) => {
                        let known = gone.remove(&item.key.id);
                        self.keep_item(*item, known).await?;
                    }
                }
            }
            self.drop_items(gone.into_values());
        }
        // What is left of the known folders is gone.
        for (id, container) in std::mem::take(&mut self.known_containers) {
            self.container_edits.insert(container.key(), None);
            let items = self.known_items(&id).await?;
            self.drop_items(items.into_values());
        }
        Ok(())
    }

    async fn read_folder(
        &self,
        folder: &str,
        above: Option<String>,
    ) -> Result<(Container, Vec<Entry>)> {
        let (path, id) = (folder_path(&self.top, folder), folder.to_owned());
        spawn_blocking(move || read_folder(&path, id, above)).await?
    }

    /// Returns the items that the newest snapshot has in a folder, by name.
    async fn known_items(&self, folder: &str) -> Result<HashMap<String, Item>> {
        let mut known = HashMap::new();
        if let Some(browse) = &self.known {
            let mut items = browse.items_in(folder);
            while let Some(item) = items.next().await {
                let item = item?;
                known.insert(item.key.id.clone(), item);
            }
        }
        Ok(known)
    }

    async fn keep_item(&mut self, mut item: Item, known: Option<Item>) -> Result<()> {
        self.totals.seen += 1;
        if item.state != ItemState::Stored {
            self.totals.skipped += 1;
            if known.as_ref() != Some(&item) {
                self.edit(&item);
            }
            return Ok(());
        }
        let same = |known: &Item| {
            known.state == ItemState::Stored
                && (known.size_bytes, &known.change_key) == (item.size_bytes, &item.change_key)
                && (known.kind == link()) == (item.kind == link())
        };
        if let Some(known) = known.filter(same) {
            item.representations.clone_from(&known.representations);
            self.totals.unchanged += 1;
            if item != known {
                self.edit(&item); // Another right to execute, the same bytes.
            }
            return Ok(());
        }
        let path = path_of(&self.top, &item.key);
        if item.size_bytes > BATCH_BYTES {
            return self.keep_large_file(item, path).await;
        }
        self.batch.push((item, path));
        let bytes: u64 = self.batch.iter().map(|(item, _)| item.size_bytes).sum();
        if self.batch.len() >= BATCH_FILES || bytes >= BATCH_BYTES {
            self.turn_batch().await?;
        }
        Ok(())
    }

    /// Begins to read the files of the batch, and keeps those that were read meanwhile.
    async fn turn_batch(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let next = spawn_blocking(move || {
            let read = |(item, path)| read_item(&item, path).map(|bytes| (item, bytes));
            batch.into_iter().map(read).collect()
        });
        let Some(read) = self.reading.replace(next) else {
            return Ok(());
        };
        for (item, bytes) in read.await?? {
            let content = self.gatherer.put(class_of(&item), &bytes).await?;
            self.stored(item, content).await?;
        }
        Ok(())
    }

    async fn keep_large_file(&mut self, item: Item, path: PathBuf) -> Result<()> {
        let mut content = self.gatherer.content(class_of(&item));
        // One piece is read while the one before is taken.
        let mut next = read_piece(File::open(path)?, Vec::new());
        let mut spare = Vec::new();
        loop {
            let (file, piece) = next.await??;
            if piece.is_empty() {
                break;
            }
            next = read_piece(file, spare);
            content.write(&piece).await?;
            spare = piece;
        }
        let content = content.finish().await?;
        self.stored(item, content).await
    }

    async fn stored(&mut self, mut item: Item, content: ContentRef) -> Result<()> {
        self.totals.stored += 1;
        self.totals.bytes += content.length;
        item.representations.push(Representation {
            kind: RepresentationKind::Content,
            content,
        });
        self.edit(&item);
        if self.item_edits.len() >= EDITS {
            self.apply_items().await?;
        }
        Ok(())
    }

    fn edit(&mut self, item: &Item) {
        self.item_edits
            .insert(item.key.encode(), Some(item.encode()));
    }

    fn drop_items(&mut self, items: impl Iterator<Item = Item>) {
        for item in items {
            self.totals.removed += 1;
            self.item_edits.insert(item.key.encode(), None);
        }
    }

    async fn apply_items(&mut self) -> Result<()> {
        let edits = std::mem::take(&mut self.item_edits);
        self.items = self.writer.apply(&self.items, edits).await?;
        Ok(())
    }

    /// Keeps what is still being read, and returns the trees of the snapshot.
    async fn finish(mut self) -> Result<(TreeRoot, TreeRoot, Totals)> {
        while !self.batch.is_empty() || self.reading.is_some() {
            let last = self.batch.is_empty();
            self.turn_batch().await?;
            if last {
                self.reading = None; // It was begun with an empty batch.
            }
        }
        // From here on a crash of this machine loses nothing of what was gathered.
        self.gatherer.commit().await?;
        self.apply_items().await?;
        let edits = self.container_edits;
        let containers = self.writer.apply(&self.containers, edits).await?;
        Ok((containers, self.items, self.totals))
    }
}

async fn get(store: &Store, name: &str, directory: &str) -> Result<()> {
    let mut listing = store.snapshots().await?;
    listing.retain(|entry| entry.snapshot.set == name);
    let newest = choose_parent(&listing, &resource().id);
    let newest = newest.ok_or_else(|| format!("no snapshot is called {name}"))?;
    let browse = Browse::new(store, &newest.snapshot);
    let top = PathBuf::from(directory);
    let containers = browse.containers().await?;
    for container in &containers {
        fs::create_dir_all(folder_path(&top, checked(&container.id)?))?;
    }
    let (mut items, mut batch, mut bytes) = (browse.items(), Vec::new(), 0);
    let mut writing: Option<JoinHandle<io::Result<()>>> = None;
    let mut count = 0;
    loop {
        let item = items.next().await.transpose()?;
        let full = bytes >= BATCH_BYTES || batch.len() >= BATCH_FILES;
        if full || item.is_none() {
            let read = read_contents(store, std::mem::take(&mut batch)).await?;
            bytes = 0;
            let top = top.clone();
            let next = spawn_blocking(move || {
                let mut each = read.iter();
                each.try_for_each(|(item, bytes)| write_item(&top, item, bytes))
            });
            if let Some(before) = writing.replace(next) {
                before.await??;
            }
        }
        let Some(item) = item else { break };
        checked(&item.key.container)?;
        checked(&item.key.id)?;
        count += 1;
        if item.size_bytes > BATCH_BYTES {
            get_large_file(store, &item, path_of(&top, &item.key)).await?;
        } else {
            bytes += item.size_bytes;
            batch.push(item);
        }
    }
    if let Some(last) = writing {
        last.await??;
    }
    // Last of all: whatever is written into a folder changes its time.
    for container in containers.iter().rev() {
        finish_folder(&top, container)?;
    }
    say(&format!("wrote {count} files of {name}"));
    Ok(())
}

/// Reads the contents of small files, several at once; each is verified as a whole.
async fn read_contents(store: &Store, items: Vec<Item>) -> Result<Vec<Read>> {
    let read = |item: Item| async move {
        let bytes = match item.representation(&RepresentationKind::Content) {
            Some(content) => store.open_content(content).collect(u64::MAX).await?,
            None => Vec::new(),
        };
        Ok::<_, Error>((item, bytes))
    };
    stream::iter(items)
        .map(read)
        .buffered(READERS)
        .try_collect()
        .await
}

async fn get_large_file(store: &Store, item: &Item, path: PathBuf) -> Result<()> {
    let Some(content) = item.representation(&RepresentationKind::Content) else {
        return Ok(());
    };
    let mut reader = store.open_content(content);
    let mut writing = spawn_blocking(move || File::create_new(path));
    while let Some(piece) = reader.next_chunk().await {
        let (piece, mut file) = (piece?, writing.await??);
        writing = spawn_blocking(move || file.write_all(&piece).map(|()| file));
    }
    finish_file(&writing.await??, item)?;
    Ok(())
}

async fn check(store: &Store) -> Result<()> {
    let report = store.check(CheckDepth::AllData, &|_| ()).await?;
    for problem in &report.problems {
        say(&format!("{}: {}", problem.object, problem.cause));
    }
    say(&format!(
        "{} snapshots, {} files, {} bytes read",
        report.snapshots, report.items, report.read_bytes
    ));
    match report.is_clean() {
        true => Ok(()),
        false => Err("the store is damaged".into()),
    }
}

/// Mail is split, so that attachments are stored once; text and the rest are kept apart.
fn class_of(item: &Item) -> ContentClass {
    let extension = Path::new(&item.key.id).extension();
    match extension.and_then(|extension| extension.to_str()) {
        Some("eml") => ContentClass::Mail,
        Some("txt" | "csv" | "md" | "html" | "xml" | "json" | "rs" | "toml") => ContentClass::Text,
        _ => ContentClass::Binary,
    }
}

/// The one resource that such a store holds.
fn resource() -> Resource {
    Resource {
        id: ResourceId::new("directory:1"),
        service: Service::from("directory"),
        kind: ResourceKind::from("directory"),
        owner: String::new(),
        owner_id: String::new(),
        service_id: "1".to_owned(),
        name: "directory".to_owned(),
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a program of its own reads its environment"
)]
fn passphrase() -> Result<Passphrase> {
    let text = std::env::var("BACKUP_STORE_PASSPHRASE");
    Ok(Passphrase::new(
        text.map_err(|_| "set BACKUP_STORE_PASSPHRASE")?,
    ))
}

/// Where this program keeps what it can make again, and open packs.
#[allow(
    clippy::disallowed_methods,
    reason = "a program of its own reads its environment"
)]
fn cache_dir() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).ok_or("set XDG_CACHE_HOME or HOME")?;
    Ok(cache.join("keep_a_directory"))
}

#[allow(
    clippy::print_stdout,
    reason = "an example talks to the person who runs it"
)]
fn say(words: &str) {
    println!("{words}");
}
