//! Index cache: what this process knows of the segments, and the lookup over them.
//!
//! Directories are in memory; filter shards and blocks come from the part cache, or are asked for.
//! Everything here blocks, [`may_hold`](IndexCache::may_hold) apart: call it through `Offload`.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::file::{Part, SegmentFile};
use super::filter::Shard;
use super::layout::find_in_block;
use super::object::SegmentObject;
use super::parts::PartCache;
use crate::error::Result;
use crate::id::{ChunkId, PackId, SegmentId, StoreId};
use crate::keys::Keys;
use crate::pack::Location;

/// Bytes of filter shards that are kept in memory: enough for 100 million chunks.
const SHARDS_BYTES: usize = 192 << 20;
/// Bytes of blocks of entries that are kept in memory: lookups of what was written together find
/// theirs there without a thread of their own.
const BLOCKS_BYTES: usize = 8 << 20;
const WHOLE_BYTES: u64 = 256 << 20;
const WHOLE_BYTES_IN_MEMORY: u64 = 48 << 20;

/// A segment whose directory is loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) number: i64,
    pub(crate) file: Arc<SegmentFile>,
    /// The damaged segment in whose place it was rebuilt; no object holds it.
    pub(crate) stands_for: Option<SegmentId>,
}

/// Parts that were fetched for one lookup.
pub(crate) type Fetched = HashMap<(SegmentId, Part), Vec<u8>>;

/// What a lookup found, or what it needs first.
#[derive(Debug)]
pub(crate) enum Answer {
    Found(Vec<Vec<Location>>),
    Wanted(Vec<(Arc<Loaded>, Part)>),
}

/// The index of one store as this process knows it.
pub(crate) struct IndexCache {
    parts: PartCache,
    segments: RwLock<Segments>,
    shards: RwLock<Kept<Shard>>,
    blocks: RwLock<Kept<Vec<u8>>>,
    /// Bytes of all segments up to which each is read whole when it is found.
    whole: AtomicU64,
}

#[derive(Default)]
struct Segments {
    loaded: BTreeMap<SegmentId, Arc<Loaded>>,
    /// Those that no other loaded one supersedes.
    active: Vec<Arc<Loaded>>,
    /// The greatest number seen in the part cache.
    seen: i64,
}

impl Segments {
    fn settle(&mut self) {
        let superseded: BTreeSet<SegmentId> = self
            .loaded
            .values()
            .flat_map(|each| each.file.directory.supersedes.iter().copied())
            .collect();
        let active = self
            .loaded
            .values()
            .filter(|each| !superseded.contains(&each.stands_for.unwrap_or(each.file.id())));
        self.active = active.cloned().collect();
    }
}

/// Parts of segments in memory, up to a limit; the oldest go first.
struct Kept<T> {
    parts: HashMap<(i64, usize), (usize, Arc<T>)>,
    order: VecDeque<(i64, usize)>,
    bytes: usize,
    limit: usize,
}

impl<T> Kept<T> {
    fn new(limit: usize) -> RwLock<Self> {
        RwLock::new(Self {
            parts: HashMap::new(),
            order: VecDeque::new(),
            bytes: 0,
            limit,
        })
    }

    fn get(&self, key: (i64, usize)) -> Option<&Arc<T>> {
        self.parts.get(&key).map(|(_, part)| part)
    }

    fn keep(&mut self, key: (i64, usize), bytes: usize, part: Arc<T>) {
        self.bytes += bytes;
        match self.parts.insert(key, (bytes, part)) {
            Some((old, _)) => self.bytes -= old,
            None => self.order.push_back(key),
        }
        while self.bytes > self.limit {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some((gone, _)) = self.parts.remove(&oldest) {
                self.bytes -= gone;
            }
        }
    }

    /// Lets go of the parts of one segment.
    fn forget(&mut self, number: i64) {
        self.parts.retain(|(of, _), _| *of != number);
        self.order.retain(|(of, _)| *of != number);
        self.bytes = self.parts.values().map(|(bytes, _)| bytes).sum();
    }

    fn clear(&mut self) {
        self.parts.clear();
        self.order.clear();
        self.bytes = 0;
    }
}

/// Locks for reading; what a panic left is as good as before.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl IndexCache {
    /// Opens the cache in a directory, or one in memory; a cache that cannot be used is replaced.
    pub(crate) fn open(directory: Option<&Path>, store: &StoreId) -> Result<Self> {
        let whole = match directory {
            Some(_) => WHOLE_BYTES,
            None => WHOLE_BYTES_IN_MEMORY,
        };
        Ok(Self {
            whole: AtomicU64::new(whole),
            parts: PartCache::open(directory, store)?,
            segments: RwLock::default(),
            shards: Kept::new(SHARDS_BYTES),
            blocks: Kept::new(BLOCKS_BYTES),
        })
    }

    /// Takes over what the part cache has, also from other processes.
    pub(crate) fn load_cached(&self, keys: &Keys) -> Result<()> {
        let seen = self.read().seen;
        let cached = self.parts.segments(seen)?;
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for each in cached {
            segments.seen = segments.seen.max(each.number);
            match SegmentFile::from_cache(keys, each.id, &each.directory) {
                Ok(file) => {
                    let loaded = Loaded {
                        number: each.number,
                        file: Arc::new(file),
                        stands_for: each.stands_for,
                    };
                    segments.loaded.insert(each.id, Arc::new(loaded));
                }
                Err(cause) => {
                    tracing::warn!(id = %each.id, %cause, "a cached directory is read anew");
                    self.parts.remove(each.number)?;
                }
            }
        }
        segments.settle();
        Ok(())
    }

    /// Returns the loaded segments.
    pub(crate) fn loaded(&self) -> Vec<Arc<Loaded>> {
        self.read().loaded.values().cloned().collect()
    }

    /// Returns the loaded segments that no other supersedes.
    pub(crate) fn active(&self) -> Vec<Arc<Loaded>> {
        self.read().active.clone()
    }

    /// Tells whether a segment need not be read: it is loaded, rebuilt, or superseded.
    pub(crate) fn knows(&self, id: &SegmentId) -> bool {
        let segments = self.read();
        segments.loaded.contains_key(id)
            || segments.loaded.values().any(|each| {
                each.stands_for == Some(*id)
                    || each.file.directory.supersedes.binary_search(id).is_ok()
            })
    }

    /// Adds a segment by its directory; parts that were not [taken](Self::take_run) before are read
    /// when they are wanted.
    pub(crate) fn add(
        &self,
        file: impl Into<Arc<SegmentFile>>,
        stands_for: Option<SegmentId>,
    ) -> Result<()> {
        let file = file.into();
        let number = self.number(&file, stands_for)?;
        let mut segments = self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let id = file.id();
        let loaded = Loaded {
            number,
            file,
            stands_for,
        };
        segments.loaded.insert(id, Arc::new(loaded));
        segments.settle();
        Ok(())
    }

    /// Returns the number of a segment in the part cache; it gets one if it has none.
    pub(crate) fn number(&self, file: &SegmentFile, stands_for: Option<SegmentId>) -> Result<i64> {
        let directory = file.to_cache();
        self.parts.add(&file.id(), stands_for.as_ref(), &directory)
    }

    /// Takes parts that lie one behind the other, from offset `base` on, of a segment that has a
    /// number and is added afterwards.
    pub(crate) fn take_run(
        &self,
        (number, file): (i64, &SegmentFile),
        run: Vec<Part>,
        (base, bytes): (u64, &[u8]),
    ) -> Result<()> {
        let mut opened = Vec::with_capacity(run.len());
        for part in run {
            let plain = file.part_of(part, base, bytes)?;
            if let Part::Shard(at) = part {
                let shard = Shard::decode(&plain).map_err(|cause| file.damaged(cause))?;
                self.keep_shard((number, at), Arc::new(shard));
            }
            opened.push((part, plain));
        }
        self.parts.put(number, &opened)
    }

    /// Adds a segment that is at hand as a whole, with all its parts.
    pub(crate) fn add_whole(
        &self,
        file: SegmentFile,
        object: &SegmentObject,
        stands_for: Option<SegmentId>,
    ) -> Result<()> {
        let number = self.number(&file, stands_for)?;
        for run in file.runs_of_parts() {
            let range = file.range_of_run(&run)?;
            let bytes = object.read(range.clone())?;
            self.take_run((number, &file), run, (range.start, &bytes))?;
        }
        self.add(file, stands_for)
    }

    /// Forgets a segment, and what was rebuilt in its place.
    pub(crate) fn remove(&self, id: &SegmentId) -> Result<()> {
        let gone: Vec<_> = {
            let mut segments = self
                .segments
                .write()
                .unwrap_or_else(PoisonError::into_inner);
            let is_gone = |each: &Loaded| each.file.id() == *id || each.stands_for == Some(*id);
            let gone = segments
                .loaded
                .values()
                .filter(|each| is_gone(each))
                .cloned();
            let gone: Vec<_> = gone.collect();
            segments.loaded.retain(|_, each| !is_gone(each));
            segments.settle();
            gone
        };
        for each in gone {
            self.parts.remove(each.number)?;
            write(&self.shards).forget(each.number);
            write(&self.blocks).forget(each.number);
        }
        Ok(())
    }

    /// Lets go of the parts of segments that another one supersedes; their names stay known.
    pub(crate) fn forget_superseded(&self) -> Result<()> {
        let active: BTreeSet<SegmentId> = self.active().iter().map(|each| each.file.id()).collect();
        for each in self.loaded() {
            let id = each.file.id();
            if !active.contains(&id) {
                self.remove(&id)?;
            }
        }
        Ok(())
    }

    /// Tells whether segments of so many bytes in all are read whole when they are found.
    pub(crate) fn reads_whole(&self, bytes: u64) -> bool {
        bytes <= self.whole.load(Ordering::Relaxed)
    }

    /// Makes every segment be read by parts.
    #[cfg(test)]
    pub(crate) fn read_by_parts(&self) {
        self.whole.store(0, Ordering::Relaxed);
    }

    /// Lets go of all parts in memory; they come back as they are wanted.
    pub(crate) fn drop_shards(&self) {
        write(&self.shards).clear();
        write(&self.blocks).clear();
    }

    /// Tells, without blocking, that a chunk is certainly not in the index as this process has
    /// seen it; "perhaps" where a filter is not in memory.
    pub(crate) fn may_hold(&self, id: &ChunkId) -> bool {
        let segments = self.read();
        let shards = read(&self.shards);
        segments.active.iter().any(|each| {
            let shard = shards.get((each.number, each.file.shard_of(id)));
            let bits = each.file.directory.shard_bits();
            shard.is_none_or(|shard| shard.may_hold(id, bits))
        })
    }

    /// Finds all places of each chunk, in the order of `ids`, or says which parts it needs.
    pub(crate) fn locate(&self, ids: &[ChunkId], fetched: &Fetched) -> Result<Answer> {
        self.locate_with(ids, Some(fetched))
    }

    /// Finds all places of each chunk without blocking, if all that takes is in memory.
    pub(crate) fn locate_in_memory(&self, ids: &[ChunkId]) -> Option<Vec<Vec<Location>>> {
        match self.locate_with(ids, None) {
            Ok(Answer::Found(found)) => Some(found),
            // Trouble shows when it is looked for in earnest.
            _ => None,
        }
    }

    /// Looks in memory only where nothing was fetched.
    fn locate_with(&self, ids: &[ChunkId], fetched: Option<&Fetched>) -> Result<Answer> {
        let active = self.active();
        let mut wanted = BTreeMap::new();
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let mut places = Vec::new();
            for each in &active {
                if let Some(part) = self.locate_in(each, id, fetched, &mut places)? {
                    wanted.insert((each.number, part), Arc::clone(each));
                }
            }
            // Segments that were merged twice, or rebuilt, say the same.
            let mut said = BTreeSet::new();
            places.retain(|place| said.insert((place.pack, place.block, place.start)));
            found.push(places);
        }
        if wanted.is_empty() {
            return Ok(Answer::Found(found));
        }
        let parts = wanted.into_iter();
        Ok(Answer::Wanted(
            parts.map(|((_, part), each)| (each, part)).collect(),
        ))
    }

    /// Looks in one segment; returns the part that is missing for that.
    fn locate_in(
        &self,
        each: &Loaded,
        id: &ChunkId,
        fetched: Option<&Fetched>,
        places: &mut Vec<Location>,
    ) -> Result<Option<Part>> {
        let file = &each.file;
        let at = file.shard_of(id);
        let Some(shard) = self.shard(each, at, fetched)? else {
            return Ok(Some(Part::Shard(at)));
        };
        if !shard.may_hold(id, file.directory.shard_bits()) {
            return Ok(None);
        }
        for block in file.blocks_for(id).rev() {
            let known = places.len();
            if !self.locate_in_block(each, block, id, fetched, places)? {
                places.truncate(known);
                return Ok(Some(Part::Block(block)));
            }
            if places.len() > known {
                break; // The places of one chunk are all in one block.
            }
        }
        Ok(None)
    }

    /// Looks in one block of entries; tells whether it is here and can be read.
    fn locate_in_block(
        &self,
        each: &Loaded,
        block: usize,
        id: &ChunkId,
        fetched: Option<&Fetched>,
        places: &mut Vec<Location>,
    ) -> Result<bool> {
        let (file, key) = (&each.file, (each.number, block));
        let packs = &file.directory.packs;
        let (part, known) = (Part::Block(block), places.len());
        let bytes = if let Some(bytes) = fetched.and_then(|parts| parts.get(&(file.id(), part))) {
            find_in_block(bytes, packs, id, places).map_err(|cause| file.damaged(cause))?;
            bytes.clone()
        } else {
            let kept = read(&self.blocks).get(key).cloned();
            if kept.is_some_and(|bytes| find_in_block(&bytes, packs, id, places).is_ok()) {
                return Ok(true);
            }
            places.truncate(known);
            if fetched.is_none() {
                return Ok(false);
            }
            let Some(bytes) = self.parts.get(each.number, part)? else {
                return Ok(false);
            };
            if let Err(cause) = find_in_block(&bytes, packs, id, places) {
                tracing::warn!(?file, %cause, "a cached part is read anew");
                return Ok(false);
            }
            bytes
        };
        write(&self.blocks).keep(key, bytes.len(), Arc::new(bytes));
        Ok(true)
    }

    /// Returns a filter shard, from memory if it is there.
    fn shard(
        &self,
        each: &Loaded,
        at: usize,
        fetched: Option<&Fetched>,
    ) -> Result<Option<Arc<Shard>>> {
        let key = (each.number, at);
        let kept = read(&self.shards).get(key).cloned();
        let (None, Some(fetched)) = (&kept, fetched) else {
            return Ok(kept);
        };
        let part = Part::Shard(at);
        let shard = match fetched.get(&(each.file.id(), part)) {
            Some(bytes) => Shard::decode(bytes).map_err(|cause| each.file.damaged(cause))?,
            None => match self
                .parts
                .get(each.number, part)?
                .as_deref()
                .map(Shard::decode)
            {
                Some(Ok(shard)) => shard,
                _ => return Ok(None),
            },
        };
        let shard = Arc::new(shard);
        self.keep_shard(key, Arc::clone(&shard));
        Ok(Some(shard))
    }

    fn keep_shard(&self, key: (i64, usize), shard: Arc<Shard>) {
        write(&self.shards).keep(key, shard.bytes(), shard);
    }

    /// Keeps parts that were fetched.
    pub(crate) fn keep(&self, each: &Loaded, parts: &[(Part, Vec<u8>)]) -> Result<()> {
        self.parts.put(each.number, parts)
    }

    /// Returns a block of entries, if it is here.
    pub(crate) fn cached_block(&self, number: i64, block: usize) -> Result<Option<Vec<u8>>> {
        self.parts.get(number, Part::Block(block))
    }

    /// Tells whether every one of `packs` is in a segment.
    pub(crate) fn has_packs(&self, packs: &[PackId]) -> bool {
        let segments = self.read();
        let has = |pack: &PackId| {
            let mut active = segments.active.iter();
            active.any(|each| each.file.directory.packs.binary_search(pack).is_ok())
        };
        packs.iter().all(has)
    }

    fn read(&self) -> RwLockReadGuard<'_, Segments> {
        self.segments.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for IndexCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexCache(..)")
    }
}
