//! Spool files: packs that are still open, append-only and durable up to the last sync.
//!
//! A spool file begins as the pack does, header and blocks; beside it lie the frames, which say what
//! the blocks hold until the table of the finished pack does.

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

/// How the names of spool files end: the header and the blocks, as the pack will hold them.
pub(crate) const EXTENSION: &str = "spool";
/// How the names of the files beside them end: which chunks the blocks hold.
pub(crate) const FRAMES: &str = "frames";
/// Sealed length of the first message of a frame.
const HEAD: usize = 8 + OVERHEAD;

/// An open pack and its spool file.
///
/// The spool file grows into the pack itself, so that a backend on the same file system can take it
/// over as it is. Only the process that created it ever writes to it.
pub(crate) struct OpenPack {
    pub(crate) sealer: PackSealer,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    /// Appended to only while the state is locked; synced at any time.
    files: Files,
    state: Mutex<State>,
    /// How much of the spool file is known to be on disk, and its frames with it; held while
    /// syncing, so that one sync serves all.
    synced: Mutex<u64>,
}

/// Bytes of frames at which a pack takes no more blocks, however short those are: which chunks it
/// holds is in memory until they are in a segment. That many say what 45,000 chunks are.
pub(crate) const FRAMES_FULL: u64 = 3 << 19;

struct Files {
    blocks: Box<dyn DiskFile>,
    frames: Box<dyn DiskFile>,
}

struct State {
    /// Length of the spool file.
    length: u64,
    /// Length of the pack up to its last block, and of the frames that say so.
    packed: u64,
    framed: u64,
    blocks: Vec<SpoolBlock>,
    opened: Instant,
    closed: bool,
    end: End,
}

/// What became of the end of the pack: its table, padding and trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Not written to the spool file yet.
    Open,
    Written,
    /// Never to be written there: another process may have, or there was no room.
    Elsewhere,
}

struct SpoolBlock {
    entry: BlockEntry,
    /// Where the sealed block begins in the spool file, and in the pack.
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
    /// Creates the files of a new pack.
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
        let blocks = disk.create_new(&path).map_err(failed)?;
        blocks.append(&sealer.header).map_err(failed)?;
        // Durable before any block: then a header that does not open, with blocks behind it, is
        // damage, and never the mark of a crash.
        blocks.sync().map_err(failed)?;
        let frames = disk.create_new(&frames_of(&path)).map_err(failed)?;
        disk.sync_directory(directory).map_err(failed)?;
        let files = Files { blocks, frames };
        Ok(Self::new(sealer, disk, path.clone(), files, Vec::new()))
    }

    fn new(
        sealer: PackSealer,
        disk: &Arc<dyn Disk>,
        path: PathBuf,
        files: Files,
        blocks: Vec<SpoolBlock>,
    ) -> Self {
        let length = end_of(&blocks);
        Self {
            sealer,
            disk: Arc::clone(disk),
            path,
            files,
            state: Mutex::new(State {
                length,
                packed: length,
                framed: 0,
                blocks,
                opened: Instant::now(),
                closed: false,
                end: End::Open,
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
        let frame = seal_frame(&self.sealer, number, &entry)?;
        let appended = self.files.blocks.append(&block);
        if let Err(cause) = appended.and_then(|()| self.files.frames.append(&frame)) {
            return Err(self.undo(&mut state, cause));
        }
        let offset = state.packed;
        state.packed += block.len() as u64;
        state.length = state.packed;
        state.framed += frame.len() as u64;
        state.blocks.push(SpoolBlock { entry, offset });
        let full = state.packed >= TARGET_BYTES || state.framed >= FRAMES_FULL;
        state.closed |= full;
        Ok(Appended::At(number, full))
    }

    /// Cuts what was written of a block off again; if even that fails, the pack takes no more.
    fn undo(&self, state: &mut State, cause: io::Error) -> Error {
        let cut = self.files.blocks.truncate(state.packed);
        let cut = cut.and_then(|()| self.files.frames.truncate(state.framed));
        state.closed |= cut.is_err();
        failed(&self.path, cause)
    }

    /// Takes no more blocks; returns whether this call closed it.
    pub(crate) fn close(&self) -> bool {
        !std::mem::replace(&mut self.lock().closed, true)
    }

    /// Bytes of the frames: some 34 for each chunk.
    pub(crate) fn framed(&self) -> u64 {
        self.lock().framed
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
        if *synced >= wanted {
            return Ok(());
        }
        let length = self.lock().length;
        let done = self.files.blocks.sync();
        if let Err(cause) = done.and_then(|()| self.files.frames.sync()) {
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
            plain: open_block(&self.sealer, number, entry.plain, sealed[..].into())?.into(),
            chunks: entry.chunks,
        })
    }

    /// Closes the pack and returns the whole object: the same bytes each time.
    pub(crate) fn finish(&self) -> Result<Vec<u8>> {
        self.close();
        self.sync()?;
        let table = self.table();
        let packed = self.lock().packed;
        let end = seal_end(&self.sealer, &table, packed)?;
        let length = usize::try_from(packed).unwrap_or(usize::MAX);
        let file = self.disk.open(&self.path);
        let pack = file.and_then(|file| file.read_at(0, length));
        let mut pack = pack.map_err(|cause| failed(&self.path, cause))?;
        pack.extend_from_slice(&end);
        Ok(pack)
    }

    /// Closes the pack, makes its spool file the whole object, durably, and returns where it is:
    /// nothing writes to it from then on. `None` where that cannot be.
    pub(crate) fn finish_in_place(&self) -> Result<Option<PathBuf>> {
        self.close();
        let table = self.table();
        let mut state = self.lock();
        if state.end == End::Open {
            let end = seal_end(&self.sealer, &table, state.packed)?;
            state.end = match self.files.blocks.append(&end) {
                Ok(()) => End::Written,
                // What follows the last block is never looked at; its room may be wanted.
                Err(cause) => {
                    let cut = self.files.blocks.truncate(state.packed).is_ok();
                    tracing::debug!(%cause, cut, "a pack is not finished in its spool");
                    End::Elsewhere
                }
            };
            state.length = state.packed + end.len() as u64;
        }
        let whole = state.end == End::Written;
        drop(state);
        if !mutated(Mutant::HandedOverUnsynced) {
            self.sync()?;
        }
        Ok(whole.then(|| self.path.clone()))
    }

    /// Deletes the files, once pack and segment are acknowledged.
    pub(crate) fn remove_files(&self) -> Result<()> {
        remove(self.disk.as_ref(), &self.path)
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

/// Reads a spool file that a crashed process left: whole blocks are kept, as far as there are
/// frames for them.
///
/// The pack is closed, and its file stays as it is: it may be an object of the store already.
/// `None` when no block survived; the files are deleted then.
///
/// *Errors*: [`ErrorKind::Damaged`] when blocks follow a header that is not of this store.
pub(crate) fn recover(disk: &Arc<dyn Disk>, path: &Path, keys: &Keys) -> Result<Option<OpenPack>> {
    let pack = match open_header(disk.as_ref(), path, keys)? {
        Some((sealer, blocks)) => recover_blocks(disk, path, sealer, blocks)?,
        None => None,
    };
    if pack.is_none() {
        remove(disk.as_ref(), path)?;
    }
    Ok(pack)
}

/// Opens a spool file and checks its header; `None` when there is nothing behind it.
fn open_header(
    disk: &dyn Disk,
    path: &Path,
    keys: &Keys,
) -> Result<Option<(PackSealer, Box<dyn DiskFile>)>> {
    let failed = |cause| failed(path, cause);
    let blocks = disk.open(path).map_err(failed)?;
    let size = blocks.length().map_err(failed)?;
    if size < HEADER as u64 {
        return Ok(None);
    }
    let header = blocks.read_at(0, HEADER).map_err(failed)?;
    match PackSealer::open(keys, &header, None) {
        Ok(sealer) => Ok(Some((sealer, blocks))),
        // The header was on its way to the disk: there is nothing in this pack.
        Err(_) if size == HEADER as u64 => Ok(None),
        Err(cause) => {
            let words = format!("spool file {}: not of this store", path.display());
            Err(Error::new(cause.kind(), words).with_source(cause))
        }
    }
}

fn recover_blocks(
    disk: &Arc<dyn Disk>,
    path: &Path,
    sealer: PackSealer,
    blocks: Box<dyn DiskFile>,
) -> Result<Option<OpenPack>> {
    let frames = match disk.open(&frames_of(path)) {
        Ok(frames) => frames,
        // A crash came while the two were created, or deleted.
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(failed(path, cause)),
    };
    let files = Files { blocks, frames };
    let (mut found, mut framed) = (Vec::new(), 0);
    while let Some((block, frame)) = read_frame(&files, &sealer, framed, &found) {
        framed += frame;
        found.push(block);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let pack = OpenPack::new(sealer, disk, path.to_path_buf(), files, found);
    pack.close();
    pack.lock().end = End::Elsewhere;
    Ok(Some(pack))
}

/// Seals what a crashed process's successor needs to know of one block.
fn seal_frame(sealer: &PackSealer, number: u32, entry: &BlockEntry) -> Result<Vec<u8>> {
    let entries = encode_frame_entry(entry);
    let entries = sealer.seal(Role::Entries, number, &[&entries])?;
    let mut head = [0; 8];
    let length = u32::try_from(entries.len()).unwrap_or(u32::MAX);
    head[..4].copy_from_slice(&length.to_le_bytes());
    head[4..].copy_from_slice(&entry.sealed.to_le_bytes());
    let mut frame = sealer.seal(Role::Head, number, &[&head])?;
    frame.extend_from_slice(&entries);
    Ok(frame)
}

/// Reads one whole frame and its block; `None` where the whole ones end.
fn read_frame(
    files: &Files,
    sealer: &PackSealer,
    at: u64,
    before: &[SpoolBlock],
) -> Option<(SpoolBlock, u64)> {
    let number = u32::try_from(before.len()).ok()?;
    let offset = end_of(before);
    let head = files.frames.read_at(at, HEAD).ok()?;
    let head = sealer.open_message(Role::Head, number, &head)?;
    let entries_length = u32::from_le_bytes(head.get(..4)?.try_into().ok()?);
    let block_length = u32::from_le_bytes(head.get(4..8)?.try_into().ok()?);
    let end = at + HEAD as u64 + u64::from(entries_length);
    if block_length as usize > BLOCK_LIMIT + 5 + OVERHEAD || end > files.frames.length().ok()? {
        return None;
    }
    let entries = files
        .frames
        .read_at(at + HEAD as u64, entries_length as usize);
    let entries = sealer.open_message(Role::Entries, number, &entries.ok()?)?;
    let entry = decode_frame_entry(&entries).ok()?;
    let sealed = files.blocks.read_at(offset, block_length as usize).ok()?;
    let whole = open_block(sealer, number, entry.plain, sealed[..].into());
    if !mutated(Mutant::TornTailAccepted) {
        whole.ok()?;
    }
    (entry.sealed == block_length).then_some((SpoolBlock { entry, offset }, end - at))
}

/// Where the blocks end in the spool file, and in the pack.
fn end_of(blocks: &[SpoolBlock]) -> u64 {
    blocks.last().map_or(HEADER as u64, |last| {
        last.offset + u64::from(last.entry.sealed)
    })
}

/// Deletes a spool file and its frames, in this order: frames alone are nothing.
fn remove(disk: &dyn Disk, path: &Path) -> Result<()> {
    for path in [path, &frames_of(path)] {
        match disk.remove(path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                return Err(failed(path, cause));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Deletes frames whose spool file is gone: a crash came while the two were created, or deleted.
pub(crate) fn remove_orphan(disk: &dyn Disk, frames: &Path, listed: &[PathBuf]) -> Result<()> {
    let spool = frames.with_extension(EXTENSION);
    if listed.contains(&spool) {
        return Ok(());
    }
    remove(disk, &spool)
}

fn frames_of(path: &Path) -> PathBuf {
    path.with_extension(FRAMES)
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
