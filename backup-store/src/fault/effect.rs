//! Effects: what a life did to the world, kept so that it can be done again to a copy.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

use super::disk::SimulatedDisk;
use crate::backend::{MemoryBackend, ObjectName};

/// One change of a backend or a disk.
#[derive(Debug, Clone)]
pub struct Effect(pub(super) Change);

#[derive(Debug, Clone)]
pub(super) enum Change {
    Put(ObjectName, Bytes),
    /// A file became an object, with the bytes that it had on disk.
    HandOver(ObjectName, PathBuf, Bytes),
    Delete(ObjectName),
    Disk(DiskChange),
    /// Of somebody else who shares the plan.
    Other(String),
}

#[derive(Debug, Clone)]
pub(super) enum DiskChange {
    CreateDirectories(PathBuf),
    Create(PathBuf),
    Append(PathBuf, Bytes),
    Truncate(PathBuf, u64),
    Sync(PathBuf),
    SyncDirectory(PathBuf),
    Remove(PathBuf),
}

impl Effect {
    /// Does the same to a copy of the world: a put is create-only, and lost where the name is taken.
    pub fn apply(&self, backend: &MemoryBackend, disk: &SimulatedDisk) {
        match &self.0 {
            Change::Put(name, bytes) => drop(backend.insert_new(name, bytes.clone())),
            Change::HandOver(name, path, bytes) => {
                backend.insert_new(name, bytes.clone());
                disk.freeze(path);
            }
            Change::Delete(name) => backend.tamper(name, None),
            Change::Disk(change) => disk.replay(change),
            Change::Other(_) => {}
        }
    }

    /// Returns the object that is put, if this is a put.
    pub fn put_name(&self) -> Option<&ObjectName> {
        match &self.0 {
            Change::Put(name, _) | Change::HandOver(name, ..) => Some(name),
            _ => None,
        }
    }

    /// Returns the object that is deleted, if this is a deletion.
    pub fn deleted_name(&self) -> Option<&ObjectName> {
        match &self.0 {
            Change::Delete(name) => Some(name),
            _ => None,
        }
    }

    /// Tells whether it changes the disk, and not the backend.
    pub fn is_of_disk(&self) -> bool {
        matches!(self.0, Change::Disk(_))
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Change::Put(name, bytes) => write!(f, "put {name} ({} bytes)", bytes.len()),
            Change::HandOver(name, path, bytes) => {
                let (path, length) = (path.display(), bytes.len());
                write!(f, "hand {path} over as {name} ({length} bytes)")
            }
            Change::Delete(name) => write!(f, "delete {name}"),
            Change::Disk(change) => write!(f, "{change}"),
            Change::Other(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for DiskChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDirectories(path) => write!(f, "create directory {}", path.display()),
            Self::Create(path) => write!(f, "create file {}", path.display()),
            Self::Append(path, bytes) => {
                write!(f, "append {} bytes to {}", bytes.len(), path.display())
            }
            Self::Truncate(path, length) => write!(f, "cut {} at {length}", path.display()),
            Self::Sync(path) => write!(f, "sync file {}", path.display()),
            Self::SyncDirectory(path) => write!(f, "sync directory {}", path.display()),
            Self::Remove(path) => write!(f, "remove file {}", path.display()),
        }
    }
}
