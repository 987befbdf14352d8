//! The backup journal: what has been committed since the last published snapshot of each resource.
//!
//! It is a SQLite file on this machine. It may be deleted at any time, which costs going back to
//! the last snapshot and nothing else. Everything in it but row numbers is sealed by the store.

mod entry;
mod place;

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use backup_store::catalog::ResourceId;
use backup_store::{LeaseId, Offload, SnapshotId, Store, offload};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::oneshot;

use crate::error::{Error, ErrorKind, Result};

use entry::{Decoder, Encoder};
pub(crate) use entry::{Edit, Entry, hang_together, malformed};
pub(crate) use place::Place;
use place::{Database, Steps};

/// Says what the entries of a resource build on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// The resource.
    pub(crate) resource: ResourceId,
    /// The leases under which entries were written, the newest last.
    pub(crate) leases: Vec<LeaseId>,
    /// The snapshot to which the entries apply; `None` before the first.
    pub(crate) base: Option<SnapshotId>,
}

/// The open journal of one backup set on one store.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    shared: Arc<Shared>,
    offload: Arc<dyn Offload>,
}

#[derive(Debug)]
struct Shared {
    database: Mutex<Database>,
    store: Store,
    rows: Mutex<HashMap<ResourceId, i64>>,
    waiting: Mutex<Vec<Waiting>>,
}

/// An entry that is to be appended.
#[derive(Debug)]
struct Waiting {
    header: Header,
    sequence: u64,
    plain: Vec<u8>,
    answer: oneshot::Sender<Result<()>>,
}

impl Journal {
    /// Opens the journal at its place, or creates it, and returns what an earlier run left in it.
    ///
    /// *Errors*: [`ErrorKind::Journal`] when another process has it open.
    pub(crate) async fn open(
        place: &Place,
        store: &Store,
        work: Arc<dyn Offload>,
    ) -> Result<(Self, Vec<Header>)> {
        let place = place.clone();
        let store = store.clone();
        let opened = offload(&*work, move || open(&place, store)).await??;
        let (shared, headers) = opened;
        let shared = Arc::new(shared);
        Ok((
            Self {
                shared,
                offload: work,
            },
            headers,
        ))
    }

    /// Returns the entries of `resource`, in order, with their sequence numbers.
    pub(crate) async fn entries(&self, resource: &ResourceId) -> Result<Vec<(u64, Entry)>> {
        let resource = resource.clone();
        self.run(move |shared| shared.entries(&resource)).await
    }

    /// Appends one entry; when this returns, it survives a crash. Entries of several resources that
    /// come at the same time go in one transaction, with one sync.
    ///
    /// *Errors*: those of the transaction, to all whose entries went with it.
    ///
    /// *Cancel safety*: a dropped call may still append.
    pub(crate) async fn append(&self, header: &Header, sequence: u64, entry: &Entry) -> Result<()> {
        let (answer, appended) = oneshot::channel();
        self.shared.waiting().push(Waiting {
            header: header.clone(),
            sequence,
            plain: entry.encode(),
            answer,
        });
        // Whoever is ready now goes along.
        tokio::task::yield_now().await;
        self.run(|shared| {
            shared.append_waiting();
            Ok(())
        })
        .await?;
        appended.await.map_err(|cause| {
            let words = "the backup journal did not say whether an entry was appended";
            Error::new(ErrorKind::Journal, words).with_source(cause)
        })?
    }

    /// Drops the entries of a resource up to `through`, and names what the rest builds on.
    pub(crate) async fn cover(&self, header: &Header, through: u64) -> Result<()> {
        let header = header.clone();
        self.run(move |shared| shared.cover(&header, through)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Shared) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        offload(&*self.offload, move || job(&shared)).await?
    }
}

fn open(place: &Place, store: Store) -> Result<(Shared, Vec<Header>)> {
    // A simulated one has no path that an error could name.
    let path = place.file().unwrap_or_else(|| Path::new("in memory"));
    if let Some(parent) = place.file().and_then(Path::parent) {
        std::fs::create_dir_all(parent)
            .map_err(|cause| refused(path, &cause).with_source(cause))?;
    }
    match open_as_it_is(place, &store) {
        // A journal that cannot be read is worth no more than none: its loss costs work only.
        Err(Failed::Unreadable) => {
            tracing::warn!("the backup journal cannot be read and is started anew");
            remove(path)?;
            open_as_it_is(place, &store)
        }
        opened => opened,
    }
    .map_err(|failed| match failed {
        Failed::Unreadable => refused(path, &"it is not a journal"),
        Failed::Other(cause) => refused(path, &cause).with_source(cause),
    })
}

fn open_as_it_is(place: &Place, store: &Store) -> Result<(Shared, Vec<Header>), Failed> {
    let shared = Shared {
        database: Mutex::new(connect(place)?),
        store: store.clone(),
        rows: Mutex::default(),
        waiting: Mutex::default(),
    };
    // Sealed for another store, or damaged.
    let headers = shared.headers().map_err(|_| Failed::Unreadable)?;
    Ok((shared, headers))
}

enum Failed {
    Unreadable,
    Other(rusqlite::Error),
}

impl From<rusqlite::Error> for Failed {
    fn from(cause: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match cause.sqlite_error_code() {
            Some(DatabaseCorrupt | NotADatabase) => Self::Unreadable,
            _ => Self::Other(cause),
        }
    }
}

fn connect(place: &Place) -> Result<Database, Failed> {
    let database = place.connect()?;
    let connection = &database.connection;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version != SCHEMA_VERSION {
        connection.execute_batch(SCHEMA)?;
    }
    Ok(database)
}

fn remove(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match std::fs::remove_file(&name) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(refused(path, &cause).with_source(cause));
            }
            _ => {}
        }
    }
    Ok(())
}

fn refused(path: &Path, cause: &dyn std::fmt::Display) -> Error {
    let message = format!(
        "the backup journal {} cannot be opened: {cause}",
        path.display()
    );
    Error::new(ErrorKind::Journal, message)
}

const SCHEMA_VERSION: i64 = 1;
const SCHEMA: &str = "
    BEGIN IMMEDIATE;
    DROP TABLE IF EXISTS page;
    DROP TABLE IF EXISTS resource;
    CREATE TABLE resource (id INTEGER PRIMARY KEY AUTOINCREMENT, header BLOB NOT NULL);
    CREATE TABLE page (
        resource INTEGER NOT NULL, sequence INTEGER NOT NULL, entry BLOB NOT NULL,
        PRIMARY KEY (resource, sequence)
    );
    PRAGMA user_version = 1;
    COMMIT;";
const PURPOSE_HEADER: &str = "backup-journal header";
const PURPOSE_ENTRY: &str = "backup-journal entry";

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Database> {
        self.database.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn row(&self, resource: &ResourceId) -> Option<i64> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        rows.get(resource).copied()
    }

    fn headers(&self) -> Result<Vec<Header>> {
        let database = self.lock();
        let connection = &database.connection;
        let mut statement = connection.prepare("SELECT id, header FROM resource ORDER BY id")?;
        let sealed = statement
            .query_map([], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let mut headers = Vec::new();
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        for (row, sealed) in sealed {
            let plain = self
                .store
                .open_local(PURPOSE_HEADER, &row.to_le_bytes(), &sealed)?;
            let header = decode_header(&plain)?;
            rows.insert(header.resource.clone(), row);
            headers.push(header);
        }
        Ok(headers)
    }

    fn entries(&self, resource: &ResourceId) -> Result<Vec<(u64, Entry)>> {
        let Some(row) = self.row(resource) else {
            return Ok(Vec::new());
        };
        let database = self.lock();
        let connection = &database.connection;
        let mut statement = connection
            .prepare("SELECT sequence, entry FROM page WHERE resource = ?1 ORDER BY sequence")?;
        let sealed = statement
            .query_map([row], |found| {
                Ok((found.get::<_, i64>(0)?, found.get::<_, Vec<u8>>(1)?))
            })?
            .collect::<Result<Vec<_>, _>>()?;
        let mut entries = Vec::new();
        for (sequence, sealed) in sealed {
            let name = entry_name(row, sequence);
            let plain = self.store.open_local(PURPOSE_ENTRY, &name, &sealed)?;
            entries.push((sequence.cast_unsigned(), Entry::decode(&plain)?));
        }
        Ok(entries)
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends what waits now, which may be nothing: others append for whoever waits.
    fn append_waiting(&self) {
        let mut database = self.lock();
        let waiting = std::mem::take(&mut *self.waiting());
        if waiting.is_empty() {
            return;
        }
        let mut failed = self.append_all(&mut database, &waiting).err();
        drop(database);
        for Waiting { answer, .. } in waiting {
            let words = failed
                .as_ref()
                .map(|error| (error.kind(), error.to_string()));
            let result = match (failed.take(), words) {
                (Some(error), Some((kind, words))) => {
                    failed = Some(Error::new(kind, words));
                    Err(error)
                }
                _ => Ok(()),
            };
            // A caller that went away does not want to know.
            drop(answer.send(result));
        }
    }

    fn append_all(&self, database: &mut Database, waiting: &[Waiting]) -> Result<()> {
        let rows = database.write(|transaction, steps| {
            let append = |each: &Waiting| self.append(transaction, steps, each);
            waiting.iter().map(append).collect::<Result<Vec<_>>>()
        })?;
        for (Waiting { header, .. }, row) in waiting.iter().zip(rows) {
            self.remember(header, row);
        }
        Ok(())
    }

    fn append(&self, connection: &Connection, steps: Steps<'_>, entry: &Waiting) -> Result<i64> {
        let Waiting {
            header,
            sequence,
            plain,
            ..
        } = entry;
        let row = match self.row(&header.resource) {
            Some(row) => row,
            None => self.insert(connection, steps, header)?,
        };
        let sequence = sequence.cast_signed();
        let name = entry_name(row, sequence);
        let sealed = self.store.seal_local(PURPOSE_ENTRY, &name, plain)?;
        steps.next()?;
        let insert = "INSERT INTO page (resource, sequence, entry) VALUES (?1, ?2, ?3)";
        let mut insert = connection.prepare_cached(insert)?;
        insert.execute(params![row, sequence, sealed])?;
        Ok(row)
    }

    fn cover(&self, header: &Header, through: u64) -> Result<()> {
        let Some(row) = self.row(&header.resource) else {
            return Ok(());
        };
        let rest = self.lock().write(|transaction, steps| {
            steps.next()?;
            transaction.execute(
                "DELETE FROM page WHERE resource = ?1 AND sequence <= ?2",
                params![row, through.cast_signed()],
            )?;
            let rest = transaction
                .query_row(
                    "SELECT 1 FROM page WHERE resource = ?1 LIMIT 1",
                    [row],
                    |_| Ok(()),
                )
                .optional()?;
            steps.next()?;
            if rest.is_some() {
                let sealed = self.seal_header(header, row)?;
                transaction.execute(
                    "UPDATE resource SET header = ?2 WHERE id = ?1",
                    params![row, sealed],
                )?;
            } else {
                transaction.execute("DELETE FROM resource WHERE id = ?1", [row])?;
            }
            Ok(rest)
        })?;
        if rest.is_none() {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            rows.remove(&header.resource);
        }
        Ok(())
    }

    fn insert(&self, connection: &Connection, steps: Steps<'_>, header: &Header) -> Result<i64> {
        steps.next()?;
        connection.execute("INSERT INTO resource (header) VALUES (x'')", [])?;
        let row = connection.last_insert_rowid();
        let sealed = self.seal_header(header, row)?;
        steps.next()?;
        connection.execute(
            "UPDATE resource SET header = ?2 WHERE id = ?1",
            params![row, sealed],
        )?;
        Ok(row)
    }

    fn seal_header(&self, header: &Header, row: i64) -> Result<Vec<u8>> {
        let plain = encode_header(header);
        Ok(self
            .store
            .seal_local(PURPOSE_HEADER, &row.to_le_bytes(), &plain)?)
    }

    fn remember(&self, header: &Header, row: i64) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if !rows.contains_key(&header.resource) {
            rows.insert(header.resource.clone(), row);
        }
    }
}

/// Binds an entry to its place, so that a row that was moved or copied is refused.
fn entry_name(row: i64, sequence: i64) -> [u8; 16] {
    let mut name = [0; 16];
    name[..8].copy_from_slice(&row.to_le_bytes());
    name[8..].copy_from_slice(&sequence.to_le_bytes());
    name
}

fn encode_header(header: &Header) -> Vec<u8> {
    let mut out = Encoder(Vec::new());
    out.text(header.resource.as_str());
    out.count(header.leases.len());
    for lease in &header.leases {
        out.bytes(lease.as_bytes());
    }
    out.bytes(
        header
            .base
            .as_ref()
            .map_or(&[], |id| id.as_bytes().as_slice()),
    );
    out.0
}

fn decode_header(bytes: &[u8]) -> Result<Header> {
    let mut input = Decoder(bytes);
    let resource = ResourceId::new(input.text()?);
    let mut leases = Vec::new();
    for _ in 0..input.count()? {
        leases.push(LeaseId::from_bytes(input.id()?));
    }
    let base = match input.bytes()? {
        [] => None,
        id => Some(SnapshotId::from_bytes(
            id.try_into().map_err(|_| malformed())?,
        )),
    };
    Ok(Header {
        resource,
        leases,
        base,
    })
}

#[cfg(test)]
mod tests {
    use backup_store::{
        CreateOptions, InlineOffload, KdfParams, MemoryBackend, Passphrase, StoreOptions, Timestamp,
    };
    use futures_util::future::join_all;

    use super::*;

    async fn journal(folder: &Path) -> Journal {
        let mut create = CreateOptions::default();
        create.kdf = KdfParams::minimum();
        let options = StoreOptions {
            offload: Arc::new(InlineOffload),
            ..StoreOptions::default()
        };
        let backend = Arc::new(MemoryBackend::new());
        let passphrase = Passphrase::new("correct horse");
        let store = Store::create(backend, &passphrase, create, options).await;
        let place = Place::File(folder.join("journal"));
        let opened = Journal::open(&place, &store.unwrap(), Arc::new(InlineOffload)).await;
        opened.unwrap().0
    }

    fn header(resource: &str) -> Header {
        Header {
            resource: ResourceId::new(resource),
            leases: Vec::new(),
            base: None,
        }
    }

    #[tokio::test]
    async fn entries_that_come_together_are_appended_together_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal(folder.path()).await;
        let entry = Entry::new(Timestamp::from_millis(1));
        let headers = ["a", "b", "c"].map(header);
        let append = |header, sequence| journal.append(header, sequence, &entry);
        let appended = join_all(headers.iter().map(|header| append(header, 1))).await;
        assert!(appended.iter().all(Result::is_ok), "{appended:?}");
        // A number that is taken spoils the transaction for all whose entries go with it.
        let numbers = [2, 2, 1];
        let appends = headers.iter().zip(numbers);
        let appended = join_all(appends.map(|(header, number)| append(header, number))).await;
        assert!(appended.iter().all(Result::is_err), "{appended:?}");
        for header in &headers {
            let entries = journal.entries(&header.resource).await.unwrap();
            assert_eq!(entries, vec![(1, entry.clone())]);
            append(header, 2).await.unwrap();
        }
    }
}
