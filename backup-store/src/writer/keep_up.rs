//! Keeping up with prune: a long writer learns of plans, copies what it needs out of condemned
//! packs, and acknowledges the round, so that nobody has to fence it.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Writer;
use super::rules::CatchUp;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, LeaseId, PackId, SnapshotId};
use crate::offload::offload;
use crate::pack::{Block, pack_name};
use crate::rounds::{Ack, RoundNumber, Rounds, ack_name};
use crate::seal::ObjectKind;
use crate::store::{Resolved, Store};

/// Chunks that are looked up at once.
const LOOKUP: usize = 1_000;

/// Says what came of keeping up with prune.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptUp {
    /// Nothing was to be done.
    Current,
    /// What lay in condemned packs was copied; prune need not wait for this writer.
    Acknowledged {
        /// The round that is acknowledged.
        round: RoundNumber,
        /// The packs whose contents were copied.
        copied: u64,
    },
    /// These snapshots are about to be forgotten: finish what continues them, or begin again from
    /// others. Until then prune waits for this writer, or fences it.
    ParentCondemned(Vec<SnapshotId>),
}

impl Writer {
    /// Lists the plans of prune, now, and does what they ask of a running writer.
    ///
    /// `parents` are the snapshots whose trees are being continued and that no published snapshot
    /// of this writer has replaced yet. Call it every few minutes: what it does not do, prune waits
    /// for, or fences. It costs one listing when nothing happened.
    ///
    /// *Cancel safety*: may be dropped at any time; the next call goes on.
    pub async fn keep_up(&self, parents: &[SnapshotId]) -> Result<KeptUp> {
        let rounds = self.store().read_rounds().await?;
        let caught = self.references().catch_up(rounds, parents);
        let (packs, round) = match caught {
            CatchUp::Current => return Ok(KeptUp::Current),
            CatchUp::ParentCondemned(parents) => return Ok(KeptUp::ParentCondemned(parents)),
            CatchUp::Copy(packs, round) => (packs, round),
        };
        self.reseal_absent().await?;
        self.store().refresh_index().await?;
        for pack in &packs {
            self.copy_pack(pack, Copied::WhatIsNowhereElse).await?;
            self.references().copied(pack);
        }
        self.store().put_ack(self.lease(), round).await?;
        self.references().acknowledged(round);
        let copied = packs.len() as u64;
        Ok(KeptUp::Acknowledged { round, copied })
    }

    pub(crate) fn rounds(&self) -> Arc<Rounds> {
        Arc::clone(self.references().rounds())
    }

    /// Seals anew what waits here under the id of a pack that is dead or condemned: that id is
    /// never used again.
    pub(super) async fn reseal_absent(&self) -> Result<()> {
        let rounds = self.rounds();
        let _turn = self.0.uploading.lock().await;
        for pack in self.0.spools.closed() {
            if rounds.is_absent(&pack.sealer.id) {
                let spools = Arc::clone(&self.0.spools);
                let pool = self.store().offload().as_ref();
                offload(pool, move || spools.reseal(&pack)).await??;
            }
        }
        Ok(())
    }

    /// Copies chunks of a stored pack into an own pack, block by block; returns how many bytes.
    pub(crate) async fn copy_pack(&self, pack: &PackId, copied: Copied<'_>) -> Result<u64> {
        let name = pack_name(pack)?;
        let listed = self.store().backend().list(name.as_str()).await?;
        let size = listed
            .iter()
            .find(|info| info.name == name)
            .map(|info| info.size);
        let size = size.ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("object {name}: not in the backend"),
            )
        })?;
        let (sealer, table) = self.store().packs().table(pack, size).await?;
        let mut locations = table.locations(&sealer);
        // What lies in a damaged block cannot be copied; who needs it needs another copy.
        let damaged = self.store().distrusted_places();
        locations.retain(|(_, place)| !damaged.holds(place));
        let ids: Vec<ChunkId> = locations.iter().map(|(id, _)| *id).collect();
        let wanted = match copied {
            Copied::WhatIsNowhereElse => self.only_here(&ids).await?,
            Copied::These(chosen) => chosen(ids).await?,
        };
        let (mut bytes, mut at) = (0, 0);
        let mut packs = HashSet::new();
        while let Some((_, place)) = locations.get(at) {
            let end = at
                + locations[at..]
                    .iter()
                    .take_while(|(_, next)| next.block == place.block)
                    .count();
            let mut block = Block::default();
            let chosen = || {
                locations[at..end]
                    .iter()
                    .filter(|(id, _)| wanted.contains(id))
            };
            if chosen().next().is_some() {
                let plain = self.store().packs().block(place, &[]).await?;
                for (id, place) in chosen() {
                    let range = place.start as usize..(place.start + place.length) as usize;
                    let chunk = plain.get(range).unwrap_or_default();
                    if self.store().keys().chunk_id(chunk) != *id {
                        let object = format!("chunk {id} in pack {pack}");
                        return Err(Error::damaged(object, "its bytes have another id"));
                    }
                    block.plain.extend_from_slice(chunk);
                    block.chunks.push((*id, place.length));
                }
                bytes += block.plain.len() as u64;
                packs.insert(self.append(sealer.kind, block).await?);
            }
            at = end;
        }
        let spools = Arc::clone(&self.0.spools);
        offload(self.store().offload().as_ref(), move || spools.sync(&packs)).await??;
        Ok(bytes)
    }

    /// The chunks that have no place that this writer may refer to.
    async fn only_here(&self, ids: &[ChunkId]) -> Result<HashSet<ChunkId>> {
        let mut only = HashSet::new();
        for ids in ids.chunks(LOOKUP) {
            for id in ids {
                if self.pack_of(id).await?.is_none() {
                    only.insert(*id);
                }
            }
        }
        Ok(only)
    }

    async fn append(&self, kind: crate::pack::PackKind, block: Block) -> Result<PackId> {
        let spools = Arc::clone(&self.0.spools);
        let pool = self.store().offload().as_ref();
        let pack = offload(pool, move || spools.append(kind, block)).await??;
        self.upload_full(super::upload::Waiting::TooMany).await?;
        Ok(pack)
    }
}

/// A choice of chunks that is being made.
pub(crate) type Chosen<'a> = BoxFuture<'a, Result<HashSet<ChunkId>>>;

/// Which chunks of a pack are copied.
pub(crate) enum Copied<'a> {
    WhatIsNowhereElse,
    /// Those that this chooses among the chunks of the pack.
    These(&'a (dyn Fn(Vec<ChunkId>) -> Chosen<'a> + Sync)),
}

impl Store {
    pub(super) async fn put_ack(&self, lease: LeaseId, round: RoundNumber) -> Result<()> {
        let name = ack_name(&lease, round)?;
        let record = Ack { lease, round }.encode();
        match self.put_object(ObjectKind::Ack, &name, record).await? {
            // Whatever lies there says the same: its name is the whole message.
            Resolved::Ours | Resolved::Other(_) => Ok(()),
        }
    }
}
