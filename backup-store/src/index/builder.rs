//! Building a segment from entries in order.
//!
//! *Units and limits*: filters and directory are in memory, some two bytes an entry; the blocks of
//! entries are where the object grows.

use super::file::SegmentFile;
use super::filter::{Shard, head, shard_bits, shard_of};
use super::layout::{BLOCK_ENTRIES, BlockEntry, Directory, Entry, Trailer, encode_entry, order};
use super::object::{Growing, SegmentObject, SegmentSpool};
use super::sealing::{Role, SegmentSealer, TRAILER};
use crate::codec::Encoder;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, PackId, SegmentId};
use crate::pack::PackKind;
use crate::seal::messages::OVERHEAD;
use crate::seal::padded_size;

/// Bytes that an entry takes in a segment, about: filters and directory included.
pub(crate) const ENTRY_BYTES: usize = 56;

/// Builds one segment; entries come in order, and equal ones count once.
pub(crate) struct SegmentBuilder {
    sealer: SegmentSealer,
    directory: Directory,
    object: Growing,
    block: Encoder,
    /// Entries of the open block, and the first eight bytes of its first id.
    in_block: usize,
    first: u64,
    last: Option<(ChunkId, PackId, u32, u32)>,
    bits: u32,
    /// Ids of the open shard, and the shards that are full.
    ids: Vec<ChunkId>,
    shards: Vec<Vec<u8>>,
}

/// A segment as it will be stored.
#[derive(Debug)]
pub(crate) struct SealedSegment {
    pub(crate) file: SegmentFile,
    pub(crate) object: SegmentObject,
}

impl SegmentBuilder {
    /// Begins a segment of at most `bound` entries that lie in `packs`, in memory or in a file.
    pub(crate) fn new(
        sealer: SegmentSealer,
        kind: PackKind,
        mut packs: Vec<PackId>,
        mut supersedes: Vec<SegmentId>,
        bound: u64,
        spool: Option<SegmentSpool>,
    ) -> Result<Self> {
        packs.sort_unstable();
        packs.dedup();
        supersedes.sort_unstable();
        supersedes.dedup();
        let room = usize::try_from(bound)
            .unwrap_or(0)
            .saturating_mul(ENTRY_BYTES);
        let mut object = match spool {
            Some(spool) => Growing::in_file(spool)?,
            None => Growing::in_memory(room.saturating_add(64 * 1024)),
        };
        object.end().extend_from_slice(&sealer.header);
        Ok(Self {
            sealer,
            directory: Directory {
                kind,
                entries: 0,
                supersedes,
                packs,
                shards: Vec::new(),
                blocks: Vec::new(),
            },
            object,
            block: Encoder::new(),
            in_block: 0,
            first: 0,
            last: None,
            bits: shard_bits(bound),
            ids: Vec::new(),
            shards: Vec::new(),
        })
    }

    /// Appends an entry.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] when it is out of order, or in no pack of the segment.
    pub(crate) fn push(&mut self, entry: &Entry) -> Result<()> {
        let this = order(entry);
        let same_chunk = self.last.is_some_and(|last| last.0 == entry.0);
        match self.last {
            Some(last) if last == this => return Ok(()),
            Some(last) if last > this => return Err(wrong("entries out of order")),
            _ => self.last = Some(this),
        }
        let pack = self.directory.packs.binary_search(&entry.1.pack);
        let pack = pack.map_err(|_| wrong("an entry lies in none of its packs"))?;
        // The places of one chunk stay together, so that one block answers for it.
        if self.in_block >= BLOCK_ENTRIES && !same_chunk {
            self.end_block()?;
        }
        if self.in_block == 0 {
            self.first = head(&entry.0);
        }
        encode_entry(&mut self.block, pack, entry);
        self.in_block += 1;
        self.directory.entries += 1;
        if !same_chunk {
            self.end_shards(shard_of(&entry.0, self.bits));
            self.ids.push(entry.0);
        }
        Ok(())
    }

    /// Ends the shards before number `shard`.
    fn end_shards(&mut self, shard: usize) {
        while self.shards.len() < shard {
            self.shards.push(Shard::encode(&self.ids, self.bits));
            self.ids.clear();
        }
    }

    fn end_block(&mut self) -> Result<()> {
        let plain = std::mem::take(&mut self.block).finish();
        let number = self.directory.blocks.len();
        let sealed = self
            .sealer
            .seal_onto(self.object.end(), Role::Block, number, &plain)?;
        self.object.settle()?;
        self.directory.blocks.push(BlockEntry {
            head: self.first,
            sealed: length(sealed)?,
        });
        self.in_block = 0;
        Ok(())
    }

    /// Ends the segment.
    pub(crate) fn finish(mut self) -> Result<SealedSegment> {
        if self.in_block > 0 {
            self.end_block()?;
        }
        self.end_shards(1 << self.bits);
        for shard in &self.shards {
            self.directory.shards.push(length(shard.len() + OVERHEAD)?);
        }
        let directory = self.directory.encode();
        let shards: usize = self.shards.iter().map(|shard| shard.len() + OVERHEAD).sum();
        let bare = shards + directory.len() + OVERHEAD + TRAILER;
        let bare = self.object.length() + bare as u64;
        let padding = padded_size(bare, self.sealer.dice()) - bare;
        let padding = usize::try_from(padding).unwrap_or(0);
        for piece in self.sealer.padding_pieces(padding) {
            self.object.end().extend_from_slice(&piece);
            self.object.settle()?;
        }
        let filters = self.object.length();
        for (number, shard) in self.shards.iter().enumerate() {
            self.sealer
                .seal_onto(self.object.end(), Role::Shard, number, shard)?;
            self.object.settle()?;
        }
        let at = self.object.length();
        let sealed = self
            .sealer
            .seal_onto(self.object.end(), Role::Directory, 0, &directory)?;
        let trailer = Trailer {
            filters,
            directory: at,
            length: length(sealed)?,
        };
        self.sealer
            .seal_onto(self.object.end(), Role::Trailer, 0, &trailer.encode())?;
        let file = SegmentFile::new(self.sealer, self.directory, trailer)?;
        Ok(SealedSegment {
            file,
            object: self.object.finish()?,
        })
    }
}

fn wrong(cause: &str) -> Error {
    Error::new(ErrorKind::InvalidInput, format!("segment: {cause}"))
}

fn length(bytes: usize) -> Result<u32> {
    let words = "segment: a part of it is too long";
    u32::try_from(bytes).map_err(|_| Error::new(ErrorKind::TooLarge, words))
}
