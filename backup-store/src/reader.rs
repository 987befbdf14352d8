//! Content reader: streams a content chunk by chunk, verified, and checks the whole at its end.

use bytes::Bytes;

use crate::content::ContentRef;
use crate::error::{Error, ErrorKind, Result};
use crate::id::ContentHash;
use crate::offload::offload;
use crate::pack::Location;
use crate::store::{HASHED_INLINE, Store};

/// Chunks whose places are looked up at once.
const LOOKUP: usize = 64;

/// Reads one content; no chunk is returned that was not verified.
///
/// *Units and limits*: memory is bounded by a few of the largest chunks, whatever the length.
#[derive(Debug)]
pub struct ContentReader {
    store: Store,
    content: ContentRef,
    next: usize,
    /// Places of the chunks from `next` on, as far as they were looked up.
    places: std::collections::VecDeque<Vec<Location>>,
    hasher: Option<Box<blake3::Hasher>>,
    length: u64,
    done: bool,
}

impl Store {
    /// Begins to read a content.
    pub fn open_content(&self, content: &ContentRef) -> ContentReader {
        ContentReader {
            store: self.clone(),
            content: content.clone(),
            next: 0,
            places: std::collections::VecDeque::new(),
            hasher: Some(Box::new(self.keys().content_hasher())),
            length: 0,
            done: false,
        }
    }
}

impl ContentReader {
    /// Returns the next chunk; `None` once all were read and the whole content was found right.
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
        let mut whole = Vec::new();
        while let Some(chunk) = self.next_chunk().await {
            whole.extend_from_slice(&chunk?);
        }
        Ok(whole)
    }

    async fn advance(&mut self) -> Result<Option<Bytes>> {
        let Some(id) = self.content.chunks.get(self.next).copied() else {
            self.check_whole()?;
            return Ok(None);
        };
        if self.places.is_empty() {
            let rest = &self.content.chunks[self.next..];
            let ids = &rest[..rest.len().min(LOOKUP)];
            self.places = self.store.locate_with_refresh(ids).await?.into();
        }
        let ahead: Vec<Location> = self
            .places
            .iter()
            .skip(1)
            .map_while(|places| places.first().copied())
            .collect();
        let places = self.places.front().map_or(&[][..], Vec::as_slice);
        let chunk = self.store.read_chunk_at(&id, places, &ahead).await?;
        self.length += chunk.len() as u64;
        if self.length > self.content.length {
            return Err(self.damaged("it is longer than it should be"));
        }
        let mut hasher = self.hasher.take().ok_or_else(|| {
            Error::new(
                ErrorKind::Interrupted,
                "content: an earlier read was cancelled",
            )
        })?;
        if chunk.len() <= HASHED_INLINE {
            hasher.update(&chunk);
            self.hasher = Some(hasher);
        } else {
            let hashed = chunk.clone();
            let hasher = offload(self.store.offload().as_ref(), move || {
                hasher.update(&hashed);
                hasher
            });
            self.hasher = Some(hasher.await?);
        }
        self.places.pop_front();
        self.next += 1;
        Ok(Some(chunk))
    }

    fn check_whole(&self) -> Result<()> {
        let hash = self.hasher.as_ref().map(|hasher| hasher.finalize().into());
        if self.length != self.content.length {
            return Err(self.damaged("it is shorter than it should be"));
        }
        if hash.map(ContentHash::from_bytes) != Some(self.content.hash) {
            return Err(self.damaged("its chunks do not add up to its hash"));
        }
        Ok(())
    }

    fn damaged(&self, cause: &str) -> Error {
        Error::damaged(format_args!("content {}", self.content.hash), cause)
    }
}
