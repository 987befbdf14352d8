//! Slots: the objects `snaps/L.n` in which a lease publishes snapshot sets, strictly in order,
//! until END or FENCE closes it.
//!
//! What a snapshot is made of is not known here: its record is a string of bytes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::backend::{ObjectName, create_directories};
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, SnapshotId};
use crate::offload::offload;
use crate::seal::ObjectKind;
use crate::store::Store;

/// Most snapshots in one set.
pub(crate) const SET_LIMIT: usize = 256;
/// Bytes of records after which a set is closed.
pub(crate) const SET_BYTES: usize = 16 * 1024 * 1024;

/// One snapshot as a slot holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlotRecord {
    pub(crate) id: SnapshotId,
    pub(crate) bytes: Bytes,
}

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Snapshots, published under this claim token.
    Set {
        token: u64,
        records: Vec<SlotRecord>,
    },
    /// The lease was ended by another.
    Fence,
    /// The lease was ended by its writer.
    End,
}

const LAYOUT: u8 = 1;

impl Slot {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.byte(LAYOUT);
        match self {
            Self::Set { token, records } => {
                encoder.byte(0);
                encoder.varint(*token);
                encoder.list(records, |encoder, record| {
                    encoder.raw(record.id.as_bytes());
                    encoder.bytes(&record.bytes);
                });
            }
            Self::Fence => encoder.byte(1),
            Self::End => encoder.byte(2),
        }
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("slot", bytes);
        if decoder.byte()? != LAYOUT {
            return Err(decoder.malformed("its layout is not known"));
        }
        let slot = match decoder.byte()? {
            0 => Self::Set {
                token: decoder.varint()?,
                records: take_records(&mut decoder)?,
            },
            1 => Self::Fence,
            2 => Self::End,
            _ => return Err(decoder.malformed("it is of a kind that is not known")),
        };
        decoder.finish()?;
        Ok(slot)
    }

    /// Tells whether the lease is ended by this slot.
    pub(crate) fn is_closing(&self) -> bool {
        !matches!(self, Self::Set { .. })
    }

    fn record_bytes(&self) -> usize {
        match self {
            Self::Set { records, .. } => records.iter().map(|record| record.bytes.len()).sum(),
            Self::Fence | Self::End => 0,
        }
    }
}

fn take_records(decoder: &mut Decoder<'_>) -> Result<Vec<SlotRecord>> {
    let records = decoder.list(17, |decoder| {
        let id = SnapshotId::from_bytes(decoder.array()?);
        Ok((id, decoder.bytes()?))
    })?;
    if records.len() > SET_LIMIT {
        return Err(decoder.malformed("it holds more snapshots than a set may"));
    }
    let record = |(id, bytes)| SlotRecord {
        id,
        bytes: Bytes::copy_from_slice(bytes),
    };
    Ok(records.into_iter().map(record).collect())
}

/// Names slot `number` of a lease.
pub(crate) fn slot_name(lease: &LeaseId, number: u32) -> Result<ObjectName> {
    ObjectName::new(format!("snaps/{lease}.{number}"))
}

/// Reads lease and number back from a slot's name.
pub(crate) fn parse_slot_name(name: &ObjectName) -> Option<(LeaseId, u32)> {
    let (lease, number) = name.as_str().strip_prefix("snaps/")?.split_once('.')?;
    let (lease, number) = (lease.parse().ok()?, number.parse().ok()?);
    (slot_name(&lease, number).ok()? == *name).then_some((lease, number))
}

/// What of a slot is kept in memory, whatever its snapshots say.
#[derive(Debug, Clone)]
pub(crate) enum SlotHead {
    /// Snapshots, published under this claim token.
    Set {
        token: u64,
        snapshots: Arc<[SnapshotId]>,
    },
    /// FENCE or END.
    Closing,
}

impl SlotHead {
    pub(crate) fn of(slot: &Slot) -> Self {
        match slot {
            Slot::Set { token, records } => Self::Set {
                token: *token,
                snapshots: records.iter().map(|record| record.id).collect(),
            },
            Slot::Fence | Slot::End => Self::Closing,
        }
    }

    /// Tells whether the lease is ended by this slot.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self, Self::Closing)
    }
}

/// A slot with its place.
#[derive(Debug, Clone)]
pub(crate) struct PlacedSlot {
    pub(crate) lease: LeaseId,
    pub(crate) number: u32,
    pub(crate) head: SlotHead,
}

/// What one listing of all slots gave.
#[derive(Debug, Default)]
pub(crate) struct SlotListing {
    pub(crate) slots: Vec<PlacedSlot>,
    /// Objects that could not be read, each with the cause; the others are whole.
    pub(crate) damaged: Vec<(ObjectName, Error)>,
}

impl SlotListing {
    /// Returns the slots that can be read.
    pub(crate) fn readable(&self) -> Self {
        Self {
            slots: self.slots.clone(),
            damaged: Vec::new(),
        }
    }

    /// The greatest claim token of all sets, 0 when there are none.
    pub(crate) fn greatest_token(&self) -> u64 {
        let token = |placed: &PlacedSlot| match placed.head {
            SlotHead::Set { token, .. } => token,
            SlotHead::Closing => 0,
        };
        self.slots.iter().map(token).max().unwrap_or(0)
    }
}

/// Bytes of records of slots that are kept in memory.
const KEPT_BYTES: usize = 16 << 20;

/// Slots that were opened already: they never change. The heads of all are kept, and as many
/// records as fit.
#[derive(Debug, Default)]
pub(crate) struct SlotCache(Mutex<Opened>);

#[derive(Debug, Default)]
struct Opened {
    heads: HashMap<(LeaseId, u32), SlotHead>,
    slots: HashMap<(LeaseId, u32), Arc<Slot>>,
    /// Bytes of the records in `slots`.
    bytes: usize,
}

impl SlotCache {
    fn get(&self, place: (LeaseId, u32)) -> Option<Arc<Slot>> {
        self.opened().slots.get(&place).map(Arc::clone)
    }

    fn head(&self, place: (LeaseId, u32)) -> Option<SlotHead> {
        self.opened().heads.get(&place).cloned()
    }

    fn put(&self, place: (LeaseId, u32), slot: &Arc<Slot>) {
        let mut opened = self.opened();
        opened.heads.insert(place, SlotHead::of(slot));
        let bytes = slot.record_bytes();
        if opened.bytes + bytes > KEPT_BYTES {
            opened.slots.clear();
            opened.bytes = 0;
        }
        if opened.slots.insert(place, Arc::clone(slot)).is_none() {
            opened.bytes += bytes;
        }
    }

    /// Keeps only what a listing has shown.
    fn retain(&self, listed: &HashSet<(LeaseId, u32)>) {
        let mut opened = self.opened();
        opened.heads.retain(|place, _| listed.contains(place));
        opened.slots.retain(|place, _| listed.contains(place));
        opened.bytes = opened.slots.values().map(|slot| slot.record_bytes()).sum();
    }

    fn opened(&self) -> MutexGuard<'_, Opened> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Lists all slots, now, and reads those that are new.
    pub(crate) async fn list_slots(&self) -> Result<SlotListing> {
        let listed = self.backend().list("snaps/").await?;
        let places = listed.iter().filter_map(|info| parse_slot_name(&info.name));
        self.slot_cache().retain(&places.collect());
        let mut listing = SlotListing::default();
        for info in listed {
            let Some((lease, number)) = parse_slot_name(&info.name) else {
                let cause = Error::damaged(format_args!("object {}", info.name), "a strange name");
                listing.damaged.push((info.name, cause));
                continue;
            };
            let head = match self.slot_cache().head((lease, number)) {
                Some(head) => Ok(head),
                None => self
                    .read_slot(lease, number)
                    .await
                    .map(|slot| SlotHead::of(&slot)),
            };
            match head {
                Ok(head) => listing.slots.push(PlacedSlot {
                    lease,
                    number,
                    head,
                }),
                // Deleted since the listing: its snapshots are forgotten.
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) if cause.kind() == ErrorKind::Damaged => {
                    tracing::warn!(name = %info.name, %cause, "a snapshot set cannot be read");
                    listing.damaged.push((info.name, cause));
                }
                Err(cause) => return Err(cause),
            }
        }
        listing
            .slots
            .sort_by_key(|placed| (placed.lease, placed.number));
        Ok(listing)
    }

    /// Reads a slot: from memory, from the local cache of sealed bytes, or from the backend.
    pub(crate) async fn read_slot(&self, lease: LeaseId, number: u32) -> Result<Arc<Slot>> {
        let place = (lease, number);
        if let Some(slot) = self.slot_cache().get(place) {
            return Ok(slot);
        }
        let name = &slot_name(&lease, number)?;
        let path = self.cached_slot_path(name);
        if let Some(slot) = self.read_cached_slot(name, path.clone()).await? {
            self.slot_cache().put(place, &slot);
            return Ok(slot);
        }
        let range = 0..ObjectKind::Slot.sealed_limit();
        let sealed = self.backend().get(name, Some(range)).await?;
        let slot = self.open_slot(name, sealed.clone()).await?;
        self.slot_cache().put(place, &slot);
        if let Some(path) = path {
            let written = offload(self.offload().as_ref(), move || {
                write_cached(&path, &sealed)
            });
            if let Err(cause) = written.await? {
                tracing::warn!(%cause, "a snapshot set could not be cached");
            }
        }
        Ok(slot)
    }

    pub(crate) async fn open_slot(&self, name: &ObjectName, sealed: Bytes) -> Result<Arc<Slot>> {
        let plain = self.open_sealed(ObjectKind::Slot, name, sealed).await?;
        let slot = Slot::decode(&plain).map_err(|cause| {
            Error::damaged(format_args!("object {name}"), "its records").with_source(cause)
        })?;
        Ok(Arc::new(slot))
    }

    fn cached_slot_path(&self, name: &ObjectName) -> Option<PathBuf> {
        Some(self.cache_dir()?.join(name.as_str()))
    }

    /// Reads a slot from the local cache; bytes that do not open are as good as none.
    async fn read_cached_slot(
        &self,
        name: &ObjectName,
        path: Option<PathBuf>,
    ) -> Result<Option<Arc<Slot>>> {
        let Some(path) = path else {
            return Ok(None);
        };
        let read = offload(self.offload().as_ref(), move || fs::read(path)).await?;
        match read {
            Ok(sealed) => Ok(self.open_slot(name, Bytes::from(sealed)).await.ok()),
            Err(_) => Ok(None),
        }
    }
}

fn write_cached(path: &std::path::Path, sealed: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        create_directories(parent)?;
    }
    fs::write(path, sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_survives_being_written_and_read() {
        let set = Slot::Set {
            token: 300,
            records: vec![SlotRecord {
                id: SnapshotId::from_bytes([4; 16]),
                bytes: Bytes::from_static(b"record"),
            }],
        };
        for slot in [set, Slot::Fence, Slot::End] {
            assert_eq!(Slot::decode(&slot.encode()).unwrap(), slot);
        }
        assert!(Slot::decode(&[LAYOUT, 3]).is_err());
        assert!(Slot::decode(&[LAYOUT, 1, 0]).is_err());
    }

    #[test]
    fn a_slot_name_leads_back_to_lease_and_number() {
        let lease = LeaseId::from_bytes([8; 16]);
        let name = slot_name(&lease, 12).unwrap();
        assert_eq!(parse_slot_name(&name), Some((lease, 12)));
        let strange = ObjectName::new(format!("snaps/{lease}.012")).unwrap();
        assert_eq!(parse_slot_name(&strange), None);
    }
}
