//! Coordination: with whom this process shares its work, and under which name.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
#[cfg(feature = "postgres")]
use std::time::Duration;

use backup_engine::coordinator::{SqliteCoordinator, WorkerId};
use backup_engine::{Coordination, Coordinator};
use backup_store::RunId;

use crate::config::Config;
use crate::connect::{OpenStore, state_folder};
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_backup};

/// The place of a process among those that share a set: a folder for its journal, and a name that
/// it keeps through all restarts.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) folder: PathBuf,
    worker: WorkerId,
    shared: bool,
    /// Keeps other processes off the seat; the system lets go of it with the process.
    _lock: Option<File>,
}

impl Seat {
    /// Returns the seat of a backup that does everything itself: there is one on each machine.
    pub(crate) fn of_backup(config: &Config, open: &OpenStore) -> Result<Self> {
        let folder = state_folder(Some(config), &open.store)?;
        Self::take(open, folder, None)
    }

    /// Takes the first free seat of a worker on this machine.
    pub(crate) fn of_worker(config: &Config, open: &OpenStore) -> Result<Self> {
        let base = state_folder(Some(config), &open.store)?.join("workers");
        for number in 1..=SEATS_MAX {
            let folder = base.join(number.to_string());
            if let Some(lock) = lock(&folder)? {
                return Self::take(open, folder, Some(lock));
            }
        }
        let message = format!("{SEATS_MAX} workers of this set run on this machine already");
        Err(Failure::new(Exit::Failed, message).next("run more of them on other machines"))
    }

    fn take(open: &OpenStore, folder: PathBuf, lock: Option<File>) -> Result<Self> {
        let shared = lock.is_some();
        let worker = WorkerId::new(name(open, &folder)?);
        Ok(Self {
            folder,
            worker,
            shared,
            _lock: lock,
        })
    }

    /// Connects to the coordinator that the config names.
    pub(crate) async fn coordination(
        &self,
        config: &Config,
        open: &OpenStore,
    ) -> Result<Coordination> {
        let client = config.tenant.app.client_id.as_deref().unwrap_or_default();
        Ok(Coordination {
            coordinator: coordinator(config, open).await?,
            worker: self.worker.clone(),
            budget: format!("{}/{client}", config.tenant.id),
            shared: self.shared,
        })
    }
}

async fn coordinator(config: &Config, open: &OpenStore) -> Result<Arc<dyn Coordinator>> {
    let term = config.coordinator.term();
    if config.coordinator.postgres.is_some() {
        return database(config, open).await;
    }
    let path = state_folder(Some(config), &open.store)?.join("coordinator.sqlite");
    let environment = open.store.environment().clone();
    let work = open.store.offload().clone();
    let opened = SqliteCoordinator::open(&path, term, environment, work).await;
    let opened = opened.map_err(|error| from_backup(&open.place, &error))?;
    Ok(Arc::new(opened))
}

#[cfg(feature = "postgres")]
async fn database(config: &Config, open: &OpenStore) -> Result<Arc<dyn Coordinator>> {
    use backup_engine::coordinator::{PostgresCoordinator, PostgresOptions};

    use crate::secrets;

    let wanted = &config.coordinator;
    let source = wanted.postgres.as_ref();
    let address = source.map(|source| secrets::read(source, "the address of the coordinator"));
    let Some(address) = address.transpose()? else {
        return Err(Failure::usage("the config names no coordinator"));
    };
    let mut options = PostgresOptions::new(address.expose());
    options.term = wanted.term();
    options.patience = Duration::from_secs(u64::from(wanted.patience_seconds));
    if let Some(path) = &wanted.authority {
        let pem = fs::read_to_string(path)
            .map_err(|error| Failure::file("read the certificate authority in", path, &error))?;
        options.authority = Some(pem);
    }
    let connected = PostgresCoordinator::connect(options).await;
    Ok(Arc::new(
        connected.map_err(|error| from_backup(&open.place, &error))?,
    ))
}

#[cfg(not(feature = "postgres"))]
async fn database(_: &Config, _: &OpenStore) -> Result<Arc<dyn Coordinator>> {
    Err(Failure::usage("this program was built without PostgreSQL")
        .next("build it with the feature postgres, or take coordinator.postgres out of the config"))
}

/// Takes the lock of a seat, unless another process has it.
fn lock(folder: &Path) -> Result<Option<File>> {
    let path = folder.join("seat.lock");
    let made = fs::create_dir_all(folder).and_then(|()| File::create(&path));
    let file = made.map_err(|error| Failure::file("write", &path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(Failure::file("lock", &path, &error)),
    }
}

/// Returns the name that belongs to a folder, made up when it is first used.
fn name(open: &OpenStore, folder: &Path) -> Result<String> {
    let path = folder.join("worker");
    match fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Failure::file("read", &path, &error));
        }
        _ => {}
    }
    let environment = open.store.environment();
    let name = RunId::random(environment.as_ref()).map_err(open.failed("make up a name for"))?;
    let name = name.to_string();
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, &name))
        .map_err(|error| Failure::file("write", &path, &error))?;
    Ok(name)
}

/// One process uses many cores; more than a few of them gain nothing.
const SEATS_MAX: u32 = 64;
