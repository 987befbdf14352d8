//! Restore journal: what a restore is about to do and has done, on this machine.
//!
//! Every effect is logged before it happens and again after, so that an interrupted execution is
//! taken up where it stopped and a write without an answer is known to be doubtful. The destination
//! itself stays the truth: what the journal does not know is found there by the mark that restored
//! items carry, so a lost journal costs requests, never a duplicate.
//!
//! At rest a row shows neither names nor ids: its key is a keyed hash, its record is sealed by the
//! store.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_store::{Store, local_database};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::loss::LossCode;

/// The form of journals that this version writes and reads.
const FORM: i64 = 1;

/// How long to wait for another process that holds the journal.
const BUSY_MAX: Duration = Duration::from_secs(10);

/// Logs the effects of restores; one file for all restores from one store on this machine.
#[derive(Clone)]
pub struct RestoreJournal {
    connection: Arc<Mutex<Connection>>,
    store: Store,
    name_key: [u8; 32],
}

impl std::fmt::Debug for RestoreJournal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestoreJournal").finish_non_exhaustive()
    }
}

/// How far one effect has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It may have happened.
    Begun,
    /// It has happened.
    Written,
    /// It has happened and was read back.
    Verified,
}

/// What the journal knows of one effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EffectRecord {
    /// Id at the destination; empty while only begun.
    pub(crate) id: String,
    /// Fields that read back different.
    pub(crate) differs: Vec<String>,
    /// What differs by the fidelity contract.
    pub(crate) losses: Vec<LossCode>,
    /// Whether this effect made it, rather than found it.
    pub(crate) created: bool,
    /// Id of the item that it replaces and that is removed last.
    pub(crate) replaces: Option<String>,
    /// The name it gets in the end.
    pub(crate) name: Option<String>,
    /// The name under which it is written.
    pub(crate) write_name: Option<String>,
}

/// Names one effect.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Effect<'a> {
    /// A container of the plan, by its position.
    Container(usize),
    /// The attributes of a container of the plan, by its position.
    Attributes(usize),
    /// An item, by the id of its container and its own in the snapshot.
    Item(&'a str, &'a str),
}

/// One execution of one plan in the journal.
#[derive(Debug, Clone)]
pub(crate) struct Execution {
    journal: RestoreJournal,
    id: i64,
}

impl RestoreJournal {
    /// Opens the journal in `state_dir`, or creates both.
    ///
    /// *Errors*: [`ErrorKind::Journal`] when it cannot be read, belongs to another store, or has a
    /// form that this version does not know.
    pub async fn open(state_dir: &Path, store: &Store) -> Result<Self> {
        let path = state_dir.join(format!("restore-{}.sqlite", store.id()));
        let state_dir = state_dir.to_owned();
        let for_job = store.clone();
        let open = move || {
            std::fs::create_dir_all(&state_dir).map_err(|cause| {
                let object = format!("restore journal folder {}", state_dir.display());
                Error::new(ErrorKind::Journal, format!("{object}: cannot be made"))
                    .with_source(cause)
            })?;
            let connection = Connection::open(&path).map_err(|cause| {
                let object = format!("restore journal {}", path.display());
                Error::new(ErrorKind::Journal, format!("{object}: cannot be opened"))
                    .with_source(cause)
            })?;
            Self::with_connection(connection, for_job)
        };
        in_background(store, open).await
    }

    fn with_connection(mut connection: Connection, store: Store) -> Result<Self> {
        local_database::share(&connection, BUSY_MAX).map_err(sql)?;
        // Synchronous NORMAL with a write-ahead log survives the end of this process at any moment.
        // A power failure may lose the last rows; the destination is then asked instead.
        connection
            .pragma_update(None, "synchronous", "NORMAL")
            .map_err(sql)?;
        // Of two restores that begin at once, one makes the tables and the key, the other finds them.
        let immediate = TransactionBehavior::Immediate;
        let made = connection
            .transaction_with_behavior(immediate)
            .map_err(sql)?;
        let form: i64 = made
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(sql)?;
        if form != 0 && form != FORM {
            let cause = format!("restore journal: form {form} is not known here");
            return Err(Error::new(ErrorKind::Journal, cause));
        }
        made.execute_batch(SCHEMA).map_err(sql)?;
        made.pragma_update(None, "user_version", FORM)
            .map_err(sql)?;
        let name_key = name_key(&made, &store)?;
        made.commit().map_err(sql)?;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            store,
            name_key,
        })
    }

    /// Finds the unfinished execution of `plan`, or begins one.
    pub(crate) async fn execution(&self, plan: &str) -> Result<Execution> {
        let (journal, plan) = (self.clone(), plan.to_owned());
        let find = move || {
            let connection = journal.lock();
            let unfinished = "SELECT id FROM execution WHERE plan = ?1 AND finished = 0";
            let known = connection
                .query_row(unfinished, [&plan], |row| row.get(0))
                .optional();
            let id = match known.map_err(sql)? {
                Some(id) => id,
                None => {
                    let begin = "INSERT INTO execution (plan, finished) VALUES (?1, 0)";
                    connection.execute(begin, [&plan]).map_err(sql)?;
                    connection.last_insert_rowid()
                }
            };
            drop(connection);
            Ok(Execution { journal, id })
        };
        in_background(&self.store, find).await
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves the connection whole: each statement is its own transaction.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, effect: Effect<'_>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.name_key);
        let mut part = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        match effect {
            Effect::Container(at) => {
                part(b"container");
                part(&(at as u64).to_le_bytes());
            }
            Effect::Attributes(at) => {
                part(b"attributes");
                part(&(at as u64).to_le_bytes());
            }
            Effect::Item(container, id) => {
                part(b"item");
                part(container.as_bytes());
                part(id.as_bytes());
            }
        }
        *hasher.finalize().as_bytes()
    }
}

impl Execution {
    /// Logs that `effect` has come to `stage`.
    pub(crate) async fn log(
        &self,
        effect: Effect<'_>,
        stage: Stage,
        record: &EffectRecord,
    ) -> Result<()> {
        let key = self.journal.key(effect);
        let (this, record) = (self.clone(), record.clone());
        let write = move || {
            let plain = serde_json::to_vec(&record).map_err(|cause| {
                Error::new(ErrorKind::Journal, "restore journal: cannot be encoded")
                    .with_source(cause)
            })?;
            let sealed = this.journal.store.seal_local(PURPOSE, &key, &plain)?;
            let put = "INSERT OR REPLACE INTO effect (execution, key, stage, record) \
                       VALUES (?1, ?2, ?3, ?4)";
            let connection = this.journal.lock();
            let values = params![this.id, key.as_slice(), stage as i64, sealed];
            connection.execute(put, values).map_err(sql)?;
            Ok(())
        };
        in_background(&self.journal.store, write).await
    }

    /// Returns how far `effect` has come, if it was ever begun.
    pub(crate) async fn known(&self, effect: Effect<'_>) -> Result<Option<(Stage, EffectRecord)>> {
        let key = self.journal.key(effect);
        let this = self.clone();
        let read = move || {
            let get = "SELECT stage, record FROM effect WHERE execution = ?1 AND key = ?2";
            let row: Option<(i64, Vec<u8>)> = {
                let connection = this.journal.lock();
                let values = params![this.id, key.as_slice()];
                let row = connection.query_row(get, values, |row| Ok((row.get(0)?, row.get(1)?)));
                row.optional().map_err(sql)?
            };
            let Some((stage, sealed)) = row else {
                return Ok(None);
            };
            let stage = match stage {
                0 => Stage::Begun,
                1 => Stage::Written,
                2 => Stage::Verified,
                other => {
                    let cause = format!("restore journal: stage {other} is not known here");
                    return Err(Error::new(ErrorKind::Journal, cause));
                }
            };
            let plain = this.journal.store.open_local(PURPOSE, &key, &sealed)?;
            let record = serde_json::from_slice(&plain).map_err(|cause| {
                Error::new(ErrorKind::Journal, "restore journal: a row cannot be read")
                    .with_source(cause)
            })?;
            Ok(Some((stage, record)))
        };
        in_background(&self.journal.store, read).await
    }

    /// Closes the execution: executing the plan once more begins a new one.
    pub(crate) async fn finish(&self) -> Result<()> {
        let this = self.clone();
        let close = move || {
            let connection = this.journal.lock();
            let close = "UPDATE execution SET finished = 1 WHERE id = ?1";
            connection.execute(close, [this.id]).map_err(sql)?;
            Ok(())
        };
        in_background(&self.journal.store, close).await
    }
}

const PURPOSE: &str = "restore journal";

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS execution (
        id INTEGER PRIMARY KEY, plan TEXT NOT NULL, finished INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS effect (
        execution INTEGER NOT NULL, key BLOB NOT NULL, stage INTEGER NOT NULL,
        record BLOB NOT NULL, PRIMARY KEY (execution, key)) WITHOUT ROWID;
";

fn name_key(connection: &Connection, store: &Store) -> Result<[u8; 32]> {
    let get = "SELECT value FROM meta WHERE name = 'name-key'";
    let sealed: Option<Vec<u8>> = connection
        .query_row(get, [], |row| row.get(0))
        .optional()
        .map_err(sql)?;
    if let Some(sealed) = sealed {
        let plain = store
            .open_local(PURPOSE, b"name-key", &sealed)
            .map_err(|cause| {
                Error::from(cause).in_context("restore journal: does not belong to this store")
            })?;
        return plain.try_into().map_err(|_| {
            Error::new(
                ErrorKind::Journal,
                "restore journal: its key has a wrong length",
            )
        });
    }
    let mut key = [0; 32];
    store.environment().fill(&mut key)?;
    let sealed = store.seal_local(PURPOSE, b"name-key", &key)?;
    let put = "INSERT INTO meta (name, value) VALUES ('name-key', ?1)";
    connection.execute(put, [sealed]).map_err(sql)?;
    Ok(key)
}

fn sql(cause: rusqlite::Error) -> Error {
    Error::new(
        ErrorKind::Journal,
        "restore journal: cannot be read or written",
    )
    .with_source(cause)
}

/// Runs blocking work where the store runs its own.
async fn in_background<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    backup_store::offload(store.offload().as_ref(), work).await?
}

#[cfg(test)]
mod tests {
    use backup_store::{CreateOptions, KdfParams, MemoryBackend, Passphrase, StoreOptions};
    use futures_util::future::try_join_all;

    use super::*;

    #[tokio::test]
    async fn restores_that_begin_at_once_share_a_journal() {
        let mut create = CreateOptions::default();
        create.kdf = KdfParams::minimum();
        let passphrase = Passphrase::new("only for tests");
        let (backend, options) = (Arc::new(MemoryBackend::new()), StoreOptions::default());
        let store = Store::create(backend, &passphrase, create, options);
        let store = store.await.unwrap();
        for round in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let opened = (0..8).map(|_| RestoreJournal::open(folder.path(), &store));
            let opened = try_join_all(opened).await;
            let opened = opened.unwrap_or_else(|cause| panic!("round {round}: {cause:?}"));
            let key = opened[0].name_key;
            assert!(opened.iter().all(|journal| journal.name_key == key));
        }
    }
}
