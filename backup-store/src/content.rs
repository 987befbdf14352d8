//! Content: what a caller gives to the store, and the reference it gets back.

pub(crate) mod base64_lines;
pub(crate) mod mime;
pub(crate) mod recipe;

use self::recipe::Recipe;
use crate::id::{ChunkId, ContentHash};

/// Says what kind of bytes a content has; contents of unlike classes are not compressed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ContentClass {
    /// Text: HTML, XML, source.
    Text,
    /// Anything else: files, pictures, archives.
    Binary,
    /// Properties and descriptions, such as JSON of the service.
    Metadata,
    /// A message in MIME: what it carries in base64 is kept decoded, so that an attachment is
    /// stored once, whatever messages hold it, and together with the same file in a drive.
    ///
    /// It comes back byte by byte, also when it is no MIME at all.
    Mail,
}

impl ContentClass {
    /// The class of what is not taken out of a content of this class.
    pub(crate) fn of_literals(self) -> Self {
        match self {
            Self::Mail => Self::Text,
            other => other,
        }
    }
}

/// Refers to a content in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContentRef {
    /// Length in bytes.
    pub length: u64,
    /// Keyed hash of the whole content.
    pub hash: ContentHash,
    /// The chunks that make it up, in order; with a recipe, those of its literals.
    pub(crate) chunks: Vec<ChunkId>,
    /// How literals and decoded parts are joined; none where the chunks are the content.
    pub(crate) recipe: Option<Recipe>,
}

impl ContentRef {
    /// Returns the chunk that is the whole content, if it is one.
    pub(crate) fn one_chunk(&self) -> Option<&ChunkId> {
        match &self.chunks[..] {
            [chunk] if self.recipe.is_none() => Some(chunk),
            _ => None,
        }
    }

    /// Lists every chunk that the content needs, in the order they are kept.
    ///
    /// One may be listed twice. All of them are needed; put one after the other they need not be
    /// the content: what a message carries in base64 is kept decoded.
    pub fn chunk_ids(&self) -> impl Iterator<Item = &ChunkId> + Clone {
        let parts = self.recipe.iter().flat_map(Recipe::parts);
        self.chunks
            .iter()
            .chain(parts.flat_map(|part| part.chunks.iter()))
    }
}
