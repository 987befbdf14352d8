//! Checking snapshots: every set that is stored, and everything that it refers to.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

use super::Checker;
use super::report::{CheckPhase, chain};
use super::trees::{Subject, TreeKind};
use crate::catalog::{Outcome, ResourceId, RunRecord, Snapshot};
use crate::rounds::{Rounds, parse_round_name};
use crate::seal::ObjectKind;
use crate::slots::{Slot, SlotRecord, parse_slot_name};
use crate::store::Seen;
use crate::{ErrorKind, LeaseId, ObjectInfo, ObjectName, Result, SnapshotId};

/// What the sets hold, for what can be judged only when all are read.
#[derive(Debug, Default)]
struct Found {
    /// Hash of every snapshot's record.
    hashes: HashMap<SnapshotId, [u8; 32]>,
    parents: Vec<Parent>,
    /// What rounds of prune have forgotten, if that can be read.
    rounds: Option<Arc<Rounds>>,
    /// Greatest slot and number of slots of each lease.
    slots: BTreeMap<LeaseId, (u32, u32)>,
}

#[derive(Debug)]
struct Parent {
    child: SnapshotId,
    resource: ResourceId,
    id: SnapshotId,
    hash: Option<[u8; 32]>,
}

impl Checker<'_> {
    /// Checks every snapshot set, then what the sets and run records say about each other.
    pub(super) async fn snapshots(&mut self) -> Result<()> {
        let backend = self.store.backend();
        let listed = backend.list("snaps/").await?;
        // Where rounds of prune have removed snapshots, gaps are no damage.
        let rounds = backend.list("gc/").await?;
        let mut rounds = rounds.iter().map(|info| parse_round_name(&info.name));
        let pruned = rounds.any(|round| round.is_some());
        let total = Some(listed.len() as u64);
        let mut found = Found {
            rounds: self.rounds().await,
            ..Found::default()
        };
        for (done, info) in (1..).zip(&listed) {
            self.slot(info, &mut found).await;
            self.report_progress(CheckPhase::Snapshots, done, total);
        }
        self.parents(&found, pruned);
        if !pruned {
            for (lease, (greatest, count)) in &found.slots {
                if greatest + 1 != *count {
                    let missing = u64::from(*greatest) + 1 - u64::from(*count);
                    let cause = format!("{missing} of its slots are missing");
                    self.findings.note(format!("lease {lease}"), cause);
                }
            }
        }
        if let Some(rounds) = found.rounds.clone() {
            self.older_than_seen(&rounds).await?;
        }
        for info in backend.list("runs/").await? {
            if let Err(cause) = self.run(&info.name, &found, pruned).await {
                self.findings
                    .note(format!("object {}", info.name), chain(&cause));
            }
        }
        Ok(())
    }

    /// Reads what rounds of prune have forgotten.
    /// Notes what this machine has seen in the store and is there no more.
    async fn older_than_seen(&mut self, rounds: &Rounds) -> Result<()> {
        let slots = self.store.list_slots().await?;
        let seen = Seen::in_slots(self.store, &slots).await?;
        for older in self.store.compare_with_memory(&seen, rounds).await? {
            self.findings.note(older.object, older.cause);
        }
        Ok(())
    }

    async fn rounds(&mut self) -> Option<Arc<Rounds>> {
        match self.store.read_rounds().await {
            Ok(rounds) => Some(rounds),
            Err(cause) => {
                self.blind = true;
                self.findings.note("rounds of prune", chain(&cause));
                None
            }
        }
    }

    async fn slot(&mut self, info: &ObjectInfo, found: &mut Found) {
        let Some((lease, number)) = parse_slot_name(&info.name) else {
            return; // Remarked on already, as every name that is not ours.
        };
        let (greatest, count) = found.slots.entry(lease).or_default();
        (*greatest, *count) = (number.max(*greatest), *count + 1);
        // Read as it is stored: a local copy may be better than that.
        let read = async {
            let range = 0..ObjectKind::Slot.sealed_limit();
            let sealed = self.store.backend().get(&info.name, Some(range)).await?;
            self.store.open_slot(&info.name, sealed).await
        };
        match read.await {
            Ok(slot) => {
                if let Slot::Set { records, .. } = &*slot {
                    for record in records {
                        let rounds = found.rounds.as_ref();
                        let place = (&lease, number);
                        if rounds.is_none_or(|rounds| rounds.exists(place, &record.id)) {
                            self.record(record, found).await;
                        }
                    }
                }
            }
            // Deleted since the listing: forgotten.
            Err(cause) if cause.kind() == ErrorKind::NotFound => {}
            Err(cause) => {
                self.blind = true;
                self.findings
                    .note(format!("object {}", info.name), chain(&cause));
            }
        }
    }

    async fn record(&mut self, record: &SlotRecord, found: &mut Found) {
        let SlotRecord { id, bytes } = record;
        self.findings.report.snapshots += 1;
        found.hashes.insert(*id, hash(self, bytes));
        let snapshot = match Snapshot::decode(bytes) {
            Ok(snapshot) => snapshot,
            Err(cause) => {
                self.blind = true;
                self.findings.note(format!("snapshot {id}"), chain(&cause));
                return;
            }
        };
        let subject = Subject {
            resource: snapshot.resource.id.clone(),
            snapshot: *id,
        };
        if let Some(parent) = snapshot.parent {
            found.parents.push(Parent {
                child: *id,
                resource: subject.resource.clone(),
                id: parent,
                hash: snapshot.parent_hash,
            });
        }
        self.totals(&subject, &snapshot);
        self.tree(&subject, &snapshot.containers, TreeKind::Containers)
            .await;
        self.tree(&subject, &snapshot.items, TreeKind::Items).await;
        self.tree(&subject, &snapshot.notes, TreeKind::Notes).await;
        for enumeration in &snapshot.enumerations {
            self.tree(&subject, &enumeration.items, TreeKind::Items)
                .await;
        }
    }

    fn totals(&mut self, subject: &Subject, snapshot: &Snapshot) {
        let totals = &snapshot.totals;
        let cause = if !totals.check() {
            "its totals do not add up"
        } else if snapshot.outcome == Outcome::Complete && totals.quarantined > 0 {
            "it is said to be complete, though items are quarantined"
        } else {
            return;
        };
        let number = self
            .findings
            .note(format!("snapshot {}", subject.snapshot), cause);
        if let Some(number) = number {
            self.findings.depends(number, subject.dependent(None, None));
        }
    }

    fn parents(&mut self, found: &Found, pruned: bool) {
        for Parent {
            child,
            resource,
            id,
            hash,
        } in &found.parents
        {
            let cause = match (found.hashes.get(id), hash) {
                (Some(found), Some(hash)) if found != hash => "it is not what its child continues",
                (None, _) if !pruned => "missing, though another continues it",
                _ => continue,
            };
            let subject = Subject {
                resource: resource.clone(),
                snapshot: *child,
            };
            if let Some(number) = self.findings.note(format!("snapshot {id}"), cause) {
                self.findings.depends(number, subject.dependent(None, None));
            }
        }
    }

    async fn run(&mut self, name: &ObjectName, found: &Found, pruned: bool) -> Result<()> {
        let record = self.store.get_object(ObjectKind::Run, name).await?;
        let run = RunRecord::decode(&record)?;
        if !run.totals.check() {
            self.findings
                .note(format!("run {}", run.run), "its totals do not add up");
        }
        for id in &run.snapshots {
            if !pruned && !found.hashes.contains_key(id) {
                let cause = format!("missing, though run {} published it", run.run);
                self.findings.note(format!("snapshot {id}"), cause);
            }
        }
        Ok(())
    }
}

fn hash(checker: &Checker<'_>, record: &Bytes) -> [u8; 32] {
    *checker.store.keys().content_hash(record).as_bytes()
}
