//! Finished packs are handed over to a local backend as the files they are; nothing is lost where
//! that cannot be, and nothing that is an object is written to again.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_store::backend::{Backend, Bandwidth, BandwidthBackend, LocalBackend, ObjectName, Put};
use backup_store::catalog::ResourceId;
use backup_store::fault::{FaultPlan, SimulatedDisk};
use backup_store::{
    ContentClass, ContentRef, CreateOptions, KdfParams, RunId, Store, StoreOptions, Writer,
    WriterOptions,
};
use common::{noise, passphrase};

fn name() -> ObjectName {
    ObjectName::new("packs/ab/abc").unwrap()
}

fn spool_file(directory: &Path) -> PathBuf {
    let path = directory.join("file");
    fs::write(&path, b"whole").unwrap();
    path
}

#[tokio::test]
async fn a_file_becomes_an_object_that_outlives_it() {
    let directory = tempfile::tempdir().unwrap();
    let backend = LocalBackend::create(directory.path().join("store")).unwrap();
    let file = spool_file(directory.path());
    let put = backend.put_new_file(&name(), &file).await.unwrap();
    assert_eq!(put, Some(Put::Created));
    fs::remove_file(&file).unwrap();
    assert_eq!(backend.get(&name(), None).await.unwrap(), "whole");

    fs::write(&file, b"another").unwrap();
    let put = backend.put_new_file(&name(), &file).await.unwrap();
    assert_eq!(put, Some(Put::AlreadyExists));
    assert_eq!(backend.get(&name(), None).await.unwrap(), "whole");

    let missing = directory.path().join("missing");
    let other = ObjectName::new("packs/cd/cde").unwrap();
    assert_eq!(backend.put_new_file(&other, &missing).await.unwrap(), None);
    assert_eq!(backend.list("packs/").await.unwrap().len(), 1);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_of_another_file_system_is_copied() {
    use std::os::unix::fs::MetadataExt;
    let directory = tempfile::tempdir().unwrap();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        println!("skipped: there is no other file system");
        return;
    };
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(directory.path()) == device(other.path()) {
        println!("skipped: there is no other file system");
        return;
    }
    let backend = LocalBackend::create(directory.path()).unwrap();
    let file = spool_file(other.path());
    let put = backend.put_new_file(&name(), &file).await.unwrap();
    assert_eq!(put, Some(Put::Created));
    fs::write(&file, b"changed").unwrap();
    assert_eq!(backend.get(&name(), None).await.unwrap(), "whole");
    let left = fs::read_dir(directory.path().join(".staging")).unwrap();
    assert_eq!(left.count(), 0);
}

#[cfg(unix)]
#[tokio::test]
async fn an_object_has_the_group_of_its_store_where_that_is_asked_for() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    fs::create_dir(&store).unwrap();
    if chown(&store, None, Some(12_345)).is_err() {
        println!("skipped: only root gives a directory to any group");
        return;
    }
    fs::set_permissions(&store, fs::Permissions::from_mode(0o2770)).unwrap();
    let backend = LocalBackend::open(&store).unwrap();
    let file = spool_file(directory.path());
    let put = backend.put_new_file(&name(), &file).await.unwrap();
    assert_eq!(put, Some(Put::Created));
    let object = fs::metadata(store.join(name().as_str())).unwrap();
    assert_eq!((object.gid(), object.nlink()), (12_345, 1));
}

/// A store in a directory, its spools beside it.
struct Local {
    directory: tempfile::TempDir,
    store: Store,
}

impl Local {
    async fn new(limited: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let backend = LocalBackend::create(directory.path().join("store")).unwrap();
        let mut backend: Arc<dyn Backend> = Arc::new(backend);
        if limited {
            let limit = Bandwidth::new(Some(1 << 40), None);
            backend = Arc::new(BandwidthBackend::new(backend, limit));
        }
        let mut create = CreateOptions::default();
        create.kdf = KdfParams::minimum();
        let options = StoreOptions::default();
        let store = Store::create(backend, &passphrase(), create, options)
            .await
            .unwrap();
        Self { directory, store }
    }

    fn spool(&self) -> PathBuf {
        self.directory.path().join("spool")
    }

    async fn begin(&self, store: &Store) -> Writer {
        let options = WriterOptions {
            run: RunId::from_bytes([1; 16]),
            spool_dir: self.spool(),
            adopts: Vec::new(),
        };
        store.begin(options).await.unwrap()
    }

    /// The packs that the store holds: where they are, and their bytes.
    async fn packs(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let listed = self.store.backend().list("packs/").await.unwrap();
        let path = |name: &ObjectName| self.directory.path().join("store").join(name.as_str());
        let paths = listed.iter().map(|info| path(&info.name));
        paths
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }
}

async fn open(backend: Arc<dyn Backend>) -> Store {
    Store::open(backend, &passphrase(), StoreOptions::default())
        .await
        .unwrap()
}

async fn keep(writer: &Writer) -> Vec<(ContentRef, Vec<u8>)> {
    let gatherer = writer.gather(&ResourceId::new("outlook:1"));
    let mut kept = Vec::new();
    for seed in 0..3 {
        let bytes = noise(100_000 * (usize::from(seed) + 1), seed);
        let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
        kept.push((content, bytes));
    }
    gatherer.commit().await.unwrap();
    kept
}

async fn assert_readable(store: &Store, kept: &[(ContentRef, Vec<u8>)]) {
    for (content, bytes) in kept {
        let found = store.open_content(content).collect(u64::MAX).await.unwrap();
        assert_eq!(found, *bytes);
    }
}

#[tokio::test]
async fn what_was_handed_over_is_read_as_what_was_put() {
    for limited in [false, true] {
        let local = Local::new(limited).await;
        let writer = local.begin(&local.store).await;
        let kept = keep(&writer).await;
        writer.flush().await.unwrap();
        writer.end().await.unwrap();
        assert_eq!(fs::read_dir(local.spool()).unwrap().count(), 1, "the lock");
        assert_readable(&local.store, &kept).await;
        let report = local
            .store
            .check(backup_store::CheckDepth::AllData, &|_| ());
        assert!(report.await.unwrap().is_clean());
    }
}

/// The machine stopped after a pack got its name, and before a segment says so.
#[cfg(unix)]
#[tokio::test]
async fn a_spool_file_that_is_an_object_already_is_never_written_to() {
    use std::os::unix::fs::MetadataExt;
    let local = Local::new(false).await;
    let writer = local.begin(&local.store).await;
    let kept = keep(&writer).await;
    let frames: Vec<_> = fs::read_dir(local.spool())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "frames"))
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    writer.flush().await.unwrap();
    writer.end().await.unwrap();
    let before = local.packs().await;
    assert_eq!((before.len(), frames.len()), (1, 1));
    for ((frames, bytes), (pack, _)) in frames.iter().zip(&before) {
        fs::write(frames, bytes).unwrap();
        fs::hard_link(pack, frames.with_extension("spool")).unwrap();
    }
    for info in local.store.backend().list("segments/").await.unwrap() {
        local.store.backend().delete(&info.name).await.unwrap();
    }
    let backend = Arc::clone(local.store.backend());
    let store = open(backend).await;
    let writer = local.begin(&store).await;
    writer.flush().await.unwrap();
    writer.end().await.unwrap();
    assert_eq!(local.packs().await, before);
    assert_eq!(fs::metadata(&before[0].0).unwrap().nlink(), 1);
    assert_readable(&store, &kept).await;
}

/// The spool is on a disk that the backend knows nothing of: the bytes are put.
#[tokio::test]
async fn a_file_that_the_backend_cannot_see_is_put_as_bytes() {
    let local = Local::new(false).await;
    let backend = Arc::clone(local.store.backend());
    let disk = SimulatedDisk::new(FaultPlan::new());
    let store = open(backend).await.on_disk(&disk).unwrap();
    let writer = local.begin(&store).await;
    let kept = keep(&writer).await;
    writer.flush().await.unwrap();
    writer.end().await.unwrap();
    assert_eq!(disk.file_count(), 0);
    assert_readable(&store, &kept).await;
}
