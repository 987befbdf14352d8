//! Simulated disk: files in memory of which a crash keeps what was synced, and as much of the rest
//! as a seed says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::effect::{Change, DiskChange, Effect};
use super::plan::{FaultPlan, Ruling};
use super::seeded::Dice;
use crate::disk::{Disk, DiskFile, DiskLock};

/// How much of what was not synced a crash leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Survival {
    /// Only what was synced, contents and names.
    Synced,
    /// Everything: the program died, not the machine.
    Everything,
    /// Each un-synced name or not; of un-synced bytes a part, torn, with holes or with garbage at
    /// its end, as this seed says.
    Torn(u64),
}

/// Keeps files in memory; clones share them.
#[derive(Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
    plan: FaultPlan,
}

#[derive(Clone, Default)]
struct State {
    directories: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, u64>,
    /// The names as they were when their directories were last synced.
    synced_names: BTreeMap<PathBuf, u64>,
    files: BTreeMap<u64, FileState>,
    next_file: u64,
    locks: BTreeSet<PathBuf>,
}

#[derive(Clone, Default)]
struct FileState {
    bytes: Vec<u8>,
    /// The bytes as they were at the last sync.
    synced: Vec<u8>,
    /// Where the last append began.
    last: usize,
    /// It is an object of a backend as well: whoever writes to it changes what must not change.
    frozen: bool,
}

impl SimulatedDisk {
    /// Creates an empty disk.
    pub fn new(plan: FaultPlan) -> Self {
        Self {
            state: Arc::default(),
            plan,
        }
    }

    /// Copies the disk as it is now, for another life.
    #[must_use]
    pub fn fork(&self, plan: FaultPlan) -> Self {
        let mut state = self.lock().clone();
        state.locks.clear();
        Self {
            state: Arc::new(Mutex::new(state)),
            plan,
        }
    }

    /// Copies what a crash at this moment leaves of the disk, for the next life.
    #[must_use]
    pub fn crash(&self, survival: Survival, plan: FaultPlan) -> Self {
        let mut state = self.lock().clone();
        state.locks.clear();
        state.crash(survival);
        Self {
            state: Arc::new(Mutex::new(state)),
            plan,
        }
    }

    /// Counts the files.
    pub fn file_count(&self) -> usize {
        self.lock().names.len()
    }

    /// Does what a recorded effect did, whatever the plan says.
    pub(super) fn replay(&self, change: &DiskChange) {
        self.lock().change(change);
    }

    /// Returns the bytes of a file that were synced.
    pub(super) fn on_platter(&self, path: &Path) -> io::Result<Bytes> {
        let state = self.lock();
        let file = state.names.get(path);
        let file = file.and_then(|number| state.files.get(number));
        Ok(Bytes::copy_from_slice(
            &file.ok_or(io::ErrorKind::NotFound)?.synced,
        ))
    }

    /// Notes that a file is an object from now on: writing to it is an error.
    pub(super) fn freeze(&self, path: &Path) {
        self.lock().edit(path, |file| file.frozen = true);
    }

    /// Changes the disk, unless the plan has something else in mind.
    fn effect(&self, change: DiskChange) -> io::Result<()> {
        if let DiskChange::Append(path, _) | DiskChange::Truncate(path, _) = &change {
            let mut frozen = false;
            self.lock().edit(path, |file| frozen = file.frozen);
            if frozen {
                return Err(io::Error::other("an object of the store is written to"));
            }
        }
        let ruling = self.plan.rule();
        match (ruling, &change) {
            (Ruling::Stopped, _) => return Err(io::Error::other("the machine has stopped")),
            (Ruling::Fail, _) => return Err(io::Error::other("the disk refuses")),
            (Ruling::Full, DiskChange::Append(path, bytes)) => {
                let part = bytes.slice(..bytes.len() / 2);
                let change = DiskChange::Append(path.clone(), part);
                self.lock().change(&change);
                self.plan.note(Effect(Change::Disk(change)));
                return Err(io::ErrorKind::StorageFull.into());
            }
            (Ruling::Full, DiskChange::Create(_)) => {
                return Err(io::ErrorKind::StorageFull.into());
            }
            _ => {}
        }
        self.lock().change(&change);
        self.plan.note(Effect(Change::Disk(change)));
        match ruling {
            Ruling::DoThenStop => {
                self.plan.stop();
                Err(io::Error::other("the machine has stopped"))
            }
            Ruling::DoThenFail => Err(io::Error::other("the disk reports a failure")),
            _ => Ok(()),
        }
    }

    fn file(&self, path: &Path) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile {
            disk: self.clone(),
            path: path.to_path_buf(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimulatedDisk({} files)", self.file_count())
    }
}

impl State {
    fn change(&mut self, change: &DiskChange) {
        match change {
            DiskChange::CreateDirectories(path) => {
                self.directories.insert(path.clone());
            }
            DiskChange::Create(path) => {
                self.files.insert(self.next_file, FileState::default());
                self.names.insert(path.clone(), self.next_file);
                self.next_file += 1;
            }
            DiskChange::Append(path, bytes) => self.edit(path, |file| {
                file.last = file.bytes.len();
                file.bytes.extend_from_slice(bytes);
            }),
            DiskChange::Truncate(path, length) => self.edit(path, |file| {
                file.bytes
                    .truncate(usize::try_from(*length).unwrap_or(usize::MAX));
                file.last = file.bytes.len();
            }),
            DiskChange::Sync(path) => self.edit(path, |file| file.synced.clone_from(&file.bytes)),
            DiskChange::SyncDirectory(directory) => {
                let inside = |path: &PathBuf| path.parent() == Some(directory);
                self.synced_names.retain(|path, _| !inside(path));
                let now = self.names.iter().filter(|(path, _)| inside(path));
                let now = now.map(|(path, file)| (path.clone(), *file));
                self.synced_names.extend(now);
            }
            DiskChange::Remove(path) => {
                self.names.remove(path);
            }
        }
    }

    fn edit(&mut self, path: &Path, edit: impl FnOnce(&mut FileState)) {
        let number = self.names.get(path);
        if let Some(file) = number.and_then(|number| self.files.get_mut(number)) {
            edit(file);
        }
    }

    fn crash(&mut self, survival: Survival) {
        let mut dice = match survival {
            Survival::Everything => return self.settle(),
            Survival::Synced => None,
            Survival::Torn(seed) => Some(Dice::new(seed)),
        };
        let all: BTreeSet<PathBuf> = self
            .names
            .keys()
            .chain(self.synced_names.keys())
            .cloned()
            .collect();
        for path in all {
            let new = dice.as_mut().is_some_and(|dice| dice.below(2) == 0);
            let kept = if new {
                self.names.get(&path)
            } else {
                self.synced_names.get(&path)
            };
            match kept.copied() {
                Some(file) => self.names.insert(path, file),
                None => self.names.remove(&path),
            };
        }
        for file in self.files.values_mut() {
            match &mut dice {
                Some(dice) => file.tear(dice),
                None => file.bytes.clone_from(&file.synced),
            }
        }
        self.settle();
    }

    /// Makes everything that is there durable, and forgets files without a name.
    fn settle(&mut self) {
        self.synced_names.clone_from(&self.names);
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.files.retain(|number, _| named.contains(number));
        for file in self.files.values_mut() {
            file.synced.clone_from(&file.bytes);
            file.last = file.bytes.len();
        }
    }
}

impl FileState {
    /// Keeps what was synced, and of the rest what the dice say.
    fn tear(&mut self, dice: &mut Dice) {
        if !self.bytes.starts_with(&self.synced) {
            // Cut off since the last sync: either length may be on the disk.
            if dice.below(2) == 0 {
                self.bytes.clone_from(&self.synced);
            }
            return;
        }
        let (safe, whole) = (self.synced.len(), self.bytes.len());
        let last = self.last.clamp(safe, whole);
        let kept = match dice.below(4) {
            0 => safe,
            1 => last + dice.below(whole - last + 1),
            2 => safe + dice.below(whole - safe + 1),
            _ => whole,
        };
        match dice.below(4) {
            // The length was written, the bytes were not: zeros, or what lay there before.
            0 => self.bytes[kept..].fill(0),
            1 => self.bytes[kept..].fill_with(|| dice.next().to_le_bytes()[0]),
            // Written out of order: a hole before the end.
            2 => {
                let begin = safe + dice.below(kept - safe + 1);
                let end = begin + dice.below(kept - begin + 1);
                self.bytes[begin..end].fill(0);
                self.bytes.truncate(kept);
            }
            _ => self.bytes.truncate(kept),
        }
    }
}

impl Disk for SimulatedDisk {
    fn create_directories(&self, directory: &Path) -> io::Result<()> {
        if self.lock().directories.contains(directory) {
            return Ok(());
        }
        self.effect(DiskChange::CreateDirectories(directory.to_path_buf()))
    }

    fn lock(&self, path: &Path) -> io::Result<DiskLock> {
        if !self.lock().locks.insert(path.to_path_buf()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let (disk, path) = (self.clone(), path.to_path_buf());
        Ok(Box::new(SimulatedLock { disk, path }))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if self.lock().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.effect(DiskChange::Create(path.to_path_buf()))?;
        Ok(self.file(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        if !self.lock().names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(self.file(path))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.effect(DiskChange::SyncDirectory(directory.to_path_buf()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.lock().names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.effect(DiskChange::Remove(path.to_path_buf()))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.lock();
        let inside = state.names.keys();
        Ok(inside
            .filter(|path| path.parent() == Some(directory))
            .cloned()
            .collect())
    }
}

struct SimulatedLock {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        self.disk.lock().locks.remove(&self.path);
    }
}

/// A file by its name: names are never used twice.
struct SimulatedFile {
    disk: SimulatedDisk,
    path: PathBuf,
}

impl SimulatedFile {
    fn read<T>(&self, read: impl FnOnce(&[u8]) -> io::Result<T>) -> io::Result<T> {
        let state = self.disk.lock();
        let file = state.names.get(&self.path);
        let file = file.and_then(|number| state.files.get(number));
        read(&file.ok_or(io::ErrorKind::NotFound)?.bytes)
    }
}

impl DiskFile for SimulatedFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.disk
            .effect(DiskChange::Append(self.path.clone(), bytes))
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        if self.length()? == length {
            return Ok(());
        }
        self.disk
            .effect(DiskChange::Truncate(self.path.clone(), length))
    }

    fn length(&self) -> io::Result<u64> {
        self.read(|bytes| Ok(bytes.len() as u64))
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.read(|bytes| {
            let start = usize::try_from(offset).unwrap_or(usize::MAX);
            let range = start..start.saturating_add(length);
            let found = bytes.get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
            Ok(found.to_vec())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.effect(DiskChange::Sync(self.path.clone()))
    }
}
