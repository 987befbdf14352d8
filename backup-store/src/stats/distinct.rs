//! Counting distinct chunks in bounded memory: a temporary SQLite table beside the caches.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, params};

use crate::backend::create_directories;
use crate::offload::offload;
use crate::{ChunkId, Error, ErrorKind, Result, RunId, Store};

const SCHEMA: &str = "
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE chunks (
        id BLOB PRIMARY KEY, length INTEGER NOT NULL, stored INTEGER NOT NULL,
        resource INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// One meeting of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Met {
    pub(super) id: ChunkId,
    pub(super) length: u64,
    /// Its share of the sealed block.
    pub(super) stored: u64,
    /// Number of the resource, and of the snapshot among all.
    pub(super) resource: u32,
    pub(super) snapshot: u32,
}

/// What was new about some chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct News {
    /// Length and stored bytes of chunks that no resource had.
    pub(super) to_all: (u64, u64),
    /// Length and stored bytes of chunks that this resource did not have.
    pub(super) to_resource: (u64, u64),
}

/// The chunks met so far.
pub(super) struct Distinct {
    connection: Arc<Mutex<Connection>>,
    path: Option<PathBuf>,
}

impl Distinct {
    /// Opens an empty table.
    pub(super) async fn create(store: &Store) -> Result<Self> {
        let path = match store.cache_dir() {
            Some(dir) => {
                let id = RunId::random(store.environment().as_ref())?;
                Some(dir.join(format!("stats-{id}.sqlite")))
            }
            None => None,
        };
        let opened = path.clone();
        let connection = offload(store.offload().as_ref(), move || open(opened)).await??;
        Ok(Self {
            connection: Arc::new(Mutex::new(connection)),
            path,
        })
    }

    /// Adds meetings; returns what was new.
    pub(super) async fn add(&self, store: &Store, mut met: Vec<Met>) -> Result<News> {
        let connection = Arc::clone(&self.connection);
        offload(store.offload().as_ref(), move || {
            met.sort_unstable();
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            add(&mut connection, &met).map_err(failed)
        })
        .await?
    }

    /// Notes that chunks are still there in a later snapshot.
    pub(super) async fn last_seen(&self, store: &Store, met: Vec<Met>) -> Result<()> {
        self.add(store, met).await.map(|_| ())
    }

    /// Returns the stored bytes of the chunks that are in one snapshot alone, by its number.
    pub(super) async fn exclusive(&self, store: &Store) -> Result<Vec<(u32, u64)>> {
        let connection = Arc::clone(&self.connection);
        offload(store.offload().as_ref(), move || {
            let connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            exclusive(&connection).map_err(failed)
        })
        .await?
    }

    /// Removes the temporary file.
    pub(super) async fn remove(self, store: &Store) -> Result<()> {
        drop(self.connection);
        let Some(path) = self.path else {
            return Ok(());
        };
        let shown = path.display().to_string();
        let removed = offload(store.offload().as_ref(), move || std::fs::remove_file(path));
        let removed = removed.await?;
        removed.map_err(|cause| Error::from_io(ErrorKind::Local, shown, cause))
    }
}

fn open(path: Option<PathBuf>) -> Result<Connection> {
    let connection = match path {
        Some(path) => {
            if let Some(dir) = path.parent() {
                create_directories(dir)
                    .map_err(|cause| Error::from_io(ErrorKind::Local, path.display(), cause))?;
            }
            Connection::open(path)
        }
        None => Connection::open_in_memory(),
    };
    let connection = connection.map_err(failed)?;
    connection.execute_batch(SCHEMA).map_err(failed)?;
    Ok(connection)
}

fn add(connection: &mut Connection, met: &[Met]) -> rusqlite::Result<News> {
    let mut news = News::default();
    let transaction = connection.transaction()?;
    {
        let insert = "INSERT OR IGNORE INTO chunks VALUES (?1, ?2, ?3, ?4, ?5, ?5)";
        let mut insert = transaction.prepare_cached(insert)?;
        let other = "UPDATE chunks SET resource = ?2 WHERE id = ?1 AND resource <> ?2";
        let mut other = transaction.prepare_cached(other)?;
        let span = "UPDATE chunks SET first = min(first, ?2), last = max(last, ?2) WHERE id = ?1";
        let mut span = transaction.prepare_cached(span)?;
        for each in met {
            // Half of a keyed hash tells chunks apart well enough to count them.
            let id = &each.id.as_bytes()[..16];
            let length = i64::try_from(each.length).unwrap_or(i64::MAX);
            let stored = i64::try_from(each.stored).unwrap_or(i64::MAX);
            let row = params![id, length, stored, each.resource, each.snapshot];
            if insert.execute(row)? > 0 {
                count(&mut news.to_all, each);
                count(&mut news.to_resource, each);
                continue;
            }
            if other.execute(params![id, each.resource])? > 0 {
                count(&mut news.to_resource, each);
            }
            span.execute(params![id, each.snapshot])?;
        }
    }
    transaction.commit()?;
    Ok(news)
}

fn count(sums: &mut (u64, u64), met: &Met) {
    sums.0 += met.length;
    sums.1 += met.stored;
}

fn exclusive(connection: &Connection) -> rusqlite::Result<Vec<(u32, u64)>> {
    let sql = "SELECT first, sum(stored) FROM chunks WHERE first = last GROUP BY first";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?;
    rows.collect()
}

fn failed(cause: rusqlite::Error) -> Error {
    let kind = match cause.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::StorageFull,
        _ => ErrorKind::Local,
    };
    Error::new(kind, format!("temporary table of chunks: {cause}")).with_source(cause)
}
