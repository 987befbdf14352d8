//! Replicas: a second place with the same sealed objects, which opens with the same secrets.
//!
//! A replica has the store id and the keys of its primary, since sealed objects are bound to them.
//! What tells the two places apart is an object `replica/<id>` in the replica: by it, local caches
//! are kept apart. A replica is a whole store: to make it the primary is to use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};

use super::report::{CopyProgress, Moved, ReplicaOptions, ReplicaReport};
use crate::backend::Backend;
use crate::pack::pack_id;
use crate::rounds::{RoundPart, Verdict, parse_round_name, round_name};
use crate::slots::parse_slot_name;
use crate::store::{Resolved, put_resolved, refuse_existing};
use crate::{Error, ErrorKind, ObjectInfo, ObjectName, Result, RunId, Store};

/// Folder of the object that makes a place a replica.
const MARK: &str = "replica/";
const MARK_TEXT: &[u8] = b"this place is a replica; see FORMAT.md\n";
/// Packs that are in memory at once.
const PACKS_AT_ONCE: usize = 2;
/// Bytes of an object beside which no other is copied.
const LONG: u64 = 40 << 20;
/// How often filling begins again when the primary sweeps what is being copied.
const PASSES: u32 = 3;

/// Returns the id that tells a replica from its primary; `None` for a primary.
pub(crate) async fn replica_id(backend: &dyn Backend) -> Result<Option<RunId>> {
    let listed = backend.list(MARK).await?;
    let ids = listed.iter().filter_map(|info| {
        let id = info.name.as_str().strip_prefix(MARK)?;
        id.parse().ok()
    });
    Ok(ids.min())
}

impl Store {
    /// Makes an empty place a replica of this store; it opens with the same secrets, and holds no
    /// snapshot until it is [filled](Self::fill_replica).
    ///
    /// The config of the store is copied as it is, so that the place must guarantee no less than
    /// the primary's did when it was created. Interrupted before its end, it leaves a place that
    /// is no store, and that has to be emptied.
    ///
    /// *Errors*: [`ErrorKind::StoreExists`], [`ErrorKind::Unsupported`] when the place lacks an
    /// honest create-only put that the primary has, and those of both backends.
    pub async fn create_replica(&self, backend: Arc<dyn Backend>) -> Result<()> {
        let there = backend.as_ref();
        refuse_existing(there).await?;
        let found = there.probe().await?;
        if self.put_if_absent() && !found.put_if_absent {
            let words = "replica: its place has no honest create-only put, which the store has";
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        let id = RunId::random(self.environment().as_ref())?;
        let mark = ObjectName::new(format!("{MARK}{id}"))?;
        put_own(there, &mark, Bytes::from_static(MARK_TEXT)).await?;
        for folder in ["epochs/", "keys/"] {
            for info in self.backend().list(folder).await? {
                let bytes = self.backend().get(&info.name, None).await?;
                put_own(there, &info.name, bytes).await?;
            }
        }
        // Last: a store exists when its config exists.
        let config = ObjectName::new("config")?;
        let bytes = self.backend().get(&config, None).await?;
        put_own(there, &config, bytes).await
    }

    /// Brings a replica up to what this store holds now: packs, then segments, then snapshot
    /// sets, each verified before it is copied.
    ///
    /// May be called again at any time: what is there is not copied again. A snapshot appears in
    /// the replica only after everything it needs. Unfinished rounds of prune and leases are not
    /// copied; what finished rounds have forgotten is forgotten in the replica too, if `options`
    /// say so.
    ///
    /// *Units and limits*: two packs in memory at once.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] when `replica` has another store id;
    /// [`ErrorKind::Backend`] when the primary sweeps faster than can be copied; those of both
    /// backends. Damaged objects are reported, not copied.
    ///
    /// *Cancel safety*: may be dropped at any time; a later call goes on.
    pub async fn fill_replica(
        &self,
        replica: &Self,
        options: ReplicaOptions,
        progress: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<ReplicaReport> {
        if self.id() != replica.id() {
            let words = "replica: it has another store id; a foreign store is copied to instead";
            return Err(Error::new(ErrorKind::InvalidInput, words));
        }
        let mut filler = Filler {
            from: self,
            to: replica,
            report: ReplicaReport::default(),
            told: CopyProgress::default(),
            progress,
        };
        for _ in 0..PASSES {
            if filler.pass(options).await? {
                return Ok(filler.report);
            }
        }
        let words = "replica: the store it is filled from deletes faster than can be copied";
        Err(Error::new(ErrorKind::Backend, words))
    }
}

async fn put_own(backend: &dyn Backend, name: &ObjectName, bytes: Bytes) -> Result<()> {
    match put_resolved(backend, name, bytes).await? {
        Resolved::Ours => Ok(()),
        Resolved::Other(_) => {
            let words = format!("object {name}: someone else creates a store at this place");
            Err(Error::new(ErrorKind::StoreExists, words))
        }
    }
}

/// What came of copying one object.
enum Copied {
    Yes(u64),
    /// Swept since the listing.
    Gone,
    Damaged(String),
    Conflict,
}

pub(super) struct Filler<'a> {
    pub(super) from: &'a Store,
    pub(super) to: &'a Store,
    report: ReplicaReport,
    told: CopyProgress,
    progress: &'a (dyn Fn(CopyProgress) + Sync),
}

impl Filler<'_> {
    /// Copies everything once; false when something was swept while it was being copied.
    async fn pass(&mut self, options: ReplicaOptions) -> Result<bool> {
        self.report.damaged.clear();
        self.report.conflicts.clear();
        // What finished rounds say, and the sets, before the packs and segments that they need.
        let rounds = self.from.read_rounds().await?;
        let sets = self.missing("snaps/").await?;
        let small = self.missing("runs/").await?;
        let segments = self.missing("segments/").await?;
        let mut packs = self.missing("packs/").await?;
        packs.retain(|info| pack_id(&info.name).is_none_or(|id| !rounds.is_dead(&id)));
        // Keys first: what is sealed under a new root opens there as soon as it is there.
        self.copy_keys().await?;
        let count = sets.len() + small.len() + segments.len() + packs.len();
        self.told.done = 0;
        self.told.total = count as u64;
        let mut whole = self.copy(packs, |report| &mut report.packs).await?;
        whole &= self.copy(segments, |report| &mut report.segments).await?;
        if !whole {
            return Ok(false);
        }
        // A set that is gone by now was forgotten: it is not put.
        let still = self.from.backend().list("snaps/").await?;
        let mut sets: Vec<_> = sets
            .into_iter()
            .filter(|info| still.contains(info))
            .collect();
        sets.sort_by_key(|info| parse_slot_name(&info.name));
        self.copy(sets, |report| &mut report.snapshot_sets).await?;
        self.copy(small, |report| &mut report.other).await?;
        if options.follow_deletions {
            self.follow().await?;
        }
        self.to.refresh_index().await?;
        Ok(true)
    }

    /// Lists what the replica does not have.
    pub(super) async fn missing(&mut self, folder: &str) -> Result<Vec<ObjectInfo>> {
        let there: BTreeMap<_, _> = self
            .to
            .backend()
            .list(folder)
            .await?
            .into_iter()
            .map(|info| (info.name, info.size))
            .collect();
        let mut missing = Vec::new();
        for info in self.from.backend().list(folder).await? {
            match there.get(&info.name) {
                None => missing.push(info),
                Some(size) if *size == info.size => self.report.known += 1,
                Some(_) => self.report.conflicts.push(info.name),
            }
        }
        Ok(missing)
    }

    /// Copies objects; false when one was swept meanwhile.
    pub(super) async fn copy(
        &mut self,
        objects: Vec<ObjectInfo>,
        sums: fn(&mut ReplicaReport) -> &mut Moved,
    ) -> Result<bool> {
        let (from, to) = (self.from.clone(), self.to.clone());
        // Each is in memory as a whole: of long segments one at a time.
        let longest = objects.iter().map(|info| info.size).max().unwrap_or(0);
        let at_once = if longest > LONG { 1 } else { PACKS_AT_ONCE };
        let copies = objects.into_iter().map(move |info| {
            let (from, to) = (from.clone(), to.clone());
            async move { (info.name.clone(), copy_object(&from, &to, &info).await) }
        });
        let mut whole = true;
        let mut copies = stream::iter(copies).buffered(at_once);
        while let Some((name, copied)) = copies.next().await {
            match copied? {
                Copied::Yes(bytes) => {
                    sums(&mut self.report).add(bytes);
                    self.told.bytes += bytes;
                }
                Copied::Gone => whole = false,
                Copied::Damaged(cause) => self.report.damaged.push((name, cause)),
                Copied::Conflict => self.report.conflicts.push(name),
            }
            self.told.done += 1;
            (self.progress)(self.told);
        }
        Ok(whole)
    }

    /// Brings what finished rounds of the primary have forgotten, and deletes what they deleted.
    async fn follow(&mut self) -> Result<()> {
        let (ours, theirs) = (self.from.rounds(), self.to.read_rounds().await?);
        if ours.done.round > theirs.done.round {
            let name = round_name(ours.done.round, RoundPart::Done)?;
            let size = self.from.backend().list(name.as_str()).await?;
            let Some(info) = size.into_iter().next() else {
                return Ok(()); // Another round has just ended: the next call follows that one.
            };
            // The record first: from then on, what is deleted next is missed by nobody.
            if !self.copy(vec![info], |report| &mut report.other).await? {
                return Ok(());
            }
            self.to.read_rounds().await?;
            self.delete_segments(theirs.done.round.get()).await?;
        } else if ours.done.round < theirs.done.round {
            let name = round_name(theirs.done.round, RoundPart::Done)?;
            self.report.conflicts.push(name);
            return Ok(());
        }
        for info in self.to.backend().list("snaps/").await? {
            let place = parse_slot_name(&info.name);
            if place.is_some_and(|(lease, slot)| ours.done.is_gone(&lease, slot)) {
                self.delete(info).await?;
            }
        }
        for info in self.to.backend().list("packs/").await? {
            if pack_id(&info.name).is_some_and(|pack| ours.is_dead(&pack)) {
                self.delete(info).await?;
            }
        }
        self.follow_keys().await
    }

    /// Deletes the segments that the verdicts after a round have deleted in the primary.
    async fn delete_segments(&mut self, after: u32) -> Result<()> {
        let mut gone = Vec::new();
        for info in self.from.backend().list("gc/").await? {
            let Some((round, RoundPart::Verdict)) = parse_round_name(&info.name) else {
                continue;
            };
            if round.get() <= after || round > self.from.rounds().done.round {
                continue;
            }
            let plain = self
                .from
                .get_object(RoundPart::Verdict.kind(), &info.name)
                .await?;
            gone.extend(Verdict::decode(&plain)?.segments);
        }
        for info in self.to.backend().list("segments/").await? {
            if gone.contains(&info.name) {
                self.delete(info).await?;
            }
        }
        Ok(())
    }

    pub(super) async fn delete(&mut self, info: ObjectInfo) -> Result<()> {
        self.to.backend().delete(&info.name).await?;
        self.report.deleted.add(info.size);
        Ok(())
    }
}

async fn copy_object(from: &Store, to: &Store, info: &ObjectInfo) -> Result<Copied> {
    let bytes = match from.read_verified(info).await {
        Ok(bytes) => bytes,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(Copied::Gone),
        Err(cause) if cause.kind() == ErrorKind::Damaged => {
            return Ok(Copied::Damaged(cause.to_string()));
        }
        Err(cause) => return Err(cause),
    };
    let length = bytes.len() as u64;
    match put_resolved(to.backend().as_ref(), &info.name, bytes).await? {
        Resolved::Ours => Ok(Copied::Yes(length)),
        Resolved::Other(_) => Ok(Copied::Conflict),
    }
}
