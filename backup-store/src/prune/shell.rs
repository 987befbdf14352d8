//! The shell of prune: does in the store what the machine names, and counts what it did.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream;

use super::decide::{LeaseSeen, PackSeen, Policy, SlotSeen, SlotsSeen, Standing, has_ended};
use super::machine::{Effect, Garbage, Pruner, Seen};
use super::mark::Marker;
use super::marks::Marks;
use super::report::{PruneOptions, PruneOutcome, PrunePhase, PruneProgress, PruneReport, Sizes};
use crate::backend::ObjectName;
use crate::catalog::Snapshot;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, PackId, SnapshotId};
use crate::pack::{pack_id, pack_name};
use crate::rounds::{
    Ack, BrokenLease, Plan, RoundNumber, RoundPart, Rounds, Verdict, parse_ack_name, round_name,
};
use crate::seal::ObjectKind;
use crate::slots::{Slot, SlotHead, SlotListing, slot_name};
use crate::store::{Resolved, Store, put_resolved};
use crate::writer::begin::Lease;

/// Requests under way at once.
const AT_ONCE: usize = 16;
/// Things that are deleted between two looks at the machine.
const DELETED_AT_ONCE: usize = 256;
/// How often a prune begins again because another one was faster.
const RESTARTS: u32 = 16;

/// One call of prune.
pub(super) struct Shell<'a> {
    pub(super) store: &'a Store,
    pub(super) options: &'a PruneOptions,
    progress: &'a (dyn Fn(PruneProgress) + Sync),
    policy: Policy,
    pub(super) report: PruneReport,
    /// The slots as they were listed last.
    listing: SlotListing,
    /// The marks of the last survey, for repacking.
    pub(super) marks: Marks,
    pub(super) sizes: Sizes,
    restarts: u32,
}

impl<'a> Shell<'a> {
    pub(super) fn new(
        store: &'a Store,
        options: &'a PruneOptions,
        put_if_absent: bool,
        progress: &'a (dyn Fn(PruneProgress) + Sync),
    ) -> Self {
        Self {
            store,
            options,
            progress,
            policy: options.policy(put_if_absent),
            report: PruneReport::default(),
            listing: SlotListing::default(),
            marks: Marks::default(),
            sizes: Sizes::default(),
            restarts: 0,
        }
    }

    /// Runs the machine until it has finished, or waits for a lease.
    pub(super) async fn run(mut self) -> Result<PruneReport> {
        let mut pruner = Pruner::new(self.policy.clone());
        loop {
            let effect = pruner.next();
            if self.options.dry_run && self.planned(&pruner, &effect) {
                return Ok(self.report);
            }
            match effect {
                Effect::Finish => {
                    self.store.read_rounds().await?;
                    return Ok(self.report);
                }
                Effect::Wait(leases) => {
                    self.report.outcome = PruneOutcome::Waiting;
                    self.report.waiting = leases;
                    return Ok(self.report);
                }
                effect => match self.effect(&pruner, effect).await {
                    Ok(seen) => pruner.see(seen),
                    Err(cause) => pruner = self.restarted(&pruner, cause).await?,
                },
            }
        }
    }

    /// Begins again if trouble came from another pruner that was faster; otherwise it is trouble.
    async fn restarted(&mut self, pruner: &Pruner, cause: Error) -> Result<Pruner> {
        let vanished = matches!(
            cause.kind(),
            ErrorKind::NotFound | ErrorKind::Missing | ErrorKind::Damaged
        );
        let rounds = self.store.read_rounds().await?;
        let overtaken = rounds.progress() > pruner.rounds().progress();
        if !vanished || !overtaken || self.restarts >= RESTARTS {
            return Err(cause);
        }
        tracing::info!(%cause, "another prune was faster; this one begins again");
        self.restarts += 1;
        Ok(Pruner::new(self.policy.clone()))
    }

    /// Ends a dry run where the first change would be made.
    fn planned(&mut self, pruner: &Pruner, effect: &Effect) -> bool {
        if let Some(intent) = pruner.intent() {
            self.report.outcome = PruneOutcome::Planned;
            self.report.forgotten.clone_from(&intent.plan.forget);
            self.report.condemned = self.sizes.amount(&intent.plan.packs);
            self.report.repacked = self.sizes.amount(&intent.repack);
            self.report.spared = self.sizes.amount(&intent.spared);
            return true;
        }
        let reads = matches!(effect, Effect::ReadRounds | Effect::Survey { .. });
        if !reads && !matches!(effect, Effect::Finish) {
            // A round is open: what is left of it is decided when it is carried on.
            self.report.outcome = PruneOutcome::Planned;
            return true;
        }
        false
    }

    async fn effect(&mut self, pruner: &Pruner, effect: Effect) -> Result<Seen> {
        match effect {
            Effect::ReadRounds => Ok(Seen::Rounds(Rounds::clone(
                &*self.store.read_rounds().await?,
            ))),
            Effect::Survey { forget } => self.survey(pruner.rounds(), &forget).await,
            Effect::Repack(packs) => self.repack(packs).await,
            Effect::PutPlan(plan) => self.put_plan(pruner, plan).await,
            Effect::ListLeases => {
                self.tell(PrunePhase::Settling, 0, None);
                Ok(Seen::Leases(self.leases(pruner.rounds()).await?))
            }
            Effect::Fence(lease, slot) => self.fence(lease, slot).await,
            Effect::ListSlots => {
                self.listing = self.list_slots().await?;
                Ok(Seen::Slots(self.slots_seen().await?))
            }
            Effect::MarkAgain { plan, .. } => self.mark_again(pruner.rounds(), &plan).await,
            Effect::PutVerdict(verdict) => self.put_verdict(verdict).await,
            Effect::Delete(garbage) => self.delete(garbage).await,
            Effect::PutDone(done) => {
                let name = round_name(done.round, RoundPart::Done)?;
                let kind = RoundPart::Done.kind();
                // Whoever put it said the same: it follows from the verdict.
                self.store.put_object(kind, &name, done.encode()).await?;
                self.report.rounds.push(done.round);
                self.report.in_shared_sets = done.forgotten.len() as u64;
                self.report.outcome = PruneOutcome::Done;
                Ok(Seen::Done)
            }
            Effect::Wait(_) | Effect::Finish => Ok(Seen::Done),
        }
    }

    pub(super) fn tell(&self, phase: PrunePhase, done: u64, total: Option<u64>) {
        (self.progress)(PruneProgress { phase, done, total });
    }

    /// Lists the slots; one that cannot be read ends the prune: what it needs is not known.
    async fn list_slots(&self) -> Result<SlotListing> {
        let mut listing = self.store.list_slots().await?;
        match listing.damaged.pop() {
            None => Ok(listing),
            Some((_, cause)) => Err(refused(cause)),
        }
    }

    async fn slots_seen(&self) -> Result<SlotsSeen> {
        let mut seen = SlotsSeen::new();
        for placed in &self.listing.slots {
            let slot = match &placed.head {
                SlotHead::Set { snapshots, .. } => SlotSeen::Set(snapshots.to_vec()),
                SlotHead::Closing => SlotSeen::Closing,
            };
            seen.entry(placed.lease)
                .or_default()
                .insert(placed.number, slot);
        }
        if !self.policy.put_if_absent {
            for lease in self.store.broken_leases().await? {
                seen.entry(lease)
                    .or_default()
                    .insert(u32::MAX, SlotSeen::Closing);
            }
        }
        Ok(seen)
    }

    /// Lists the leases, then the slots and acknowledgements that say how they stand.
    async fn leases(&self, rounds: &Rounds) -> Result<Vec<LeaseSeen>> {
        let ids = self.lease_ids().await?;
        let listing = self.list_slots().await?;
        let mut slots = SlotsSeen::new();
        for placed in &listing.slots {
            let closing = placed.head.is_closing();
            let slot = if closing {
                SlotSeen::Closing
            } else {
                SlotSeen::Set(Vec::new())
            };
            slots
                .entry(placed.lease)
                .or_default()
                .insert(placed.number, slot);
        }
        let mut settled: BTreeSet<LeaseId> = BTreeSet::new();
        if !self.policy.put_if_absent {
            settled.extend(self.store.broken_leases().await?);
        }
        for info in self.store.backend().list("acks/").await? {
            if let Some((lease, round)) = parse_ack_name(&info.name)
                && round >= rounds.current()
                && !has_ended(&slots, &lease)
                && self.is_acknowledged(&info.name, lease, round).await?
            {
                settled.insert(lease);
            }
        }
        let mut leases = Vec::new();
        for id in ids {
            let ended = has_ended(&slots, &id);
            let next = slots.get(&id).and_then(|slots| slots.keys().max());
            leases.push(LeaseSeen {
                id,
                adopts: if ended {
                    Vec::new()
                } else {
                    self.adopted(&id).await?
                },
                standing: if ended || settled.contains(&id) {
                    Standing::Settled
                } else {
                    Standing::Live {
                        next: next.map_or(0, |last| last.saturating_add(1)),
                    }
                },
            });
        }
        Ok(leases)
    }

    /// Tells whether an acknowledgement was written by a writer of this store.
    async fn is_acknowledged(
        &self,
        name: &ObjectName,
        lease: LeaseId,
        round: RoundNumber,
    ) -> Result<bool> {
        let read = self.store.get_object(ObjectKind::Ack, name).await;
        match read.and_then(|plain| Ack::decode(&plain)) {
            Ok(ack) => Ok(ack == Ack { lease, round }),
            Err(cause) if cause.kind() == ErrorKind::Damaged => {
                tracing::warn!(%name, %cause, "an acknowledgement does not count");
                Ok(false)
            }
            Err(cause) => Err(cause),
        }
    }

    async fn lease_ids(&self) -> Result<Vec<LeaseId>> {
        let mut ids = Vec::new();
        for info in self.store.backend().list("leases/").await? {
            let id = info
                .name
                .as_str()
                .strip_prefix("leases/")
                .and_then(|id| id.parse().ok());
            ids.push(id.ok_or_else(|| {
                Error::damaged(
                    format_args!("object {}", info.name),
                    "not the name of a lease",
                )
            })?);
        }
        Ok(ids)
    }

    async fn adopted(&self, lease: &LeaseId) -> Result<Vec<LeaseId>> {
        let name = ObjectName::new(format!("leases/{lease}"))?;
        let plain = self.store.get_object(ObjectKind::Lease, &name).await?;
        Ok(Lease::decode(&name, &plain)?.adopts)
    }

    /// Marks from the snapshots in the last listing that exist, except these.
    pub(super) async fn mark(
        &self,
        rounds: &Rounds,
        forget: &BTreeSet<SnapshotId>,
    ) -> Result<Marks> {
        let mut marker = Marker::new(self.store)?;
        let total = Some(self.listing.slots.len() as u64);
        for (done, placed) in (1..).zip(&self.listing.slots) {
            let SlotHead::Set { snapshots, .. } = &placed.head else {
                continue;
            };
            let kept = |id: &SnapshotId| {
                rounds.exists((&placed.lease, placed.number), id) && !forget.contains(id)
            };
            if snapshots.iter().any(kept) {
                // One that is gone since it was listed ends this: another prune was faster.
                let slot = self.store.read_slot(placed.lease, placed.number).await;
                let Slot::Set { records, .. } = &*slot.map_err(refused)? else {
                    continue;
                };
                for record in records.iter().filter(|record| kept(&record.id)) {
                    let snapshot = Snapshot::decode(&record.bytes).map_err(refused)?;
                    marker.snapshot(&snapshot).await?;
                }
            }
            self.tell(PrunePhase::Marking, done, total);
        }
        marker.finish().await
    }

    /// Lists the slots for a survey; returns the leases as they were listed before.
    pub(super) async fn look(&mut self, rounds: &Rounds) -> Result<(Vec<LeaseSeen>, SlotsSeen)> {
        let leases = self.leases(rounds).await?;
        self.listing = self.list_slots().await?;
        Ok((leases, self.slots_seen().await?))
    }

    /// Lists the packs that are there.
    pub(super) async fn list_packs(&mut self) -> Result<Vec<PackId>> {
        let mut packs = Vec::new();
        for info in self.store.backend().list("packs/").await? {
            if let Some(pack) = pack_id(&info.name) {
                self.sizes.0.insert(pack, info.size);
                packs.push(pack);
            }
        }
        Ok(packs)
    }

    /// Reads under which leases packs were opened, of those where something depends on it.
    pub(super) async fn read_leases(&self, packs: &mut [PackSeen]) -> Result<()> {
        let below = self.policy.repack_below_percent;
        let wanted = packs
            .iter_mut()
            .filter(|pack| pack.live == 0 || super::decide::is_wasteful(pack, below));
        let reads = stream::iter(wanted).map(|pack| async move {
            match self.store.packs().sealer(&pack.id).await {
                Ok(sealer) => pack.lease = Some(sealer.lease),
                // Whose it was cannot be told: it is spared.
                Err(cause) if matches!(cause.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {
                    tracing::warn!(pack = %pack.id, %cause, "a pack is left alone");
                }
                Err(cause) => return Err(cause),
            }
            Ok(())
        });
        let mut reads = reads.buffer_unordered(AT_ONCE);
        while let Some(read) = reads.next().await {
            read?;
        }
        Ok(())
    }

    async fn put_plan(&mut self, pruner: &Pruner, plan: Plan) -> Result<Seen> {
        let winner = self
            .contest(RoundPart::Plan, plan.round, plan.encode())
            .await?;
        let winner = match winner {
            Some(bytes) => Plan::decode(&bytes)?,
            None => plan,
        };
        if let Some(intent) = pruner.intent() {
            self.report.spared = self.sizes.amount(&intent.spared);
        }
        self.report.condemned = self.sizes.amount(&winner.packs);
        Ok(Seen::Plan(winner))
    }

    async fn put_verdict(&mut self, verdict: Verdict) -> Result<Seen> {
        let bytes = verdict.encode();
        let winner = self
            .contest(RoundPart::Verdict, verdict.round, bytes)
            .await?;
        Ok(Seen::Verdict(match winner {
            Some(bytes) => Verdict::decode(&bytes)?,
            None => verdict,
        }))
    }

    /// Puts a record under a contested name; returns the winner's, if it is not ours.
    async fn contest(
        &self,
        part: RoundPart,
        round: RoundNumber,
        record: Vec<u8>,
    ) -> Result<Option<Vec<u8>>> {
        let name = round_name(round, part)?;
        match self.store.put_object(part.kind(), &name, record).await? {
            Resolved::Ours => Ok(None),
            Resolved::Other(sealed) => {
                let plain = self.store.open_sealed(part.kind(), &name, sealed).await?;
                Ok(Some(plain))
            }
        }
    }

    async fn fence(&mut self, lease: LeaseId, slot: u32) -> Result<Seen> {
        let name = slot_name(&lease, slot)?;
        let fence = Slot::Fence.encode();
        let sealed = self.store.seal(ObjectKind::Slot, &name, fence).await?;
        match put_resolved(self.store.backend().as_ref(), &name, sealed).await? {
            Resolved::Ours => {
                self.report.fenced.push(lease);
                Ok(Seen::SlotClosed)
            }
            Resolved::Other(found) => {
                let closing = self.store.open_slot(&name, found).await?.is_closing();
                Ok(if closing {
                    Seen::SlotClosed
                } else {
                    Seen::SlotTaken
                })
            }
        }
    }

    async fn delete(&mut self, mut garbage: Vec<Garbage>) -> Result<Seen> {
        garbage.truncate(DELETED_AT_ONCE);
        let kind = std::mem::discriminant(&garbage[0]);
        // One kind at a time: snapshots, then segments, then packs.
        let count = garbage
            .iter()
            .take_while(|next| std::mem::discriminant(*next) == kind)
            .count();
        garbage.truncate(count);
        let store = self.store;
        let deletions = stream::iter(&garbage).map(|garbage| async move {
            let name = match garbage {
                Garbage::Slot(lease, slot) => slot_name(lease, *slot)?,
                Garbage::Segment(name) => name.clone(),
                Garbage::Pack(pack) => pack_name(pack)?,
            };
            store.backend().delete(&name).await
        });
        let mut deletions = deletions.buffer_unordered(AT_ONCE);
        while let Some(deleted) = deletions.next().await {
            deleted?;
        }
        drop(deletions);
        for garbage in &garbage {
            match garbage {
                Garbage::Slot(..) => self.report.sets_deleted += 1,
                Garbage::Segment(_) => self.report.segments_deleted += 1,
                Garbage::Pack(pack) => {
                    let one = self.sizes.amount([pack]);
                    self.report.deleted.packs += one.packs;
                    self.report.deleted.bytes += one.bytes;
                }
            }
        }
        self.tell(PrunePhase::Deleting, count as u64, None);
        Ok(Seen::Deleted(count))
    }
}

/// Says that a prune does not go on, because it cannot know what is needed.
pub(super) fn refused(cause: Error) -> Error {
    let words = format!("prune: it cannot be told what is needed; repair the store first: {cause}");
    Error::new(cause.kind(), words).with_source(cause)
}

impl Store {
    /// Declares that the writer of a lease is gone for good.
    ///
    /// Where create-only puts are honoured the lease is fenced; elsewhere the declaration is
    /// recorded, and it is up to the operator that the writer really never writes again.
    pub async fn break_lease(&self, lease: &LeaseId, reason: &str) -> Result<()> {
        if self.put_if_absent() {
            return crate::writer::slot_writer::fence(self, lease).await;
        }
        let record = BrokenLease {
            lease: *lease,
            at: self.environment().now(),
            reason: reason.to_owned(),
        };
        let name = ObjectName::new(format!("breaks/{lease}"))?;
        let bytes = record.encode();
        match self
            .put_object(ObjectKind::BrokenLease, &name, bytes)
            .await?
        {
            Resolved::Ours | Resolved::Other(_) => Ok(()),
        }
    }

    /// Reads which leases operators have declared to be gone.
    async fn broken_leases(&self) -> Result<BTreeSet<LeaseId>> {
        let mut broken = BTreeSet::new();
        for info in self.backend().list("breaks/").await? {
            let plain = self.get_object(ObjectKind::BrokenLease, &info.name).await?;
            broken.insert(BrokenLease::decode(&plain)?.lease);
        }
        Ok(broken)
    }

    /// Removes what nothing needs: forgets snapshots, and deletes what no kept snapshot refers to.
    ///
    /// Runs beside any number of writers and other prunes, on any machine, without a lock or a
    /// clock. A round that another left open is brought to its end first. With
    /// [`Fencing::Wait`](super::Fencing) it ends with
    /// [`PruneOutcome::Waiting`] while a writer has neither ended nor called
    /// [`Writer::keep_up`](crate::Writer::keep_up): call again later, or fence it.
    ///
    /// *Units and limits*: about 32 bytes of memory a distinct tree node of the kept snapshots, and
    /// without a cache directory nine a distinct chunk; with one some 16 bytes a chunk of disk in
    /// it. Segments are read once to survey and once before the verdict.
    ///
    /// *Errors*: [`ErrorKind::PermissionDenied`] when objects may not be deleted;
    /// [`ErrorKind::Unsupported`] when the backend does not list what was put, or honours no
    /// create-only put and the caller does not declare to be the only prune;
    /// [`ErrorKind::RolledBack`] when the store is older than what this machine has seen of it: what
    /// was taken away would be lost for good;
    /// [`ErrorKind::Damaged`], [`ErrorKind::Missing`] when it cannot be told what is needed.
    ///
    /// *Cancel safety*: may be dropped at any time; the next call goes on.
    pub async fn prune(
        &self,
        options: &PruneOptions,
        progress: &(dyn Fn(PruneProgress) + Sync),
    ) -> Result<PruneReport> {
        let slots = self.list_slots().await?;
        self.refuse_older(&slots, &*self.read_rounds().await?)
            .await?;
        let mut put_if_absent = self.put_if_absent();
        if !options.dry_run {
            self.check_deletion().await?;
            let found = self.backend().probe().await?;
            put_if_absent &= found.put_if_absent;
            if !found.listed_after_put {
                let words = "prune: the backend does not list an object as soon as it is put";
                return Err(Error::new(ErrorKind::Unsupported, words));
            }
        }
        if !put_if_absent && !options.sole_pruner && !options.dry_run {
            let words = "prune: the backend lets two creators of one name win; declare that no \
                         other prune is at work";
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        Shell::new(self, options, put_if_absent, progress)
            .run()
            .await
    }

    /// Finds out whether objects may be deleted, before anything is decided.
    async fn check_deletion(&self) -> Result<()> {
        let id = crate::RunId::random(self.environment().as_ref())?;
        let name = ObjectName::new(format!("probe/{id}.prune"))?;
        let backend = self.backend();
        backend.put_new(&name, Bytes::from_static(b"prune")).await?;
        backend.delete(&name).await.map_err(|cause| {
            let words = format!("prune: objects may not be deleted with this access: {cause}");
            Error::new(cause.kind(), words).with_source(cause)
        })
    }
}
