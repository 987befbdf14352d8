//! Content: what a caller gives to the store, and the reference it gets back.

use crate::id::{ChunkId, ContentHash};

/// Says what kind of bytes a content has; contents of unlike classes are not compressed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ContentClass {
    /// Text: mail, HTML, XML.
    Text,
    /// Anything else: files, pictures, archives.
    Binary,
    /// Properties and descriptions, such as JSON of the service.
    Metadata,
}

/// Refers to a content in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentRef {
    /// Length in bytes.
    pub length: u64,
    /// Keyed hash of the whole content.
    pub hash: ContentHash,
    /// The chunks that make it up, in order; none for an empty content.
    pub(crate) chunks: Vec<ChunkId>,
}

impl ContentRef {
    /// Lists every chunk that the content needs, in the order they are kept.
    ///
    /// One may be listed twice. All of them are needed; put one after the other they need not be
    /// the content.
    pub fn chunk_ids(&self) -> impl Iterator<Item = &ChunkId> + Clone {
        self.chunks.iter()
    }
}
