//! Store: creating, opening, and reading what is in it.

mod create;
#[cfg(feature = "fault-injection")]
mod disk;
mod distrust;
mod index;
pub(crate) mod key_slots;
mod local_record;
mod objects;
pub(crate) mod remembered;
#[cfg(feature = "fault-injection")]
mod restart;
pub(crate) mod rotate;
mod unlock;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::backend::Backend;
use crate::content::ContentRef;
use crate::disk::Disk;
use crate::environment::{Environment, SystemEnvironment};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, StoreId};
use crate::index::cache::IndexCache;
use crate::keys::Keys;
use crate::keys::passphrase::KdfParams;
use crate::offload::{Offload, offload};
use crate::pack::Location;
use crate::pack::reader::PackReader;
use crate::rounds::Rounds;
use crate::slots::SlotCache;

pub(crate) use self::create::refuse_existing;
pub(crate) use self::distrust::is_damage_name;
pub(crate) use self::local_record::LocalRecord;
pub(crate) use self::objects::{Resolved, hand_over, put_resolved};
pub(crate) use self::remembered::Seen;
use self::unlock::Holder;

/// Bytes up to which hashing takes less than handing it over to another thread.
pub(crate) const HASHED_INLINE: usize = 128 * 1024;

/// What a store needs from its surroundings.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Wall clock and randomness.
    pub environment: Arc<dyn Environment>,
    /// Where blocking and computing work runs.
    pub offload: Arc<dyn Offload>,
    /// Directory for rebuildable caches, shared by all stores of this user; without one, the index
    /// is read from the store at every opening and kept in memory.
    pub cache_dir: Option<PathBuf>,
}

impl Default for StoreOptions {
    /// The operating system's clock and randomness, the tokio runtime's threads, no cache.
    fn default() -> Self {
        #[cfg(feature = "tokio")]
        let offload = Arc::new(crate::offload::TokioOffload::new());
        #[cfg(not(feature = "tokio"))]
        let offload = Arc::new(crate::offload::InlineOffload);
        Self {
            environment: Arc::new(SystemEnvironment),
            offload,
            cache_dir: None,
        }
    }
}

/// Choices that are made once, when a store is created.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct CreateOptions {
    /// Cost of guessing the passphrase, if it is one that opens the store first.
    pub kdf: KdfParams,
}

/// An open store; clones share it.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: Arc<dyn Backend>,
    keys: Arc<Keys>,
    /// Who opened the store; with it a new key epoch can be opened without asking again.
    holder: RwLock<Holder>,
    config: Bytes,
    options: StoreOptions,
    /// Where open packs are spooled.
    disk: Arc<dyn Disk>,
    cache_dir: Option<PathBuf>,
    put_if_absent: bool,
    index: Arc<IndexCache>,
    packs: PackReader,
    slots: SlotCache,
    /// What the rounds of prune said when they were last read.
    rounds: RwLock<Arc<Rounds>>,
    /// Where a check has found damage.
    distrusted: RwLock<distrust::Distrusted>,
    /// What this machine has seen.
    remembered: std::sync::Mutex<remembered::Remembered>,
}

impl Store {
    /// Returns the id of the store.
    pub fn id(&self) -> StoreId {
        self.0.keys.store
    }

    /// Returns where the store lies.
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }

    /// Returns the clock and randomness that the store was opened with.
    pub fn environment(&self) -> &Arc<dyn Environment> {
        &self.0.options.environment
    }

    /// Returns where the store's blocking work runs.
    pub fn offload(&self) -> &Arc<dyn Offload> {
        &self.0.options.offload
    }

    /// Reads a chunk and verifies it by its id; every place where it lies is tried.
    ///
    /// *Errors*: [`ErrorKind::Missing`] when the store does not have it, [`ErrorKind::Damaged`]
    /// when no place holds it whole.
    pub async fn read_chunk(&self, id: &ChunkId) -> Result<Bytes> {
        let places = self.locate_to_read(std::slice::from_ref(id)).await?;
        self.follow_chunk(id, places.first().map_or(&[], Vec::as_slice), &[])
            .await
    }

    /// Tells whether the index has every chunk of a content.
    pub async fn has_content(&self, content: &ContentRef) -> Result<bool> {
        let chunks: Vec<ChunkId> = content.chunk_ids().copied().collect();
        let places = self.locate_with_refresh(&chunks).await?;
        Ok(places.iter().all(|places| !places.is_empty()))
    }

    /// Seals a record that stays on this machine, such as a row of a journal.
    ///
    /// It opens for the same store, `purpose` and `name` only.
    pub fn seal_local(&self, purpose: &str, name: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let environment = self.environment().as_ref();
        crate::seal::seal_local(&self.0.keys, purpose, name, plain, environment)
    }

    /// Opens a record sealed by [`seal_local`](Self::seal_local).
    ///
    /// *Errors*: [`ErrorKind::Damaged`] when it was changed, or sealed for something else.
    pub fn open_local(&self, purpose: &str, name: &[u8], record: &[u8]) -> Result<Vec<u8>> {
        crate::seal::open_local(&self.0.keys, purpose, name, record)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.0.disk
    }

    pub(crate) fn keys(&self) -> &Arc<Keys> {
        &self.0.keys
    }

    pub(crate) fn packs(&self) -> &PackReader {
        &self.0.packs
    }

    pub(crate) fn slot_cache(&self) -> &SlotCache {
        &self.0.slots
    }

    pub(crate) fn cache_dir(&self) -> Option<&PathBuf> {
        self.0.cache_dir.as_ref()
    }

    pub(crate) fn put_if_absent(&self) -> bool {
        self.0.put_if_absent
    }

    /// Runs work on the index cache.
    pub(crate) async fn index<T: Send + 'static>(
        &self,
        work: impl FnOnce(&IndexCache) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let index = Arc::clone(&self.0.index);
        offload(self.offload().as_ref(), move || work(&index)).await?
    }

    /// Returns the segments that are in use.
    pub(crate) fn active_segments(&self) -> Vec<Arc<crate::index::cache::Loaded>> {
        self.0.index.active()
    }

    /// Tells, without blocking, that a chunk is certainly not in the index.
    pub(crate) fn may_hold(&self, id: &ChunkId) -> bool {
        self.0.index.may_hold(id)
    }

    /// Returns what the rounds of prune said when they were last read.
    pub(crate) fn rounds(&self) -> Arc<Rounds> {
        Arc::clone(&self.0.rounds.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes what the rounds say, unless something newer is known.
    pub(crate) fn note_rounds(&self, rounds: &Arc<Rounds>) {
        let mut known = self
            .0
            .rounds
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if rounds.progress() >= known.progress() {
            *known = Arc::clone(rounds);
        }
    }

    /// Finds all places of each chunk that can be relied on: not in packs that are dead, nor where
    /// a check has found damage.
    pub(crate) async fn locate(&self, ids: &[ChunkId]) -> Result<Vec<Vec<Location>>> {
        let mut found = self.locate_any(ids).await?;
        self.leave_out_distrusted(&mut found);
        Ok(found)
    }

    async fn locate_any(&self, ids: &[ChunkId]) -> Result<Vec<Vec<Location>>> {
        let mut found = self.look_up(ids).await?;
        let rounds = self.rounds();
        for places in &mut found {
            places.retain(|place| !rounds.is_dead(&place.pack));
        }
        Ok(found)
    }

    /// Finds places as [`locate_with_refresh`](Self::locate_with_refresh) does, and after them
    /// those where a check has found damage: to be tried last.
    pub(crate) async fn locate_to_read(&self, ids: &[ChunkId]) -> Result<Vec<Vec<Location>>> {
        let mut found = self.locate_with_refresh(ids).await?;
        if self.distrusts_any() {
            let any = self.locate_any(ids).await?;
            for (places, mut any) in found.iter_mut().zip(any) {
                any.retain(|place| !places.contains(place));
                places.extend(any);
            }
        }
        Ok(found)
    }

    /// Finds places; when one is missing, reads new segments and looks again.
    pub(crate) async fn locate_with_refresh(&self, ids: &[ChunkId]) -> Result<Vec<Vec<Location>>> {
        let places = self.locate(ids).await?;
        if places.iter().all(|places| !places.is_empty()) || !self.refresh_index().await? {
            return Ok(places);
        }
        self.locate(ids).await
    }

    /// Reads a chunk from one of its places, or from where a prune has put it since they were found.
    pub(crate) async fn follow_chunk(
        &self,
        id: &ChunkId,
        places: &[Location],
        next: &[Location],
    ) -> Result<Bytes> {
        let gone = match self.read_chunk_at(id, places, next).await {
            Err(cause) if is_gone(&cause) => cause,
            read => return read,
        };
        self.refresh_index().await?;
        let mut found = self.locate_to_read(std::slice::from_ref(id)).await?;
        let mut found = found.pop().unwrap_or_default();
        found.retain(|place| !places.contains(place));
        match found.is_empty() {
            true => Err(gone),
            false => self.read_chunk_at(id, &found, &[]).await,
        }
    }

    /// Reads a chunk from one of its places; `next` are places that will be wanted soon.
    pub(crate) async fn read_chunk_at(
        &self,
        id: &ChunkId,
        places: &[Location],
        next: &[Location],
    ) -> Result<Bytes> {
        let mut trouble = None;
        for place in places {
            match self.read_place(id, place, next).await {
                Ok(chunk) => return Ok(chunk),
                Err(cause) => {
                    tracing::warn!(%id, pack = %place.pack, %cause, "a chunk cannot be read here");
                    trouble = Some(cause);
                }
            }
        }
        Err(match trouble {
            None => Error::new(ErrorKind::Missing, format!("chunk {id}: not in the store")),
            Some(cause) if cause.kind() == ErrorKind::NotFound => {
                let words = format!("chunk {id}: its pack is gone: {cause}");
                Error::new(ErrorKind::Damaged, words).with_source(cause)
            }
            Some(cause) => cause,
        })
    }

    async fn read_place(&self, id: &ChunkId, place: &Location, next: &[Location]) -> Result<Bytes> {
        let block = self.packs().block(place, next).await?;
        let (start, length) = (place.start as usize, place.length as usize);
        let object = || format!("chunk {id} in pack {}", place.pack);
        if start + length > block.len() {
            return Err(Error::damaged(
                object(),
                "the index points outside its block",
            ));
        }
        let chunk = block.slice(start..start + length);
        let found = if chunk.len() <= HASHED_INLINE {
            self.keys().chunk_id(&chunk)
        } else {
            let (keys, bytes) = (Arc::clone(self.keys()), chunk.clone());
            offload(self.offload().as_ref(), move || keys.chunk_id(&bytes)).await?
        };
        if found != *id {
            return Err(Error::damaged(object(), "its bytes have another id"));
        }
        Ok(chunk)
    }
}

/// Tells whether a pack was not there, whose chunks a prune may have put elsewhere.
fn is_gone(cause: &Error) -> bool {
    let source = std::error::Error::source(cause);
    let source = source.and_then(|source| source.downcast_ref::<Error>());
    source.is_some_and(|source| source.kind() == ErrorKind::NotFound)
}
