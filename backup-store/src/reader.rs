//! Content reader: streams a content in verified pieces, and checks the whole at its end.

mod join;
mod row;

use bytes::Bytes;

use self::join::Join;
use self::row::Row;
use crate::content::ContentRef;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContentHash;
use crate::offload::offload;
use crate::store::{HASHED_INLINE, Store};

/// Bytes that are set aside because a reference says so, before any of them was read.
const TRUSTED_BYTES: usize = 4 << 20;

/// Reads one content; no byte is returned whose chunk was not verified.
///
/// *Units and limits*: memory is bounded by a few of the largest chunks, whatever the length.
#[derive(Debug)]
pub struct ContentReader {
    store: Store,
    content: ContentRef,
    /// `None` while a read is under way, and for ever after a cancelled one.
    source: Option<Source>,
    hasher: Option<Box<blake3::Hasher>>,
    length: u64,
    done: bool,
}

/// Where the pieces come from.
#[derive(Debug)]
enum Source {
    /// The places of the chunks were not looked up yet.
    Unopened,
    /// The chunks are the content.
    Chunks(Row),
    Join(Box<Join>),
}

impl Store {
    /// Begins to read a content.
    pub fn open_content(&self, content: &ContentRef) -> ContentReader {
        ContentReader {
            store: self.clone(),
            content: content.clone(),
            source: Some(Source::Unopened),
            hasher: Some(Box::new(self.keys().content_hasher())),
            length: 0,
            done: false,
        }
    }
}

impl ContentReader {
    /// Returns the next bytes; `None` once all were read and the whole content was found right.
    ///
    /// What came before an error must not be used as the content: only `None` says that it is
    /// whole.
    ///
    /// *Errors*: [`ErrorKind::Missing`], [`ErrorKind::Damaged`], and those of the backend. After
    /// an error the reader is at its end.
    pub async fn next_chunk(&mut self) -> Option<Result<Bytes>> {
        if self.done {
            return None;
        }
        match self.advance().await {
            Ok(Some(chunk)) => Some(Ok(chunk)),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(cause) => {
                self.done = true;
                Some(Err(cause))
            }
        }
    }

    /// Reads the whole content.
    ///
    /// *Errors*: [`ErrorKind::TooLarge`] beyond `limit` bytes, before anything is read.
    pub async fn collect(mut self, limit: u64) -> Result<Vec<u8>> {
        if self.content.length > limit {
            let words = format!(
                "content of {} bytes: more than the {limit} bytes allowed",
                self.content.length
            );
            return Err(Error::new(ErrorKind::TooLarge, words));
        }
        let length = usize::try_from(self.content.length).unwrap_or(usize::MAX);
        let mut whole = Vec::with_capacity(length.min(TRUSTED_BYTES));
        while let Some(chunk) = self.next_chunk().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole)
    }

    async fn advance(&mut self) -> Result<Option<Bytes>> {
        let mut source = self.source.take().ok_or_else(cancelled)?;
        let piece = loop {
            source = match &mut source {
                Source::Chunks(row) => break row.next(&self.store).await?,
                Source::Join(join) => break join.next(&self.store).await?,
                Source::Unopened => match &self.content.recipe {
                    None => Source::Chunks(Row::new(self.content.chunks.clone())),
                    Some(recipe) => {
                        let join = Join::new(&self.store, &self.content, recipe).await?;
                        Source::Join(Box::new(join))
                    }
                },
            };
        };
        let Some(piece) = piece else {
            self.check_whole()?;
            return Ok(None);
        };
        self.length += piece.len() as u64;
        if self.length > self.content.length {
            return Err(self.damaged("it is longer than it should be"));
        }
        // A content of one chunk was hashed when the chunk was checked.
        if self.content.one_chunk().is_none() {
            self.hash(&piece).await?;
        }
        self.source = Some(source);
        Ok(Some(piece))
    }

    async fn hash(&mut self, piece: &Bytes) -> Result<()> {
        let mut hasher = self.hasher.take().ok_or_else(cancelled)?;
        if piece.len() <= HASHED_INLINE {
            hasher.update(piece);
            self.hasher = Some(hasher);
        } else {
            let hashed = piece.clone();
            let hasher = offload(self.store.offload().as_ref(), move || {
                hasher.update(&hashed);
                hasher
            });
            self.hasher = Some(hasher.await?);
        }
        Ok(())
    }

    fn check_whole(&self) -> Result<()> {
        let hash = match self.content.one_chunk() {
            Some(chunk) => Some(ContentHash::of_one_chunk(chunk)),
            None => {
                let hash = self.hasher.as_ref().map(|hasher| hasher.finalize().into());
                hash.map(ContentHash::from_bytes)
            }
        };
        if self.length != self.content.length {
            return Err(self.damaged("it is shorter than it should be"));
        }
        if hash != Some(self.content.hash) {
            return Err(self.damaged("its chunks do not add up to its hash"));
        }
        Ok(())
    }

    fn damaged(&self, cause: &str) -> Error {
        damaged(&self.content.hash, cause)
    }
}

fn damaged(content: &ContentHash, cause: &str) -> Error {
    Error::damaged(format_args!("content {content}"), cause)
}

fn cancelled() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "content: an earlier read was cancelled",
    )
}
