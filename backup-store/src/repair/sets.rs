//! Snapshot sets: which are missing or damaged here, and which of them replicas have.

use std::collections::{BTreeMap, BTreeSet};

use super::report::LostSet;
use crate::backend::Backend;
use crate::seal::ObjectKind;
use crate::slots::{Slot, parse_slot_name};
use crate::{ErrorKind, ObjectName, Result, SnapshotId, Store};

/// What replicas can do about snapshot sets and run records.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// Missing here: the sealed object can be copied; the number of the replica.
    pub(super) sealed: Vec<(ObjectName, usize)>,
    /// Damaged here: the snapshots can be published again.
    pub(super) lost: Vec<LostSet>,
    /// Damaged here, and nobody has it whole.
    pub(super) beyond: Vec<ObjectName>,
}

impl Sets {
    /// Compares this store with its replicas.
    pub(super) async fn find(store: &Store, replicas: &[Store]) -> Result<Self> {
        let mut found = Self::default();
        let listing = store.list_slots().await?;
        let damaged: BTreeSet<ObjectName> =
            listing.damaged.into_iter().map(|(name, _)| name).collect();
        let own: BTreeSet<ObjectName> = names(store.backend().as_ref(), "snaps/").await?;
        let mut wanted = damaged.clone();
        for (number, replica) in replicas.iter().enumerate() {
            for name in names(replica.backend().as_ref(), "snaps/").await? {
                if own.contains(&name) && !wanted.contains(&name) {
                    continue;
                }
                if found.sealed.iter().any(|(known, _)| *known == name) {
                    continue;
                }
                let Some(slot) = readable(replica, &name).await? else {
                    continue;
                };
                if !own.contains(&name) {
                    if still_wanted(store, &name, &slot) {
                        found.sealed.push((name, number));
                    }
                    continue;
                }
                wanted.remove(&name);
                if let Slot::Set { token, records } = &slot {
                    found.lost.push(LostSet {
                        records: records.clone(),
                        token: *token,
                    });
                }
            }
        }
        found.beyond.extend(wanted);
        found.missing_runs(store, replicas).await?;
        found.sealed.sort_by_key(|(name, _)| parse_slot_name(name));
        Ok(found)
    }

    /// Finds run records that only replicas have.
    async fn missing_runs(&mut self, store: &Store, replicas: &[Store]) -> Result<()> {
        let mut own = names(store.backend().as_ref(), "runs/").await?;
        for (number, replica) in replicas.iter().enumerate() {
            for name in names(replica.backend().as_ref(), "runs/").await? {
                if !own.contains(&name) && replica.get_object(ObjectKind::Run, &name).await.is_ok()
                {
                    own.insert(name.clone());
                    self.sealed.push((name, number));
                }
            }
        }
        Ok(())
    }

    /// Leaves out sets that were published again by an earlier repair.
    pub(super) fn leave_out(&mut self, present: &BTreeMap<SnapshotId, ()>) {
        for set in &mut self.lost {
            set.records
                .retain(|record| !present.contains_key(&record.id));
        }
        self.lost.retain(|set| !set.records.is_empty());
    }
}

async fn names(backend: &dyn Backend, folder: &str) -> Result<BTreeSet<ObjectName>> {
    let listed = backend.list(folder).await?;
    Ok(listed.into_iter().map(|info| info.name).collect())
}

async fn readable(replica: &Store, name: &ObjectName) -> Result<Option<Slot>> {
    if parse_slot_name(name).is_none() {
        return Ok(None);
    }
    let sealed = match replica.backend().get(name, None).await {
        Ok(sealed) => sealed,
        Err(cause) if cause.kind() == ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    match replica.open_slot(name, sealed).await {
        Ok(slot) => Ok(Some((*slot).clone())),
        Err(cause) if cause.kind() == ErrorKind::Damaged => Ok(None),
        Err(cause) => Err(cause),
    }
}

/// Tells whether a set that is not here is missing, or was forgotten.
fn still_wanted(store: &Store, name: &ObjectName, slot: &Slot) -> bool {
    let rounds = store.rounds();
    let Some((lease, number)) = parse_slot_name(name) else {
        return false;
    };
    match slot {
        Slot::Set { records, .. } => records
            .iter()
            .any(|record| rounds.exists((&lease, number), &record.id)),
        _ => !rounds.done.is_gone(&lease, number),
    }
}
