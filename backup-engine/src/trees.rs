//! Trees: the maps of a snapshot, read and written through the run's writer.

use std::ops::RangeBounds;

use backup_store::tree::{self, NodeSource};
use backup_store::{ChunkId, TreeRoot, Writer};
use bytes::Bytes;

use crate::error::Result;

/// Reads and changes trees; what was written a moment ago is readable at once.
#[derive(Debug, Clone)]
pub(crate) struct Trees {
    writer: Writer,
    empty: TreeRoot,
}

impl Trees {
    pub(crate) fn new(writer: Writer) -> Self {
        let empty = writer.empty_tree();
        Self { writer, empty }
    }

    /// Returns the tree of the empty map.
    pub(crate) fn empty(&self) -> TreeRoot {
        self.empty
    }

    /// Returns the value under a key.
    pub(crate) async fn get(&self, root: &TreeRoot, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(tree::get(self, root, key).await?)
    }

    /// Walks a range of keys in order.
    pub(crate) fn scan(&self, root: &TreeRoot, range: impl RangeBounds<Vec<u8>>) -> Scan {
        Scan(tree::Scan::new(self.clone(), root, range))
    }

    /// Applies edits, sorted by key.
    pub(crate) async fn apply(
        &self,
        root: &TreeRoot,
        edits: impl IntoIterator<Item = tree::Edit, IntoIter: Send>,
    ) -> Result<TreeRoot> {
        Ok(self.writer.apply(root, edits).await?)
    }
}

impl NodeSource for Trees {
    async fn get(&self, id: &ChunkId) -> backup_store::Result<Bytes> {
        self.writer.read_chunk(id).await
    }
}

/// A walk over a range of keys.
#[derive(Debug)]
pub(crate) struct Scan(tree::Scan<Trees>);

impl Scan {
    /// Returns the next entry: key and value.
    pub(crate) async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        Ok(self.0.next().await.transpose()?)
    }
}
