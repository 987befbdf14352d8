//! The file system side of the example: folders, files and links as records of the catalog, and
//! back. Everything here blocks, and knows nothing of stores.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backup_store::Timestamp;
use backup_store::catalog::{Container, ContainerKind, Item, ItemKey, ItemKind, ItemState};
use tokio::task::{JoinHandle, spawn_blocking};

use super::{Result, TOP};

/// Bytes of a large file that are read at once.
const PIECE_BYTES: usize = 1 << 20;

/// What lies in a folder.
pub(crate) enum Entry {
    Folder(String),
    Item(Box<Item>),
}

pub(crate) fn read_folder(
    path: &Path,
    id: String,
    above: Option<String>,
) -> Result<(Container, Vec<Entry>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string();
        let name = name.map_err(|name| format!("{}: not UTF-8", path.join(name).display()))?;
        found.push((name, entry.metadata()?));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let entries = found.into_iter().map(|(name, metadata)| {
        if metadata.is_dir() {
            return Entry::Folder(name);
        }
        let (kind, state) = if metadata.is_symlink() {
            (link(), ItemState::Stored)
        } else if !metadata.is_file() {
            let reason = "neither a file nor a link".to_owned();
            (ItemKind::File, ItemState::Skipped { reason })
        } else if may_execute(&metadata) {
            (program(), ItemState::Stored)
        } else {
            (ItemKind::File, ItemState::Stored)
        };
        Entry::Item(Box::new(Item {
            key: ItemKey {
                container: id.clone(),
                created: Timestamp::EPOCH, // Paths tell items apart; a time would move them.
                id: name.clone(),
            },
            kind,
            name,
            sender: None,
            recipients: Vec::new(),
            change_key: modified(&metadata),
            content_key: None,
            size_bytes: metadata.len(),
            modified: None,
            draft: false,
            state,
            representations: Vec::new(),
        }))
    });
    let entries = entries.collect();
    let container = Container {
        name: id.rsplit('/').next().unwrap_or_default().to_owned(),
        parent: above,
        kind: ContainerKind::DriveFolder,
        well_known: None,
        hidden: false,
        change_key: Some(modified(&fs::metadata(path)?)),
        created: None,
        modified: None,
        properties: None,
        id,
    };
    Ok((container, entries))
}

pub(crate) fn read_item(item: &Item, path: PathBuf) -> io::Result<Vec<u8>> {
    if item.kind == link() {
        let target = fs::read_link(path)?.into_os_string().into_string();
        return match target {
            Ok(target) => Ok(target.into_bytes()),
            Err(target) => Err(io::Error::other(format!(
                "link to {}: not UTF-8",
                target.display()
            ))),
        };
    }
    // The listing knows the size: nothing is asked twice. A byte more, so that the end is seen.
    let size = usize::try_from(item.size_bytes).unwrap_or(0);
    let mut bytes = Vec::with_capacity(size + 1);
    File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads the next piece of a file into `piece`, on another thread; it is empty at the end.
pub(crate) fn read_piece(
    mut file: File,
    mut piece: Vec<u8>,
) -> JoinHandle<io::Result<(File, Vec<u8>)>> {
    spawn_blocking(move || {
        piece.clear();
        piece.reserve(PIECE_BYTES);
        (&mut file)
            .take(PIECE_BYTES as u64)
            .read_to_end(&mut piece)?;
        Ok((file, piece))
    })
}

/// Writes a file or link that is not there yet.
pub(crate) fn write_item(top: &Path, item: &Item, bytes: &[u8]) -> io::Result<()> {
    let path = path_of(top, &item.key);
    if item.state != ItemState::Stored {
        return Ok(());
    }
    if item.kind == link() {
        return make_link(&String::from_utf8_lossy(bytes), &path);
    }
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    finish_file(&file, item)
}

pub(crate) fn finish_file(file: &File, item: &Item) -> io::Result<()> {
    if item.kind == program() {
        allow_to_execute(file)?;
    }
    match time_of(&item.change_key) {
        Some(time) => file.set_modified(time),
        None => Ok(()),
    }
}

/// Gives a folder its time back, where the system lets folders be opened.
pub(crate) fn finish_folder(top: &Path, container: &Container) -> io::Result<()> {
    let time = container.change_key.as_deref().and_then(time_of);
    match (time, File::open(folder_path(top, &container.id))) {
        (Some(time), Ok(folder)) => folder.set_modified(time),
        _ => Ok(()),
    }
}

pub(crate) fn path_of(top: &Path, key: &ItemKey) -> PathBuf {
    folder_path(top, &key.container).join(&key.id)
}

pub(crate) fn folder_path(top: &Path, folder: &str) -> PathBuf {
    match folder {
        TOP => top.to_path_buf(),
        folder => top.join(folder),
    }
}

pub(crate) fn below(folder: &str, name: &str) -> String {
    match folder {
        TOP => name.to_owned(),
        folder => format!("{folder}/{name}"),
    }
}

/// Refuses names that lead out of the directory: what is in a store need not be ours.
pub(crate) fn checked(name: &str) -> Result<&str> {
    let outside = name.starts_with('/') || name.split('/').any(|part| part == "..");
    match outside || name.is_empty() {
        true => Err(format!("{name}: leads out of the directory").into()),
        false => Ok(name),
    }
}

/// The modified time as a change key: seconds since 1970, a point, nanoseconds.
fn modified(metadata: &fs::Metadata) -> String {
    let since = metadata.modified().ok();
    let since = since.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.map_or_else(String::new, |since| {
        format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
    })
}

fn time_of(change_key: &str) -> Option<SystemTime> {
    let (seconds, nanoseconds) = change_key.split_once('.')?;
    let since = Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok()?);
    UNIX_EPOCH.checked_add(since)
}

pub(crate) fn link() -> ItemKind {
    ItemKind::from("link")
}

pub(crate) fn program() -> ItemKind {
    ItemKind::from("program")
}

#[cfg(unix)]
fn may_execute(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o100 != 0
}

#[cfg(not(unix))]
fn may_execute(_metadata: &fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
fn allow_to_execute(file: &File) -> io::Result<()> {
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
}

#[cfg(not(unix))]
fn allow_to_execute(_file: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn make_link(target: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn make_link(_target: &str, path: &Path) -> io::Result<()> {
    Err(io::Error::other(format!(
        "{}: links are not made here",
        path.display()
    )))
}
