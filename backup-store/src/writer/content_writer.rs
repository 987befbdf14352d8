//! Content writer: takes a content in pieces of any size, cuts it, and names its chunks.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::gatherer::Gatherer;
use super::offload;
use crate::chunker::{AVERAGE_BYTES, MAX_BYTES};
use crate::content::{ContentClass, ContentRef};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, ContentHash};

/// Takes one content in pieces; how it is split into pieces makes no difference.
///
/// *Units and limits*: keeps at most two of the largest chunks in memory, whatever the length.
/// Dropped before [`finish`](Self::finish), it leaves nothing that is referred to.
#[derive(Debug)]
pub struct ContentWriter {
    gatherer: Gatherer,
    class: ContentClass,
    /// `None` while a cut is under way, and for ever after a cancelled one.
    open: Option<Open>,
    length: u64,
    chunks: Vec<ChunkId>,
}

#[derive(Debug)]
struct Open {
    /// Bytes that are not in a chunk yet.
    buffer: BytesMut,
    hasher: Box<blake3::Hasher>,
}

impl ContentWriter {
    pub(super) fn new(gatherer: Gatherer, class: ContentClass) -> Self {
        let hasher = Box::new(gatherer.writer().store().keys().content_hasher());
        Self {
            gatherer,
            class,
            open: Some(Open {
                buffer: BytesMut::new(),
                hasher,
            }),
            length: 0,
            chunks: Vec::new(),
        }
    }

    /// Takes the next bytes.
    ///
    /// *Cancel safety*: when dropped, the content is lost; later calls say so.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let open = self.open.as_mut().ok_or_else(cancelled)?;
            let room = MAX_BYTES.saturating_sub(open.buffer.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            open.buffer.extend_from_slice(now);
            self.length += now.len() as u64;
            bytes = later;
            if open.buffer.len() >= MAX_BYTES {
                self.cut(false).await?;
            }
        }
        Ok(())
    }

    /// Ends the content and returns its reference.
    pub async fn finish(mut self) -> Result<ContentRef> {
        while !self.open.as_ref().ok_or_else(cancelled)?.buffer.is_empty() {
            self.cut(true).await?;
        }
        let open = self.open.take().ok_or_else(cancelled)?;
        Ok(ContentRef {
            length: self.length,
            hash: ContentHash::from_bytes(open.hasher.finalize().into()),
            chunks: std::mem::take(&mut self.chunks),
        })
    }

    /// Cuts the next chunk off the buffer, hashes it, and puts it.
    async fn cut(&mut self, last: bool) -> Result<()> {
        let mut open = self.open.take().ok_or_else(cancelled)?;
        let store = self.gatherer.writer().store();
        let keys = Arc::clone(store.keys());
        let whole = last && self.chunks.is_empty() && open.buffer.len() <= AVERAGE_BYTES;
        let (open, id, chunk) = offload(store.offload().as_ref(), move || {
            let length = if whole {
                open.buffer.len()
            } else {
                keys.gear.cut(&open.buffer)
            };
            let chunk: Bytes = open.buffer.split_to(length).freeze();
            open.hasher.update(&chunk);
            let id = keys.chunk_id(&chunk);
            (open, id, chunk)
        })
        .await?;
        self.gatherer.put_chunk(self.class, id, &chunk).await?;
        self.chunks.push(id);
        self.open = Some(open);
        Ok(())
    }
}

fn cancelled() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "content: an earlier call failed or was cancelled",
    )
}
