//! Local records: small sealed files beside the caches, each replaced as a whole.
//!
//! A record that is not there, or was not sealed by this store, is nothing: a caller begins anew.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::Store;
use crate::backend::{create_directories, replace_file};
use crate::error::{Error, ErrorKind, Result};
use crate::offload::offload;

/// One kind of local record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalRecord {
    /// Name of its file.
    pub(crate) file: &'static str,
    /// What it is sealed for.
    pub(crate) purpose: &'static str,
}

impl LocalRecord {
    /// Where it is kept, if there is a cache directory.
    pub(crate) fn path(self, store: &Store) -> Option<PathBuf> {
        Some(store.cache_dir()?.join(self.file))
    }

    /// Reads the record.
    pub(crate) async fn read(self, store: &Store) -> Result<Option<Vec<u8>>> {
        let Some(path) = self.path(store) else {
            return Ok(None);
        };
        let of = store.clone();
        offload(store.offload().as_ref(), move || self.open(&of, &path)).await?
    }

    /// Replaces the record by what `change` makes of it, and leaves it where that is nothing. Of
    /// several processes that do so at once, each sees what the one before it made.
    pub(crate) async fn update(
        self,
        store: &Store,
        change: impl FnOnce(Option<Vec<u8>>) -> Option<Vec<u8>> + Send + 'static,
    ) -> Result<()> {
        let Some(path) = self.path(store) else {
            return Ok(());
        };
        let of = store.clone();
        let update = move || {
            let failed = |cause| Error::from_io(ErrorKind::Local, path.display(), cause);
            let _turn = take_turn(&path).map_err(failed)?;
            let Some(plain) = change(self.open(&of, &path)?) else {
                return Ok(());
            };
            let record = of.seal_local(self.purpose, of.id().as_bytes(), &plain)?;
            replace_file(&path, &record).map_err(failed)
        };
        offload(store.offload().as_ref(), update).await?
    }

    /// Removes the record.
    pub(crate) async fn remove(self, store: &Store) -> Result<()> {
        let Some(path) = self.path(store) else {
            return Ok(());
        };
        let remove = move || match fs::remove_file(&path) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
                Err(Error::from_io(ErrorKind::Local, path.display(), cause))
            }
            _ => Ok(()),
        };
        offload(store.offload().as_ref(), remove).await?
    }

    fn open(self, store: &Store, path: &Path) -> Result<Option<Vec<u8>>> {
        let record = match fs::read(path) {
            Ok(record) => record,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(Error::from_io(ErrorKind::Local, path.display(), cause)),
        };
        match store.open_local(self.purpose, store.id().as_bytes(), &record) {
            Ok(plain) => Ok(Some(plain)),
            Err(cause) => {
                tracing::warn!(path = %path.display(), %cause, "a local record begins anew");
                Ok(None)
            }
        }
    }
}

/// Waits until no other process is changing a file; it is this one's turn until that is dropped.
fn take_turn(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), create_directories)?;
    let mut options = File::options();
    let options = options.create(true).truncate(false).write(true);
    let file = options.open(path.with_extension("lock"))?;
    match file.lock() {
        // A file system without locks: the last of several wins.
        Err(cause) if cause.kind() == io::ErrorKind::Unsupported => Ok(file),
        locked => locked.map(|()| file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example_store::{run, sample};

    const RECORD: LocalRecord = LocalRecord {
        file: "counted",
        purpose: "a test",
    };

    #[test]
    fn of_several_who_change_a_record_at_once_none_undoes_what_another_did() {
        let (threads, times) = (4, 25);
        let cache = tempfile::tempdir().unwrap();
        let sample = run(sample());
        let options = crate::StoreOptions {
            cache_dir: Some(cache.path().to_owned()),
            ..crate::example_store::options()
        };
        let backend = std::sync::Arc::new(sample.backend());
        let store = run(sample.store.reopen_at(backend, options)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let more = |record: Option<Vec<u8>>| {
                        Some([record.unwrap_or_default(), vec![7]].concat())
                    };
                    for _ in 0..times {
                        run(RECORD.update(&store, more)).unwrap();
                    }
                });
            }
        });
        let counted = run(RECORD.read(&store)).unwrap().unwrap();
        assert_eq!(counted.len(), threads * times);
        fs::write(RECORD.path(&store).unwrap(), b"something else").unwrap();
        assert_eq!(run(RECORD.read(&store)).unwrap(), None, "it begins anew");
        run(RECORD.remove(&store)).unwrap();
        run(RECORD.remove(&store)).unwrap();
    }
}
