//! Index cache: the entries of all segments in a local SQLite database, rebuildable at any time.
//!
//! It holds keyed names and numbers only. Everything here blocks: call it through `Offload`.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use rusqlite::{Connection, OptionalExtension, params};

use super::bloom::{Filter, MOST_IDS};
use super::segment::Segment;
use crate::backend::create_directories;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, PackId, StoreId};
use crate::pack::Location;

/// Layout of the database; one of another layout is built anew.
const SCHEMA_VERSION: i64 = 2;
const BUSY_WAIT_MS: i64 = 60_000;

const SCHEMA: &str = "
    CREATE TABLE store (id BLOB NOT NULL);
    CREATE TABLE segments (name TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE packs (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE);
    CREATE TABLE chunks (
        id BLOB NOT NULL, pack INTEGER NOT NULL, block INTEGER NOT NULL, start INTEGER NOT NULL,
        length INTEGER NOT NULL, place INTEGER NOT NULL, sealed INTEGER NOT NULL,
        plain INTEGER NOT NULL, PRIMARY KEY (id, pack, block, start)
    ) WITHOUT ROWID;
";

/// The cache of one store on this machine.
pub(crate) struct IndexCache {
    connection: Mutex<Connection>,
    /// Which chunks may be there; absent when there are too many for a filter in memory.
    filter: RwLock<Option<Filter>>,
}

impl IndexCache {
    /// Opens the cache in a directory, or one in memory; a cache that cannot be used is replaced.
    pub(crate) fn open(directory: Option<&Path>, store: &StoreId) -> Result<Self> {
        let Some(directory) = directory else {
            let connection = Connection::open_in_memory().map_err(failed)?;
            create(&connection, store).map_err(failed)?;
            return Self::new(connection);
        };
        let path = directory.join("index.sqlite");
        create_directories(directory).map_err(|cause| {
            Error::from_io(
                ErrorKind::Local,
                format_args!("cache {}", path.display()),
                cause,
            )
        })?;
        if let Some(connection) = open_file(&path, store)? {
            return Self::new(connection);
        }
        tracing::info!(path = %path.display(), "the index cache is built anew");
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            match fs::remove_file(&name) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    let object = format_args!("cache {}", path.display());
                    return Err(Error::from_io(ErrorKind::Local, object, cause));
                }
                _ => {}
            }
        }
        match open_file(&path, store)? {
            Some(connection) => Self::new(connection),
            None => {
                let words = format!("cache {}: cannot be built", path.display());
                Err(Error::new(ErrorKind::Local, words))
            }
        }
    }

    fn new(connection: Connection) -> Result<Self> {
        let filter = RwLock::new(build_filter(&connection).map_err(failed)?);
        Ok(Self {
            connection: Mutex::new(connection),
            filter,
        })
    }

    /// Tells, without blocking, that a chunk is certainly not in the index as this process has
    /// seen it; what another process loads into the same cache shows after the next opening.
    pub(crate) fn may_hold(&self, id: &ChunkId) -> bool {
        let filter = self.filter.read().unwrap_or_else(PoisonError::into_inner);
        filter.as_ref().is_none_or(|filter| filter.may_hold(id))
    }

    /// Returns the names of the segments that are loaded.
    pub(crate) fn segments(&self) -> Result<BTreeSet<String>> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT name FROM segments")
            .map_err(failed)?;
        let names = statement.query_map([], |row| row.get(0)).map_err(failed)?;
        names.collect::<Result<_, _>>().map_err(failed)
    }

    /// Loads a segment, in key order, in one transaction; loading it again changes nothing.
    pub(crate) fn insert(&self, name: &str, segment: &Segment) -> Result<()> {
        let mut connection = self.lock();
        insert(&mut connection, name, segment).map_err(failed)?;
        let mut filter = self.filter.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filter.as_mut() {
            segment.chunks.iter().for_each(|(id, _)| filter.insert(id));
        }
        Ok(())
    }

    /// Forgets every entry.
    pub(crate) fn clear(&self) -> Result<()> {
        let sql = "BEGIN; DELETE FROM chunks; DELETE FROM packs; DELETE FROM segments; COMMIT";
        self.lock().execute_batch(sql).map_err(failed)
    }

    /// Finds all places of each chunk, in the order of `ids`.
    pub(crate) fn locate(&self, ids: &[ChunkId]) -> Result<Vec<Vec<Location>>> {
        let connection = self.lock();
        let sql = "SELECT packs.id, block, start, length, place, sealed, plain
            FROM chunks JOIN packs ON packs.number = chunks.pack WHERE chunks.id = ?1";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            let places = statement
                .query_map([&id.as_bytes()[..]], |row| {
                    Ok(Location {
                        pack: PackId::from_bytes(row.get(0)?),
                        block: row.get(1)?,
                        start: row.get(2)?,
                        length: row.get(3)?,
                        offset: row.get::<_, i64>(4)?.unsigned_abs(),
                        sealed: row.get(5)?,
                        plain: row.get(6)?,
                    })
                })
                .map_err(failed)?;
            found.push(places.collect::<Result<_, _>>().map_err(failed)?);
        }
        Ok(found)
    }

    /// Tells whether every one of `packs` is in a segment.
    pub(crate) fn has_packs(&self, packs: &[PackId]) -> Result<bool> {
        let connection = self.lock();
        let mut statement = connection
            .prepare_cached("SELECT 1 FROM packs WHERE id = ?1")
            .map_err(failed)?;
        for pack in packs {
            let found = statement
                .query_row([&pack.as_bytes()[..]], |_| Ok(()))
                .optional();
            if found.map_err(failed)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic rolls its transaction back, so that the connection stays usable.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for IndexCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexCache(..)")
    }
}

/// Reads all chunk ids, unless there are too many.
fn build_filter(connection: &Connection) -> rusqlite::Result<Option<Filter>> {
    let sql = "SELECT count(*) FROM (SELECT 1 FROM chunks LIMIT ?1)";
    let count: usize = connection.query_row(sql, [MOST_IDS as i64 + 1], |row| {
        Ok(usize::try_from(row.get::<_, i64>(0)?).unwrap_or(usize::MAX))
    })?;
    if count > MOST_IDS {
        return Ok(None);
    }
    let mut filter = Filter::new(count);
    let mut statement = connection.prepare("SELECT id FROM chunks")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        filter.insert(&ChunkId::from_bytes(row.get(0)?));
    }
    drop(rows);
    drop(statement);
    Ok(Some(filter))
}

fn create(connection: &Connection, store: &StoreId) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    connection.execute("INSERT INTO store VALUES (?1)", [&store.as_bytes()[..]])?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Opens the file, or creates it; `None` when it is not a cache of this store and layout.
fn open_file(path: &Path, store: &StoreId) -> Result<Option<Connection>> {
    let opened = Connection::open(path).and_then(|mut connection| {
        connection.pragma_update(None, "busy_timeout", BUSY_WAIT_MS)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        let transaction =
            connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if (version, tables) == (0, 0) {
            create(&transaction, store)?;
        } else if version != SCHEMA_VERSION {
            return Ok(None);
        }
        let found: [u8; 16] =
            transaction.query_row("SELECT id FROM store", [], |row| row.get(0))?;
        transaction.commit()?;
        Ok((found == *store.as_bytes()).then_some(connection))
    });
    match opened {
        Ok(connection) => Ok(connection),
        Err(cause) if is_unusable(&cause) => Ok(None),
        Err(cause) => Err(failed(cause)),
    }
}

fn is_unusable(cause: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    match cause.sqlite_error_code() {
        Some(code) => matches!(code, DatabaseCorrupt | NotADatabase | Unknown),
        // A row or a type is missing: not our layout.
        None => true,
    }
}

fn insert(connection: &mut Connection, name: &str, segment: &Segment) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    {
        let added = transaction.execute("INSERT OR IGNORE INTO segments VALUES (?1)", [name])?;
        if added == 0 {
            return Ok(());
        }
        let mut numbers = Vec::with_capacity(segment.packs.len());
        for pack in &segment.packs {
            let id = &pack.as_bytes()[..];
            transaction.execute("INSERT OR IGNORE INTO packs (id) VALUES (?1)", [id])?;
            let sql = "SELECT number FROM packs WHERE id = ?1";
            let number: i64 = transaction.query_row(sql, [id], |row| row.get(0))?;
            numbers.push((*pack, number));
        }
        let sql = "INSERT OR IGNORE INTO chunks VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let mut statement = transaction.prepare_cached(sql)?;
        for (id, place) in &segment.chunks {
            let number = numbers.iter().find(|(pack, _)| *pack == place.pack);
            statement.execute(params![
                &id.as_bytes()[..],
                number.map_or(0, |(_, number)| *number),
                place.block,
                place.start,
                place.length,
                i64::try_from(place.offset).unwrap_or(i64::MAX),
                place.sealed,
                place.plain,
            ])?;
        }
    }
    transaction.commit()
}

fn failed(cause: rusqlite::Error) -> Error {
    let kind = match cause.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::StorageFull,
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => {
            ErrorKind::PermissionDenied
        }
        _ => ErrorKind::Local,
    };
    Error::new(kind, format!("index cache: {cause}")).with_source(cause)
}
