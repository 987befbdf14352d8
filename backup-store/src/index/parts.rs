//! Part cache: directories, filter shards and blocks of segments in a local SQLite database.
//!
//! It holds keyed names and numbers only, and may be lost at any time. Parts are written in key
//! order, a segment at a time. Everything here blocks: call it through `Offload`.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::file::Part;
use crate::backend::create_directories;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{SegmentId, StoreId};
use crate::local_database;

/// Layout of the database; one of another layout is built anew.
const SCHEMA_VERSION: i64 = 3;
/// Other processes build a segment while one waits.
const BUSY_MAX: Duration = Duration::from_secs(60);
/// Bytes of parts that are kept where there is no file to keep them in.
pub(crate) const MEMORY_BYTES: u64 = 64 << 20;

const SCHEMA: &str = "
    CREATE TABLE store (id BLOB NOT NULL);
    CREATE TABLE segments (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, stands_for BLOB,
        directory BLOB NOT NULL
    );
    CREATE TABLE parts (key INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
";

/// Segments that a cache numbers at most: their numbers share 63 bits with those of parts.
const NUMBERS_MAX: i64 = 1 << 29;

/// A segment as it is cached.
#[derive(Debug)]
pub(crate) struct CachedSegment {
    pub(crate) number: i64,
    pub(crate) id: SegmentId,
    /// The damaged segment in whose place it was rebuilt.
    pub(crate) stands_for: Option<SegmentId>,
    pub(crate) directory: Vec<u8>,
}

/// The database.
pub(crate) struct PartCache {
    connection: Mutex<Connection>,
    /// Bytes that were put, where they are kept in memory.
    in_memory: Option<Mutex<u64>>,
}

impl PartCache {
    /// Opens the cache in a directory, or one in memory; a cache that cannot be used is replaced.
    pub(crate) fn open(directory: Option<&Path>, store: &StoreId) -> Result<Self> {
        let Some(directory) = directory else {
            let connection = Connection::open_in_memory().map_err(failed)?;
            create(&connection, store).map_err(failed)?;
            return Ok(Self {
                connection: Mutex::new(connection),
                in_memory: Some(Mutex::new(0)),
            });
        };
        let path = directory.join("index.sqlite");
        let local = |cause| {
            let object = format_args!("cache {}", path.display());
            Error::from_io(ErrorKind::Local, object, cause)
        };
        create_directories(directory).map_err(local)?;
        let mut opened = open_file(&path, store)?;
        if opened.is_none() {
            tracing::info!(path = %path.display(), "the index cache is built anew");
            for suffix in ["", "-wal", "-shm"] {
                let mut name = path.clone().into_os_string();
                name.push(suffix);
                match fs::remove_file(&name) {
                    Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                        return Err(local(cause));
                    }
                    _ => {}
                }
            }
            opened = open_file(&path, store)?;
        }
        let words = || format!("cache {}: cannot be built", path.display());
        let connection = opened.ok_or_else(|| Error::new(ErrorKind::Local, words()))?;
        Ok(Self {
            connection: Mutex::new(connection),
            in_memory: None,
        })
    }

    /// Lists the segments with a number greater than `after`.
    pub(crate) fn segments(&self, after: i64) -> Result<Vec<CachedSegment>> {
        let connection = self.lock();
        let sql = "SELECT number, id, stands_for, directory FROM segments WHERE number > ?1
            ORDER BY number";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map([after], |row| {
            Ok(CachedSegment {
                number: row.get(0)?,
                id: SegmentId::from_bytes(row.get(1)?),
                stands_for: row
                    .get::<_, Option<[u8; 16]>>(2)?
                    .map(SegmentId::from_bytes),
                directory: row.get(3)?,
            })
        });
        rows.and_then(Iterator::collect).map_err(failed)
    }

    /// Keeps a segment's directory and returns its number; again, it is the same.
    pub(crate) fn add(
        &self,
        id: &SegmentId,
        stands_for: Option<&SegmentId>,
        directory: &[u8],
    ) -> Result<i64> {
        let connection = self.lock();
        let stands_for = stands_for.map(|id| &id.as_bytes()[..]);
        let sql = "INSERT OR IGNORE INTO segments (id, stands_for, directory) VALUES (?1, ?2, ?3)";
        connection
            .execute(sql, params![&id.as_bytes()[..], stands_for, directory])
            .map_err(failed)?;
        let sql = "SELECT number FROM segments WHERE id = ?1";
        let number = connection.query_row(sql, [&id.as_bytes()[..]], |row| row.get(0));
        let number: i64 = number.map_err(failed)?;
        if number >= NUMBERS_MAX {
            let words = "index cache: out of numbers; delete it, and it is built anew";
            return Err(Error::new(ErrorKind::Local, words));
        }
        Ok(number)
    }

    /// Forgets a segment and its parts.
    pub(crate) fn remove(&self, number: i64) -> Result<()> {
        let mut connection = self.lock();
        let mut remove = || {
            let transaction = connection.transaction()?;
            transaction.execute("DELETE FROM segments WHERE number = ?1", [number])?;
            let (from, to) = (number << 33, (number + 1) << 33);
            let sql = "DELETE FROM parts WHERE key >= ?1 AND key < ?2";
            transaction.execute(sql, [from, to])?;
            transaction.commit()
        };
        remove().map_err(failed)
    }

    /// Keeps parts of a segment, in one transaction.
    pub(crate) fn put(&self, number: i64, parts: &[(Part, Vec<u8>)]) -> Result<()> {
        let mut connection = self.lock();
        if let Some(used) = &self.in_memory {
            let mut used = used.lock().unwrap_or_else(PoisonError::into_inner);
            *used += parts
                .iter()
                .map(|(_, bytes)| bytes.len() as u64)
                .sum::<u64>();
            if *used > MEMORY_BYTES {
                // Rebuilt segments have no object to be read from again.
                let sql = "DELETE FROM parts WHERE key >> 33 NOT IN
                    (SELECT number FROM segments WHERE stands_for IS NOT NULL)";
                connection.execute(sql, []).map_err(failed)?;
                *used = 0;
            }
        }
        let mut put = || {
            let transaction = connection.transaction()?;
            {
                let sql = "INSERT OR REPLACE INTO parts VALUES (?1, ?2)";
                let mut statement = transaction.prepare_cached(sql)?;
                for (part, bytes) in parts {
                    statement.execute(params![key(number, *part), bytes])?;
                }
            }
            transaction.commit()
        };
        put().map_err(failed)
    }

    /// Returns a part, if it is here.
    pub(crate) fn get(&self, number: i64, part: Part) -> Result<Option<Vec<u8>>> {
        let connection = self.lock();
        let sql = "SELECT bytes FROM parts WHERE key = ?1";
        let mut statement = connection.prepare_cached(sql).map_err(failed)?;
        let found = statement.query_row([key(number, part)], |row| row.get(0));
        found.optional().map_err(failed)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic rolls its transaction back, so that the connection stays usable.
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Orders parts by segment, then shards, then blocks.
fn key(number: i64, part: Part) -> i64 {
    let (role, at) = match part {
        Part::Shard(at) => (0, at),
        Part::Block(at) => (1, at),
    };
    let at = i64::try_from(at).unwrap_or(i64::MAX) & 0xffff_ffff;
    number << 33 | role << 32 | at
}

fn create(connection: &Connection, store: &StoreId) -> rusqlite::Result<()> {
    connection.execute_batch(SCHEMA)?;
    connection.execute("INSERT INTO store VALUES (?1)", [&store.as_bytes()[..]])?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)
}

/// Opens the file, or creates it; `None` when it is not a cache of this store and layout.
fn open_file(path: &Path, store: &StoreId) -> Result<Option<Connection>> {
    let opened = Connection::open(path).and_then(|mut connection| {
        local_database::share(&connection, BUSY_MAX)?;
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

pub(crate) fn is_unusable(cause: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase, Unknown};
    match cause.sqlite_error_code() {
        Some(code) => matches!(code, DatabaseCorrupt | NotADatabase | Unknown),
        // A row or a type is missing: not our layout.
        None => true,
    }
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
