//! Local backend: a directory of files; each is staged, synced, then linked to its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, ObjectInfo, ObjectName, Put, clamp};
use crate::error::{Error, ErrorKind, Result};
use crate::offload::{Offload, offload};

/// Folder for files that are not complete yet; never listed.
const STAGING: &str = ".staging";

/// Tells apart the staged files of this process.
static NEXT_STAGED: AtomicU64 = AtomicU64::new(0);

/// Keeps objects as files below one directory.
///
/// A put writes a staged file, syncs it, links it to its name (which fails when the name is taken)
/// and syncs the directory. On file systems without hard links the file is created under its name
/// instead: still create-only, but a crash can leave it torn, which readers then report as damage.
/// Directories cannot be synced on Windows through the standard library: durability of a new name
/// is up to the file system there, and unproven.
///
/// A file that is handed over is linked to its name likewise, or copied from another file system.
///
/// A crash can leave files in `.staging`; they are never read.
#[derive(Debug, Clone)]
pub struct LocalBackend {
    root: PathBuf,
    offload: Arc<dyn Offload>,
}

impl LocalBackend {
    /// Creates the directory, with its parents, if it is not there; what lies in it is kept.
    ///
    /// *Errors*: [`ErrorKind::PermissionDenied`], [`ErrorKind::StorageFull`],
    /// [`ErrorKind::Backend`].
    #[cfg(feature = "tokio")]
    pub fn create(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::create_with(directory, Arc::new(crate::offload::TokioOffload::new()))
    }

    /// Opens a directory that exists.
    ///
    /// *Errors*: [`ErrorKind::NotFound`] when it is not there or not a directory.
    #[cfg(feature = "tokio")]
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        Self::open_with(directory, Arc::new(crate::offload::TokioOffload::new()))
    }

    /// Creates the directory like `create`, doing its file work through `offload`.
    pub fn create_with(directory: impl Into<PathBuf>, offload: Arc<dyn Offload>) -> Result<Self> {
        let root = directory.into();
        create_directories(&root).map_err(|cause| failed(&root, cause))?;
        Self::open_with(root, offload)
    }

    /// Opens the directory like `open`, doing its file work through `offload`.
    pub fn open_with(directory: impl Into<PathBuf>, offload: Arc<dyn Offload>) -> Result<Self> {
        let root = directory.into();
        let metadata = fs::metadata(&root).map_err(|cause| failed(&root, cause))?;
        if !metadata.is_dir() {
            let words = format!("{}: not a directory", root.display());
            return Err(Error::new(ErrorKind::NotFound, words));
        }
        Ok(Self { root, offload })
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Path {
        &self.root
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = self.root.clone();
        offload(self.offload.as_ref(), move || work(&root)).await?
    }
}

#[async_trait]
impl Backend for LocalBackend {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        let name = name.clone();
        self.run(move |root| {
            let path = root.join(name.as_str());
            put_new(root, &path, &bytes).map_err(|cause| failed(&path, cause))
        })
        .await
    }

    fn takes_files(&self) -> bool {
        true
    }

    async fn put_new_file(&self, name: &ObjectName, file: &Path) -> Result<Option<Put>> {
        let (name, file) = (name.clone(), file.to_path_buf());
        self.run(move |root| {
            let path = root.join(name.as_str());
            put_new_file(root, &path, &file).map_err(|cause| failed(&path, cause))
        })
        .await
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        let name = name.clone();
        self.run(move |root| {
            let path = root.join(name.as_str());
            read(&path, range).map_err(|cause| failed(&path, cause))
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let prefix = prefix.to_owned();
        self.run(move |root| {
            let mut found = Vec::new();
            // Only the folder that the prefix names, not the whole store, is walked.
            let folder = prefix.rfind('/').map_or("", |at| &prefix[..at]);
            walk(root, folder, &mut found).map_err(|cause| failed(&root.join(folder), cause))?;
            found.retain(|info| info.name.as_str().starts_with(&prefix));
            found.sort();
            Ok(found)
        })
        .await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        let name = name.clone();
        self.run(move |root| {
            let path = root.join(name.as_str());
            match fs::remove_file(&path) {
                Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(failed(&path, cause)),
                _ => Ok(()),
            }
        })
        .await
    }

    async fn probe(&self) -> Result<Capabilities> {
        super::probe::probe(self).await
    }
}

fn failed(path: &Path, cause: io::Error) -> Error {
    Error::from_io(ErrorKind::Backend, path.display(), cause)
}

fn put_new(root: &Path, path: &Path, bytes: &[u8]) -> io::Result<Put> {
    put_staged(root, path, |mut file| file.write_all(bytes))
}

/// Links the file to its name where both are on one file system, and copies it elsewhere.
fn put_new_file(root: &Path, path: &Path, source: &Path) -> io::Result<Option<Put>> {
    let parent = path.parent().unwrap_or(root);
    create_directories(parent)?;
    if may_be_linked(source, parent)? {
        match fs::hard_link(source, path) {
            Ok(()) => return sync_directory(parent).map(|()| Some(Put::Created)),
            Err(cause) if cause.kind() == io::ErrorKind::StorageFull => return Err(cause),
            // Taken, on another file system, or no hard links here: what it is shows below.
            Err(_) => {}
        }
    }
    let Ok(mut source) = File::open(source) else {
        return Ok(None); // Not of this machine, or not a file that anyone can read.
    };
    put_staged(root, path, |mut file| {
        io::copy(&mut source, &mut file).map(drop)
    })
    .map(Some)
}

/// Tells whether a link to a file has the group that a file made in `parent` would have.
#[cfg(unix)]
fn may_be_linked(source: &Path, parent: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    const SET_GROUP: u32 = 0o2000;
    let parent = fs::metadata(parent)?;
    let of_source = fs::symlink_metadata(source);
    Ok(of_source.is_ok_and(|source| {
        source.is_file() && (parent.mode() & SET_GROUP == 0 || source.gid() == parent.gid())
    }))
}

#[cfg(not(unix))]
fn may_be_linked(source: &Path, _parent: &Path) -> io::Result<bool> {
    Ok(source.is_file())
}

/// Writes a staged file, syncs it, and gives it its name.
fn put_staged(
    root: &Path,
    path: &Path,
    mut write: impl FnMut(&File) -> io::Result<()>,
) -> io::Result<Put> {
    let parent = path.parent().unwrap_or(root);
    if path.try_exists()? {
        // Whoever created it may have stopped before its name was durable.
        return sync_directory(parent).map(|()| Put::AlreadyExists);
    }
    create_directories(parent)?;
    let staging = root.join(STAGING);
    create_directories(&staging)?;
    let (staged, file) = create_staged(&staging)?;
    let written = write(&file).and_then(|()| file.sync_all());
    drop(file);
    let outcome = written.and_then(|()| publish(&staged, path));
    let removed = fs::remove_file(&staged);
    if outcome.is_ok() {
        sync_directory(parent)?;
        removed?;
    }
    outcome
}

/// Replaces a small file whole, durably; of several who do so at once, each does it before or after.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    create_directories(directory)?;
    let (staged, mut file) = create_staged(directory)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    let replaced = written.and_then(|()| fs::rename(&staged, path));
    if replaced.is_err() {
        // The first error says more than one of tidying up.
        drop(fs::remove_file(&staged));
    }
    replaced
}

fn create_staged(staging: &Path) -> io::Result<(PathBuf, File)> {
    loop {
        let number = NEXT_STAGED.fetch_add(1, Ordering::Relaxed);
        let path = staging.join(format!("{}-{number}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            // Left by a crashed process that had our number.
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(cause),
        }
    }
}

/// Gives the staged file its name, unless the name is taken.
fn publish(staged: &Path, path: &Path) -> io::Result<Put> {
    match fs::hard_link(staged, path) {
        Ok(()) => return Ok(Put::Created),
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
            return Ok(Put::AlreadyExists);
        }
        Err(cause) if cause.kind() == io::ErrorKind::StorageFull => return Err(cause),
        Err(_) => {} // No hard links here; if the trouble is another one, it shows below.
    }
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(mut file) => {
            let staged = File::open(staged);
            let written = staged.and_then(|mut staged| io::copy(&mut staged, &mut file));
            let written = written.and_then(|_| file.sync_all());
            if written.is_err() {
                drop(file);
                fs::remove_file(path)?;
            }
            written.map(|()| Put::Created)
        }
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => Ok(Put::AlreadyExists),
        Err(cause) => Err(cause),
    }
}

fn read(path: &Path, range: Option<Range<u64>>) -> io::Result<Bytes> {
    let mut file = File::open(path)?;
    let range = clamp(range, file.metadata()?.len());
    file.seek(SeekFrom::Start(range.start))?;
    let length = range.end - range.start;
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    file.take(length).read_to_end(&mut bytes)?;
    Ok(Bytes::from(bytes))
}

/// Lists the files below `folder`; names outside the shape of an object are not ours.
fn walk(root: &Path, folder: &str, found: &mut Vec<ObjectInfo>) -> io::Result<()> {
    let entries = match fs::read_dir(root.join(folder)) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    };
    for entry in entries {
        let entry = entry?;
        let Ok(part) = entry.file_name().into_string() else {
            continue;
        };
        let separator = if folder.is_empty() { "" } else { "/" };
        let Ok(name) = ObjectName::new(format!("{folder}{separator}{part}")) else {
            continue;
        };
        if entry.file_type()?.is_dir() {
            walk(root, name.as_str(), found)?;
        } else {
            let size = match entry.metadata() {
                Ok(metadata) => metadata.len(),
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => continue,
                Err(cause) => return Err(cause),
            };
            found.push(ObjectInfo { name, size });
        }
    }
    Ok(())
}

/// Creates a directory and its parents, and makes each new name durable.
pub(crate) fn create_directories(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_directories(parent)?;
    }
    match fs::create_dir(path) {
        Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(cause) => Err(cause),
        Ok(()) => sync_directory(parent.unwrap_or(Path::new("."))),
    }
}

/// Makes the names in a directory durable.
#[cfg(unix)]
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Does nothing: the standard library cannot open a directory for syncing here.
#[cfg(not(unix))]
pub(crate) fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_many_replace_at_once_is_always_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/seen");
        let write = |byte: u8| (0..50).try_for_each(|_| replace_file(&path, &[byte; 4096]));
        std::thread::scope(|scope| {
            let writers = [1, 2, 3, 4].map(|byte| scope.spawn(move || write(byte)));
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        let found = fs::read(&path).unwrap();
        assert!(found.len() == 4096 && found.iter().all(|byte| *byte == found[0]));
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1, "nothing staged is left");
    }
}
