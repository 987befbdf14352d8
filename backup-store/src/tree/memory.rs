//! A node store in memory for tests, which counts what it is asked for.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use super::{NodeSource, NodeStore};
use crate::{ChunkId, Error, ErrorKind, Result};

#[derive(Debug, Default)]
pub(crate) struct MemoryNodes {
    nodes: Mutex<HashMap<ChunkId, Bytes>>,
    gets: AtomicUsize,
    puts: AtomicUsize,
}

impl MemoryNodes {
    /// Returns the reads and writes since the last call.
    pub(crate) fn take_counts(&self) -> (usize, usize) {
        (
            self.gets.swap(0, Ordering::Relaxed),
            self.puts.swap(0, Ordering::Relaxed),
        )
    }
}

impl NodeSource for MemoryNodes {
    async fn get(&self, id: &ChunkId) -> Result<Bytes> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        let found = self.nodes.lock().unwrap().get(id).cloned();
        found.ok_or_else(|| Error::new(ErrorKind::Missing, format!("chunk {id} is not there")))
    }
}

impl NodeStore for MemoryNodes {
    async fn put(&self, bytes: Bytes) -> Result<ChunkId> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        let id = ChunkId::from_bytes(*blake3::hash(&bytes).as_bytes());
        self.nodes.lock().unwrap().insert(id, bytes);
        Ok(id)
    }
}
