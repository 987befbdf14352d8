//! Where the byte layers and the catalog meet: snapshots in slots, trees in packs.

use bytes::Bytes;

use crate::backend::ObjectName;
use crate::catalog::{ResourceId, Snapshot, SnapshotEntry};
use crate::error::{Error, Result};
use crate::id::{ChunkId, SnapshotId, TreeRoot};
use crate::mutant::{Mutant, mutated};
use crate::slots::{Slot, SlotListing};
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
        let slots = self.list_slots().await?;
        // Read after the slots: what went meanwhile is named there.
        let rounds = self.read_rounds().await?;
        let mut listing = decode_listing(self, slots);
        let exists = |entry: &SnapshotEntry| rounds.exists((&entry.lease, entry.slot), &entry.id);
        listing.snapshots.retain(exists);
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
    /// among the others.
    pub fn snapshots(&self) -> Vec<SnapshotEntry> {
        self.possible_parents(SlotListing {
            slots: self.listing().slots.clone(),
            damaged: Vec::new(),
        })
    }

    /// Lists the snapshots as [`snapshots`](Self::snapshots) does, by a listing made now: with
    /// those that other writers have published since this one began.
    pub async fn list_snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        Ok(self.possible_parents(self.store().list_slots().await?))
    }

    fn possible_parents(&self, slots: SlotListing) -> Vec<SnapshotEntry> {
        let mut listing = decode_listing(self.store(), slots);
        let rounds = self.rounds();
        listing
            .snapshots
            .retain(|entry| rounds.may_be_parent((&entry.lease, entry.slot), &entry.id));
        for (name, cause) in &listing.damaged {
            tracing::warn!(%name, %cause, "a snapshot cannot be read");
        }
        listing.snapshots
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

/// Decodes the snapshots of a listing of slots.
pub(crate) fn decode_listing(store: &Store, slots: SlotListing) -> SnapshotListing {
    let mut listing = SnapshotListing {
        damaged: slots.damaged,
        ..SnapshotListing::default()
    };
    for placed in slots.slots {
        let Slot::Set { records, .. } = &*placed.slot else {
            continue;
        };
        for record in records {
            match Snapshot::decode(&record.bytes) {
                Ok(snapshot) => listing.snapshots.push(SnapshotEntry {
                    id: record.id,
                    lease: placed.lease,
                    slot: placed.number,
                    hash: *store.keys().content_hash(&record.bytes).as_bytes(),
                    snapshot,
                }),
                Err(cause) => {
                    let object = format_args!("snapshot {}", record.id).to_string();
                    let cause = Error::damaged(object, "its record").with_source(cause);
                    if let Ok(name) = crate::slots::slot_name(&placed.lease, placed.number) {
                        listing.damaged.push((name, cause));
                    }
                }
            }
        }
    }
    let order = |entry: &SnapshotEntry| (entry.snapshot.finished, entry.snapshot.token, entry.id);
    listing.snapshots.sort_by_key(order);
    listing
}
