//! The records of rounds: plan, verdict, done, the acknowledgements of writers, and what is damaged.
//!
//! *Shape*: every record begins with layout 1. A set of ids is a count and the ids, 16 bytes each,
//! strictly ascending; a set of slots is a count of leases and, for each in ascending order, its id
//! and a count and the numbers of its slots, strictly ascending, as varints. Names are texts.

use std::collections::{BTreeMap, BTreeSet};

use super::RoundNumber;
use crate::backend::ObjectName;
use crate::check::BadPlaces;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::time::Timestamp;

const LAYOUT: u8 = 1;

/// Slots by lease.
pub(crate) type SlotSet = BTreeMap<LeaseId, BTreeSet<u32>>;

/// `gc/e.plan`: what round e wants to remove. *Shape*: layout, round, snapshots, packs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Plan {
    pub(crate) round: RoundNumber,
    /// Snapshots that retention forgets.
    pub(crate) forget: BTreeSet<SnapshotId>,
    /// The condemned packs.
    pub(crate) packs: BTreeSet<PackId>,
}

impl Plan {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(self.round);
        put_ids(&mut encoder, self.forget.iter().map(SnapshotId::as_bytes));
        put_ids(&mut encoder, self.packs.iter().map(PackId::as_bytes));
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut decoder, round) = open("plan", bytes)?;
        let plan = Self {
            round,
            forget: take_ids(&mut decoder, SnapshotId::from_bytes)?,
            packs: take_ids(&mut decoder, PackId::from_bytes)?,
        };
        decoder.finish()?;
        Ok(plan)
    }
}

/// `gc/e.verdict`: exactly what round e deletes. *Shape*: layout, round, snapshots forgotten,
/// snapshots left, slots, segments, packs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Verdict {
    pub(crate) round: RoundNumber,
    /// Snapshots that do not exist from now on.
    pub(crate) forget: BTreeSet<SnapshotId>,
    /// Forgotten snapshots, of this round or earlier ones, whose slot objects stay for the sake of
    /// others in them.
    pub(crate) left: BTreeSet<SnapshotId>,
    /// Slot objects in which nothing is left.
    pub(crate) slots: SlotSet,
    /// Segments that nothing needs.
    pub(crate) segments: BTreeSet<ObjectName>,
    /// Packs that nothing needs: the condemned ones less the rescued ones.
    pub(crate) packs: BTreeSet<PackId>,
}

impl Verdict {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(self.round);
        put_ids(&mut encoder, self.forget.iter().map(SnapshotId::as_bytes));
        put_ids(&mut encoder, self.left.iter().map(SnapshotId::as_bytes));
        put_slots(&mut encoder, &self.slots);
        encoder.varint(self.segments.len() as u64);
        for name in &self.segments {
            encoder.text(name.as_str());
        }
        put_ids(&mut encoder, self.packs.iter().map(PackId::as_bytes));
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut decoder, round) = open("verdict", bytes)?;
        let forget = take_ids(&mut decoder, SnapshotId::from_bytes)?;
        let left = take_ids(&mut decoder, SnapshotId::from_bytes)?;
        let slots = take_slots(&mut decoder)?;
        let names = decoder.list(2, |decoder| {
            let name = decoder.text()?;
            ObjectName::new(name).map_err(|_| decoder.malformed("it names no object"))
        })?;
        if !names.is_sorted_by(|a, b| a < b) {
            return Err(decoder.malformed("its names are not in order"));
        }
        let packs = take_ids(&mut decoder, PackId::from_bytes)?;
        decoder.finish()?;
        Ok(Self {
            round,
            forget,
            left,
            slots,
            segments: names.into_iter().collect(),
            packs,
        })
    }
}

/// `gc/e.done`: round e is over; what is gone for ever, merged with what earlier rounds say.
/// *Shape*: layout, round, dead packs, forgotten snapshots, slots that are gone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Done {
    pub(crate) round: RoundNumber,
    /// Every pack that was ever swept: a put that lands late brings none of them back.
    pub(crate) dead: BTreeSet<PackId>,
    /// Forgotten snapshots whose slot objects are still there, because others are in them too.
    pub(crate) forgotten: BTreeSet<SnapshotId>,
    /// Every slot that was ever deleted: one that a late put brings back holds nothing.
    pub(crate) gone: SlotSet,
}

impl Done {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(self.round);
        put_ids(&mut encoder, self.dead.iter().map(PackId::as_bytes));
        let forgotten = self.forgotten.iter().map(SnapshotId::as_bytes);
        put_ids(&mut encoder, forgotten);
        put_slots(&mut encoder, &self.gone);
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut decoder, round) = open("done", bytes)?;
        let done = Self {
            round,
            dead: take_ids(&mut decoder, PackId::from_bytes)?,
            forgotten: take_ids(&mut decoder, SnapshotId::from_bytes)?,
            gone: take_slots(&mut decoder)?,
        };
        decoder.finish()?;
        Ok(done)
    }

    pub(crate) fn is_gone(&self, lease: &LeaseId, slot: u32) -> bool {
        let slots = self.gone.get(lease);
        slots.is_some_and(|slots| slots.contains(&slot))
    }
}

/// `acks/L.e`: lease L refers, and will refer, to nothing that round e condemned. *Shape*: layout,
/// round, lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) lease: LeaseId,
    pub(crate) round: RoundNumber,
}

impl Ack {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(self.round);
        encoder.raw(self.lease.as_bytes());
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let (mut decoder, round) = open("acknowledgement", bytes)?;
        let lease = LeaseId::from_bytes(decoder.array()?);
        decoder.finish()?;
        Ok(Self { lease, round })
    }
}

/// `breaks/L`: an operator declares that the writer of lease L is gone, where no fence can say it.
/// *Shape*: layout, lease, time in milliseconds (signed), reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BrokenLease {
    pub(crate) lease: LeaseId,
    pub(crate) at: Timestamp,
    pub(crate) reason: String,
}

impl BrokenLease {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.byte(LAYOUT);
        encoder.raw(self.lease.as_bytes());
        encoder.signed(self.at.as_millis());
        encoder.text(&self.reason);
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("broken lease", bytes);
        check_layout(&mut decoder)?;
        let broken = Self {
            lease: LeaseId::from_bytes(decoder.array()?),
            at: Timestamp::from_millis(decoder.signed()?),
            reason: decoder.text()?,
        };
        decoder.finish()?;
        Ok(broken)
    }
}

/// `gc/<id>.damage`: where a check has found damage that is not to be relied on. *Shape*: layout,
/// packs that are damaged as a whole, list of (pack, its damaged blocks), both ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Damage {
    packs: BTreeSet<PackId>,
    blocks: BTreeMap<PackId, BTreeSet<u32>>,
}

impl Damage {
    pub(crate) fn of(places: &BadPlaces) -> Self {
        let mut blocks: BTreeMap<PackId, BTreeSet<u32>> = BTreeMap::new();
        for (pack, block) in &places.blocks {
            blocks.entry(*pack).or_default().insert(*block);
        }
        Self {
            packs: places.packs.clone(),
            blocks,
        }
    }

    pub(crate) fn places(self) -> BadPlaces {
        let of_pack = |(pack, blocks): (PackId, BTreeSet<u32>)| {
            blocks.into_iter().map(move |block| (pack, block))
        };
        BadPlaces {
            packs: self.packs,
            blocks: self.blocks.into_iter().flat_map(of_pack).collect(),
            ..BadPlaces::default()
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.byte(LAYOUT);
        put_ids(&mut encoder, self.packs.iter().map(PackId::as_bytes));
        put_numbers(&mut encoder, &self.blocks, PackId::as_bytes);
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("damage record", bytes);
        check_layout(&mut decoder)?;
        let packs = take_ids(&mut decoder, PackId::from_bytes)?;
        let blocks = take_numbers(&mut decoder, PackId::from_bytes)?;
        decoder.finish()?;
        Ok(Self { packs, blocks })
    }
}

fn begin(round: RoundNumber) -> Encoder {
    let mut encoder = Encoder::new();
    encoder.byte(LAYOUT);
    encoder.varint(round.get().into());
    encoder
}

fn open<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(Decoder<'a>, RoundNumber)> {
    let mut decoder = Decoder::new(what, bytes);
    check_layout(&mut decoder)?;
    let round = RoundNumber::new(decoder.varint_u32()?);
    Ok((decoder, round))
}

fn check_layout(decoder: &mut Decoder<'_>) -> Result<()> {
    if decoder.byte()? == LAYOUT {
        Ok(())
    } else {
        Err(decoder.malformed("its layout is not known"))
    }
}

fn put_ids<'a>(encoder: &mut Encoder, ids: impl ExactSizeIterator<Item = &'a [u8; 16]>) {
    encoder.varint(ids.len() as u64);
    for id in ids {
        encoder.raw(id);
    }
}

fn take_ids<T: Ord>(decoder: &mut Decoder<'_>, make: fn([u8; 16]) -> T) -> Result<BTreeSet<T>> {
    let ids = decoder.list(16, |decoder| decoder.array().map(make))?;
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(decoder.malformed("its ids are not in order"));
    }
    Ok(ids.into_iter().collect())
}

fn put_slots(encoder: &mut Encoder, slots: &SlotSet) {
    put_numbers(encoder, slots, LeaseId::as_bytes);
}

fn take_slots(decoder: &mut Decoder<'_>) -> Result<SlotSet> {
    take_numbers(decoder, LeaseId::from_bytes)
}

/// Writes numbers by id, both ascending.
fn put_numbers<T>(
    encoder: &mut Encoder,
    numbers: &BTreeMap<T, BTreeSet<u32>>,
    bytes: fn(&T) -> &[u8; 16],
) {
    encoder.varint(numbers.len() as u64);
    for (id, numbers) in numbers {
        encoder.raw(bytes(id));
        encoder.varint(numbers.len() as u64);
        for number in numbers {
            encoder.varint((*number).into());
        }
    }
}

fn take_numbers<T: Ord>(
    decoder: &mut Decoder<'_>,
    make: fn([u8; 16]) -> T,
) -> Result<BTreeMap<T, BTreeSet<u32>>> {
    let found = decoder.list(18, |decoder| {
        let id = make(decoder.array()?);
        let numbers = decoder.list(1, Decoder::varint_u32)?;
        if numbers.is_empty() || !numbers.is_sorted_by(|a, b| a < b) {
            return Err(decoder.malformed("its numbers are not in order"));
        }
        Ok((id, numbers.into_iter().collect()))
    })?;
    if !found.is_sorted_by(|a: &(T, BTreeSet<u32>), b| a.0 < b.0) {
        return Err(decoder.malformed("its ids are not in order"));
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packs() -> impl Strategy<Value = BTreeSet<PackId>> {
        prop::collection::btree_set(any::<[u8; 16]>().prop_map(PackId::from_bytes), 0..5)
    }

    fn snapshots() -> impl Strategy<Value = BTreeSet<SnapshotId>> {
        prop::collection::btree_set(any::<[u8; 16]>().prop_map(SnapshotId::from_bytes), 0..5)
    }

    fn slots() -> impl Strategy<Value = SlotSet> {
        let lease = any::<[u8; 16]>().prop_map(LeaseId::from_bytes);
        prop::collection::btree_map(lease, prop::collection::btree_set(any::<u32>(), 1..4), 0..4)
    }

    proptest! {
        #[test]
        fn a_record_survives_being_written_and_read(
            round: u32, forget in snapshots(), left in snapshots(), slots in slots(), packs in packs(),
            names in prop::collection::btree_set("segments/[0-9a-f]{8}", 0..4),
        ) {
            let round = RoundNumber::new(round);
            let segments = names.iter().map(|name| ObjectName::new(name.clone()).unwrap());
            let verdict = Verdict {
                round, forget: forget.clone(), left: left.clone(), slots: slots.clone(), segments: segments.collect(),
                packs: packs.clone(),
            };
            prop_assert_eq!(Verdict::decode(&verdict.encode()).unwrap(), verdict);
            let plan = Plan { round, forget: forget.clone(), packs: packs.clone() };
            prop_assert_eq!(Plan::decode(&plan.encode()).unwrap(), plan);
            let blocks = slots.iter().map(|(lease, numbers)| (PackId::from_bytes(*lease.as_bytes()), numbers.clone()));
            let damage = Damage { packs: packs.clone(), blocks: blocks.collect() };
            prop_assert_eq!(Damage::decode(&damage.encode()).unwrap(), damage.clone());
            prop_assert_eq!(Damage::of(&damage.clone().places()), damage);
            let done = Done { round, dead: packs, forgotten: forget, gone: slots };
            prop_assert_eq!(Done::decode(&done.encode()).unwrap(), done);
        }

        #[test]
        fn what_is_accepted_is_written_in_one_way_only(
            bytes in prop::collection::vec(0u8..4, 0..80),
        ) {
            let mut framed = vec![LAYOUT];
            framed.extend(bytes);
            if let Ok(plan) = Plan::decode(&framed) {
                prop_assert_eq!(plan.encode(), framed.clone());
            }
            if let Ok(verdict) = Verdict::decode(&framed) {
                prop_assert_eq!(verdict.encode(), framed.clone());
            }
            if let Ok(damage) = Damage::decode(&framed) {
                prop_assert_eq!(damage.encode(), framed.clone());
            }
            if let Ok(done) = Done::decode(&framed) {
                prop_assert_eq!(done.encode(), framed);
            }
        }
    }

    #[test]
    fn small_records_survive_and_other_bytes_are_refused() {
        let lease = LeaseId::from_bytes([3; 16]);
        let ack = Ack {
            lease,
            round: RoundNumber::new(7),
        };
        assert_eq!(Ack::decode(&ack.encode()).unwrap(), ack);
        assert!(Ack::decode(&ack.encode()[1..]).is_err());
        let broken = BrokenLease {
            lease,
            at: Timestamp::from_millis(-5),
            reason: "the machine burnt".to_owned(),
        };
        assert_eq!(BrokenLease::decode(&broken.encode()).unwrap(), broken);
        let unordered = Plan {
            packs: [[1; 16], [2; 16]].map(PackId::from_bytes).into(),
            ..Plan::default()
        };
        let mut bytes = unordered.encode();
        let at = bytes.len() - 32;
        bytes[at..].rotate_left(16);
        assert!(Plan::decode(&bytes).is_err());
    }
}
