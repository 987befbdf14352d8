//! Content writer: takes a content in pieces of any size and has it cut, named and stored.

use std::fmt;
use std::sync::Arc;

use super::cutter::Cutter;
use super::gatherer::Gatherer;
use super::offload;
use crate::content::{ContentClass, ContentRef};
use crate::error::{Error, ErrorKind, Result};
use crate::store::HASHED_INLINE;

/// Takes one content in pieces; how it is split into pieces makes no difference.
///
/// *Units and limits*: keeps a few of the largest chunks in memory, whatever the length. Dropped
/// before [`finish`](Self::finish), it leaves nothing that is referred to.
pub struct ContentWriter {
    gatherer: Gatherer,
    /// `None` while it computes elsewhere, and for ever after a cancelled or failed call.
    cutter: Option<Box<Cutter>>,
}

impl ContentWriter {
    pub(super) fn new(gatherer: Gatherer, class: ContentClass) -> Self {
        let keys = Arc::clone(gatherer.writer().store().keys());
        let cutter = Some(Box::new(Cutter::new(keys, class)));
        Self { gatherer, cutter }
    }

    /// Takes the next bytes.
    ///
    /// *Cancel safety*: when dropped, the content is lost; later calls say so.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let taken = self.cutter.as_mut().ok_or_else(lost)?.accept(bytes);
            bytes = &bytes[taken..];
            if !bytes.is_empty() {
                self.work().await?;
            }
        }
        Ok(())
    }

    /// Ends the content and returns its reference.
    pub async fn finish(mut self) -> Result<ContentRef> {
        let cutter = self.cutter.take().ok_or_else(lost)?;
        let (content, chunks) = if cutter.waiting() <= HASHED_INLINE {
            cutter.finish()?
        } else {
            let pool = Arc::clone(self.gatherer.writer().store().offload());
            offload(pool.as_ref(), move || cutter.finish()).await??
        };
        for chunk in chunks {
            self.gatherer
                .put_chunk(chunk.class, chunk.id, chunk.bytes.into())
                .await?;
        }
        Ok(content)
    }

    /// Computes with what was taken, and stores the chunks that come of it.
    async fn work(&mut self) -> Result<()> {
        let mut cutter = self.cutter.take().ok_or_else(lost)?;
        let pool = Arc::clone(self.gatherer.writer().store().offload());
        let mut cutter = offload(pool.as_ref(), move || cutter.work().map(|()| cutter)).await??;
        for chunk in cutter.take_ready() {
            self.gatherer
                .put_chunk(chunk.class, chunk.id, chunk.bytes.into())
                .await?;
        }
        self.cutter = Some(cutter);
        Ok(())
    }
}

impl fmt::Debug for ContentWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ContentWriter(..)")
    }
}

fn lost() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        "content: an earlier call failed or was cancelled",
    )
}
