//! Reading packs from the backend: headers are checked once, inflated blocks kept for a while.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};

use super::layout::{TRAILER, Table, open_block, open_table, open_trailer};
use super::{BLOCK_LIMIT, HEADER, Location, OVERHEAD, PackSealer, pack_name};
use crate::backend::Backend;
use crate::error::{Error, ErrorKind, Result};
use crate::id::PackId;
use crate::keys::Keys;
use crate::offload::{Offload, offload};

/// Bytes of inflated blocks that are kept.
const KEPT_BYTES: usize = 16 * 1024 * 1024;
/// Number of inflated blocks that are kept.
const KEPT_BLOCKS: usize = 256;
/// Headers that are kept; each takes about half a KiB.
const KEPT_HEADERS: usize = 4096;
/// Blocks that can be read at the same time.
const TURNS: usize = 64;
/// Longest range that is read at once, and the most that its blocks may inflate to.
const RANGE_LIMIT: u64 = 4 * 1024 * 1024;
/// Bytes of ranges that are read and of blocks that they inflate to at the same time, in units of
/// [`SHARE`].
const SHARES: usize = 256;
const SHARE: u64 = 64 * 1024;
/// Length from which on a block that is one chunk is taken out of memory as it is read.
const LARGE: u32 = 192 * 1024;

/// Reads blocks of packs.
pub(crate) struct PackReader {
    backend: Arc<dyn Backend>,
    keys: Arc<Keys>,
    offload: Arc<dyn Offload>,
    headers: Mutex<HashMap<PackId, Arc<PackSealer>>>,
    blocks: Mutex<BlockCache>,
    /// Whose turn it is to read a block; blocks are spread over them.
    turns: [tokio::sync::Mutex<()>; TURNS],
    /// Bounds the memory of reads under way, however many there are.
    shares: tokio::sync::Semaphore,
}

#[derive(Default)]
struct BlockCache {
    bytes: usize,
    /// The most recently used is last.
    blocks: VecDeque<((PackId, u32), Bytes)>,
}

impl BlockCache {
    fn get(&mut self, key: (PackId, u32)) -> Option<Bytes> {
        let at = self.blocks.iter().rposition(|(found, _)| *found == key)?;
        let entry = self.blocks.remove(at)?;
        let block = entry.1.clone();
        self.blocks.push_back(entry);
        Some(block)
    }

    /// Returns a block to somebody who wants all of it; a large one is not kept any longer.
    fn take(&mut self, place: &Location) -> Option<Bytes> {
        let block = self.get((place.pack, place.block))?;
        if is_used_once(place) {
            self.blocks.pop_back();
            self.bytes -= block.len();
        }
        Some(block)
    }

    fn put(&mut self, key: (PackId, u32), block: Bytes) {
        if self.get(key).is_some() {
            return;
        }
        self.bytes += block.len();
        self.blocks.push_back((key, block));
        while self.bytes > KEPT_BYTES || self.blocks.len() > KEPT_BLOCKS {
            let Some((_, gone)) = self.blocks.pop_front() else {
                return;
            };
            self.bytes -= gone.len();
        }
    }
}

impl PackReader {
    pub(crate) fn new(
        backend: Arc<dyn Backend>,
        keys: Arc<Keys>,
        offload: Arc<dyn Offload>,
    ) -> Self {
        Self {
            backend,
            keys,
            offload,
            headers: Mutex::default(),
            blocks: Mutex::default(),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
            shares: tokio::sync::Semaphore::new(SHARES),
        }
    }

    /// Reads and inflates the block of `first`; blocks that `next` says follow it in the same pack
    /// come along with the same read, as far as one range may go.
    pub(crate) async fn block(&self, first: &Location, next: &[Location]) -> Result<Bytes> {
        let key = (first.pack, first.block);
        if let Some(block) = self.cache().take(first) {
            return Ok(block);
        }
        if first.sealed as usize > BLOCK_LIMIT + OVERHEAD + 5 {
            let object = format_args!("pack {}", first.pack).to_string();
            return Err(Error::damaged(
                object,
                "the index names a block that is too long",
            ));
        }
        // Many contents share a block: whoever wants it meanwhile waits, and finds it kept.
        let _turn = self.turns[turn_of(key)].lock().await;
        if let Some(block) = self.cache().take(first) {
            return Ok(block);
        }
        let run = contiguous(first, next);
        let sealer = self.sealer(&first.pack).await?;
        let end = run
            .last()
            .map_or(first.offset, |last| last.offset + u64::from(last.sealed));
        let inflated: u64 = run.iter().map(|place| u64::from(place.plain)).sum();
        let bytes = end - first.offset + inflated;
        let shares = bytes.div_ceil(SHARE).min(SHARES as u64);
        let shares = u32::try_from(shares).unwrap_or(u32::MAX);
        // Never closed: without a share the read would only take more memory.
        let _shares = self.shares.acquire_many(shares).await.ok();
        let range = self
            .backend
            .get(&sealer.name, Some(first.offset..end))
            .await?;
        let base = first.offset;
        let opened = offload(self.offload.as_ref(), move || match run[..] {
            [place] => vec![(place, open_alone(&sealer, &place, range))],
            _ => {
                let open = |place: Location| (place, open_in(&sealer, base, &place, &range));
                run.into_iter().map(open).collect()
            }
        })
        .await?;
        self.keep(first, opened)
    }

    /// Keeps what was opened and returns the wanted block; trouble with another shows when that
    /// one is wanted.
    fn keep(&self, first: &Location, opened: Vec<(Location, Result<Bytes>)>) -> Result<Bytes> {
        let key = (first.pack, first.block);
        let mut wanted = None;
        let mut cache = self.cache();
        for (place, block) in opened {
            let found = (place.pack, place.block);
            match block {
                Ok(block) if found == key => {
                    if !is_used_once(first) {
                        cache.put(found, block.clone());
                    }
                    wanted = Some(block);
                }
                Ok(block) => cache.put(found, block),
                Err(cause) if found == key => return Err(cause),
                Err(_) => {}
            }
        }
        wanted.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("pack {}: no block", key.0)))
    }

    /// Reads and checks the header of a pack.
    pub(crate) async fn sealer(&self, pack: &PackId) -> Result<Arc<PackSealer>> {
        if let Some(sealer) = self.headers().get(pack) {
            return Ok(Arc::clone(sealer));
        }
        let header = self
            .backend
            .get(&pack_name(pack)?, Some(0..HEADER as u64))
            .await?;
        let sealer = Arc::new(PackSealer::open(&self.keys, &header, Some(pack))?);
        let mut headers = self.headers();
        if headers.len() >= KEPT_HEADERS {
            headers.clear();
        }
        headers.insert(*pack, Arc::clone(&sealer));
        Ok(sealer)
    }

    /// Reads the table of a pack of `size` bytes.
    pub(crate) async fn table(&self, pack: &PackId, size: u64) -> Result<(Arc<PackSealer>, Table)> {
        let sealer = self.sealer(pack).await?;
        let from = size.saturating_sub(TRAILER as u64);
        let trailer = self.backend.get(&sealer.name, Some(from..size)).await?;
        let place = open_trailer(&sealer, &trailer)?;
        let end = place.offset.saturating_add(place.sealed.into());
        if end > from {
            return Err(sealer.damaged("its table lies outside of it"));
        }
        let sealed = self
            .backend
            .get(&sealer.name, Some(place.offset..end))
            .await?;
        let table = open_table(&sealer, &place, &sealed)?;
        Ok((sealer, table))
    }

    fn cache(&self) -> MutexGuard<'_, BlockCache> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn headers(&self) -> MutexGuard<'_, HashMap<PackId, Arc<PackSealer>>> {
        self.headers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for PackReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PackReader(..)")
    }
}

/// Tells whether nobody is likely to want the block again soon: it is one chunk of a large content.
/// Nodes of trees are shorter.
fn is_used_once(place: &Location) -> bool {
    place.length == place.plain && place.plain >= LARGE
}

fn turn_of((pack, block): (PackId, u32)) -> usize {
    (usize::from(pack.as_bytes()[0]) + block as usize) % TURNS
}

/// The blocks from `first` on that lie one after the other and fit in one range.
fn contiguous(first: &Location, next: &[Location]) -> Vec<Location> {
    let mut run = vec![*first];
    let mut end = first.offset + u64::from(first.sealed);
    let mut last = first.block;
    let mut inflated = u64::from(first.plain);
    for place in next {
        if (place.pack, place.block) == (first.pack, last) {
            continue;
        }
        let length = end + u64::from(place.sealed) - first.offset;
        inflated += u64::from(place.plain);
        let follows = place.pack == first.pack && place.offset == end;
        if !follows || length > RANGE_LIMIT || inflated > RANGE_LIMIT {
            break;
        }
        run.push(*place);
        end += u64::from(place.sealed);
        last = place.block;
    }
    run
}

/// Opens the one block of a range, in the memory that it was read into.
fn open_alone(sealer: &PackSealer, place: &Location, range: Bytes) -> Result<Bytes> {
    if range.len() != place.sealed as usize {
        return open_in(sealer, place.offset, place, &range);
    }
    let sealed = range.try_into_mut();
    let sealed = sealed.unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    open_block(sealer, place.block, place.plain, sealed)
}

fn open_in(sealer: &PackSealer, base: u64, place: &Location, range: &Bytes) -> Result<Bytes> {
    let from = usize::try_from(place.offset - base).unwrap_or(usize::MAX);
    let sealed = from
        .checked_add(place.sealed as usize)
        .and_then(|to| range.get(from..to))
        .ok_or_else(|| sealer.damaged(format_args!("block {}: it is cut off", place.block)))?;
    open_block(sealer, place.block, place.plain, sealed.into())
}
