//! Spool files: packs that are still open, append-only and durable up to the last sync.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::layout::{
    BlockEntry, Payload, Table, decode_frame_entry, encode_frame_entry, open_block, seal_end,
};
use super::{BLOCK_LIMIT, Block, HEADER, OVERHEAD, PackKind, PackSealer, Role, TARGET_BYTES};
use crate::disk::{Disk, DiskFile};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, LeaseId};
use crate::keys::Keys;
use crate::mutant::{Mutant, mutated};

/// How the names of spool files end.
pub(crate) const EXTENSION: &str = "spool";
/// Sealed lengths of the two messages that follow.
const HEAD: usize = 8 + OVERHEAD;

/// An open pack and its spool file.
pub(crate) struct OpenPack {
    pub(crate) sealer: PackSealer,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Appended to only while the state is locked; synced at any time.
    file: Box<dyn DiskFile>,
    state: Mutex<State>,
    /// How much of the file is known to be on disk; held while syncing, so that one sync serves all.
    synced: Mutex<u64>,
}

struct State {
    /// Length of the spool file up to the last whole frame.
    length: u64,
    /// Length of the pack up to its last block.
    packed: u64,
    blocks: Vec<SpoolBlock>,
    opened: Instant,
    closed: bool,
}

struct SpoolBlock {
    entry: BlockEntry,
    /// Where the sealed block begins in the spool file.
    offset: u64,
}

/// What appending a block did.
pub(crate) enum Appended {
    /// The block has this number; the flag says that it was the last that fits.
    At(u32, bool),
    /// The pack was closed meanwhile; the block goes to another.
    Closed(Payload),
}

impl OpenPack {
    /// Creates the spool file of a new pack.
    pub(crate) fn create(
        disk: &Arc<dyn Disk>,
        directory: &Path,
        keys: &Keys,
        kind: PackKind,
        lease: &LeaseId,
        environment: &dyn Environment,
    ) -> Result<Self> {
        let sealer = PackSealer::create(keys, kind, lease, environment)?;
        let path = directory.join(format!("{}.{EXTENSION}", sealer.id));
        let failed = |cause| failed(&path, cause);
        let file = disk.create_new(&path).map_err(failed)?;
        file.append(&sealer.header).map_err(failed)?;
        // Durable before any frame: then a header that does not open, with frames behind it, is
        // damage, and never the mark of a crash.
        file.sync().map_err(failed)?;
        disk.sync_directory(directory).map_err(failed)?;
        let place = (Arc::clone(disk), path.clone(), file);
        Ok(Self::new(sealer, place, Vec::new(), HEADER as u64))
    }

    fn new(
        sealer: PackSealer,
        (disk, path, file): (Arc<dyn Disk>, PathBuf, Box<dyn DiskFile>),
        blocks: Vec<SpoolBlock>,
        length: u64,
    ) -> Self {
        let sealed: u64 = blocks
            .iter()
            .map(|block| u64::from(block.entry.sealed))
            .sum();
        Self {
            sealer,
            disk,
            path,
            file,
            state: Mutex::new(State {
                length,
                packed: HEADER as u64 + sealed,
                blocks,
                opened: Instant::now(),
                closed: false,
            }),
            synced: Mutex::new(0),
        }
    }

    /// Seals and appends a block.
    pub(crate) fn append(&self, payload: Payload) -> Result<Appended> {
        let mut state = self.lock();
        if state.closed {
            return Ok(Appended::Closed(payload));
        }
        let number = u32::try_from(state.blocks.len()).unwrap_or(u32::MAX);
        let (entry, block) = payload.seal(&self.sealer, number)?;
        let entries = encode_frame_entry(&entry);
        let entries = self.sealer.seal(Role::Entries, number, &[&entries])?;
        let mut head = [0; 8];
        let length = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        head[..4].copy_from_slice(&length.to_le_bytes());
        head[4..].copy_from_slice(&entry.sealed.to_le_bytes());
        let head = self.sealer.seal(Role::Head, number, &[&head])?;
        let before = state.length;
        for part in [&head, &entries, &block] {
            if let Err(cause) = self.file.append(part) {
                return Err(self.undo(&mut state, before, cause));
            }
        }
        let offset = before + (head.len() + entries.len()) as u64;
        state.length = offset + block.len() as u64;
        state.packed += block.len() as u64;
        state.blocks.push(SpoolBlock { entry, offset });
        let full = state.packed >= TARGET_BYTES;
        state.closed |= full;
        Ok(Appended::At(number, full))
    }

    /// Cuts a half written frame off again; if even that fails, the pack takes no more.
    fn undo(&self, state: &mut State, length: u64, cause: io::Error) -> Error {
        state.closed |= self.file.truncate(length).is_err();
        failed(&self.path, cause)
    }

    /// Takes no more blocks; returns whether this call closed it.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut self.lock().closed, true)
    }

    /// Tells whether the pack holds anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().blocks.is_empty()
    }

    /// Returns when the pack was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.lock().opened
    }

    /// Makes everything durable that was appended before; waits for, and shares, a running sync.
    pub(crate) fn sync(&self) -> Result<()> {
        let wanted = self.lock().length;
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if *synced >= wanted || mutated(Mutant::SyncLeftOut) {
            return Ok(());
        }
        let length = self.lock().length;
        if let Err(cause) = self.file.sync() {
            // What the disk holds is now unknown; a later sync would claim too much.
            self.close();
            return Err(failed(&self.path, cause));
        }
        *synced = length;
        Ok(())
    }

    /// Returns the table of the pack as it is now.
    pub(crate) fn table(&self) -> Table {
        let blocks = self
            .lock()
            .blocks
            .iter()
            .map(|block| block.entry.clone())
            .collect();
        Table { blocks }
    }

    /// Reads a block back from the spool file.
    pub(crate) fn read_block(&self, number: u32) -> Result<Block> {
        let (offset, entry) = {
            let state = self.lock();
            let block = state.blocks.get(number as usize).ok_or_else(|| {
                self.sealer
                    .damaged(format_args!("block {number} is not in its spool"))
            })?;
            (block.offset, block.entry.clone())
        };
        let file = self.disk.open(&self.path);
        let sealed = file
            .and_then(|file| file.read_at(offset, entry.sealed as usize))
            .map_err(|cause| failed(&self.path, cause))?;
        Ok(Block {
            plain: open_block(&self.sealer, number, entry.plain, &sealed)?,
            chunks: entry.chunks,
        })
    }

    /// Closes the pack and returns the whole object: the same bytes each time.
    pub(crate) fn finish(&self) -> Result<Vec<u8>> {
        self.close();
        self.sync()?;
        let table = self.table();
        let state = self.lock();
        let file = self.disk.open(&self.path);
        let file = file.map_err(|cause| failed(&self.path, cause))?;
        let mut pack = Vec::with_capacity(usize::try_from(state.packed * 17 / 16).unwrap_or(0));
        pack.extend_from_slice(&self.sealer.header);
        for block in &state.blocks {
            let sealed = file.read_at(block.offset, block.entry.sealed as usize);
            pack.extend_from_slice(&sealed.map_err(|cause| failed(&self.path, cause))?);
        }
        pack.extend_from_slice(&seal_end(&self.sealer, &table, state.packed)?);
        Ok(pack)
    }

    /// Deletes the spool file, once pack and segment are acknowledged.
    pub(crate) fn remove_file(&self) -> Result<()> {
        match self.disk.remove(&self.path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failed(&self.path, cause)),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for OpenPack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenPack({})", self.sealer.id)
    }
}

/// Reads a spool file that a crashed process left: whole frames are kept, the rest is cut off.
///
/// The pack is closed: nothing is ever appended to it again. `None` when no block survived; the
/// file is deleted then.
///
/// *Errors*: [`ErrorKind::Damaged`] when frames follow a header that is not of this store.
pub(crate) fn recover(disk: &Arc<dyn Disk>, path: &Path, keys: &Keys) -> Result<Option<OpenPack>> {
    let failed = |cause| failed(path, cause);
    let file = disk.open(path).map_err(failed)?;
    let size = file.length().map_err(failed)?;
    if size < HEADER as u64 {
        drop(file);
        disk.remove(path).map_err(failed)?;
        return Ok(None);
    }
    let header = file.read_at(0, HEADER).map_err(failed)?;
    let sealer = match PackSealer::open(keys, &header, None) {
        Ok(sealer) => sealer,
        // The header was on its way to the disk: there is nothing in this pack.
        Err(_) if size == HEADER as u64 => {
            disk.remove(path).map_err(failed)?;
            return Ok(None);
        }
        Err(cause) => {
            let words = format!("spool file {}: not of this store", path.display());
            return Err(Error::new(cause.kind(), words).with_source(cause));
        }
    };
    let mut blocks = Vec::new();
    let mut length = HEADER as u64;
    while let Some(block) = read_frame(file.as_ref(), &sealer, length, size, blocks.len()) {
        length = block.offset + u64::from(block.entry.sealed);
        blocks.push(block);
    }
    if blocks.is_empty() {
        drop(file);
        disk.remove(path).map_err(failed)?;
        return Ok(None);
    }
    file.truncate(length).map_err(failed)?;
    let place = (Arc::clone(disk), path.to_path_buf(), file);
    let pack = OpenPack::new(sealer, place, blocks, length);
    pack.close();
    Ok(Some(pack))
}

/// Reads one whole frame, block included; `None` where the whole frames end.
fn read_frame(
    file: &dyn DiskFile,
    sealer: &PackSealer,
    offset: u64,
    size: u64,
    number: usize,
) -> Option<SpoolBlock> {
    let number = u32::try_from(number).ok()?;
    let head = file.read_at(offset, HEAD).ok()?;
    let head = sealer.open_message(Role::Head, number, &head)?;
    let entries_length = u32::from_le_bytes(head.get(..4)?.try_into().ok()?);
    let block_length = u32::from_le_bytes(head.get(4..8)?.try_into().ok()?);
    let entries_at = offset + HEAD as u64;
    let block_at = entries_at + u64::from(entries_length);
    if block_at + u64::from(block_length) > size
        || block_length as usize > BLOCK_LIMIT + 5 + OVERHEAD
    {
        return None;
    }
    let entries = file.read_at(entries_at, entries_length as usize).ok()?;
    let entries = sealer.open_message(Role::Entries, number, &entries)?;
    let entry = decode_frame_entry(&entries).ok()?;
    let sealed = file.read_at(block_at, block_length as usize).ok()?;
    let whole = open_block(sealer, number, entry.plain, &sealed);
    if !mutated(Mutant::TornTailAccepted) {
        whole.ok()?;
    }
    (entry.sealed == block_length).then_some(SpoolBlock {
        entry,
        offset: block_at,
    })
}

fn failed(path: &Path, cause: io::Error) -> Error {
    Error::from_io(
        ErrorKind::Local,
        format_args!("spool file {}", path.display()),
        cause,
    )
}

/// Finds a chunk in a block.
pub(crate) fn chunk_in(block: &Block, id: &ChunkId) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    for (found, length) in &block.chunks {
        let end = start + *length as usize;
        if found == id {
            return Some(start..end);
        }
        start = end;
    }
    None
}
