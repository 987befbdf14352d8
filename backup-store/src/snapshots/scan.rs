//! Going through all snapshots, one after the other, in the memory of one set.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::backend::ObjectName;
use crate::catalog::{ResourceId, Snapshot, SnapshotEntry};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, SnapshotId};
use crate::rounds::Rounds;
use crate::slots::{PlacedSlot, Slot, SlotHead, SlotListing, SlotRecord, slot_name};
use crate::store::Store;

/// An object that cannot be read, and why.
pub(crate) type Unread = (ObjectName, Error);

/// Goes through the snapshots that a listing showed, in the order of leases and slots.
///
/// *Units and limits*: holds the names of the sets, some 50 bytes each, and one set of at most 256
/// snapshots.
#[derive(Debug)]
pub struct SnapshotScan {
    store: Store,
    slots: VecDeque<PlacedSlot>,
    /// What is left of the set that was read last.
    set: Option<(LeaseId, u32, Arc<Slot>, usize)>,
    damaged: VecDeque<Unread>,
    /// Forgotten snapshots are left out; `None` takes them all.
    rounds: Option<Arc<Rounds>>,
}

impl Store {
    /// Goes through all snapshots that no round of prune has forgotten, by a listing made now: what
    /// [`snapshots`](Self::snapshots) gives, in bounded memory and in no order of time.
    pub async fn scan_snapshots(&self) -> Result<SnapshotScan> {
        let slots = self.list_slots().await?;
        // Read after the slots: what went meanwhile is named there.
        let rounds = self.read_rounds().await?;
        Ok(SnapshotScan::new(self, slots, Some(rounds)))
    }
}

impl SnapshotScan {
    pub(crate) fn new(store: &Store, slots: SlotListing, rounds: Option<Arc<Rounds>>) -> Self {
        Self {
            store: store.clone(),
            slots: slots.slots.into(),
            set: None,
            damaged: slots.damaged.into(),
            rounds,
        }
    }

    /// Returns the next snapshot; `None` at the end. After an error of kind
    /// [`ErrorKind::Damaged`] it goes on with the others.
    pub async fn next(&mut self) -> Option<Result<SnapshotEntry>> {
        let next = self.next_or_unread().await?;
        Some(next.and_then(|found| found.map_err(|(_, cause)| cause)))
    }

    /// Returns the next snapshot, or an object that cannot be read.
    pub(crate) async fn next_or_unread(
        &mut self,
    ) -> Option<Result<std::result::Result<SnapshotEntry, Unread>>> {
        loop {
            if let Some(found) = self.next_of_set() {
                return Some(found);
            }
            let Some(placed) = self.slots.pop_front() else {
                return self.damaged.pop_front().map(|unread| Ok(Err(unread)));
            };
            if let SlotHead::Closing = placed.head {
                continue;
            }
            match self.store.read_slot(placed.lease, placed.number).await {
                Ok(slot) => self.set = Some((placed.lease, placed.number, slot, 0)),
                // Deleted since the listing: its snapshots are forgotten.
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) => {
                    let name = slot_name(&placed.lease, placed.number);
                    let damaged = cause.kind() == ErrorKind::Damaged;
                    return Some(match name {
                        Ok(name) if damaged => Ok(Err((name, cause))),
                        _ => Err(cause),
                    });
                }
            }
        }
    }

    fn next_of_set(&mut self) -> Option<Result<std::result::Result<SnapshotEntry, Unread>>> {
        let (lease, number, slot, at) = self.set.as_mut()?;
        let Slot::Set { records, .. } = &**slot else {
            return None;
        };
        while let Some(record) = records.get(*at) {
            *at += 1;
            let place = (&*lease, *number);
            let rounds = self.rounds.as_ref();
            if rounds.is_none_or(|rounds| rounds.exists(place, &record.id)) {
                let entry = entry_of(&self.store, (*lease, *number), record);
                let name = slot_name(lease, *number);
                return Some(match (entry, name) {
                    (Err(cause), Ok(name)) => Ok(Err((name, cause))),
                    (entry, _) => entry.map(Ok),
                });
            }
        }
        self.set = None;
        None
    }
}

/// Decodes a snapshot that lies in a slot.
///
/// *Errors*: [`ErrorKind::Damaged`].
pub(crate) fn entry_of(
    store: &Store,
    (lease, slot): (LeaseId, u32),
    record: &SlotRecord,
) -> Result<SnapshotEntry> {
    let snapshot = Snapshot::decode(&record.bytes).map_err(|cause| {
        let object = format_args!("snapshot {}", record.id);
        Error::damaged(object, "its record").with_source(cause)
    })?;
    Ok(SnapshotEntry {
        id: record.id,
        lease,
        slot,
        hash: *store.keys().content_hash(&record.bytes).as_bytes(),
        snapshot,
    })
}

/// Where the newest snapshots of each resource lie: those of the greatest (token, sequence), of
/// which there is more than one only after a repair, or by a cloned writer.
#[derive(Debug, Default)]
pub(crate) struct NewestOfEach(BTreeMap<ResourceId, Vec<Newest>>);

/// One of the newest snapshots of a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) token: u64,
    pub(crate) sequence: u64,
    pub(crate) hash: [u8; 32],
    pub(crate) id: SnapshotId,
    pub(crate) lease: LeaseId,
    pub(crate) slot: u32,
}

impl Newest {
    pub(crate) fn of(entry: &SnapshotEntry) -> Self {
        Self {
            token: entry.snapshot.token,
            sequence: entry.snapshot.sequence,
            hash: entry.hash,
            id: entry.id,
            lease: entry.lease,
            slot: entry.slot,
        }
    }

    pub(crate) fn age(&self) -> (u64, u64) {
        (self.token, self.sequence)
    }
}

impl NewestOfEach {
    /// Takes in one more snapshot.
    pub(crate) fn see(&mut self, entry: &SnapshotEntry) {
        let found = Newest::of(entry);
        let Some(known) = self.0.get_mut(&entry.snapshot.resource.id) else {
            self.0
                .insert(entry.snapshot.resource.id.clone(), vec![found]);
            return;
        };
        match known.first().map(Newest::age).cmp(&Some(found.age())) {
            std::cmp::Ordering::Less => *known = vec![found],
            std::cmp::Ordering::Equal => known.push(found),
            std::cmp::Ordering::Greater => {}
        }
    }

    /// Returns the newest of one resource.
    pub(crate) fn of(&self, resource: &ResourceId) -> &[Newest] {
        self.0.get(resource).map_or(&[], Vec::as_slice)
    }

    /// Lists all, by resource.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&ResourceId, &Newest)> {
        let each = self.0.iter();
        each.flat_map(|(resource, newest)| newest.iter().map(move |newest| (resource, newest)))
    }
}
