//! Prune beside a writer that refers to what it condemns, and the merging of segments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use backup_store::catalog::{Outcome, ResourceId, Snapshot, SnapshotEntry, choose_parent};
use backup_store::{
    ContentClass, ErrorKind, Fencing, KeptUp, PruneOptions, PruneReport, RepackOptions, Result,
    RunId, SnapshotId, Store, Writer, WriterOptions,
};

use super::backup::{edits, fingerprint, items_of, resource, snapshot};
use super::world::{Deed, Life, Note, bytes_of};

/// Tries of one prune: each goes on where the one before was stopped by a bad answer.
const TRIES: usize = 3;

/// Forgets all but the newest snapshot of each resource, while another writer refers to what only
/// the forgotten ones hold; by the seed it keeps up with the round, publishes before it is fenced,
/// or is fenced first.
pub async fn prune_beside_a_writer(life: &Life<'_>, seed: u64, round: u64) -> Result<()> {
    let store = life.open().await?;
    let (keep, forget) = retention(&store.snapshots().await?);
    let condemned = only_in(&store, &forget, &keep).await?;
    let mut guest = Guest {
        writer: store.begin(options("/guest")).await?,
        contents: (0..).zip(condemned).collect(),
    };
    guest
        .contents
        .insert(1_000, (2_000 + seed % 900 + round * 7) as u32);
    let wanted = guest.gather().await?;
    let mut prune = Prune {
        life,
        store: &store,
        forget: forget.iter().map(|entry| entry.id).collect(),
    };
    let report = prune.run(Fencing::Wait).await?;
    assert!(report.fenced.is_empty(), "nobody said that it may fence");
    match seed % 3 {
        0 => {
            if let KeptUp::Acknowledged { copied, .. } = guest.writer.keep_up(&[]).await?
                && copied > 0
            {
                life.note(Note::Deed(Deed::Copied));
            }
            guest.publish(life, wanted).await?;
            guest.writer.end().await?;
        }
        1 => {
            guest.publish(life, wanted).await?;
            prune.run(Fencing::All).await?;
            tolerate_fence(guest.writer.end().await)?;
        }
        _ => {
            prune.run(Fencing::All).await?;
            if let Err(cause) = guest.publish(life, wanted).await {
                tolerate_fence(Err(cause))?;
                tolerate_fence(guest.writer.end().await)?;
                guest.writer = store.begin(options("/guest")).await?;
                let again = guest.gather().await?;
                guest.publish(life, again).await?;
                life.note(Note::Deed(Deed::Fenced));
            }
            guest.writer.end().await?;
        }
    }
    // What was published meanwhile is not forgotten; what crashed lives left is fenced.
    prune.run(Fencing::All).await.map(drop)
}

/// Merges segments, and deletes those that a merged one supersedes.
pub async fn compact(life: &Life<'_>) -> Result<()> {
    let store = life.open().await?;
    let writer = store.begin(options("/compaction")).await?;
    writer.merge_segments().await?;
    writer.end().await?;
    let mut prune = Prune {
        life,
        store: &store,
        forget: BTreeSet::new(),
    };
    let report = prune.run(Fencing::All).await?;
    if report.segments_deleted > 0 {
        life.note(Note::Deed(Deed::Merged));
    }
    Ok(())
}

struct Prune<'a> {
    life: &'a Life<'a>,
    store: &'a Store,
    forget: BTreeSet<SnapshotId>,
}

impl Prune<'_> {
    /// Prunes; one that ends in an error which may pass is called again, and goes on.
    async fn run(&mut self, fencing: Fencing) -> Result<PruneReport> {
        let mut options = PruneOptions::new();
        options.forget.clone_from(&self.forget);
        options.fencing = fencing;
        options.repack = Some(RepackOptions {
            below_percent: 100,
            spool_dir: PathBuf::from("/repack"),
        });
        for id in &self.forget {
            self.life.note(Note::Forgetting(*id));
        }
        let mut tried = 1;
        let report = loop {
            match self.store.prune(&options, &|_| {}).await {
                Err(cause) if cause.is_retryable() && tried < TRIES => tried += 1,
                ended => break ended?,
            }
        };
        let deeds = [
            (Deed::Rescued, report.rescued.packs > 0),
            (Deed::Repacked, report.repacked.packs > 0),
            (
                Deed::Swept,
                report.deleted.packs > 0 && report.kept.packs > 0,
            ),
        ];
        for (deed, _) in deeds.into_iter().filter(|(_, happened)| *happened) {
            self.life.note(Note::Deed(deed));
        }
        Ok(report)
    }
}

/// A writer on another machine, for another resource.
struct Guest {
    writer: Writer,
    /// Item number → content number.
    contents: BTreeMap<u16, u32>,
}

impl Guest {
    async fn gather(&self) -> Result<Snapshot> {
        let mut resource = resource();
        resource.id = ResourceId::new("outlook:2");
        let gatherer = self.writer.gather(&resource.id);
        let mut now = BTreeMap::new();
        for (item, number) in &self.contents {
            let bytes = bytes_of(*number);
            let content = gatherer.put(ContentClass::Binary, &bytes).await?;
            now.insert(*item, (*number, content));
        }
        gatherer.commit().await?;
        let mut snapshot = snapshot(&self.writer, None, Outcome::Complete);
        let edits = edits(&BTreeMap::new(), &now);
        snapshot.resource = resource;
        snapshot.items = self.writer.apply(&self.writer.empty_tree(), edits).await?;
        snapshot.set = fingerprint(self.contents.iter().map(|(item, number)| (*item, *number)));
        Ok(snapshot)
    }

    async fn publish(&self, life: &Life<'_>, snapshot: Snapshot) -> Result<()> {
        for id in self.writer.publish(vec![snapshot]).await? {
            life.note(Note::Guest(id));
        }
        Ok(())
    }
}

fn options(spool: &str) -> WriterOptions {
    WriterOptions {
        run: RunId::from_bytes([2; 16]),
        spool_dir: PathBuf::from(spool),
        adopts: Vec::new(),
    }
}

fn tolerate_fence(ended: Result<()>) -> Result<()> {
    match ended {
        Err(cause) if cause.kind() == ErrorKind::Fenced => Ok(()),
        ended => ended,
    }
}

/// Keeps the newest snapshot of each resource; the others are to be forgotten.
fn retention(entries: &[SnapshotEntry]) -> (Vec<SnapshotEntry>, Vec<SnapshotEntry>) {
    let newest = |entry: &SnapshotEntry| {
        let newest = choose_parent(entries, &entry.snapshot.resource.id);
        newest.is_some_and(|newest| newest.id == entry.id)
    };
    entries.iter().cloned().partition(newest)
}

/// The contents that only these snapshots hold.
async fn only_in(
    store: &Store,
    these: &[SnapshotEntry],
    others: &[SnapshotEntry],
) -> Result<BTreeSet<u32>> {
    let mut sets = [BTreeSet::new(), BTreeSet::new()];
    for (set, entries) in sets.iter_mut().zip([these, others]) {
        for entry in entries {
            let items = items_of(store, Some(entry)).await?;
            set.extend(items.into_values().map(|(number, _)| number));
        }
    }
    Ok(&sets[0] - &sets[1])
}
