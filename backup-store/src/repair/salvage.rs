//! Reading what is damaged here from whoever has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::report::{From, Role};
use crate::check::BadPlaces;
use crate::pack::Location;
use crate::tree::NodeSource;
use crate::{ChunkId, Error, ErrorKind, Result, Store};

/// What became of the chunks that were wanted and are damaged.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) fetch: BTreeMap<ChunkId, (From, Role)>,
    pub(super) bytes: u64,
    pub(super) lost: BTreeSet<ChunkId>,
}

/// Reads chunks here, or from a replica; remembers those that must be stored again.
pub(super) struct Salvage<'a> {
    pub(super) store: &'a Store,
    pub(super) replicas: &'a [Store],
    pub(super) bad: &'a BadPlaces,
    found: Mutex<Found>,
}

impl<'a> Salvage<'a> {
    pub(super) fn new(store: &'a Store, replicas: &'a [Store], bad: &'a BadPlaces) -> Self {
        Self {
            store,
            replicas,
            bad,
            found: Mutex::default(),
        }
    }

    pub(super) fn into_found(self) -> Found {
        self.found
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether chunks can be had, here or elsewhere; notes those that must be fetched.
    ///
    /// *Errors*: those of the index, and of a backend that does not answer.
    pub(super) async fn have(&self, chunks: &[ChunkId], role: &Role) -> Result<bool> {
        let located = self.store.locate_with_refresh(chunks).await?;
        let mut all = true;
        for (chunk, places) in chunks.iter().zip(&located) {
            // Blocks of packs with a whole table were read by the check.
            let sure = |place: &Location| !self.bad.tables.contains(&place.pack);
            if !places.iter().any(sure) {
                all &= self.want(chunk, role).await?.is_some();
            }
        }
        Ok(all)
    }

    /// Reads a chunk that is in no place to be relied on: here all the same, if that works.
    async fn want(&self, chunk: &ChunkId, role: &Role) -> Result<Option<Bytes>> {
        if self.lock().lost.contains(chunk) {
            return Ok(None);
        }
        let here = self.store.read_chunk(chunk).await;
        if let Some(bytes) = damage_is_none(here)? {
            self.note(chunk, From::Here, role, &bytes);
            return Ok(Some(bytes));
        }
        for (number, replica) in self.replicas.iter().enumerate() {
            if let Some(bytes) = damage_is_none(replica.read_chunk(chunk).await)? {
                self.note(chunk, From::Replica(number), role, &bytes);
                return Ok(Some(bytes));
            }
        }
        self.lock().lost.insert(*chunk);
        Ok(None)
    }

    fn note(&self, chunk: &ChunkId, from: From, role: &Role, bytes: &Bytes) {
        let mut found = self.lock();
        if found.fetch.insert(*chunk, (from, role.clone())).is_none() {
            found.bytes += bytes.len() as u64;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl NodeSource for Salvage<'_> {
    async fn get(&self, id: &ChunkId) -> Result<Bytes> {
        let located = self
            .store
            .locate_with_refresh(std::slice::from_ref(id))
            .await?;
        let places = located.first().map_or(&[][..], Vec::as_slice);
        let sure = |place: &Location| !self.bad.tables.contains(&place.pack);
        if places.iter().any(sure)
            && let Some(bytes) = damage_is_none(self.store.read_chunk(id).await)?
        {
            return Ok(bytes);
        }
        let wanted = self.want(id, &Role::Node).await?;
        wanted.ok_or_else(|| Error::new(ErrorKind::Missing, format!("chunk {id}: nobody has it")))
    }
}

/// Tells whether an error says that bytes are damaged or gone, not that a backend failed.
pub(super) fn is_damage(cause: &Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::Damaged | ErrorKind::Missing | ErrorKind::NotFound
    )
}

fn damage_is_none<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(cause) if is_damage(&cause) => Ok(None),
        Err(cause) => Err(cause),
    }
}
