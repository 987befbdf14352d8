//! A segment as it lies in the store: where each of its parts is, and how it opens.

use std::ops::Range;

use super::filter::{Shard, head, shard_of};
use super::layout::{Directory, Entry, PART_LIMIT, Trailer, decode_block, order};
use super::sealing::{HEADER, Role, SegmentSealer, TRAILER};
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::id::{ChunkId, SegmentId};
use crate::keys::Keys;

/// Bytes at the end of a segment that hold the whole directory of most.
pub(crate) const TAIL: u64 = 64 * 1024;
/// Neighbouring parts that are taken together, of some 30 and 13 KB.
const SHARDS_OF_RUN: usize = 64;
const BLOCKS_OF_RUN: usize = 128;

/// One part of a segment that is read by range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Shard(usize),
    Block(usize),
}

impl Part {
    pub(crate) fn is_shard(self) -> bool {
        matches!(self, Self::Shard(_))
    }
}

/// A segment whose directory was read.
pub(crate) struct SegmentFile {
    pub(crate) directory: Directory,
    sealer: SegmentSealer,
    trailer: Trailer,
    /// Where each block begins, and behind the last one.
    blocks: Vec<u64>,
    /// Where each filter shard begins, and behind the last one.
    shards: Vec<u64>,
}

impl SegmentFile {
    /// Works out where everything lies.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when directory and trailer do
    /// not agree.
    pub(crate) fn new(
        sealer: SegmentSealer,
        directory: Directory,
        trailer: Trailer,
    ) -> Result<Self> {
        let lengths = directory.blocks.iter().map(|block| block.sealed);
        let blocks = offsets(HEADER as u64, lengths);
        let shards = offsets(trailer.filters, directory.shards.iter().copied());
        let fits = blocks.last().is_some_and(|end| *end <= trailer.filters)
            && shards.last() == Some(&trailer.directory);
        if !fits {
            return Err(sealer.damaged("its directory does not fit its size"));
        }
        Ok(Self {
            directory,
            sealer,
            trailer,
            blocks,
            shards,
        })
    }

    /// Opens trailer and directory from the end of a segment of `size` bytes.
    ///
    /// Returns where to begin reading instead, when `tail` is too short.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged).
    pub(crate) fn open(
        keys: &Keys,
        id: SegmentId,
        size: u64,
        header: &[u8],
        tail: &[u8],
    ) -> Result<std::result::Result<Self, u64>> {
        let sealer = SegmentSealer::open(keys, id, header)?;
        let cut = || sealer.damaged("it is cut off");
        let at = tail.len().checked_sub(TRAILER).ok_or_else(cut)?;
        let plain = sealer.open_message(Role::Trailer, 0, &tail[at..])?;
        let trailer = Trailer::decode(&plain).map_err(|cause| nested(&sealer, cause))?;
        let end = trailer.directory.checked_add(trailer.length.into());
        if end.and_then(|end| end.checked_add(TRAILER as u64)) != Some(size) {
            return Err(sealer.damaged("its trailer does not fit its size"));
        }
        let Some(from) = at.checked_sub(trailer.length as usize) else {
            return Ok(Err(trailer.directory));
        };
        let plain = sealer.open_message(Role::Directory, 0, &tail[from..at])?;
        let directory = Directory::decode(&plain).map_err(|cause| nested(&sealer, cause))?;
        Self::new(sealer, directory, trailer).map(Ok)
    }

    /// Opens a segment that was read whole.
    pub(crate) fn open_whole(keys: &Keys, id: SegmentId, object: &[u8]) -> Result<Self> {
        let header = &object[..HEADER.min(object.len())];
        let opened = Self::open(keys, id, object.len() as u64, header, object)?;
        opened.map_err(|_| Self::cut(id))
    }

    fn cut(id: SegmentId) -> crate::Error {
        crate::Error::damaged(format_args!("object segments/{id}"), "it is cut off")
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.sealer.id
    }

    /// Lists all parts, in the order in which they are cached.
    pub(crate) fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let (shards, blocks) = (self.directory.shards.len(), self.directory.blocks.len());
        (0..shards)
            .map(Part::Shard)
            .chain((0..blocks).map(Part::Block))
    }

    /// Lists all parts in groups that lie one behind the other, a few megabytes each at most.
    pub(crate) fn runs_of_parts(&self) -> impl Iterator<Item = Vec<Part>> + use<> {
        let (shards, blocks) = (self.directory.shards.len(), self.directory.blocks.len());
        let run = |count: usize, most: usize, part: fn(usize) -> Part| {
            let begins = (0..count).step_by(most);
            begins.map(move |from| (from..(from + most).min(count)).map(part).collect())
        };
        run(shards, SHARDS_OF_RUN, Part::Shard).chain(run(blocks, BLOCKS_OF_RUN, Part::Block))
    }

    /// Returns where parts lie that lie one behind the other.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when it lacks one of them.
    pub(crate) fn range_of_run(&self, run: &[Part]) -> Result<Range<u64>> {
        let place = |part: Option<&Part>| self.range(*part?);
        match (place(run.first()), place(run.last())) {
            (Some(first), Some(last)) => Ok(first.start..last.end),
            _ => Err(self.sealer.damaged("it lacks a part")),
        }
    }

    /// Returns the filter shard that an id belongs to.
    pub(crate) fn shard_of(&self, id: &ChunkId) -> usize {
        shard_of(id, self.directory.shard_bits())
    }

    /// Returns the blocks that may hold an id: one, but where the heads of several agree.
    pub(crate) fn blocks_for(&self, id: &ChunkId) -> Range<usize> {
        let head = head(id);
        let blocks = &self.directory.blocks;
        let from = blocks.partition_point(|block| block.head < head);
        let to = blocks.partition_point(|block| block.head <= head);
        from.saturating_sub(1)..to
    }

    /// Returns where a part lies in the object.
    pub(crate) fn range(&self, part: Part) -> Option<Range<u64>> {
        let (offsets, at) = match part {
            Part::Shard(at) => (&self.shards, at),
            Part::Block(at) => (&self.blocks, at),
        };
        Some(*offsets.get(at)?..*offsets.get(at + 1)?)
    }

    /// Opens a part.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged).
    pub(crate) fn open_part(&self, part: Part, sealed: &[u8]) -> Result<Vec<u8>> {
        let (role, number) = match part {
            Part::Shard(at) => (Role::Shard, at),
            Part::Block(at) => (Role::Block, at),
        };
        self.sealer.open_message(role, number, sealed)
    }

    /// Opens a part of a segment that is at hand from offset `base` on.
    pub(crate) fn part_of(&self, part: Part, base: u64, bytes: &[u8]) -> Result<Vec<u8>> {
        let place = |at: u64| usize::try_from(at.checked_sub(base)?).ok();
        let sealed = self
            .range(part)
            .and_then(|range| bytes.get(place(range.start)?..place(range.end)?))
            .ok_or_else(|| self.sealer.damaged("it is cut off"))?;
        self.open_part(part, sealed)
    }

    /// Opens a part and decodes it; a filter shard has no entries.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged).
    pub(crate) fn verify_part(&self, part: Part, base: u64, bytes: &[u8]) -> Result<Vec<Entry>> {
        let plain = self.part_of(part, base, bytes)?;
        let entries = match part {
            Part::Block(_) => decode_block(&plain, &self.directory.packs),
            Part::Shard(_) => Shard::decode(&plain).map(|_| Vec::new()),
        };
        entries.map_err(|cause| self.damaged(cause))
    }

    /// Opens every part of a segment that is at hand whole, and keeps none.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged).
    pub(crate) fn verify_whole(&self, object: &[u8]) -> Result<()> {
        let (mut count, mut last) = (0, None);
        let mut sorted = true;
        for part in self.parts() {
            let entries = self.verify_part(part, 0, object)?;
            count += entries.len() as u64;
            let all = last.iter().chain(&entries);
            sorted &= all.is_sorted_by(|one, other| order(one) < order(other));
            last = entries.last().copied().or(last);
        }
        match sorted && count == self.directory.entries {
            true => Ok(()),
            false => Err(self.sealer.damaged("its entries are not those it counts")),
        }
    }

    pub(crate) fn damaged(&self, cause: crate::Error) -> crate::Error {
        nested(&self.sealer, cause)
    }

    /// Writes what a cache keeps, so that nothing need be read to open it again.
    pub(crate) fn to_cache(&self) -> Vec<u8> {
        let mut encoder = Encoder::new();
        encoder.raw(&self.sealer.header);
        encoder.bytes(&self.trailer.encode());
        encoder.bytes(&self.directory.encode());
        encoder.finish()
    }

    /// Reads what [`to_cache`](Self::to_cache) wrote.
    pub(crate) fn from_cache(keys: &Keys, id: SegmentId, bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("cached segment", bytes);
        let sealer = SegmentSealer::open(keys, id, decoder.raw(HEADER)?)?;
        let trailer = Trailer::decode(decoder.bytes()?)?;
        let directory = Directory::decode(decoder.bytes()?)?;
        decoder.finish()?;
        Self::new(sealer, directory, trailer)
    }
}

impl std::fmt::Debug for SegmentFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentFile({})", self.id())
    }
}

fn nested(sealer: &SegmentSealer, cause: crate::Error) -> crate::Error {
    sealer.damaged(&cause).with_source(cause)
}

/// Adds up lengths; each is below [`PART_LIMIT`], and there are fewer than 2^32.
fn offsets(start: u64, lengths: impl Iterator<Item = u32>) -> Vec<u64> {
    let mut offset = start;
    let mut offsets = vec![offset];
    for length in lengths {
        offset = offset.saturating_add(length.min(PART_LIMIT).into());
        offsets.push(offset);
    }
    offsets
}
