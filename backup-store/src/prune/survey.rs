//! Surveying the store: what is there, what is needed, and writing anew what is mostly not.

use std::collections::BTreeSet;

use futures_util::FutureExt;

use super::decide::{Condition, PackSeen, Place, Rescue, Survey, choose_copies, rescue};
use super::machine::Seen;
use super::marks::Marks;
use super::places::{Places, Segments};
use super::report::PrunePhase;
use super::shell::{Shell, refused};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, PackId, RunId, SnapshotId};
use crate::rounds::{Plan, Rounds};
use crate::writer::WriterOptions;
use crate::writer::keep_up::Copied;

impl Shell<'_> {
    /// Lists leases, slots, packs and segments, in this order, and finds out what is needed.
    pub(super) async fn survey(
        &mut self,
        rounds: &Rounds,
        forget: &BTreeSet<SnapshotId>,
    ) -> Result<Seen> {
        let (leases, slots) = self.look(rounds).await?;
        let listed = self.list_packs().await?;
        let segments = Segments::list(self.store).await.map_err(refused)?;
        self.marks = self.mark(rounds, forget).await?;
        let alive: Vec<PackId> = listed
            .iter()
            .filter(|pack| !rounds.is_dead(pack))
            .copied()
            .collect();
        let damaged = self.store.distrusted_places();
        let places = Places::find(self.store, &self.marks, &segments, &alive).await?;
        self.refuse_missing(&places)?;
        let mut live = places.alone;
        choose_copies(places.several, &mut live);
        let seen = |id: &PackId| PackSeen {
            id: *id,
            stored: self.sizes.0.get(id).copied().unwrap_or_default(),
            total: places.totals.get(id).copied().unwrap_or_default(),
            live: live.get(id).copied().unwrap_or_default(),
            condition: if places.stuck.contains(id) {
                Condition::Stuck
            } else if damaged.names(id) {
                Condition::Damaged
            } else {
                Condition::Whole
            },
            lease: None,
        };
        let mut packs: Vec<PackSeen> = listed.iter().map(seen).collect();
        self.read_leases(&mut packs).await?;
        let needed = packs
            .iter()
            .filter(|pack| pack.live > 0)
            .map(|pack| &pack.id);
        self.report.kept = self.sizes.amount(needed);
        Ok(Seen::Survey(Survey {
            leases,
            slots,
            packs,
            segments: segments.seen,
        }))
    }

    /// Lists packs, then segments, and finds the condemned packs that are needed after all.
    pub(super) async fn mark_again(&mut self, rounds: &Rounds, plan: &Plan) -> Result<Seen> {
        self.marks = Marks::default(); // What they said of repacking was heeded.
        let listed = self.list_packs().await?;
        let segments = Segments::list(self.store).await.map_err(refused)?;
        let marks = self.mark(rounds, &plan.forget).await?;
        let alive: Vec<PackId> = listed
            .into_iter()
            .filter(|pack| !rounds.is_dead(pack))
            .collect();
        let places = Places::find(self.store, &marks, &segments, &alive).await?;
        self.refuse_missing(&places)?;
        let there: BTreeSet<_> = alive.iter().collect();
        let place = |pack: &PackId| {
            if !there.contains(pack) {
                Place::Absent
            } else if plan.packs.contains(pack) {
                Place::Condemned
            } else {
                Place::Safe
            }
        };
        let mut rescued = BTreeSet::new();
        for pack in places.alone.keys() {
            rescued.extend(rescue(std::slice::from_ref(pack), place));
        }
        for packs in places.several.keys() {
            rescued.extend(rescue(packs, place));
        }
        // One call may see more than one round.
        let again = self.sizes.amount(&rescued);
        self.report.rescued.packs += again.packs;
        self.report.rescued.bytes += again.bytes;
        self.report.forgotten.extend(&plan.forget);
        Ok(Seen::Rescue(Rescue {
            rescued,
            segments: segments.seen,
        }))
    }

    /// Ends the prune when a kept snapshot needs what is in no pack, unless that is tolerated.
    fn refuse_missing(&mut self, places: &Places) -> Result<()> {
        self.report.missing_chunks = places.missing;
        if places.missing == 0 || self.options.tolerate_missing {
            return Ok(());
        }
        let words = format!(
            "{} chunks that kept snapshots need are in no pack of the index",
            places.missing
        );
        Err(refused(Error::new(ErrorKind::Missing, words)))
    }

    /// Copies what is needed of packs into new ones, as a writer with a lease of its own.
    pub(super) async fn repack(&mut self, packs: BTreeSet<PackId>) -> Result<Seen> {
        let Some(options) = &self.options.repack else {
            return Ok(Seen::Repacked(BTreeSet::new()));
        };
        let environment = self.store.environment().as_ref();
        let writer = self.store.begin(WriterOptions {
            run: RunId::random(environment)?,
            spool_dir: options.spool_dir.clone(),
            adopts: Vec::new(),
        });
        let writer = writer.await?;
        let total = Some(packs.len() as u64);
        let (marks, store) = (&self.marks, self.store);
        let needed = |mut ids: Vec<ChunkId>| {
            let chosen = async move {
                ids.sort_unstable();
                let (ids, marked) = marks.among(store, ids, |id| id).await?;
                let chosen = ids.into_iter().zip(marked);
                Ok(chosen
                    .filter_map(|(id, marked)| marked.then_some(id))
                    .collect())
            };
            chosen.boxed()
        };
        for (done, pack) in (1..).zip(&packs) {
            writer.copy_pack(pack, Copied::These(&needed)).await?;
            self.tell(PrunePhase::Repacking, done, total);
        }
        writer.end().await?;
        self.report.repacked = self.sizes.amount(&packs);
        Ok(Seen::Repacked(packs))
    }
}
