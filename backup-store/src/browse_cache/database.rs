//! The database of a browse cache: its layout, and making the file.

use std::fs::{self, OpenOptions};
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use crate::error::{Error, ErrorKind, Result};
use crate::id::StoreId;

/// Layout of the database; one of another layout is built anew.
const SCHEMA_VERSION: i64 = 1;

/// Items and folders hold from snapshot number `first` up to, not including, `until`.
const SCHEMA: &str = "
    CREATE TABLE store (id BLOB NOT NULL);
    CREATE TABLE resources (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
    CREATE TABLE snapshots (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE,
        resource INTEGER NOT NULL, record BLOB NOT NULL, gone INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE folders (
        resource INTEGER NOT NULL, id TEXT NOT NULL, path TEXT NOT NULL,
        first INTEGER NOT NULL, until INTEGER
    );
    CREATE INDEX folders_by_id ON folders (resource, id);
    CREATE TABLE items (
        number INTEGER PRIMARY KEY, resource INTEGER NOT NULL, key BLOB NOT NULL,
        record BLOB NOT NULL, kind TEXT NOT NULL, created INTEGER NOT NULL,
        first INTEGER NOT NULL, until INTEGER
    );
    CREATE INDEX items_by_key ON items (resource, key);
    CREATE INDEX items_by_time ON items (created);
    CREATE VIRTUAL TABLE words USING fts5(
        name, sender, recipients, content = '', contentless_delete = 1,
        tokenize = 'trigram case_sensitive 1'
    );
";

/// Opens the file, and says whether it was made anew.
pub(super) fn open(path: &Path, store: &StoreId) -> Result<(Connection, bool)> {
    if path.exists() {
        match reopen(path, store) {
            Ok(Some(connection)) => return Ok((connection, false)),
            Ok(None) => {}
            Err(cause) => tracing::warn!(%cause, "the browse cache cannot be used"),
        }
        for suffix in ["", "-wal", "-shm", "-journal"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            match fs::remove_file(&name) {
                Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                    return Err(local(path, cause));
                }
                _ => {}
            }
        }
    }
    // Made here, so that it is never readable by others; what SQLite adds takes its mode.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|cause| local(path, cause))?;
    tracing::info!(path = %path.display(), "a browse cache is made: it is plaintext");
    let mut connection = connect(path).map_err(failed)?;
    let mut create = || {
        let transaction = connection.transaction()?;
        transaction.execute_batch(SCHEMA)?;
        transaction.execute("INSERT INTO store VALUES (?1)", [&store.as_bytes()[..]])?;
        transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        transaction.commit()
    };
    create().map_err(failed)?;
    Ok((connection, true))
}

/// Connects to a file that is there: SQLite would make another one readable by all.
fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::default() - OpenFlags::SQLITE_OPEN_CREATE;
    Connection::open_with_flags(path, flags)
}

/// Opens a file that is there; none when it is not a whole cache of this store and layout.
fn reopen(path: &Path, store: &StoreId) -> rusqlite::Result<Option<Connection>> {
    let connection = connect(path)?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let found: [u8; 16] = connection.query_row("SELECT id FROM store", [], |row| row.get(0))?;
    let whole: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    let usable = version == SCHEMA_VERSION && found == *store.as_bytes() && whole == "ok";
    Ok(usable.then_some(connection))
}

fn local(path: &Path, cause: std::io::Error) -> Error {
    let object = format_args!("browse cache {}", path.display());
    Error::from_io(ErrorKind::Local, object, cause)
}

pub(super) fn failed(cause: rusqlite::Error) -> Error {
    let kind = match cause.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::StorageFull,
        Some(rusqlite::ErrorCode::ReadOnly | rusqlite::ErrorCode::PermissionDenied) => {
            ErrorKind::PermissionDenied
        }
        _ => ErrorKind::Local,
    };
    Error::new(kind, format!("browse cache: {cause}")).with_source(cause)
}
