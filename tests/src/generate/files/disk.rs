//! A person's own files as the content of simulated drives: found at once, read on demand.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::tenant::drive::{Content, Drive, FileTimes, NameConflict, Refusal, is_allowed};

/// A file on disk and its place below the folder it was found in.
#[derive(Debug, Clone)]
pub(crate) struct FileOnDisk {
    path: PathBuf,
    names: Vec<String>,
}

/// Lists the files below `folder` in the order of their paths; links are not followed.
///
/// *Errors*: those of the disk, for a folder that cannot be read.
pub(crate) fn files_below(folder: &Path) -> io::Result<Vec<FileOnDisk>> {
    let mut found = Vec::new();
    let mut open = vec![(folder.to_owned(), Vec::new())];
    while let Some((folder, names)) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            let mut names: Vec<String> = names.clone();
            names.push(allowed(&entry.file_name().to_string_lossy()));
            if kind.is_dir() {
                open.push((entry.path(), names));
            } else if kind.is_file() {
                found.push(FileOnDisk {
                    path: entry.path(),
                    names,
                });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Puts a file of the disk into a drive, with the folders on its way.
///
/// *Errors*: those of the disk; of kind `Other` when the drive refuses the file.
pub(crate) fn put_file_on_disk(drive: &mut Drive, file: &FileOnDisk) -> io::Result<()> {
    let metadata = file.path.metadata()?;
    let seconds = |time: io::Result<std::time::SystemTime>| {
        time.ok()
            .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .and_then(|since| i64::try_from(since.as_secs()).ok())
    };
    let modified = seconds(metadata.modified()).unwrap_or(0) * 1000;
    let created = seconds(metadata.created()).map_or(modified, |created| created * 1000);
    let times = FileTimes { created, modified };
    let content = Arc::new(Content::from_file(&file.path)?);
    put(drive, file, content, times)
        .map_err(|refusal| io::Error::other(format!("{}: {refusal}", file.path.display())))
}

fn put(
    drive: &mut Drive,
    file: &FileOnDisk,
    content: Arc<Content>,
    times: FileTimes,
) -> Result<(), Refusal> {
    let Some((name, folders)) = file.names.split_last() else {
        return Err(Refusal::NameNotAllowed);
    };
    let mut at = drive.root().to_owned();
    for folder in folders {
        let known = drive.child(&at, folder).filter(|item| item.is_folder());
        at = match known.map(|item| item.id().to_owned()) {
            Some(id) => id,
            None => drive.add_folder(&at, folder, NameConflict::Rename, times)?,
        };
    }
    drive.put_file(&at, name, content, NameConflict::Rename, times)?;
    Ok(())
}

/// Turns a name of this machine into one that a drive accepts.
fn allowed(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| {
            if is_allowed(&format!("a{c}a")) {
                c
            } else {
                '_'
            }
        })
        .take(200)
        .collect();
    let plain = plain.trim().trim_end_matches('.').to_owned();
    if is_allowed(&plain) {
        plain
    } else {
        format!("_{}", plain.replace("_vti_", "vti"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_the_disk_becomes_a_drive() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/b/one.txt"), "one").unwrap();
        fs::write(folder.path().join("a/con"), "device").unwrap();
        let files = files_below(folder.path()).unwrap();
        let mut drive = Drive::new("u", 1, 0);
        for file in &files {
            put_file_on_disk(&mut drive, file).unwrap();
        }
        let paths: Vec<String> = drive
            .walk()
            .iter()
            .map(|item| drive.path(item.id()))
            .collect();
        assert_eq!(paths, ["", "/a", "/a/_con", "/a/b", "/a/b/one.txt"]);
        let names = ["a", "b", "one.txt"].map(str::to_owned);
        let file = drive.at_path(drive.root(), &names).unwrap();
        assert_eq!(&file.content().unwrap().read(0..9).unwrap()[..], b"one");
    }
}
