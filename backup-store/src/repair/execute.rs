//! Executing a plan: chunks first, then the index, then snapshots, as every writer does.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::rebuild::Rebuilder;
use super::report::{From, RepairPhase, RepairPlan, RepairProgress, RepairReport, Role, Work};
use crate::catalog::SnapshotEntry;
use crate::index::segment::Segment;
use crate::pack::{PackKind, pack_name};
use crate::slots::SlotRecord;
use crate::store::{Resolved, put_resolved};
use crate::{
    ChunkId, ContentClass, Gatherer, PackId, Result, SnapshotId, Store, Writer, WriterOptions,
};

/// Packs that share one segment.
const PACKS_PER_SEGMENT: usize = 64;

impl Store {
    /// Carries out a plan: stores again what was found elsewhere, under new names, and publishes
    /// the snapshots that the plan names.
    ///
    /// The damaged objects stay where they are until prune removes them, and so do the damaged
    /// snapshots until retention forgets them. The repaired form of the newest snapshot of a
    /// resource is what the next run continues; items in quarantine are tried again by it. So that
    /// what comes again is stored again, and not taken for known at its damaged place, a damage
    /// record names that place to the writers and pruners of all machines.
    ///
    /// *Errors*: those of [`Store::begin`], of the backends, and
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) when a replica no longer has what it had
    /// when the plan was made: then a new plan is needed, and nothing was published.
    ///
    /// *Cancel safety*: may be dropped at any time; a new plan finds what is left to do.
    pub async fn repair(
        &self,
        plan: RepairPlan,
        writer: WriterOptions,
        progress: &(dyn Fn(RepairProgress) + Sync),
    ) -> Result<RepairReport> {
        let mut executor = Executor {
            store: self,
            writer: self.begin(writer).await?,
            work: &plan.work,
            report: RepairReport::default(),
            progress,
        };
        // First: whoever meets a copy that was written because of it then knows of the damage.
        self.record_damage(&plan.work.bad).await?;
        executor.index(&plan.index).await?;
        executor.chunks().await?;
        executor.publish().await?;
        let Executor { writer, report, .. } = executor;
        writer.end().await?;
        Ok(report)
    }
}

struct Executor<'a> {
    store: &'a Store,
    writer: Writer,
    work: &'a Work,
    report: RepairReport,
    progress: &'a (dyn Fn(RepairProgress) + Sync),
}

impl Executor<'_> {
    /// Puts packs into the index again, from their own tables.
    async fn index(&mut self, packs: &[PackId]) -> Result<()> {
        for kind in PackKind::ALL {
            let mut segment = Segment::new(kind, std::iter::empty());
            let mut count = 0;
            for pack in packs {
                let Some((sealer, table)) = self.table(pack).await? else {
                    continue;
                };
                if sealer.kind != kind {
                    continue;
                }
                segment.push(&sealer, &table);
                count += 1;
                self.report.indexed += 1;
                if count == PACKS_PER_SEGMENT {
                    let full =
                        std::mem::replace(&mut segment, Segment::new(kind, std::iter::empty()));
                    self.put_segment(full).await?;
                    count = 0;
                }
            }
            if count > 0 {
                self.put_segment(segment).await?;
            }
        }
        Ok(())
    }

    async fn table(
        &self,
        pack: &PackId,
    ) -> Result<
        Option<(
            std::sync::Arc<crate::pack::PackSealer>,
            crate::pack::layout::Table,
        )>,
    > {
        let listed = self.store.backend().list(pack_name(pack)?.as_str()).await?;
        let Some(info) = listed.first() else {
            return Ok(None);
        };
        match self.store.packs().table(pack, info.size).await {
            Ok(found) => Ok(Some(found)),
            Err(cause) if super::salvage::is_damage(&cause) => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    async fn put_segment(&self, mut segment: Segment) -> Result<()> {
        segment.sort();
        self.store.put_unsealed_segment(segment).await
    }

    /// Stores again what was found elsewhere.
    async fn chunks(&mut self) -> Result<()> {
        let total = Some(self.work.fetch.len() as u64);
        let here = self.work.fetch.iter();
        let here = here.filter(|(_, (from, _))| *from == From::Here);
        let here: Vec<ChunkId> = here.map(|(chunk, _)| *chunk).collect();
        let places = self.store.locate_to_read(&here).await?;
        let places: BTreeMap<_, _> = here.into_iter().zip(places).collect();
        let mut gatherers = BTreeMap::new();
        for (done, (chunk, (from, role))) in (1..).zip(&self.work.fetch) {
            let bytes = match from {
                From::Here => {
                    let places = places.get(chunk).map_or(&[][..], Vec::as_slice);
                    self.store.read_chunk_at(chunk, places, &[]).await?
                }
                From::Replica(number) => self.work.replicas[*number].read_chunk(chunk).await?,
            };
            self.report.chunks += 1;
            self.report.bytes += bytes.len() as u64;
            match role {
                Role::Node => {
                    self.writer.put_node(bytes).await?;
                }
                Role::Content(resource) => {
                    let gatherer: &Gatherer = gatherers
                        .entry(resource.clone())
                        .or_insert_with(|| self.writer.gather(resource));
                    put(gatherer, *chunk, &bytes).await?;
                }
            }
            self.tell(RepairPhase::Fetching, done, total);
        }
        for gatherer in gatherers.into_values() {
            gatherer.commit().await?;
        }
        self.writer.flush().await
    }

    /// Publishes: sealed sets under their own names, then records of sets that cannot be read
    /// here, then the snapshots that lost something.
    async fn publish(&mut self) -> Result<()> {
        for (name, number) in &self.work.sealed {
            let replica = &self.work.replicas[*number];
            let bytes = replica.backend().get(name, None).await?;
            let put = put_resolved(self.store.backend().as_ref(), name, bytes).await?;
            self.report.objects += u64::from(matches!(put, Resolved::Ours));
        }
        let mut token = self.writer.claim_token();
        let mut records: Vec<SlotRecord> = Vec::new();
        for set in &self.work.sets {
            token = token.max(set.token);
            records.extend(set.records.iter().cloned());
        }
        self.report.republished = records.len() as u64;
        let total = Some(self.work.snapshots.len() as u64);
        for (done, entry) in (1..).zip(&self.work.snapshots) {
            let id = SnapshotId::random(self.store.environment().as_ref())?;
            let bytes = self.repaired(entry).await?;
            records.push(SlotRecord { id, bytes });
            self.report.repaired.push((entry.id, id));
            self.tell(RepairPhase::Publishing, done, total);
        }
        self.writer.flush().await?;
        self.writer.publish_slot_records(token, records).await
    }

    async fn repaired(&mut self, entry: &SnapshotEntry) -> Result<Bytes> {
        let rebuilder = Rebuilder::new(&self.writer, &self.work.lost);
        let now = self.store.environment().now();
        let (mut snapshot, items) = rebuilder.snapshot(&entry.snapshot, now).await?;
        self.report.quarantined += items;
        snapshot.parent = Some(entry.id);
        snapshot.parent_hash = Some(entry.hash);
        if self.work.newest.contains(&entry.id) {
            // The next run continues this one. Repaired forms of older snapshots keep their place
            // in the order, so that no run goes back to them.
            snapshot.token = self.writer.claim_token();
            snapshot.sequence = 1;
        }
        Ok(Bytes::from(snapshot.encode()))
    }

    fn tell(&self, phase: RepairPhase, done: u64, total: Option<u64>) {
        (self.progress)(RepairProgress { phase, done, total });
    }
}

async fn put(gatherer: &Gatherer, chunk: ChunkId, bytes: &Bytes) -> Result<()> {
    let bytes = std::borrow::Cow::Borrowed(&bytes[..]);
    gatherer.put_chunk(ContentClass::Binary, chunk, bytes).await
}
