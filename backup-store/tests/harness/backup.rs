//! A backup as the engine makes it: pages committed, checkpoints, a resume from journal and spool.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use backup_store::catalog::{
    Browse, Item, ItemKey, ItemKind, ItemState, Outcome, Representation, RepresentationKind,
    Resource, ResourceId, ResourceKind, Service, Snapshot, SnapshotEntry, Totals,
};
use backup_store::{
    ContentClass, ContentRef, Error, ErrorKind, Gatherer, Result, RunId, Store, Timestamp, Writer,
    WriterOptions,
};

use super::world::{Journal, Life, Note, Row, Target, World, bytes_of};

/// How a backup goes about its work.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// Items per page.
    pub page_items: usize,
    /// A checkpoint is published after every so many pages; 0 for none.
    pub checkpoint_pages: usize,
    /// Half a minute passes after each page, so that packs close and are uploaded on the way.
    pub slow: bool,
}

/// Backs up `target`, from whatever the journal, the spool and the store hold.
pub async fn backup(life: &Life<'_>, target: &Target, manner: &Manner) -> Result<()> {
    let store = life.open().await?;
    let World {
        journal, pruned, ..
    } = life.world();
    let writer = store.begin(options(&journal)).await?;
    let parent = writer.parent_of(&resource().id).await?;
    let rows = rows_of_use(&writer, &journal, parent.as_ref(), pruned).await?;
    life.note(Note::Begun {
        lease: writer.lease(),
        base: parent.as_ref().map(|entry| entry.id),
        rows: rows.clone(),
    });
    let mut run = Run {
        life,
        writer: &writer,
        known: items_of(&store, parent.as_ref()).await?,
        fetched: BTreeMap::new(),
        last_row: rows.last().map_or(journal.next_row, |row| row.number + 1),
        parent,
    };
    for row in rows {
        run.fetched
            .insert(row.item, (row.content_number, row.content));
    }
    run.fetch(target, manner).await?;
    run.publish(Some(target), Outcome::Complete).await?;
    writer.end().await?;
    life.note(Note::Ended);
    Ok(())
}

pub fn options(journal: &Journal) -> WriterOptions {
    WriterOptions {
        run: RunId::from_bytes([1; 16]),
        spool_dir: PathBuf::from("/spool"),
        adopts: journal.lease.into_iter().collect(),
    }
}

/// The rows of an interrupted run that the next may go on from; each is read back first.
///
/// A committed page whose packs are not there any more is a loss, as long as nothing was pruned.
async fn rows_of_use(
    writer: &Writer,
    journal: &Journal,
    parent: Option<&SnapshotEntry>,
    pruned: bool,
) -> Result<Vec<Row>> {
    let mut rows = journal.rows.clone();
    if parent.map(|entry| entry.id) != journal.base {
        match parent {
            // Published by this journal's own lease, though it never heard so.
            Some(entry) if Some(entry.lease) == journal.lease => {
                rows.retain(|row| row.number >= entry.snapshot.journal_sequence);
            }
            _ => rows.clear(),
        }
    }
    let mut packs: Vec<_> = rows.iter().flat_map(|row| row.packs.clone()).collect();
    packs.sort();
    packs.dedup();
    if !writer.packs_present(&packs).await? {
        if pruned {
            return Ok(Vec::new());
        }
        return Err(lost("packs of a committed page"));
    }
    for row in &rows {
        let read = read(writer, &row.content).await?;
        if read != bytes_of(row.content_number) {
            return Err(lost("bytes of a committed page"));
        }
    }
    Ok(rows)
}

async fn read(writer: &Writer, content: &ContentRef) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for id in content.chunk_ids() {
        bytes.extend_from_slice(&writer.read_chunk(id).await?);
    }
    Ok(bytes)
}

fn lost(what: &str) -> Error {
    Error::new(ErrorKind::Missing, format!("lost: {what}"))
}

struct Run<'a> {
    life: &'a Life<'a>,
    writer: &'a Writer,
    parent: Option<SnapshotEntry>,
    /// What the parent holds.
    known: BTreeMap<u16, (u32, ContentRef)>,
    /// What was fetched since.
    fetched: BTreeMap<u16, (u32, ContentRef)>,
    last_row: u64,
}

impl Run<'_> {
    async fn fetch(&mut self, target: &Target, manner: &Manner) -> Result<()> {
        let wanted: Vec<(u16, u32)> = target
            .iter()
            .filter(|(item, content)| !self.has(**item, **content))
            .map(|(item, content)| (*item, *content))
            .collect();
        let gatherer = self.writer.gather(&resource().id);
        for (number, page) in wanted.chunks(manner.page_items.max(1)).enumerate() {
            self.fetch_page(&gatherer, page).await?;
            if manner.slow {
                tokio::time::sleep(Duration::from_secs(31)).await;
            }
            let due = manner.checkpoint_pages != 0 && (number + 1) % manner.checkpoint_pages == 0;
            if due {
                self.publish(None, Outcome::Checkpoint).await?;
            }
        }
        Ok(())
    }

    fn has(&self, item: u16, content: u32) -> bool {
        let of = |map: &BTreeMap<u16, (u32, ContentRef)>| map.get(&item).map(|(number, _)| *number);
        of(&self.fetched).or_else(|| of(&self.known)) == Some(content)
    }

    async fn fetch_page(&mut self, gatherer: &Gatherer, page: &[(u16, u32)]) -> Result<()> {
        let mut contents = Vec::new();
        for (item, number) in page {
            let class = if number % 2 == 0 {
                ContentClass::Text
            } else {
                ContentClass::Binary
            };
            let content = gatherer.put(class, &bytes_of(*number)).await?;
            contents.push((*item, *number, content));
        }
        let packs = gatherer.commit().await?.packs;
        let mut rows = Vec::new();
        for (item, content_number, content) in contents {
            self.fetched.insert(item, (content_number, content.clone()));
            rows.push(Row {
                number: self.last_row,
                item,
                content_number,
                content,
                packs: packs.clone(),
            });
            self.last_row += 1;
        }
        self.life.note(Note::Page(rows));
        Ok(())
    }

    /// Publishes what is known: all of `target`, or, at a checkpoint, what was fetched so far.
    async fn publish(&mut self, target: Option<&Target>, outcome: Outcome) -> Result<()> {
        let mut now = self.known.clone();
        now.extend(std::mem::take(&mut self.fetched));
        if let Some(target) = target {
            now.retain(|item, _| target.contains_key(item));
        }
        let (root, edits) = (self.root(), edits(&self.known, &now));
        let items = self.writer.apply(&root, edits).await?;
        let mut snapshot = snapshot(self.writer, self.parent.as_ref(), outcome);
        snapshot.items = items;
        snapshot.journal_sequence = self.last_row;
        snapshot.set = fingerprint(now.iter().map(|(item, (number, _))| (*item, *number)));
        let ids = self.writer.publish(vec![snapshot.clone()]).await?;
        self.life.note(Note::Published(ids[0]));
        self.parent = Some(SnapshotEntry {
            id: ids[0],
            lease: self.writer.lease(),
            slot: 0,
            hash: [0; 32],
            snapshot,
        });
        self.known = now;
        Ok(())
    }

    fn root(&self) -> backup_store::TreeRoot {
        let parent = self.parent.as_ref();
        parent.map_or_else(|| self.writer.empty_tree(), |entry| entry.snapshot.items)
    }
}

pub type Edits = Vec<(Vec<u8>, Option<Vec<u8>>)>;

pub fn edits(
    before: &BTreeMap<u16, (u32, ContentRef)>,
    now: &BTreeMap<u16, (u32, ContentRef)>,
) -> Edits {
    let mut edits: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
    for item in before.keys().filter(|item| !now.contains_key(item)) {
        edits.insert(key(*item).encode(), None);
    }
    for (number, (content_number, content)) in now {
        if before.get(number).map(|(number, _)| number) != Some(content_number) {
            let item = item(*number, *content_number, content.clone());
            edits.insert(item.key.encode(), Some(item.encode()));
        }
    }
    edits.into_iter().collect()
}

/// What a snapshot says of itself, so that the judge needs no memory of how it came about.
pub fn fingerprint(items: impl Iterator<Item = (u16, u32)>) -> String {
    let mut hasher = blake3::Hasher::new();
    for (item, content) in items {
        hasher.update(&item.to_le_bytes());
        hasher.update(&content.to_le_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

pub async fn items_of(
    store: &Store,
    entry: Option<&SnapshotEntry>,
) -> Result<BTreeMap<u16, (u32, ContentRef)>> {
    let mut found = BTreeMap::new();
    let Some(entry) = entry else {
        return Ok(found);
    };
    let mut items = Browse::new(store, &entry.snapshot).items();
    while let Some(item) = items.next().await {
        let item = item?;
        let numbers = (item.key.id.parse(), item.change_key.parse());
        let content = item.representation(&RepresentationKind::Mime).cloned();
        let ((Ok(number), Ok(content_number)), Some(content)) = (numbers, content) else {
            return Err(Error::new(
                ErrorKind::Malformed,
                "an item that nobody wrote",
            ));
        };
        found.insert(number, (content_number, content));
    }
    Ok(found)
}

fn key(item: u16) -> ItemKey {
    ItemKey {
        container: "inbox".to_owned(),
        created: Timestamp::EPOCH,
        id: item.to_string(),
    }
}

fn item(number: u16, content_number: u32, content: ContentRef) -> Item {
    Item {
        key: key(number),
        kind: ItemKind::Message,
        name: format!("item {number}"),
        sender: None,
        recipients: Vec::new(),
        change_key: content_number.to_string(),
        content_key: None,
        size_bytes: content.length,
        modified: None,
        draft: false,
        state: ItemState::Stored,
        representations: vec![Representation {
            kind: RepresentationKind::Mime,
            content,
        }],
    }
}

pub fn resource() -> Resource {
    Resource {
        id: ResourceId::new("outlook:1"),
        service: Service::Outlook,
        kind: ResourceKind::UserMailbox,
        owner: "one@contoso.example".to_owned(),
        owner_id: "1".to_owned(),
        service_id: "1".to_owned(),
        name: "one".to_owned(),
    }
}

pub fn snapshot(writer: &Writer, parent: Option<&SnapshotEntry>, outcome: Outcome) -> Snapshot {
    Snapshot {
        resource: resource(),
        set: String::new(),
        run: RunId::from_bytes([1; 16]),
        outcome,
        token: writer.claim_token(),
        sequence: parent.map_or(0, |entry| entry.snapshot.sequence) + 1,
        parent: parent.map(|entry| entry.id),
        parent_hash: parent.map(|entry| entry.hash),
        started: Timestamp::EPOCH,
        finished: writer.store().environment().now(),
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
