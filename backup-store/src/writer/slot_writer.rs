//! Taking slots of a lease, strictly in order, and ending leases.

use std::sync::PoisonError;

use bytes::Bytes;

use super::Writer;
use super::rules::{Closed, SlotAnswer, SlotOrder};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, SnapshotId};
use crate::mutant::{Mutant, mutated};
use crate::seal::ObjectKind;
use crate::slots::{SET_BYTES, SET_LIMIT, Slot, SlotRecord, parse_slot_name, slot_name};
use crate::snapshots::scan::{NewestOfEach, entry_of};
use crate::store::{Resolved, Store, put_resolved};

/// Slots that are tried at most to fence one lease.
const FENCE_TRIES: u32 = 100_000;

/// Which slot of the lease comes next.
#[derive(Debug)]
pub(super) struct SlotWriter {
    lease: LeaseId,
    order: SlotOrder,
    /// Sealed bytes whose put has not been answered: the same bytes are sent again.
    doubtful: Option<(Bytes, Slot)>,
}

impl SlotWriter {
    pub(super) fn new(lease: LeaseId) -> Self {
        Self {
            lease,
            order: SlotOrder::default(),
            doubtful: None,
        }
    }

    fn check_open(&self) -> Result<()> {
        let words = match self.order.closed {
            None => return Ok(()),
            Some(Closed::Ended) => {
                let words = format!("lease {}: already ended", self.lease);
                return Err(Error::new(ErrorKind::InvalidInput, words));
            }
            Some(Closed::Fenced) => "was fenced by another; take a new lease",
            Some(Closed::Cloned) => "is used by a copy of this machine; take a new lease",
        };
        Err(Error::new(
            ErrorKind::Fenced,
            format!("lease {}: {words}", self.lease),
        ))
    }

    /// Puts a slot; once this returns, it was read back from the store.
    async fn put(&mut self, store: &Store, slot: Slot) -> Result<()> {
        self.settle(store).await?;
        self.check_open()?;
        if mutated(Mutant::FenceIgnored) {
            let taken = slot_name(&self.lease, self.order.next)?;
            let taken = store.backend().get(&taken, None).await.is_ok();
            self.order.next += u32::from(taken);
        }
        let name = slot_name(&self.lease, self.order.next)?;
        let sealed = store.seal(ObjectKind::Slot, &name, slot.encode()).await?;
        self.doubtful = Some((sealed, slot));
        self.settle(store).await
    }

    /// Puts the slot that is waiting for its answer, if there is one.
    async fn settle(&mut self, store: &Store) -> Result<()> {
        let Some((sealed, slot)) = &self.doubtful else {
            return Ok(());
        };
        let name = slot_name(&self.lease, self.order.next)?;
        match put_resolved(store.backend().as_ref(), &name, sealed.clone()).await? {
            Resolved::Ours => {
                let found = store.backend().get(&name, None).await?;
                if found != *sealed {
                    return Err(Error::damaged(
                        format_args!("object {name}"),
                        "just written",
                    ));
                }
                self.order.answered(slot.is_closing(), SlotAnswer::Ours);
                self.doubtful = None;
                Ok(())
            }
            Resolved::Other(found) => {
                let answer = if store.open_slot(&name, found).await?.is_closing() {
                    SlotAnswer::Closing
                } else {
                    SlotAnswer::Foreign
                };
                self.order.answered(slot.is_closing(), answer);
                self.doubtful = None;
                self.check_open()
            }
        }
    }
}

impl Writer {
    /// Publishes records in sets under a claim token that is given; everything they refer to must
    /// have been flushed before.
    pub(crate) async fn publish_records(
        &self,
        token: u64,
        records: Vec<Bytes>,
    ) -> Result<Vec<SnapshotId>> {
        let environment = self.0.store.environment();
        let mut ids = Vec::with_capacity(records.len());
        let mut named = Vec::with_capacity(records.len());
        for bytes in records {
            let id = SnapshotId::random(environment.as_ref())?;
            ids.push(id);
            named.push(SlotRecord { id, bytes });
        }
        self.publish_slot_records(token, named).await?;
        Ok(ids)
    }

    /// Publishes records under ids that are given, in sets under a claim token that is given.
    pub(crate) async fn publish_slot_records(
        &self,
        token: u64,
        records: Vec<SlotRecord>,
    ) -> Result<()> {
        let mut sets: Vec<Vec<SlotRecord>> = Vec::new();
        let mut room = 0;
        for record in records {
            let length = record.bytes.len();
            match sets.last_mut() {
                Some(set) if set.len() < SET_LIMIT && length <= room => {
                    room -= length;
                    set.push(record);
                }
                _ => {
                    room = SET_BYTES.saturating_sub(length);
                    sets.push(vec![record]);
                }
            }
        }
        let mut slots = self.0.slots.lock().await;
        for records in sets {
            let (store, place) = (&self.0.store, (self.0.lease, slots.order.next));
            let mut newest = NewestOfEach::default();
            for record in &records {
                // Another version of the catalog may have made it.
                if let Ok(entry) = entry_of(store, place, record) {
                    newest.see(&entry);
                }
            }
            slots.put(store, Slot::Set { token, records }).await?;
            store.note_published(&newest);
        }
        Ok(())
    }

    /// Ends the lease, after uploading what is left, and lets the spool directory go.
    ///
    /// *Errors*: [`ErrorKind::Fenced`] when another ended it first: everything published stays.
    pub async fn end(self) -> Result<()> {
        self.flush().await?;
        self.0.spools.retire_all();
        self.flush().await?; // What a gatherer still appended meanwhile.
        let ended = self
            .0
            .slots
            .lock()
            .await
            .put(&self.0.store, Slot::End)
            .await;
        let lock = self.0.spool_lock.lock();
        lock.unwrap_or_else(PoisonError::into_inner).take();
        self.0.store.remember().await?;
        ended
    }
}

/// Ends the lease of a writer that is gone, unless it has ended; its snapshots stay.
pub(crate) async fn fence(store: &Store, lease: &LeaseId) -> Result<()> {
    let listed = store.backend().list(&format!("snaps/{lease}.")).await?;
    let numbers = listed.iter().filter_map(|info| parse_slot_name(&info.name));
    let last = numbers.map(|(_, number)| number).max();
    let first = last.unwrap_or(0);
    for number in (first..).take(FENCE_TRIES as usize) {
        let name = slot_name(lease, number)?;
        if last == Some(number) && store.read_slot(*lease, number).await?.is_closing() {
            return Ok(());
        }
        if last == Some(number) {
            continue;
        }
        if !store.put_if_absent() {
            let words = format!("lease {lease}: cannot be fenced without create-only puts");
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        let sealed = store
            .seal(ObjectKind::Slot, &name, Slot::Fence.encode())
            .await?;
        match put_resolved(store.backend().as_ref(), &name, sealed).await? {
            Resolved::Ours => return Ok(()),
            Resolved::Other(found) if store.open_slot(&name, found.clone()).await?.is_closing() => {
                return Ok(());
            }
            Resolved::Other(_) => {} // A snapshot set won this slot: fence in the next one.
        }
    }
    Err(Error::new(
        ErrorKind::Backend,
        format!("lease {lease}: goes on taking slots"),
    ))
}
