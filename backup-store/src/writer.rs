//! Writer: holds a lease, gathers content into packs, and publishes snapshot sets in its slots.

pub(crate) mod begin;
mod content_writer;
mod cutter;
mod gatherer;
pub(crate) mod keep_up;
mod merge;
pub(crate) mod rules;
pub(crate) mod slot_writer;
mod upload;

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use bytes::Bytes;

pub use self::content_writer::ContentWriter;
pub use self::gatherer::{Gatherer, PageReceipt};
pub use self::keep_up::KeptUp;
use self::rules::References;
use self::slot_writer::SlotWriter;
use crate::disk::DiskLock;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, LeaseId, PackId, RunId};
use crate::offload::offload;
use crate::pack::spools::Spools;
use crate::pack::{Block, PackKind};
use crate::slots::SlotListing;
use crate::snapshots::scan::NewestOfEach;
use crate::store::{HASHED_INLINE, Store};

/// What a writer needs to begin.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// The run it writes for.
    pub run: RunId,
    /// Directory for open packs, used by one process at a time; kept between runs, so that what a
    /// crash left in it is recovered.
    pub spool_dir: PathBuf,
    /// Leases of earlier runs of this machine that have not ended: they are fenced.
    pub adopts: Vec<LeaseId>,
}

/// Writes to a store under a lease of its own; clones share it.
///
/// Any number of writers work on one store at once; they need not know of each other.
#[derive(Clone)]
pub struct Writer(Arc<Inner>);

struct Inner {
    store: Store,
    lease: LeaseId,
    token: u64,
    listing: SlotListing,
    /// Where the newest snapshots of that listing lie, once somebody has asked.
    newest: tokio::sync::OnceCell<NewestOfEach>,
    /// What it refers to, and what prune has made absent to it.
    references: std::sync::Mutex<References>,
    spools: Arc<Spools>,
    /// Held while packs and segments are put: their order matters, and so does memory.
    uploading: tokio::sync::Mutex<()>,
    /// Held while a slot is put: slots are taken strictly in order.
    slots: tokio::sync::Mutex<SlotWriter>,
    /// Keeps other writers away from the spool directory until this one has ended.
    spool_lock: std::sync::Mutex<Option<DiskLock>>,
}

impl Writer {
    /// Returns the lease of this writer.
    pub fn lease(&self) -> LeaseId {
        self.0.lease
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Returns one more than the greatest claim token in the store when the lease was put.
    pub fn claim_token(&self) -> u64 {
        self.0.token
    }

    /// Tells whether all these packs can still be referred to: in a segment of the store, not
    /// condemned by a round of prune and not named by a damage record, or waiting here for upload.
    ///
    /// Those that can are taken for referred to from now on, see [`keep_up`](Self::keep_up).
    pub async fn packs_present(&self, packs: &[PackId]) -> Result<bool> {
        let spools = &self.0.spools;
        let rest: Vec<_> = packs
            .iter()
            .filter(|pack| !spools.holds(pack))
            .copied()
            .collect();
        let store = &self.0.store;
        let found =
            store.has_packs(&rest) || store.refresh_index().await? && store.has_packs(&rest);
        let whole = |pack: &PackId| !store.is_damaged(pack) && self.references().admit(pack);
        Ok(found && rest.iter().all(whole))
    }

    /// Begins to gather content; blocks of two gatherers are never mixed.
    ///
    /// One gatherer per resource, or per page of one: see `gather` for the usual way.
    pub fn gatherer(&self) -> Gatherer {
        Gatherer::new(self.clone())
    }

    /// Reads a chunk, be it in the store or still in a spool of this writer.
    pub async fn read_chunk(&self, id: &ChunkId) -> Result<Bytes> {
        let (spools, wanted) = (Arc::clone(&self.0.spools), *id);
        let here = offload(self.0.store.offload().as_ref(), move || {
            spools.read(&wanted)
        });
        match here.await? {
            Ok(Some(chunk)) => Ok(chunk),
            Ok(None) => self.0.store.read_chunk(id).await,
            // Uploaded, indexed and deleted while we looked.
            Err(cause) if cause.kind() == ErrorKind::NotFound => self.0.store.read_chunk(id).await,
            Err(cause) => Err(cause),
        }
    }

    /// Stores a node of a tree, unless it is there; it is a block of its own in a tree pack.
    pub(crate) async fn put_node(&self, bytes: Bytes) -> Result<ChunkId> {
        let (store, spools) = (self.0.store.clone(), Arc::clone(&self.0.spools));
        let keys = Arc::clone(store.keys());
        let id = if bytes.len() <= HASHED_INLINE {
            keys.chunk_id(&bytes)
        } else {
            let named = bytes.clone();
            offload(store.offload().as_ref(), move || keys.chunk_id(&named)).await?
        };
        if self.pack_of(&id).await?.is_some() {
            return Ok(id);
        }
        let length = u32::try_from(bytes.len()).map_err(|_| {
            Error::new(
                ErrorKind::TooLarge,
                format!("tree node of {} bytes", bytes.len()),
            )
        })?;
        offload(store.offload().as_ref(), move || {
            let block = Block {
                plain: bytes.into(),
                chunks: vec![(id, length)],
            };
            spools.append(PackKind::Tree, block)
        })
        .await??;
        self.upload_full(upload::Waiting::TooMany).await?;
        Ok(id)
    }

    /// Finds a pack that holds a chunk and may be referred to: sealed in a spool here, or in the
    /// index. From now on this writer refers to it.
    async fn pack_of(&self, id: &ChunkId) -> Result<Option<PackId>> {
        if let Some(pack) = self.0.spools.pack_of(id) {
            return Ok(Some(pack));
        }
        if !self.0.store.may_hold(id) {
            return Ok(None);
        }
        let places = self.0.store.locate(std::slice::from_ref(id)).await?;
        let mut references = self.references();
        let mut packs = places.iter().flatten().map(|place| place.pack);
        Ok(packs.find(|pack| references.admit(pack)))
    }

    fn references(&self) -> std::sync::MutexGuard<'_, References> {
        self.0
            .references
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listing(&self) -> &SlotListing {
        &self.0.listing
    }

    pub(crate) fn newest(&self) -> &tokio::sync::OnceCell<NewestOfEach> {
        &self.0.newest
    }

    pub(crate) fn spools(&self) -> &Arc<Spools> {
        &self.0.spools
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({})", self.0.lease)
    }
}
