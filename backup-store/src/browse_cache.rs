//! Browse cache: what is in all snapshots, in a local SQLite database with full-text search.
//!
//! It is plaintext, so nothing makes one unless it is asked to, and the file is readable by its
//! owner alone. It is filled from the differences of snapshots, finds exactly what
//! [`Search`](crate::catalog::Search) finds, and may be deleted at any time.

mod database;
mod fill;
#[cfg(test)]
mod laws;
mod search;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

pub use self::fill::FillReport;
pub use self::search::Hit;
use crate::error::Result;
use crate::offload::offload;
use crate::store::Store;

/// A plaintext cache of the names, subjects, senders, recipients, paths and dates in a store.
///
/// *Units and limits*: about 1 KiB of disk an item, and a little for each of its changes. Text of
/// three characters or more is found by index, shorter text by reading every row.
#[derive(Clone)]
pub struct BrowseCache {
    store: Store,
    path: PathBuf,
    connection: Arc<Mutex<Connection>>,
    built_anew: bool,
}

impl BrowseCache {
    /// Opens the cache in a file, or makes it; one that is damaged, or of another store, is
    /// replaced by an empty one.
    ///
    /// Whoever calls this tells the user, when [`is_built_anew`](Self::is_built_anew): from now on
    /// names and subjects of what is in the store stand in this file in plaintext.
    pub async fn open(store: &Store, path: &Path) -> Result<Self> {
        let (file, id) = (path.to_owned(), store.id());
        let opened = offload(store.offload().as_ref(), move || database::open(&file, &id));
        let (connection, built_anew) = opened.await??;
        Ok(Self {
            store: store.clone(),
            path: path.to_owned(),
            connection: Arc::new(Mutex::new(connection)),
            built_anew,
        })
    }

    /// Tells whether opening it made a new file.
    pub fn is_built_anew(&self) -> bool {
        self.built_anew
    }

    /// Returns where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs work on the database.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let connection = Arc::clone(&self.connection);
        offload(self.store.offload().as_ref(), move || {
            let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut connection)
        })
        .await?
    }
}

impl fmt::Debug for BrowseCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BrowseCache(..)")
    }
}
