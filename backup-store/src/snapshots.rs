//! Where the byte layers and the catalog meet: snapshots in slots, trees in packs.

pub(crate) mod scan;

use bytes::Bytes;

pub use self::scan::SnapshotScan;
use self::scan::{Newest, NewestOfEach, entry_of};
use crate::backend::ObjectName;
use crate::catalog::{ResourceId, Snapshot, SnapshotEntry, choose_parent};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, SnapshotId, TreeRoot};
use crate::mutant::{Mutant, mutated};
use crate::slots::{Slot, SlotHead, SlotListing};
use crate::store::Store;
use crate::tree::{self, BoundaryKey, NodeSource, NodeStore};
use crate::writer::{Gatherer, Writer};

/// What a listing of all snapshots gave.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct SnapshotListing {
    /// The snapshots, by finishing time, oldest first.
    pub snapshots: Vec<SnapshotEntry>,
    /// Objects that cannot be read, each with the cause; the others are whole.
    pub damaged: Vec<(ObjectName, Error)>,
}

impl Store {
    /// Lists all snapshots, by a listing made now, oldest first.
    ///
    /// *Units and limits*: memory for all of them, cursors included: some 10 KiB for each of a mailbox.
    /// [`scan_snapshots`](Self::scan_snapshots) goes through them one by one.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when a snapshot set cannot be read;
    /// [`snapshot_listing`](Self::snapshot_listing) gives the others all the same.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        let mut listing = self.snapshot_listing().await?;
        match listing.damaged.pop() {
            Some((_, cause)) => Err(cause),
            None => Ok(listing.snapshots),
        }
    }

    /// Lists all snapshots that can be read and that no round of prune has forgotten, and the
    /// objects that cannot be read.
    pub async fn snapshot_listing(&self) -> Result<SnapshotListing> {
        collect(self.scan_snapshots().await?).await
    }

    /// Finds snapshots by their ids, by a listing made now; only the sets that hold them are read.
    /// Those that are not there, or forgotten, are left out.
    ///
    /// Where one is not among those found and something is damaged, it may be there all the same.
    pub async fn find_snapshots(&self, ids: &[SnapshotId]) -> Result<SnapshotListing> {
        let mut slots = self.list_slots().await?;
        let rounds = self.read_rounds().await?;
        slots.slots.retain(|placed| match &placed.head {
            SlotHead::Set { snapshots, .. } => snapshots.iter().any(|id| ids.contains(id)),
            SlotHead::Closing => false,
        });
        let mut scan = SnapshotScan::new(self, slots, Some(rounds));
        let mut listing = SnapshotListing::default();
        while let Some(found) = scan.next_or_unread().await {
            match found? {
                Ok(entry) if ids.contains(&entry.id) => listing.snapshots.push(entry),
                Ok(_) => {}
                Err((name, cause)) => {
                    tracing::warn!(%name, %cause, "a snapshot cannot be read");
                    listing.damaged.push((name, cause));
                }
            }
        }
        listing.snapshots.sort_by_key(by_time);
        Ok(listing)
    }

    /// Returns the tree of the empty map; it is the same for all maps of a store.
    pub fn empty_tree(&self) -> TreeRoot {
        TreeRoot {
            node: self.keys().chunk_id(&tree::empty_node()),
            level: 0,
            entries: 0,
        }
    }

    pub(crate) fn boundary_key(&self) -> BoundaryKey {
        BoundaryKey::new(*self.keys().tree_boundary())
    }
}

impl Writer {
    /// Returns the snapshots that were there when this writer began: listed after its lease was
    /// put, and after the adopted leases were fenced. Snapshots that prune has forgotten, or is
    /// about to forget, are not among them.
    ///
    /// Sets that cannot be read are left out, with a warning in the log: a parent is then chosen
    /// among the others. [`parent_of`](Self::parent_of) takes less memory.
    pub async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        self.possible_parents(self.listing().readable()).await
    }

    /// Lists the snapshots as [`snapshots`](Self::snapshots) does, by a listing made now: with
    /// those that other writers have published since this one began.
    pub async fn list_snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        self.possible_parents(self.store().list_slots().await?)
            .await
    }

    async fn possible_parents(&self, slots: SlotListing) -> Result<Vec<SnapshotEntry>> {
        let mut listing = collect(SnapshotScan::new(self.store(), slots, None)).await?;
        let rounds = self.rounds();
        listing
            .snapshots
            .retain(|entry| rounds.may_be_parent((&entry.lease, entry.slot), &entry.id));
        for (name, cause) in &listing.damaged {
            tracing::warn!(%name, %cause, "a snapshot cannot be read");
        }
        Ok(listing.snapshots)
    }

    /// Chooses the snapshot that the next one of a resource continues, as
    /// [`choose_parent`] does among [`snapshots`](Self::snapshots).
    ///
    /// *Units and limits*: the first call goes through all snapshots; after that, where the newest
    /// of each resource lie stays in memory, about 200 bytes each.
    pub async fn parent_of(&self, resource: &ResourceId) -> Result<Option<SnapshotEntry>> {
        let newest = self.newest().get_or_try_init(|| self.find_newest());
        let newest = newest.await?.of(resource);
        let rounds = self.rounds();
        let mut entries = Vec::new();
        for place in newest {
            if rounds.may_be_parent((&place.lease, place.slot), &place.id) {
                entries.extend(self.read_entry(place).await?);
            }
        }
        if entries.len() < newest.len() {
            // Prune has overtaken this writer: an older one may be the newest now.
            return Ok(choose_parent(&self.snapshots().await?, resource).cloned());
        }
        entries.sort_by_key(by_time);
        Ok(choose_parent(&entries, resource).cloned())
    }

    async fn find_newest(&self) -> Result<NewestOfEach> {
        let mut scan = SnapshotScan::new(self.store(), self.listing().readable(), None);
        let (rounds, mut newest) = (self.rounds(), NewestOfEach::default());
        while let Some(found) = scan.next_or_unread().await {
            match found? {
                Ok(entry) => {
                    if rounds.may_be_parent((&entry.lease, entry.slot), &entry.id) {
                        newest.see(&entry);
                    }
                }
                Err((name, cause)) => tracing::warn!(%name, %cause, "a snapshot cannot be read"),
            }
        }
        Ok(newest)
    }

    /// Reads a snapshot again; `None` when its slot is not there any more.
    async fn read_entry(&self, place: &Newest) -> Result<Option<SnapshotEntry>> {
        let slot = match self.store().read_slot(place.lease, place.slot).await {
            Ok(slot) => slot,
            Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(cause),
        };
        let Slot::Set { records, .. } = &*slot else {
            return Ok(None);
        };
        let mut records = records.iter().filter(|record| record.id == place.id);
        let entry = |record| entry_of(self.store(), (place.lease, place.slot), record);
        records.next().map(entry).transpose()
    }

    /// Begins to gather the content of a resource.
    ///
    /// Blocks of different gatherers are never mixed; deduplication reaches across resources.
    pub fn gather(&self, resource: &ResourceId) -> Gatherer {
        tracing::trace!(?resource, "gathering");
        self.gatherer()
    }

    /// Publishes snapshots: uploads what they refer to, then their sets, each in one atomic step.
    ///
    /// *Errors*: [`ErrorKind::Fenced`](crate::ErrorKind::Fenced) when another ended the lease:
    /// nothing of the set that was refused is published, and a new writer is needed.
    ///
    /// *Cancel safety*: when dropped, a set may or may not be published; a later call settles it
    /// first.
    pub async fn publish(&self, snapshots: Vec<Snapshot>) -> Result<Vec<SnapshotId>> {
        let records = snapshots
            .iter()
            .map(|snapshot| Bytes::from(snapshot.encode()))
            .collect();
        // A coordinator may have given a greater one than the lease.
        let tokens = snapshots.iter().map(|snapshot| snapshot.token);
        let token = tokens.fold(self.claim_token(), u64::max);
        if mutated(Mutant::SlotBeforePacks) {
            let ids = self.publish_records(token, records).await?;
            return self.flush().await.map(|()| ids);
        }
        self.flush().await?;
        self.publish_records(token, records).await
    }

    /// Returns the tree of the empty map.
    pub fn empty_tree(&self) -> TreeRoot {
        self.store().empty_tree()
    }

    /// Applies edits to a tree, writes the nodes that are new into tree packs, and returns the
    /// new root. `None` removes a key. Keys ascend strictly.
    ///
    /// The nodes are in the store after the next flush or publication.
    pub async fn apply(
        &self,
        root: &TreeRoot,
        edits: impl IntoIterator<Item = tree::Edit, IntoIter: Send>,
    ) -> Result<TreeRoot> {
        tree::apply(self, &self.store().boundary_key(), root, edits).await
    }

    /// Begins to edit a tree as [`apply`](Self::apply) does, for edits that come one by one.
    pub fn edit_tree(&self, root: &TreeRoot) -> tree::Editor<&Self> {
        tree::Editor::new(self, &self.store().boundary_key(), root)
    }
}

impl NodeSource for Store {
    async fn get(&self, id: &ChunkId) -> Result<Bytes> {
        self.read_chunk(id).await
    }
}

impl NodeSource for Writer {
    async fn get(&self, id: &ChunkId) -> Result<Bytes> {
        self.read_chunk(id).await
    }
}

impl NodeStore for Writer {
    async fn put(&self, bytes: Bytes) -> Result<ChunkId> {
        self.put_node(bytes).await
    }
}

/// Goes through a scan to its end.
async fn collect(mut scan: SnapshotScan) -> Result<SnapshotListing> {
    let mut listing = SnapshotListing::default();
    while let Some(found) = scan.next_or_unread().await {
        match found? {
            Ok(entry) => listing.snapshots.push(entry),
            Err(unread) => listing.damaged.push(unread),
        }
    }
    listing.snapshots.sort_by_key(by_time);
    Ok(listing)
}

fn by_time(entry: &SnapshotEntry) -> (crate::Timestamp, u64, SnapshotId) {
    (entry.snapshot.finished, entry.snapshot.token, entry.id)
}
