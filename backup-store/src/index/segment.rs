//! Segments: sorted lists of chunks and their places, for one or more packs of one kind.
//!
//! A segment can be rebuilt from the tables of its packs at any time.

use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::id::{ChunkId, PackId};
use crate::pack::layout::Table;
use crate::pack::{HEADER, Location, PackKind, PackSealer};

/// A pack of a segment, and the sealed and inflated length of each of its blocks.
///
/// The lengths come from the pack's table, never from its chunks: where a block begins depends on
/// every block before it, even on one that no chunk is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentPack {
    pub(crate) id: PackId,
    pub(crate) blocks: Vec<(u32, u32)>,
}

/// A segment: its chunks are sorted by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) kind: PackKind,
    pub(crate) packs: Vec<SegmentPack>,
    pub(crate) chunks: Vec<(ChunkId, Location)>,
}

const LAYOUT: u8 = 1;

impl Segment {
    /// Makes the segment of some packs from their tables.
    pub(crate) fn new<'a>(
        kind: PackKind,
        packs: impl Iterator<Item = (&'a PackSealer, Table)>,
    ) -> Self {
        let mut segment = Self {
            kind,
            packs: Vec::new(),
            chunks: Vec::new(),
        };
        for (sealer, table) in packs {
            segment.push(sealer, &table);
        }
        segment.sort();
        segment
    }

    /// Adds a pack by its table; [`sort`](Self::sort) follows the last one.
    pub(crate) fn push(&mut self, sealer: &PackSealer, table: &Table) {
        let lengths = table.blocks.iter().map(|block| (block.sealed, block.plain));
        self.packs.push(SegmentPack {
            id: sealer.id,
            blocks: lengths.collect(),
        });
        self.chunks.extend(table.locations(sealer));
    }

    /// Sorts the chunks by id.
    pub(crate) fn sort(&mut self) {
        self.chunks
            .sort_by_key(|(id, place)| (*id, place.pack, place.block, place.start));
    }

    /// Writes packs with their blocks, then chunks that point at them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let number = |pack: &PackId| self.packs.iter().position(|found| found.id == *pack);
        let mut encoder = Encoder::new();
        encoder.byte(LAYOUT);
        encoder.byte(self.kind.code());
        encoder.list(&self.packs, |encoder, pack| {
            encoder.raw(pack.id.as_bytes());
            encoder.list(&pack.blocks, |encoder, (sealed, plain)| {
                encoder.varint((*sealed).into());
                encoder.varint((*plain).into());
            });
        });
        encoder.list(&self.chunks, |encoder, (id, place)| {
            encoder.raw(id.as_bytes());
            encoder.varint(number(&place.pack).unwrap_or(0) as u64);
            encoder.varint(place.block.into());
            encoder.varint(place.start.into());
            encoder.varint(place.length.into());
        });
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("segment", bytes);
        if decoder.byte()? != LAYOUT {
            return Err(decoder.malformed("its layout is not known"));
        }
        let kind = PackKind::from_code(decoder.byte()?)
            .ok_or_else(|| decoder.malformed("its kind of packs is not known"))?;
        let packs = decoder.list(17, |decoder| {
            let pack = PackId::from_bytes(decoder.array()?);
            let mut offset = HEADER as u64;
            let blocks = decoder.list(2, |decoder| {
                let block = (offset, decoder.varint_u32()?, decoder.varint_u32()?);
                offset += u64::from(block.1);
                Ok(block)
            })?;
            Ok((pack, blocks))
        })?;
        let chunks = decoder.list(36, |decoder| {
            let id = ChunkId::from_bytes(decoder.array()?);
            let pack = decoder.varint_u32()? as usize;
            let block = decoder.varint_u32()?;
            let (start, length) = (decoder.varint_u32()?, decoder.varint_u32()?);
            let found = packs.get(pack).and_then(|(pack, blocks)| {
                let (offset, sealed, plain) = *blocks.get(block as usize)?;
                start.checked_add(length).filter(|end| *end <= plain)?;
                Some(Location {
                    pack: *pack,
                    block,
                    offset,
                    sealed,
                    plain,
                    start,
                    length,
                })
            });
            let place = found.ok_or_else(|| decoder.malformed("a chunk lies in no block"))?;
            Ok((id, place))
        })?;
        decoder.finish()?;
        let packs = packs.into_iter().map(|(id, blocks)| SegmentPack {
            id,
            blocks: blocks
                .into_iter()
                .map(|(_, sealed, plain)| (sealed, plain))
                .collect(),
        });
        let packs = packs.collect();
        Ok(Self {
            kind,
            packs,
            chunks,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::environment::SystemEnvironment;
    use crate::id::LeaseId;
    use crate::keys::tests::test_keys;
    use crate::pack::layout::BlockEntry;

    const LEASE: LeaseId = LeaseId::from_bytes([9; 16]);

    fn table(blocks: &[Vec<u32>]) -> Table {
        let mut next = 0u8;
        let entry = |lengths: &Vec<u32>| BlockEntry {
            sealed: 33 + lengths.iter().sum::<u32>() / 2,
            plain: lengths.iter().sum(),
            chunks: lengths
                .iter()
                .map(|length| {
                    next = next.wrapping_add(37);
                    (ChunkId::from_bytes([next; 32]), *length)
                })
                .collect(),
        };
        Table {
            blocks: blocks.iter().map(entry).collect(),
        }
    }

    proptest! {
        #[test]
        fn a_segment_survives_being_written_and_read(
            packs in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u32..5000, 0..6), 1..6), 1..4),
        ) {
            let keys = test_keys();
            let sealers: Vec<_> = packs
                .iter()
                .map(|_| PackSealer::create(&keys, PackKind::Content, &LEASE, &SystemEnvironment).unwrap())
                .collect();
            let tables = packs.iter().map(|blocks| table(blocks));
            let segment = Segment::new(PackKind::Content, sealers.iter().zip(tables));
            prop_assert!(segment.chunks.is_sorted_by_key(|(id, _)| *id));
            prop_assert_eq!(Segment::decode(&segment.encode()).unwrap(), segment);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Segment::decode(&bytes);
            let _ = Table::decode(&bytes);
        }
    }
}
