//! Layout of the messages of a segment: blocks of entries, directory, trailer.

use super::filter::SHARD_BITS_MAX;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::id::{ChunkId, PackId, SegmentId};
use crate::pack::{BLOCK_LIMIT, Location, PackKind};

/// Entries of a block; more only where one chunk lies in many places.
pub(crate) const BLOCK_ENTRIES: usize = 256;
/// Longest plaintext of a directory.
pub(crate) const DIRECTORY_LIMIT: u32 = 64 << 20;
/// Longest sealed block or filter shard.
pub(crate) const PART_LIMIT: u32 = 48 << 20;
/// Length of the trailer's plaintext.
pub(crate) const TRAILER_PLAIN: usize = 8 + 8 + 4;
/// Bytes of the shortest entry.
const ENTRY_LEAST: usize = 32 + 7;

/// One chunk and one place where it lies.
pub(crate) type Entry = (ChunkId, Location);

/// What the directory says about one block of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    /// The first eight bytes of its first id.
    pub(crate) head: u64,
    /// Length of the sealed block.
    pub(crate) sealed: u32,
}

/// What a segment says about itself: enough to find the one block that may hold an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Directory {
    /// The kind of its packs.
    pub(crate) kind: PackKind,
    /// Number of entries.
    pub(crate) entries: u64,
    /// Segments whose every entry is in this one; ascending.
    pub(crate) supersedes: Vec<SegmentId>,
    /// The packs its entries name by number; ascending.
    pub(crate) packs: Vec<PackId>,
    /// Lengths of the sealed filter shards, a power of two of them.
    pub(crate) shards: Vec<u32>,
    /// The blocks in the order of their ids.
    pub(crate) blocks: Vec<BlockEntry>,
}

const LAYOUT: u8 = 1;

impl Directory {
    /// Returns the number of prefix bits that name a shard.
    pub(crate) fn shard_bits(&self) -> u32 {
        self.shards.len().checked_ilog2().unwrap_or(0)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.byte(LAYOUT);
        encoder.byte(self.kind.code());
        encoder.varint(self.entries);
        encoder.list(&self.supersedes, |encoder, id| encoder.raw(id.as_bytes()));
        encoder.list(&self.packs, |encoder, id| encoder.raw(id.as_bytes()));
        encoder.byte(u8::try_from(self.shard_bits()).unwrap_or(u8::MAX));
        for sealed in &self.shards {
            encoder.varint((*sealed).into());
        }
        encoder.list(&self.blocks, |encoder, block| {
            encoder.raw(&block.head.to_be_bytes());
            encoder.varint(block.sealed.into());
        });
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("segment directory", bytes);
        if decoder.byte()? != LAYOUT {
            return Err(decoder.malformed("its layout is not known"));
        }
        let kind = PackKind::from_code(decoder.byte()?)
            .ok_or_else(|| decoder.malformed("its kind of packs is not known"))?;
        let entries = decoder.varint()?;
        let id = |decoder: &mut Decoder<'_>| Ok(SegmentId::from_bytes(decoder.array()?));
        let supersedes = decoder.list(16, id)?;
        let packs = decoder.list(16, |decoder| Ok(PackId::from_bytes(decoder.array()?)))?;
        let bits = u32::from(decoder.byte()?);
        if bits > SHARD_BITS_MAX {
            return Err(decoder.malformed("has too many filter shards"));
        }
        let mut shards = Vec::new();
        for _ in 0..1u32 << bits {
            shards.push(part_length(&mut decoder)?);
        }
        let blocks = decoder.list(9, |decoder| {
            let head = u64::from_be_bytes(decoder.array()?);
            let sealed = part_length(decoder)?;
            Ok(BlockEntry { head, sealed })
        })?;
        let ascend = supersedes.is_sorted_by(|a, b| a < b)
            && packs.is_sorted_by(|a, b| a < b)
            && blocks.is_sorted_by_key(|block| block.head);
        if !ascend {
            return Err(decoder.malformed("its lists are out of order"));
        }
        decoder.finish()?;
        Ok(Self {
            kind,
            entries,
            supersedes,
            packs,
            shards,
            blocks,
        })
    }
}

fn part_length(decoder: &mut Decoder<'_>) -> Result<u32> {
    let length = decoder.varint_u32()?;
    if length > PART_LIMIT {
        return Err(decoder.malformed("a part of it is too long"));
    }
    Ok(length)
}

/// Where the parts of a segment lie; at its very end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Where the filter shards begin; they end where the directory begins.
    pub(crate) filters: u64,
    /// Where the sealed directory begins, and its length.
    pub(crate) directory: u64,
    pub(crate) length: u32,
}

impl Trailer {
    pub(crate) fn encode(&self) -> [u8; TRAILER_PLAIN] {
        let mut bytes = [0; TRAILER_PLAIN];
        bytes[..8].copy_from_slice(&self.filters.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.directory.to_le_bytes());
        bytes[16..].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("segment trailer", bytes);
        let trailer = Self {
            filters: u64::from_le_bytes(decoder.array()?),
            directory: u64::from_le_bytes(decoder.array()?),
            length: u32::from_le_bytes(decoder.array()?),
        };
        if trailer.filters > trailer.directory || trailer.length > DIRECTORY_LIMIT {
            return Err(decoder.malformed("its parts do not fit"));
        }
        decoder.finish()?;
        Ok(trailer)
    }
}

/// Tells entries apart, and orders them: by chunk, then by place.
pub(crate) fn order(entry: &Entry) -> (ChunkId, PackId, u32, u32) {
    (entry.0, entry.1.pack, entry.1.block, entry.1.start)
}

/// Appends one entry to a block; `pack` is the number of its pack.
pub(crate) fn encode_entry(encoder: &mut Encoder, pack: usize, (id, place): &Entry) {
    encoder.raw(id.as_bytes());
    encoder.varint(pack as u64);
    encoder.varint(place.block.into());
    encoder.varint(place.offset);
    encoder.varint(place.sealed.into());
    encoder.varint(place.plain.into());
    encoder.varint(place.start.into());
    encoder.varint(place.length.into());
}

/// Reads the entries of a block; `packs` are those of the directory.
pub(crate) fn decode_block(bytes: &[u8], packs: &[PackId]) -> Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity((bytes.len() / ENTRY_LEAST).min(BLOCK_ENTRIES * 2));
    each_entry(bytes, packs, |entry| {
        entries.push(entry);
        true
    })?;
    Ok(entries)
}

/// Collects the places of one chunk from a block.
pub(crate) fn find_in_block(
    bytes: &[u8],
    packs: &[PackId],
    id: &ChunkId,
    found: &mut Vec<Location>,
) -> Result<()> {
    each_entry(bytes, packs, |entry| {
        if entry.0 == *id {
            found.push(entry.1);
        }
        entry.0 <= *id
    })
}

/// Calls `visit` with each entry, until it wants no more.
fn each_entry(bytes: &[u8], packs: &[PackId], mut visit: impl FnMut(Entry) -> bool) -> Result<()> {
    let mut decoder = Decoder::new("segment block", bytes);
    let mut last = None;
    while !decoder.is_empty() {
        let entry = decode_entry(&mut decoder, packs)?;
        let this = order(&entry);
        if last.is_some_and(|last| last >= this) {
            return Err(decoder.malformed("its entries are out of order"));
        }
        last = Some(this);
        if !visit(entry) {
            return Ok(());
        }
    }
    decoder.finish()
}

fn decode_entry(decoder: &mut Decoder<'_>, packs: &[PackId]) -> Result<Entry> {
    let id = ChunkId::from_bytes(decoder.array()?);
    let pack = decoder.varint_u32()? as usize;
    let pack = packs.get(pack).copied();
    let pack = pack.ok_or_else(|| decoder.malformed("a chunk lies in no pack"))?;
    let place = Location {
        pack,
        block: decoder.varint_u32()?,
        offset: decoder.varint()?,
        sealed: decoder.varint_u32()?,
        plain: decoder.varint_u32()?,
        start: decoder.varint_u32()?,
        length: decoder.varint_u32()?,
    };
    let inside = place
        .start
        .checked_add(place.length)
        .is_some_and(|end| end <= place.plain)
        && place.plain as usize <= BLOCK_LIMIT
        && place.offset.checked_add(place.sealed.into()).is_some();
    if !inside {
        return Err(decoder.malformed("a chunk lies in no block"));
    }
    Ok((id, place))
}
