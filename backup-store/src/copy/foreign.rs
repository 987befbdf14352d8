//! Copying snapshots into a foreign store: a reader of the one, an ordinary writer of the other.
//!
//! A copy keeps the claim token, the sequence and the times of its original, so that the order of
//! the snapshots is the same in both stores, and a later call knows what is copied already.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::report::{CopyDamage, CopyOptions, CopyProgress, CopyReport};
use super::translate::{Source, Translator};
use crate::catalog::{Enumeration, ResourceId, Snapshot, SnapshotEntry};
use crate::slots::SlotRecord;
use crate::{Error, ErrorKind, Result, RunId, SnapshotId, Store, Timestamp, TreeRoot, Writer};

/// Snapshots of one resource that are published together at most.
const PUBLISH_AT: usize = 64;

/// What tells a snapshot from every other, in whatever store it is.
type Identity = (ResourceId, RunId, u64, u64, Timestamp, Timestamp);

fn identity(snapshot: &Snapshot) -> Identity {
    (
        snapshot.resource.id.clone(),
        snapshot.run,
        snapshot.token,
        snapshot.sequence,
        snapshot.started,
        snapshot.finished,
    )
}

impl Store {
    /// Copies snapshots into a store with other keys.
    ///
    /// Contents are read and verified, and written under the keys of the target; what the target
    /// has already, from an earlier copy or otherwise, is not stored again. Of each resource the
    /// oldest snapshot is copied whole, and of later ones what differs. Interrupted, it goes on
    /// from the last resource that was published, or the last 64 snapshots of one.
    ///
    /// An item that cannot be read is copied as quarantined, with the cause; it keeps nothing else
    /// from being copied. A snapshot that is forgotten meanwhile is not published.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] when both are the same store, or a replica of it;
    /// those of both backends, and of [`Store::begin`] for the target.
    ///
    /// *Cancel safety*: may be dropped at any time; what was published stays.
    pub async fn copy_to(
        &self,
        target: &Self,
        options: CopyOptions,
        progress: &(dyn Fn(CopyProgress) + Sync),
    ) -> Result<CopyReport> {
        if self.id() == target.id() {
            let words = "copy: source and target are one store; a replica is filled instead";
            return Err(Error::new(ErrorKind::InvalidInput, words));
        }
        let listing = self.snapshot_listing().await?;
        let writer = target.begin(options.writer.clone()).await?;
        let there = writer.snapshots().await?;
        let mut copier = Copier {
            source: self,
            known: there
                .into_iter()
                .map(|entry| (identity(&entry.snapshot), entry))
                .collect(),
            translator: Translator::new(self, &writer),
            writer: &writer,
            report: CopyReport::default(),
            told: CopyProgress::default(),
            progress,
        };
        let mut resources: BTreeMap<ResourceId, Vec<SnapshotEntry>> = BTreeMap::new();
        for entry in listing.snapshots {
            let id = &entry.snapshot.resource.id;
            if options
                .resources
                .as_ref()
                .is_none_or(|wanted| wanted.contains(id))
            {
                resources.entry(id.clone()).or_default().push(entry);
            }
        }
        let wanted: Option<HashSet<SnapshotId>> =
            options.snapshots.map(|ids| ids.into_iter().collect());
        copier.told.total = resources.values().map(|entries| entries.len() as u64).sum();
        for (id, entries) in resources {
            copier.resource(&id, entries, wanted.as_ref()).await?;
        }
        let mut report = copier.report;
        report.items = copier.translator.items();
        report.bytes = copier.translator.bytes();
        writer.end().await?;
        Ok(report)
    }
}

/// The trees of a snapshot.
#[derive(Debug, Clone, Copy)]
struct Trees {
    containers: TreeRoot,
    items: TreeRoot,
    notes: TreeRoot,
}

impl Trees {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            containers: snapshot.containers,
            items: snapshot.items,
            notes: snapshot.notes,
        }
    }
}

/// A snapshot whose trees are in the target, and that waits to be published.
struct Pending {
    original: SnapshotId,
    id: SnapshotId,
    snapshot: Snapshot,
}

struct Copier<'a> {
    source: &'a Store,
    writer: &'a Writer,
    /// What the target has.
    known: HashMap<Identity, SnapshotEntry>,
    translator: Translator<'a>,
    report: CopyReport,
    told: CopyProgress,
    progress: &'a (dyn Fn(CopyProgress) + Sync),
}

impl Copier<'_> {
    async fn resource(
        &mut self,
        id: &ResourceId,
        mut entries: Vec<SnapshotEntry>,
        wanted: Option<&HashSet<SnapshotId>>,
    ) -> Result<()> {
        entries.sort_by_key(|entry| (entry.snapshot.token, entry.snapshot.sequence, entry.id));
        let empty = Trees {
            containers: self.source.empty_tree(),
            items: self.source.empty_tree(),
            notes: self.source.empty_tree(),
        };
        let nothing = self.writer.empty_tree();
        let mut base = (
            empty,
            Trees {
                containers: nothing,
                items: nothing,
                notes: nothing,
            },
        );
        // Where each snapshot of the source is in the target, with the hash of its record.
        let mut parents: HashMap<SnapshotId, (SnapshotId, Option<[u8; 32]>)> = HashMap::new();
        let mut pending = Vec::new();
        self.translator.begin(id);
        for entry in entries {
            self.told.done += 1;
            let selected = wanted.is_none_or(|wanted| wanted.contains(&entry.id));
            if let Some(there) = self.known.get(&identity(&entry.snapshot)) {
                self.report.known += u64::from(selected);
                base = (Trees::of(&entry.snapshot), Trees::of(&there.snapshot));
                parents.insert(entry.id, (there.id, Some(there.hash)));
            } else if selected && let Some(copy) = self.snapshot(&entry, &base).await? {
                base = (Trees::of(&entry.snapshot), Trees::of(&copy));
                let id = SnapshotId::random(self.writer.store().environment().as_ref())?;
                parents.insert(entry.id, (id, None));
                pending.push(Pending {
                    original: entry.id,
                    id,
                    snapshot: copy,
                });
            }
            if pending.len() >= PUBLISH_AT {
                self.publish(std::mem::take(&mut pending), &mut parents)
                    .await?;
            }
            self.tell();
        }
        self.publish(pending, &mut parents).await
    }

    /// Brings the trees of a snapshot into the target; `None` where they cannot be read.
    async fn snapshot(
        &mut self,
        entry: &SnapshotEntry,
        base: &(Trees, Trees),
    ) -> Result<Option<Snapshot>> {
        let mut copy = entry.snapshot.clone();
        match self.trees(entry, base, &mut copy).await {
            Ok(()) => {}
            Err(cause) if is_damage(&cause) => {
                self.report.damaged.push(CopyDamage {
                    resource: copy.resource.id,
                    snapshot: entry.id,
                    item: None,
                    cause: cause.to_string(),
                });
                return Ok(None);
            }
            Err(cause) => return Err(cause),
        }
        let lost = self.translator.take_damaged(entry.id);
        super::translate::mark_quarantined(&mut copy, lost.len() as u64);
        self.report.damaged.extend(lost);
        Ok(Some(copy))
    }

    async fn trees(
        &mut self,
        entry: &SnapshotEntry,
        base: &(Trees, Trees),
        copy: &mut Snapshot,
    ) -> Result<()> {
        let snapshot = &entry.snapshot;
        let translator = &mut self.translator;
        copy.containers = translator
            .tree(
                Source::Containers,
                (base.0.containers, base.1.containers),
                snapshot.containers,
            )
            .await?;
        copy.items = translator
            .tree(Source::Items, (base.0.items, base.1.items), snapshot.items)
            .await?;
        copy.notes = translator
            .tree(Source::Notes, (base.0.notes, base.1.notes), snapshot.notes)
            .await?;
        let mut enumerations: Vec<Enumeration> = Vec::new();
        for each in &snapshot.enumerations {
            // What it has in common with the item tree is there already.
            let from = (snapshot.items, copy.items);
            let items = translator.tree(Source::Items, from, each.items).await?;
            enumerations.push(Enumeration {
                items,
                ..each.clone()
            });
        }
        copy.enumerations = enumerations;
        Ok(())
    }

    /// Publishes snapshots of one resource that are still there, in their order.
    async fn publish(
        &mut self,
        pending: Vec<Pending>,
        parents: &mut HashMap<SnapshotId, (SnapshotId, Option<[u8; 32]>)>,
    ) -> Result<()> {
        if pending.is_empty() {
            return Ok(());
        }
        self.translator.commit().await?;
        self.writer.flush().await?;
        let listing = self.source.snapshot_listing().await?;
        let still: HashSet<SnapshotId> = listing.snapshots.iter().map(|entry| entry.id).collect();
        let store = self.writer.store().clone();
        let mut token = self.writer.claim_token();
        let mut records = Vec::new();
        for Pending {
            original,
            id,
            mut snapshot,
        } in pending
        {
            if !still.contains(&original) {
                parents.remove(&original);
                self.report.forgotten.push(original);
                continue;
            }
            let parent = snapshot.parent.and_then(|parent| parents.get(&parent));
            snapshot.parent = parent.map(|(id, _)| *id);
            snapshot.parent_hash = parent.and_then(|(_, hash)| *hash);
            let bytes = bytes::Bytes::from(snapshot.encode());
            let hash = *store.keys().content_hash(&bytes).as_bytes();
            parents.insert(original, (id, Some(hash)));
            token = token.max(snapshot.token);
            records.push(SlotRecord { id, bytes });
            self.report.copied.push((original, id));
        }
        self.writer.publish_slot_records(token, records).await
    }

    fn tell(&mut self) {
        self.told.items = self.translator.items();
        self.told.bytes = self.translator.bytes();
        (self.progress)(self.told);
    }
}

/// Tells whether an error says that the source is damaged, not that something failed.
pub(super) fn is_damage(cause: &Error) -> bool {
    matches!(
        cause.kind(),
        ErrorKind::Damaged | ErrorKind::Missing | ErrorKind::NotFound
    )
}
