//! The spools of one writer: which packs are open, which wait for upload, what is in them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::layout::Payload;
use super::spool::{
    Appended, EXTENSION, FRAMES, FRAMES_FULL, OpenPack, chunk_in, recover, remove_orphan,
};
use super::{Block, PackKind};
use crate::disk::Disk;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, ChunkMap, LeaseId, PackId, SegmentId};
use crate::index::object::{self, SegmentSpool};
use crate::keys::Keys;
use crate::mutant::{Mutant, mutated};

/// Age at which an open pack is closed at the next commit.
pub(crate) const CLOSE_AFTER: Duration = Duration::from_secs(30);

/// All packs of a writer that are not yet in a segment. Everything here blocks.
pub(crate) struct Spools {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    /// The lease of the writer: what it opens is opened under it.
    lease: LeaseId,
    keys: Arc<Keys>,
    environment: Arc<dyn Environment>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: BTreeMap<PackKind, Arc<OpenPack>>,
    /// Closed, not yet uploaded.
    full: VecDeque<Arc<OpenPack>>,
    /// Uploaded, not yet in a segment.
    uploaded: Vec<Arc<OpenPack>>,
    /// All of the above.
    packs: HashMap<PackId, Arc<OpenPack>>,
    chunks: ChunkMap<(PackId, u32)>,
    /// The writer has ended: nothing is taken any more.
    ended: bool,
}

impl Spools {
    /// Takes over a spool directory with whatever a crashed process left in it.
    pub(crate) fn recover(
        disk: Arc<dyn Disk>,
        directory: PathBuf,
        lease: LeaseId,
        keys: Arc<Keys>,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        let mut state = State::default();
        for path in spool_files(&disk, &directory)? {
            if let Some(pack) = recover(&disk, &path, &keys)? {
                let pack = Arc::new(pack);
                for (number, entry) in (0..).zip(&pack.table().blocks) {
                    for (id, _) in &entry.chunks {
                        state.chunks.insert(*id, (pack.sealer.id, number));
                    }
                }
                state.packs.insert(pack.sealer.id, Arc::clone(&pack));
                state.full.push_back(pack);
            }
        }
        Ok(Self {
            disk,
            directory,
            lease,
            keys,
            environment,
            state: Mutex::new(state),
        })
    }

    /// Compresses, seals and appends a block to the open pack of its kind.
    pub(crate) fn append(&self, kind: PackKind, block: Block) -> Result<PackId> {
        let mut payload = Payload::new(block)?;
        let chunks: Vec<ChunkId> = payload.chunks().iter().map(|(id, _)| *id).collect();
        loop {
            let pack = self.open(kind)?;
            let (number, last) = match pack.append(payload)? {
                Appended::At(number, last) => (number, last),
                Appended::Closed(back) => {
                    self.retire(&pack);
                    payload = back;
                    continue;
                }
            };
            let mut state = self.lock();
            for id in chunks {
                state.chunks.insert(id, (pack.sealer.id, number));
            }
            drop(state);
            if last {
                self.retire(&pack);
            }
            return Ok(pack.sealer.id);
        }
    }

    /// Takes no more blocks: the writer ends.
    pub(crate) fn retire_all(&self) {
        self.lock().ended = true;
        self.close(None);
    }

    fn open(&self, kind: PackKind) -> Result<Arc<OpenPack>> {
        let mut state = self.lock();
        if state.ended {
            return Err(Error::new(ErrorKind::InvalidInput, "writer: it has ended"));
        }
        if let Some(pack) = state.open.get(&kind) {
            return Ok(Arc::clone(pack));
        }
        let created = OpenPack::create(
            &self.disk,
            &self.directory,
            &self.keys,
            kind,
            &self.lease,
            self.environment.as_ref(),
        )?;
        let pack = Arc::new(created);
        state.open.insert(kind, Arc::clone(&pack));
        state.packs.insert(pack.sealer.id, Arc::clone(&pack));
        Ok(pack)
    }

    /// Moves a closed pack from the open ones to those that wait for upload, once.
    fn retire(&self, pack: &Arc<OpenPack>) {
        pack.close();
        let mut state = self.lock();
        let kind = pack.sealer.kind;
        if state
            .open
            .get(&kind)
            .is_some_and(|open| Arc::ptr_eq(open, pack))
        {
            state.open.remove(&kind);
            state.full.push_back(Arc::clone(pack));
        }
    }

    /// Closes the open packs that hold something; with `age`, only those that old.
    pub(crate) fn close(&self, age: Option<Duration>) {
        let open: Vec<_> = self.lock().open.values().map(Arc::clone).collect();
        for pack in open {
            let old = age.is_none_or(|age| pack.opened().elapsed() >= age);
            if old && !pack.is_empty() {
                self.retire(&pack);
            }
        }
    }

    /// Makes durable what those of `packs` hold that are still here.
    pub(crate) fn sync(&self, packs: &HashSet<PackId>) -> Result<()> {
        if mutated(Mutant::SyncLeftOut) {
            return Ok(());
        }
        let mut here: Vec<_> = {
            let state = self.lock();
            packs
                .iter()
                .filter_map(|id| state.packs.get(id).map(Arc::clone))
                .collect()
        };
        // In an order that a simulation can repeat.
        here.sort_by_key(|pack| pack.sealer.id);
        here.iter().try_for_each(|pack| pack.sync())
    }

    /// Names a file in which a segment may grow.
    pub(crate) fn of_segment(&self, id: &SegmentId) -> SegmentSpool {
        let name = format!("{id}.{}", object::EXTENSION);
        SegmentSpool::new(Arc::clone(&self.disk), self.directory.join(name))
    }

    /// Finds the pack here that holds a chunk.
    pub(crate) fn pack_of(&self, id: &ChunkId) -> Option<PackId> {
        self.lock().chunks.get(id).map(|(pack, _)| *pack)
    }

    /// Lists the packs that are closed, uploaded or not, and in no segment yet.
    pub(crate) fn closed(&self) -> Vec<Arc<OpenPack>> {
        let state = self.lock();
        state
            .full
            .iter()
            .chain(&state.uploaded)
            .map(Arc::clone)
            .collect()
    }

    /// Tells whether a pack is here.
    pub(crate) fn holds(&self, pack: &PackId) -> bool {
        self.lock().packs.contains_key(pack)
    }

    /// Reads a chunk back from the pack here that holds it.
    pub(crate) fn read(&self, id: &ChunkId) -> Result<Option<Bytes>> {
        let found = {
            let state = self.lock();
            state.chunks.get(id).and_then(|(pack, number)| {
                state
                    .packs
                    .get(pack)
                    .map(|pack| (Arc::clone(pack), *number))
            })
        };
        let Some((pack, number)) = found else {
            return Ok(None);
        };
        let block = pack.read_block(number)?;
        let range = chunk_in(&block, id)
            .ok_or_else(|| Error::damaged(format_args!("chunk {id}"), "not in its spool block"))?;
        let chunk = Bytes::from(block.plain).slice(range);
        if self.keys.chunk_id(&chunk) != *id {
            return Err(Error::damaged(
                format_args!("chunk {id}"),
                "its bytes have another id",
            ));
        }
        Ok(Some(chunk))
    }

    /// Returns the next pack to upload, and leaves it in the queue.
    pub(crate) fn next_full(&self) -> Option<Arc<OpenPack>> {
        self.lock().full.front().map(Arc::clone)
    }

    /// Counts the packs that wait for upload.
    pub(crate) fn full_count(&self) -> usize {
        self.lock().full.len()
    }

    /// Notes that a pack was uploaded.
    pub(crate) fn uploaded(&self, pack: &Arc<OpenPack>) {
        let mut state = self.lock();
        state.full.retain(|full| !Arc::ptr_eq(full, pack));
        state.uploaded.push(Arc::clone(pack));
    }

    /// Tells whether the uploaded packs should wait no longer for a segment: there are so many, or
    /// they hold so many chunks.
    pub(crate) fn unindexed_enough(&self, packs: usize) -> bool {
        let state = self.lock();
        let frames: u64 = state.uploaded.iter().map(|pack| pack.framed()).sum();
        state.uploaded.len() >= packs || frames >= FRAMES_FULL
    }

    /// Returns the uploaded packs of a kind that wait for a segment.
    pub(crate) fn unindexed(&self, kind: PackKind) -> Vec<Arc<OpenPack>> {
        let state = self.lock();
        let of_kind = state
            .uploaded
            .iter()
            .filter(|pack| pack.sealer.kind == kind);
        of_kind.map(Arc::clone).collect()
    }

    /// Lets go of packs that are in a segment now, and deletes their spool files.
    pub(crate) fn forget(&self, packs: &[Arc<OpenPack>]) -> Result<()> {
        let gone: HashSet<PackId> = packs.iter().map(|pack| pack.sealer.id).collect();
        {
            let mut state = self.lock();
            state.full.retain(|pack| !gone.contains(&pack.sealer.id));
            state
                .uploaded
                .retain(|pack| !gone.contains(&pack.sealer.id));
            state.packs.retain(|id, _| !gone.contains(id));
            state.chunks.retain(|_, (pack, _)| !gone.contains(pack));
        }
        packs.iter().try_for_each(|pack| pack.remove_files())
    }

    /// Seals the blocks of a pack anew, under a new id, because its name was taken by a clone.
    pub(crate) fn reseal(&self, pack: &Arc<OpenPack>) -> Result<()> {
        for number in (0..).take(pack.table().blocks.len()) {
            self.append(pack.sealer.kind, pack.read_block(number)?)?;
        }
        self.close(None);
        let resealed: HashSet<PackId> = self.lock().packs.keys().copied().collect();
        self.sync(&resealed)?;
        self.forget(&[Arc::clone(pack)])
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Spools {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Spools({} packs)", self.lock().packs.len())
    }
}

/// Lists the spool files; deletes frames that have none, and segments that were never finished.
fn spool_files(disk: &Arc<dyn Disk>, directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = disk.list(directory).map_err(|cause| {
        let object = format_args!("spool directory {}", directory.display());
        Error::from_io(ErrorKind::Local, object, cause)
    })?;
    let ends = |path: &PathBuf, with: &str| path.extension().is_some_and(|end| end == with);
    let frames = listed.iter().filter(|path| ends(path, FRAMES));
    frames
        .into_iter()
        .try_for_each(|frames| remove_orphan(disk.as_ref(), frames, &listed))?;
    let segments = listed.iter().filter(|path| ends(path, object::EXTENSION));
    segments
        .into_iter()
        .for_each(|path| drop(SegmentSpool::new(disk.clone(), path.clone())));
    let mut spools = listed;
    spools.retain(|path| ends(path, EXTENSION));
    Ok(spools)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::SystemDisk;
    use crate::environment::SystemEnvironment;
    use crate::keys::tests::test_keys;

    #[test]
    fn a_pack_is_full_when_it_holds_very_many_chunks_however_short() {
        let directory = tempfile::tempdir().unwrap();
        let lease = LeaseId::from_bytes([3; 16]);
        let (disk, path) = (Arc::new(SystemDisk), directory.path().to_owned());
        let keys = Arc::new(test_keys());
        let spools = Spools::recover(disk, path, lease, keys, Arc::new(SystemEnvironment)).unwrap();
        let mut blocks = 0u64;
        while spools.full_count() == 0 {
            let chunk = |number: u64| {
                let id = blake3::hash(&[blocks.to_le_bytes(), number.to_le_bytes()].concat());
                (ChunkId::from_bytes(id.into()), 1)
            };
            let block = Block {
                plain: vec![7; 5_000],
                chunks: (0..5_000).map(chunk).collect(),
            };
            spools.append(PackKind::Content, block).unwrap();
            blocks += 1;
        }
        assert!((8..12).contains(&blocks), "{blocks} blocks of 5,000 chunks");
        let pack = spools.next_full().unwrap();
        spools.uploaded(&pack);
        assert!(
            spools.unindexed_enough(8),
            "one pack is enough for a segment"
        );
    }
}
