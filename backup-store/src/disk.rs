//! Disk: the little that open packs need of a local file system, so that a simulation can crash it.
//!
//! Everything here blocks: call it through `Offload`.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::backend::{create_directories, sync_directory};

/// Creates, finds and removes files; a new or removed name is durable once its directory is synced.
pub(crate) trait Disk: fmt::Debug + Send + Sync {
    /// Creates a directory with its parents, durably.
    fn create_directories(&self, directory: &Path) -> io::Result<()>;

    /// Locks a file, which is created if it is not there, until the answer is dropped.
    ///
    /// *Errors*: `WouldBlock` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<DiskLock>;

    /// Creates an empty file that must not exist yet.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for reading and cutting.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Lists the files of a directory, sorted.
    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>>;
}

/// An open file. What is appended is durable once a sync that began later has returned.
pub(crate) trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at the end; after an error some of them may be there.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file off, and goes on appending there.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Returns the length.
    fn length(&self) -> io::Result<u64>;

    /// Reads exactly `length` bytes; on a file opened for this, never on one that is appended to.
    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>>;

    /// Makes durable what was appended; others may append meanwhile.
    fn sync(&self) -> io::Result<()>;
}

/// Holds a lock until it is dropped.
pub(crate) type DiskLock = Box<dyn Send>;

/// The file system of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SystemDisk;

impl Disk for SystemDisk {
    fn create_directories(&self, directory: &Path) -> io::Result<()> {
        create_directories(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<DiskLock> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(SystemFile(file)))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        sync_directory(directory)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(directory)?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }
}

struct SystemFile(File);

impl DiskFile for SystemFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)?;
        (&self.0).seek(SeekFrom::Start(length)).map(drop)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        // A portable read at an offset moves the place of the next append.
        (&self.0).seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; length];
        (&self.0).read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
