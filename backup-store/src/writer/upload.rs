//! Uploading packs, then their segments, then letting the spool files go: in this order only.

use std::sync::Arc;

use bytes::Bytes;

use super::Writer;
use crate::error::Result;
use crate::index::segment::Segment;
use crate::mutant::{Mutant, mutated};
use crate::offload::offload;
use crate::pack::PackKind;
use crate::pack::spool::OpenPack;
use crate::store::{Resolved, hand_over, put_resolved};

/// Uploaded packs that share one segment, at most: bounds spool space and memory.
const PACKS_PER_SEGMENT: usize = 8;
/// Closed packs that may wait before a gatherer waits for the upload.
const FULL_LIMIT: usize = 2;

/// When to wait for an upload that another task is busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Always,
    /// Only when too many packs wait already.
    TooMany,
}

impl Writer {
    /// Closes the open packs and uploads them with their segments; afterwards the store alone
    /// holds everything that was gathered and committed.
    ///
    /// *Cancel safety*: when dropped, what was not uploaded stays in the spool and is uploaded by
    /// the next call.
    pub async fn flush(&self) -> Result<()> {
        self.0.spools.close(None);
        self.upload_full(Waiting::Always).await?;
        let _turn = self.0.uploading.lock().await;
        self.write_segments().await?;
        self.merge_planned().await?;
        Ok(())
    }

    /// Uploads the closed packs, one at a time.
    pub(super) async fn upload_full(&self, waiting: Waiting) -> Result<()> {
        let spools = &self.0.spools;
        let crowded = spools.full_count();
        if crowded == 0 {
            return Ok(());
        }
        let _turn = match waiting {
            Waiting::TooMany if crowded < FULL_LIMIT => match self.0.uploading.try_lock() {
                Ok(turn) => turn,
                Err(_) => return Ok(()),
            },
            _ => self.0.uploading.lock().await,
        };
        while let Some(pack) = spools.next_full() {
            self.upload(&pack).await?;
            if spools.unindexed_enough(PACKS_PER_SEGMENT) {
                self.write_segments().await?;
            }
        }
        Ok(())
    }

    async fn upload(&self, pack: &Arc<OpenPack>) -> Result<()> {
        if self.hand_over(pack).await? {
            self.0.spools.uploaded(pack);
            return Ok(());
        }
        let store = &self.0.store;
        let finished = Arc::clone(pack);
        let bytes = offload(store.offload().as_ref(), move || finished.finish()).await??;
        let name = &pack.sealer.name;
        match put_resolved(store.backend().as_ref(), name, Bytes::from(bytes)).await? {
            Resolved::Ours => {
                self.0.spools.uploaded(pack);
                Ok(())
            }
            Resolved::Other(_) => {
                tracing::warn!(%name, "the pack's name is taken by a copy of this machine");
                let (spools, pack) = (Arc::clone(&self.0.spools), Arc::clone(pack));
                offload(store.offload().as_ref(), move || spools.reseal(&pack)).await?
            }
        }
    }

    /// Lets the backend take the spool file as it is, if it can; tells whether it did.
    async fn hand_over(&self, pack: &Arc<OpenPack>) -> Result<bool> {
        let (store, name) = (&self.0.store, &pack.sealer.name);
        if !store.backend().takes_files() {
            return Ok(false);
        }
        let finished = Arc::clone(pack);
        let whole = offload(store.offload().as_ref(), move || finished.finish_in_place());
        let Some(file) = whole.await?? else {
            return Ok(false);
        };
        hand_over(store.backend().as_ref(), name, &file).await
    }

    /// Puts one segment per kind for the uploaded packs; the caller holds the turn.
    async fn write_segments(&self) -> Result<()> {
        for kind in PackKind::ALL {
            let packs = self.0.spools.unindexed(kind);
            if !packs.is_empty() {
                self.write_segment(kind, packs).await?;
            }
        }
        Ok(())
    }

    async fn write_segment(&self, kind: PackKind, packs: Vec<Arc<OpenPack>>) -> Result<()> {
        let store = &self.0.store;
        let (keys, environment) = (Arc::clone(store.keys()), Arc::clone(store.environment()));
        let (sealed, packs) = offload(store.offload().as_ref(), move || {
            let tables = packs.iter().map(|pack| (&pack.sealer, pack.table()));
            let sealed = Segment::new(kind, tables).seal(&keys, environment.as_ref())?;
            Ok((sealed, packs))
        })
        .await??;
        if mutated(Mutant::SpoolDeletedEarly) {
            self.0.spools.forget(&packs)?;
        }
        let written = sealed.file.directory.packs.clone();
        store.put_segment(sealed).await?;
        for pack in written {
            self.references().written(pack);
        }
        let spools = Arc::clone(&self.0.spools);
        offload(store.offload().as_ref(), move || spools.forget(&packs)).await?
    }
}
