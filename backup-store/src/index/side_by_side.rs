//! Reading segments side by side, in the order of chunk ids: what merges and prune go through.
//!
//! Each segment is read once, from its beginning to its end, and must hold what it counts.
//!
//! *Units and limits*: a few thousand entries of each segment, some 100,000 in all: 8 MB, and as
//! much again of those that are handed out.

use std::collections::VecDeque;
use std::sync::Arc;

use super::cache::IndexCache;
use super::file::{Part, SegmentFile};
use super::layout::{BLOCK_ENTRIES, Entry, decode_block, order};
use super::sealing::segment_name;
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::offload::{Offload, offload};

/// Blocks of one segment that are read together at most.
const BLOCK_GROUP: usize = 64;
/// Blocks of one segment that are read together at least.
const GROUP_LEAST: usize = 8;
/// Blocks that are in memory of all segments together, about.
const BLOCKS_HELD: usize = 384;

/// Segments that are read side by side.
pub(crate) struct SideBySide {
    inputs: Vec<Input>,
    /// Blocks of one segment that are read together.
    group: usize,
    backend: Arc<dyn Backend>,
    index: Arc<IndexCache>,
    offload: Arc<dyn Offload>,
}

impl SideBySide {
    /// Begins to read segments; those with a number lie in the part cache, perhaps.
    pub(crate) fn new(
        segments: impl Iterator<Item = (Arc<SegmentFile>, Option<i64>)>,
        backend: Arc<dyn Backend>,
        index: Arc<IndexCache>,
        offload: Arc<dyn Offload>,
    ) -> Self {
        let inputs: Vec<Input> = segments
            .map(|(file, number)| Input::new(file, number))
            .collect();
        let group = (BLOCKS_HELD / inputs.len().max(1)).clamp(GROUP_LEAST, BLOCK_GROUP);
        Self {
            inputs,
            group,
            backend,
            index,
            offload,
        }
    }

    /// Returns the next entries, sorted; all places of one chunk come together. None are left when
    /// there are none.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when a segment is not what it
    /// says it is; those of the backend.
    pub(crate) async fn next(&mut self) -> Result<Vec<Entry>> {
        for at in 0..self.inputs.len() {
            self.refill(at).await?;
        }
        let mut entries = take_settled(&mut self.inputs);
        offload(self.offload.as_ref(), move || {
            // What comes from each segment is sorted already, which this sort makes use of.
            entries.sort_by_key(order);
            entries
        })
        .await
    }

    /// Reads the next blocks of an input that has run out of entries.
    async fn refill(&mut self, at: usize) -> Result<()> {
        let input = &mut self.inputs[at];
        let count = input.file.directory.blocks.len();
        if count == 0 && input.file.directory.entries > 0 {
            return Err(input.damaged("it has no block for the entries it counts"));
        }
        if !input.entries.is_empty() || input.next >= count {
            return Ok(());
        }
        let (from, to) = (input.next, (input.next + self.group).min(count));
        let file = Arc::clone(&input.file);
        if let Some(number) = input.number {
            let (index, of) = (Arc::clone(&self.index), Arc::clone(&file));
            let cached = offload(self.offload.as_ref(), move || {
                let blocks = (from..to).map(|block| index.cached_block(number, block));
                let blocks: Option<Vec<_>> = blocks.collect::<Result<_>>()?;
                Ok::<_, Error>(blocks.map(|blocks| decode(&of, blocks.into_iter().map(Ok))))
            });
            match cached.await?? {
                Some(Ok(entries)) => {
                    input.next = to;
                    return input.take(entries);
                }
                Some(Err(cause)) => tracing::warn!(?file, %cause, "cached blocks are read anew"),
                None => {}
            }
        }
        let place = |block| file.range(Part::Block(block));
        let (Some(first), Some(last)) = (place(from), place(to - 1)) else {
            return Err(input.damaged("it lacks a block"));
        };
        let name = segment_name(&file.id())?;
        let range = first.start..last.end;
        let sealed = self.backend.get(&name, Some(range)).await?;
        input.next = to;
        let opened = offload(self.offload.as_ref(), move || {
            let open = |block| file.part_of(Part::Block(block), first.start, &sealed);
            decode(&file, (from..to).map(open))
        });
        input.take(opened.await??)
    }
}

/// Decodes blocks that lie one behind the other.
fn decode(file: &SegmentFile, blocks: impl Iterator<Item = Result<Vec<u8>>>) -> Result<Vec<Entry>> {
    let mut entries = Vec::with_capacity(blocks.size_hint().0 * BLOCK_ENTRIES);
    for block in blocks {
        let decoded = decode_block(&block?, &file.directory.packs);
        entries.extend(decoded.map_err(|cause| file.damaged(cause))?);
    }
    Ok(entries)
}

/// One segment that is read from its beginning to its end.
struct Input {
    file: Arc<SegmentFile>,
    /// Its number in the part cache.
    number: Option<i64>,
    /// The next block to read.
    next: usize,
    /// Entries that were read of it.
    read: u64,
    entries: VecDeque<Entry>,
    last: Option<Entry>,
}

impl Input {
    fn new(file: Arc<SegmentFile>, number: Option<i64>) -> Self {
        Self {
            file,
            number,
            next: 0,
            read: 0,
            entries: VecDeque::new(),
            last: None,
        }
    }

    fn has_more(&self) -> bool {
        self.next < self.file.directory.blocks.len()
    }

    /// Takes entries that were read, if they are what may come next.
    fn take(&mut self, entries: Vec<Entry>) -> Result<()> {
        self.read += entries.len() as u64;
        let all = self.last.iter().chain(&entries);
        // What may come next is told by the last entry: an input without any would hold up nothing.
        let whole = !entries.is_empty()
            && all.is_sorted_by(|one, other| order(one) < order(other))
            && (self.has_more() || self.read == self.file.directory.entries);
        if !whole {
            return Err(self.damaged("its entries are not those it counts"));
        }
        self.last = entries.last().copied();
        self.entries = entries.into();
        Ok(())
    }

    fn damaged(&self, cause: &str) -> Error {
        Error::damaged(format_args!("object segments/{}", self.file.id()), cause)
    }
}

/// Takes the entries that no block still to be read can come before.
fn take_settled(inputs: &mut [Input]) -> Vec<Entry> {
    let unfinished = inputs.iter().filter(|input| input.has_more());
    let bound = unfinished
        .filter_map(|input| input.entries.back().map(|entry| entry.0))
        .min();
    let most = inputs.iter().map(|input| input.entries.len()).sum();
    let mut entries = Vec::with_capacity(most);
    for input in inputs {
        let settled = match bound {
            Some(bound) => input.entries.partition_point(|entry| entry.0 <= bound),
            None => input.entries.len(),
        };
        entries.extend(input.entries.drain(..settled));
    }
    entries
}
