//! Gatherer: takes the content of one resource, skips what the store has, and seals the rest in
//! blocks that hold nothing of another resource.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::content_writer::ContentWriter;
use super::cutter::Cutter;
use super::upload::Waiting;
use super::{Writer, offload};
use crate::content::{ContentClass, ContentRef};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, ChunkSet, ContentHash, PackId};
use crate::pack::spools::CLOSE_AFTER;
use crate::pack::{Block, PackKind};
use crate::store::HASHED_INLINE;

/// Sizes at which a block of small chunks is sealed: text gains by a larger one, and inflates fast.
const BLOCK_TARGET: usize = 512 * 1024;
const TEXT_BLOCK_TARGET: usize = 1024 * 1024;
/// From this size on a block gets the room that it needs when it is full, instead of growing to it.
const SMALL_BLOCK: usize = 64 * 1024;
/// Chunks from this size on are blocks of their own.
const LARGE_CHUNK: usize = 256 * 1024;
/// Blocks of one gatherer that are sealed at the same time.
const SEALING_LIMIT: usize = 2;

/// Says that everything put so far is durable, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageReceipt {
    /// The packs that hold the content of the page, stored now or before; sorted.
    ///
    /// Whoever keeps references to that content keeps these ids, and asks
    /// [`Writer::packs_present`] before using the references under another lease.
    pub packs: Vec<PackId>,
}

/// Gathers the content of one resource; clones share it.
///
/// After an error, or a dropped call, it may have lost content that it took: it then refuses to
/// commit, and a new one is needed.
#[derive(Clone)]
pub struct Gatherer(Arc<Inner>);

struct Inner {
    writer: Writer,
    state: Mutex<State>,
    /// Whose turn it is to wait for sealed blocks: only one waker is known to each.
    waiting: tokio::sync::Mutex<()>,
}

type Sealing = Pin<Box<dyn Future<Output = Result<PackId>> + Send>>;

#[derive(Default)]
struct State {
    open: BTreeMap<ContentClass, Block>,
    /// Chunks in open blocks and in blocks being sealed.
    pending: ChunkSet,
    sealing: VecDeque<(Sealing, Vec<ChunkId>)>,
    packs: HashSet<PackId>,
    /// The packs of the commit before: a page whose content was put while that commit ran may
    /// have found its chunks there.
    packs_before: HashSet<PackId>,
    lost: bool,
}

impl Gatherer {
    pub(super) fn new(writer: Writer) -> Self {
        Self(Arc::new(Inner {
            writer,
            state: Mutex::default(),
            waiting: tokio::sync::Mutex::new(()),
        }))
    }

    /// Stores one content and returns its reference.
    ///
    /// It is durable, and may be referred to, after the next [`commit`](Self::commit).
    pub async fn put(&self, class: ContentClass, bytes: &[u8]) -> Result<ContentRef> {
        if bytes.len() > HASHED_INLINE {
            let mut content = self.content(class);
            content.write(bytes).await?;
            return content.finish().await;
        }
        if class == ContentClass::Mail {
            let cutter = Cutter::new(Arc::clone(self.writer().store().keys()), class);
            let (content, chunks) = cutter.split(bytes)?;
            for chunk in chunks {
                self.put_chunk(chunk.class, chunk.id, chunk.bytes.into())
                    .await?;
            }
            return Ok(content);
        }
        let id = self.writer().store().keys().chunk_id(bytes);
        let mut chunks = Vec::new();
        if !bytes.is_empty() {
            chunks.push(id);
            self.put_chunk(class, id, bytes.into()).await?;
        }
        Ok(ContentRef {
            length: bytes.len() as u64,
            hash: ContentHash::of_one_chunk(&id),
            chunks,
            recipe: None,
        })
    }

    /// Begins a content that comes in pieces.
    pub fn content(&self, class: ContentClass) -> ContentWriter {
        ContentWriter::new(self.clone(), class)
    }

    /// Makes everything put so far durable: in a synced spool, or in uploaded packs.
    ///
    /// *Errors*: [`ErrorKind::Interrupted`] when content was lost by an earlier error or a
    /// dropped call: nothing of this page may be referred to.
    pub async fn commit(&self) -> Result<PageReceipt> {
        let open: Vec<Block> = std::mem::take(&mut self.lock().open)
            .into_values()
            .collect();
        for block in open {
            self.seal(block).await?;
        }
        self.wait_for_sealed(0).await?;
        let packs = {
            let mut state = self.lock();
            if state.lost {
                let words = "page: content was lost by an earlier error or a cancelled call";
                return Err(Error::new(ErrorKind::Interrupted, words));
            }
            let packs = std::mem::take(&mut state.packs);
            let before = std::mem::replace(&mut state.packs_before, packs.clone());
            &packs | &before
        };
        // Whoever commits now has sealed first, so that one sync serves all.
        tokio::task::yield_now().await;
        let spools = Arc::clone(self.writer().spools());
        let synced = packs.clone();
        let store = self.writer().store();
        let sync = offload(store.offload().as_ref(), move || {
            spools.sync(&synced)?;
            spools.close(Some(CLOSE_AFTER));
            Ok(())
        });
        if let Err(cause) = sync.await.and_then(|done| done) {
            self.lock().lost = true;
            return Err(cause);
        }
        let mut packs: Vec<_> = packs.into_iter().collect();
        packs.sort();
        // The page is durable; an upload that fails is tried again by the next, or by a flush.
        if let Err(cause) = self.writer().upload_full(Waiting::TooMany).await {
            tracing::warn!(%cause, "packs could not be uploaded yet");
        }
        Ok(PageReceipt { packs })
    }

    pub(super) fn writer(&self) -> &Writer {
        &self.0.writer
    }

    /// Stores one chunk unless it is known.
    pub(crate) async fn put_chunk(
        &self,
        class: ContentClass,
        id: ChunkId,
        bytes: Cow<'_, [u8]>,
    ) -> Result<()> {
        if self.is_known(&id).await? {
            return Ok(());
        }
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let full = {
            let mut state = self.lock();
            if !state.pending.insert(id) {
                return Ok(()); // Put by a clone of this gatherer meanwhile.
            }
            if bytes.len() >= LARGE_CHUNK {
                Some(Block {
                    plain: bytes.into_owned(),
                    chunks: vec![(id, length)],
                })
            } else {
                let target = match class {
                    ContentClass::Text => TEXT_BLOCK_TARGET,
                    _ => BLOCK_TARGET,
                };
                let block = state.open.entry(class).or_default();
                if block.plain.len() >= SMALL_BLOCK && block.plain.capacity() < target {
                    let room = target + LARGE_CHUNK - block.plain.len();
                    block.plain.reserve_exact(room);
                }
                block.plain.extend_from_slice(&bytes);
                block.chunks.push((id, length));
                if block.plain.len() >= target {
                    state.open.remove(&class)
                } else {
                    None
                }
            }
        };
        match full {
            Some(block) => self.seal(block).await,
            None => Ok(()),
        }
    }

    /// Tells whether a chunk is stored, or being stored here; notes the pack that holds it.
    async fn is_known(&self, id: &ChunkId) -> Result<bool> {
        if self.lock().pending.contains(id) {
            return Ok(true);
        }
        let Some(pack) = self.writer().pack_of(id).await? else {
            return Ok(false);
        };
        self.lock().packs.insert(pack);
        Ok(true)
    }

    /// Hands a block over for compression and sealing; waits when enough are under way.
    async fn seal(&self, block: Block) -> Result<()> {
        let mut guard = Loss::guard(self);
        self.wait_for_sealed(SEALING_LIMIT - 1).await?;
        let chunks: Vec<ChunkId> = block.chunks.iter().map(|(id, _)| *id).collect();
        let spools = Arc::clone(self.writer().spools());
        let pool = Arc::clone(self.writer().store().offload());
        let mut sealing: Sealing = Box::pin(async move {
            let work = move || spools.append(PackKind::Content, block);
            offload(pool.as_ref(), work).await?
        });
        {
            let mut state = self.lock();
            // The first poll hands the work over; whoever waits for it polls again.
            let mut context = Context::from_waker(Waker::noop());
            match sealing.as_mut().poll(&mut context) {
                Poll::Ready(result) => state.settle(result, &chunks)?,
                Poll::Pending => state.sealing.push_back((sealing, chunks)),
            }
        }
        guard.disarm();
        self.writer().upload_full(Waiting::TooMany).await
    }

    /// Waits until at most `limit` blocks are being sealed.
    async fn wait_for_sealed(&self, limit: usize) -> Result<()> {
        let _turn = self.0.waiting.lock().await;
        poll_fn(|context| {
            let mut state = self.lock();
            while state.sealing.len() > limit {
                let Some((sealing, _)) = state.sealing.front_mut() else {
                    break;
                };
                let Poll::Ready(result) = sealing.as_mut().poll(context) else {
                    return Poll::Pending;
                };
                if let Some((_, chunks)) = state.sealing.pop_front() {
                    state.settle(result, &chunks)?;
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes what became of a block.
    fn settle(&mut self, result: Result<PackId>, chunks: &[ChunkId]) -> Result<()> {
        match result {
            Ok(pack) => {
                self.packs.insert(pack);
                for id in chunks {
                    self.pending.remove(id);
                }
                Ok(())
            }
            Err(cause) => {
                self.lost = true;
                Err(cause)
            }
        }
    }
}

impl fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gatherer(..)")
    }
}

/// Marks a gatherer as having lost content, unless it is disarmed: so a dropped call is noticed.
pub(super) struct Loss<'a>(Option<&'a Gatherer>);

impl<'a> Loss<'a> {
    pub(super) fn guard(gatherer: &'a Gatherer) -> Self {
        Self(Some(gatherer))
    }

    pub(super) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Loss<'_> {
    fn drop(&mut self) {
        if let Some(gatherer) = self.0 {
            gatherer.lock().lost = true;
        }
    }
}
