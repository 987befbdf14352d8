//! Layout of blocks, tables and trailers: between plain values and the messages of a pack.

use bytes::{Bytes, BytesMut};

use super::noise::is_noise;
use super::{BLOCK_LIMIT, Block, HEADER, Location, OVERHEAD, PackSealer, Role};
use crate::codec::{Decoder, Encoder};
use crate::error::{Error, Result};
use crate::id::ChunkId;
use crate::seal::{compress, inflate, padded_size};

/// Codec and plain length of a block, before its data.
const HEAD: usize = 5;
/// Longest table that is read.
const TABLE_LIMIT: u32 = 256 << 20;

/// What the table says about one block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockEntry {
    /// Length of the sealed block.
    pub(crate) sealed: u32,
    /// Length of the inflated block.
    pub(crate) plain: u32,
    /// The chunks in it and their lengths, in order.
    pub(crate) chunks: Vec<(ChunkId, u32)>,
}

/// What the table of a pack says: where each chunk lies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) blocks: Vec<BlockEntry>,
}

impl Table {
    /// Lists where each chunk of the pack lies.
    pub(crate) fn locations(&self, sealer: &PackSealer) -> Vec<(ChunkId, Location)> {
        let mut found = Vec::new();
        let mut offset = HEADER as u64;
        for (block, entry) in (0..).zip(&self.blocks) {
            let mut start = 0;
            for (id, length) in &entry.chunks {
                let location = Location {
                    pack: sealer.id,
                    block,
                    offset,
                    sealed: entry.sealed,
                    plain: entry.plain,
                    start,
                    length: *length,
                };
                found.push((*id, location));
                start += length;
            }
            offset += u64::from(entry.sealed);
        }
        found
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.list(&self.blocks, encode_entry);
        encoder.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("pack table", bytes);
        let blocks = decoder.list(36, decode_entry)?;
        decoder.finish()?;
        Ok(Self { blocks })
    }
}

fn encode_entry(encoder: &mut Encoder, entry: &BlockEntry) {
    encoder.varint(entry.sealed.into());
    encoder.varint(entry.plain.into());
    encoder.list(&entry.chunks, |encoder, (id, length)| {
        encoder.raw(id.as_bytes());
        encoder.varint((*length).into());
    });
}

fn decode_entry(decoder: &mut Decoder<'_>) -> Result<BlockEntry> {
    let sealed = decoder.varint_u32()?;
    let plain = decoder.varint_u32()?;
    let chunks = decoder.list(33, |decoder| {
        let id = ChunkId::from_bytes(decoder.array()?);
        Ok((id, decoder.varint_u32()?))
    })?;
    let sum = chunks
        .iter()
        .try_fold(0u32, |sum, (_, length)| sum.checked_add(*length));
    // A block of no chunks would cost a reader more memory than it takes room here.
    if chunks.is_empty() || sum != Some(plain) || plain as usize > BLOCK_LIMIT {
        return Err(decoder.malformed("the lengths of a block do not agree"));
    }
    // Compressed only where that makes it shorter.
    if u64::from(sealed) > u64::from(plain) + (OVERHEAD + HEAD) as u64 {
        return Err(decoder.malformed("a sealed block is longer than it can be"));
    }
    Ok(BlockEntry {
        sealed,
        plain,
        chunks,
    })
}

/// One message with the entry of one block: its spool frame names the chunks for recovery.
pub(crate) fn encode_frame_entry(entry: &BlockEntry) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encode_entry(&mut encoder, entry);
    encoder.finish()
}

pub(crate) fn decode_frame_entry(bytes: &[u8]) -> Result<BlockEntry> {
    let mut decoder = Decoder::new("spool entry", bytes);
    let entry = decode_entry(&mut decoder)?;
    decoder.finish()?;
    Ok(entry)
}

/// A block as it is sealed: compressed if that pays.
pub(crate) struct Payload {
    head: [u8; 5],
    compressed: Option<Vec<u8>>,
    block: Block,
}

impl Payload {
    /// Compresses a block.
    pub(crate) fn new(block: Block) -> Result<Self> {
        let length = u32::try_from(block.plain.len()).ok();
        let length = length
            .filter(|length| *length as usize <= BLOCK_LIMIT)
            .ok_or_else(|| {
                let words = format!("block of {} bytes: too large", block.plain.len());
                Error::new(crate::ErrorKind::TooLarge, words)
            })?;
        // Among chunks that were gathered, one that compresses may lie between the samples.
        let noise = block.chunks.len() == 1 && is_noise(&block.plain);
        let compressed = match noise {
            true => None,
            false => compress(&block.plain)?,
        };
        let mut head = [0; 5];
        head[0] = u8::from(compressed.is_some());
        head[1..].copy_from_slice(&length.to_le_bytes());
        Ok(Self {
            head,
            compressed,
            block,
        })
    }

    pub(crate) fn chunks(&self) -> &[(ChunkId, u32)] {
        &self.block.chunks
    }

    /// Seals the block as number `number` of a pack.
    pub(crate) fn seal(&self, sealer: &PackSealer, number: u32) -> Result<(BlockEntry, Vec<u8>)> {
        let data = self.compressed.as_deref().unwrap_or(&self.block.plain);
        let message = sealer.seal(Role::Block, number, &[&self.head, data])?;
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let entry = BlockEntry {
            sealed: length(&message),
            plain: length(&self.block.plain),
            chunks: self.block.chunks.clone(),
        };
        Ok((entry, message))
    }
}

/// Opens and inflates a sealed block, where it lies; its length must be `plain`.
pub(crate) fn open_block(
    sealer: &PackSealer,
    number: u32,
    plain: u32,
    sealed: BytesMut,
) -> Result<Bytes> {
    let damaged = |cause: &str| sealer.damaged(format_args!("block {number}: {cause}"));
    let payload = sealer
        .open_block_message(number, sealed)
        .ok_or_else(|| damaged("it fails authentication"))?;
    unpack_block(&payload, plain).ok_or_else(|| damaged("it does not unpack to its length"))
}

/// Inflates what is sealed of a block; its length must be `plain`.
pub(crate) fn unpack_block(payload: &Bytes, plain: u32) -> Option<Bytes> {
    let (head, data) = payload.split_first_chunk::<HEAD>()?;
    let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if length != plain as usize {
        return None;
    }
    match head[0] {
        0 if data.len() == length && length <= BLOCK_LIMIT => Some(payload.slice(HEAD..)),
        1 => inflate(true, data, length, BLOCK_LIMIT).map(Bytes::from),
        _ => None,
    }
}

/// Length of the sealed trailer, at the very end of a pack.
pub(crate) const TRAILER: usize = TRAILER_PLAIN + OVERHEAD;
const TRAILER_PLAIN: usize = 16;

/// What follows the blocks of a pack: table, padding, trailer.
pub(crate) fn seal_end(sealer: &PackSealer, table: &Table, blocks_end: u64) -> Result<Vec<u8>> {
    let count = u32::try_from(table.blocks.len()).unwrap_or(u32::MAX);
    let sealed = sealer.seal(Role::Table, count, &[&table.encode()])?;
    let bare = blocks_end + (sealed.len() + TRAILER) as u64;
    let padding = padded_size(bare, sealer.dice()) - bare;
    let place = TablePlace {
        offset: blocks_end,
        sealed: u32::try_from(sealed.len()).unwrap_or(u32::MAX),
        blocks: count,
    };
    let mut end = sealed;
    end.extend_from_slice(&sealer.padding(usize::try_from(padding).unwrap_or(0)));
    // The trailer's own number is fixed: a reader does not know the count yet.
    end.extend_from_slice(&sealer.seal(Role::Trailer, 0, &[&place.encode()])?);
    Ok(end)
}

/// Where the table of a pack lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TablePlace {
    pub(crate) offset: u64,
    pub(crate) sealed: u32,
    pub(crate) blocks: u32,
}

impl TablePlace {
    pub(crate) fn encode(&self) -> [u8; TRAILER_PLAIN] {
        let mut bytes = [0; TRAILER_PLAIN];
        bytes[..8].copy_from_slice(&self.offset.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.sealed.to_le_bytes());
        bytes[12..].copy_from_slice(&self.blocks.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("pack trailer", bytes);
        let place = Self {
            offset: u64::from_le_bytes(decoder.array()?),
            sealed: u32::from_le_bytes(decoder.array()?),
            blocks: u32::from_le_bytes(decoder.array()?),
        };
        if place.sealed > TABLE_LIMIT {
            return Err(decoder.malformed("its table is longer than any that is written"));
        }
        decoder.finish()?;
        Ok(place)
    }
}

/// Opens the trailer of a pack.
pub(crate) fn open_trailer(sealer: &PackSealer, sealed: &[u8]) -> Result<TablePlace> {
    let plain = sealer
        .open_message(Role::Trailer, 0, sealed)
        .ok_or_else(|| sealer.damaged("its trailer fails authentication"))?;
    TablePlace::decode(&plain).map_err(|cause| sealer.damaged("its trailer").with_source(cause))
}

/// Opens the table of a pack.
pub(crate) fn open_table(sealer: &PackSealer, place: &TablePlace, sealed: &[u8]) -> Result<Table> {
    let plain = sealer
        .open_message(Role::Table, place.blocks, sealed)
        .ok_or_else(|| sealer.damaged("its table fails authentication"))?;
    Table::decode(&plain).map_err(|cause| sealer.damaged("its table").with_source(cause))
}
