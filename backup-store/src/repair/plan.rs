//! Planning a repair: what is damaged, who has it, and what becomes of the snapshots that lose
//! something.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;

use super::report::{
    Refetch, RepairOptions, RepairPhase, RepairPlan, RepairProgress, Role, SnapshotRepair, Work,
};
use super::salvage::Salvage;
use super::sets::Sets;
use super::walk::{Step, Walk};
use crate::catalog::{Container, Item, ItemKey, Snapshot, SnapshotEntry, choose_parent};
use crate::pack::pack_id;
use crate::{
    CheckDepth, ChunkId, ContentRef, Error, ErrorKind, PackId, Result, SnapshotId, Store, TreeRoot,
};

impl Store {
    /// Checks all data and plans the repair of what is damaged; nothing is written.
    ///
    /// Chunks that replicas are to give are read there, so that the plan promises nothing it
    /// cannot keep. From here on this open store relies on none of the places found damaged.
    ///
    /// *Units and limits*: memory in proportion to what is damaged, beside that of a check.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] for a replica with another store id; those of
    /// backends that do not answer.
    pub async fn plan_repair(
        &self,
        options: RepairOptions,
        progress: &(dyn Fn(RepairProgress) + Sync),
    ) -> Result<RepairPlan> {
        if options
            .replicas
            .iter()
            .any(|replica| replica.id() != self.id())
        {
            let words = "repair: a replica has another store id, so that its chunks do not fit";
            return Err(Error::new(ErrorKind::InvalidInput, words));
        }
        let tell = |phase, done, total| progress(RepairProgress { phase, done, total });
        let checking = |told: crate::CheckProgress| {
            tell(RepairPhase::Checking, told.done, told.total);
        };
        let (check, bad) = self.check_places(CheckDepth::AllData, &checking).await?;
        self.distrust(bad.clone());
        let index = self.packs_not_indexed().await?;
        let mut sets = Sets::find(self, &options.replicas).await?;
        let mut entries = self.snapshot_listing().await?.snapshots;
        let present = entries.iter().map(|entry| (entry.id, ())).collect();
        sets.leave_out(&present);
        for replica in &options.replicas {
            let others = replica.snapshot_listing().await?.snapshots;
            entries.extend(others.into_iter().filter(|entry| wanted(&sets, entry)));
        }
        entries.sort_by_key(|entry| std::cmp::Reverse((entry.snapshot.finished, entry.id)));
        entries.dedup_by_key(|entry| entry.id);
        let salvage = Salvage::new(self, &options.replicas, &bad);
        let mut planner = Planner::new(&salvage);
        let total = Some(entries.len() as u64);
        for (done, entry) in (1..).zip(&entries) {
            planner.snapshot(entry).await?;
            tell(RepairPhase::Planning, done, total);
        }
        let Planner {
            repairs, refetch, ..
        } = planner;
        let found = salvage.into_found();
        let objects = sets.sealed.iter().map(|(name, _)| name.clone()).collect();
        let republished = sets.lost.iter().flat_map(|set| &set.records);
        let republished = republished.map(|record| record.id).collect();
        let damaged: HashSet<SnapshotId> = repairs.iter().map(|each| each.snapshot).collect();
        Ok(RepairPlan {
            check,
            index,
            chunks: found.fetch.len() as u64,
            bytes: found.bytes,
            lost_chunks: found.lost.len() as u64,
            objects,
            republished,
            snapshots: repairs,
            refetch: refetch.into_values().collect(),
            beyond: sets.beyond,
            work: Work {
                newest: newest(&entries),
                snapshots: entries
                    .into_iter()
                    .filter(|entry| damaged.contains(&entry.id))
                    .collect(),
                replicas: options.replicas,
                bad,
                fetch: found.fetch,
                lost: found.lost,
                sealed: sets.sealed,
                sets: sets.lost,
            },
        })
    }

    /// Lists the packs that are whole enough to be indexed and that no readable segment names.
    async fn packs_not_indexed(&self) -> Result<Vec<PackId>> {
        let mut indexed = HashSet::new();
        for info in self.backend().list("segments/").await? {
            match self.verify_segment(&info).await {
                Ok(packs) => indexed.extend(packs),
                Err(cause) if super::salvage::is_damage(&cause) => {}
                Err(cause) => return Err(cause),
            }
        }
        let mut packs = Vec::new();
        let rounds = self.rounds();
        for info in self.backend().list("packs/").await? {
            let Some(pack) = pack_id(&info.name) else {
                continue;
            };
            if indexed.contains(&pack) || rounds.is_absent(&pack) {
                continue;
            }
            if self.packs().table(&pack, info.size).await.is_ok() {
                packs.push(pack);
            }
        }
        Ok(packs)
    }
}

/// Tells whether a snapshot of a replica comes back with a set that is missing or damaged here.
fn wanted(sets: &Sets, entry: &SnapshotEntry) -> bool {
    let sealed = sets
        .sealed
        .iter()
        .any(|(name, _)| crate::slots::parse_slot_name(name) == Some((entry.lease, entry.slot)));
    let mut records = sets.lost.iter().flat_map(|set| &set.records);
    sealed || records.any(|record| record.id == entry.id)
}

fn newest(entries: &[SnapshotEntry]) -> BTreeSet<SnapshotId> {
    let resources: BTreeSet<_> = entries
        .iter()
        .map(|entry| &entry.snapshot.resource.id)
        .collect();
    let newest = resources
        .into_iter()
        .filter_map(|id| choose_parent(entries, id));
    newest.map(|entry| entry.id).collect()
}

/// What a subtree, or a tree, has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Lost {
    items: u64,
    containers: u64,
    records: u64,
}

/// What the values of a tree are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Containers,
    Items,
    Notes,
}

struct Planner<'a> {
    salvage: &'a Salvage<'a>,
    /// What each tree has lost: snapshots that share one are walked once.
    trees: HashMap<(Kind, ChunkId), Lost>,
    /// Contents that were looked at, by length and hash.
    contents: HashMap<(u64, crate::ContentHash), bool>,
    repairs: Vec<SnapshotRepair>,
    refetch: BTreeMap<(crate::catalog::ResourceId, ItemKey, String), Refetch>,
}

impl<'a> Planner<'a> {
    fn new(salvage: &'a Salvage<'a>) -> Self {
        Self {
            salvage,
            trees: HashMap::new(),
            contents: HashMap::new(),
            repairs: Vec::new(),
            refetch: BTreeMap::new(),
        }
    }

    async fn snapshot(&mut self, entry: &SnapshotEntry) -> Result<()> {
        let snapshot = &entry.snapshot;
        let mut sum = Lost::default();
        let mut trees = vec![
            (Kind::Containers, snapshot.containers),
            (Kind::Items, snapshot.items),
            (Kind::Notes, snapshot.notes),
        ];
        let open = snapshot.enumerations.iter();
        trees.extend(open.map(|each| (Kind::Items, each.items)));
        for (kind, root) in trees {
            let lost = self.tree(entry, kind, &root).await?;
            sum.items += lost.items;
            sum.containers += lost.containers;
            sum.records += lost.records;
        }
        if sum != Lost::default() {
            self.repairs.push(SnapshotRepair {
                snapshot: entry.id,
                resource: snapshot.resource.id.clone(),
                items: sum.items,
                containers: sum.containers,
                records: sum.records,
            });
        }
        Ok(())
    }

    async fn tree(&mut self, entry: &SnapshotEntry, kind: Kind, root: &TreeRoot) -> Result<Lost> {
        if let Some(lost) = self.trees.get(&(kind, root.node)) {
            return Ok(*lost);
        }
        let mut lost = Lost::default();
        let salvage = self.salvage;
        let mut walk = Walk::new(salvage, root);
        while let Some(step) = walk.next().await? {
            match step {
                Step::Lost(entries) if kind == Kind::Containers => lost.containers += entries,
                Step::Lost(entries) => lost.records += entries,
                Step::Entry(key, value) => {
                    self.entry(&entry.snapshot, entry.id, kind, (key, value), &mut lost)
                        .await?;
                }
            }
        }
        self.trees.insert((kind, root.node), lost);
        Ok(lost)
    }

    async fn entry(
        &mut self,
        snapshot: &Snapshot,
        id: SnapshotId,
        kind: Kind,
        (key, value): (Bytes, Option<Bytes>),
        lost: &mut Lost,
    ) -> Result<()> {
        let role = Role::Content(snapshot.resource.id.clone());
        match (kind, value) {
            (Kind::Notes, Some(_)) => {}
            (Kind::Items | Kind::Notes, None) => lost.records += 1,
            (Kind::Containers, None) => lost.containers += 1,
            (Kind::Containers, Some(value)) => {
                if let Ok(container) = Container::decode(&key, &value)
                    && let Some(content) = &container.properties
                    && !self.content(content, &role).await?
                {
                    lost.containers += 1;
                }
            }
            (Kind::Items, Some(value)) => {
                let Ok(item) = Item::decode(&key, &value) else {
                    lost.records += 1;
                    return Ok(());
                };
                let mut whole = true;
                for each in &item.representations {
                    if !self.content(&each.content, &role).await? {
                        whole = false;
                        let resource = snapshot.resource.id.clone();
                        let form = each.kind.as_str().to_owned();
                        let name = (resource.clone(), item.key.clone(), form);
                        self.refetch.entry(name).or_insert_with(|| Refetch {
                            resource,
                            item: item.key.clone(),
                            name: item.name.clone(),
                            representation: each.kind.clone(),
                            snapshot: id,
                        });
                    }
                }
                lost.items += u64::from(!whole);
            }
        }
        Ok(())
    }

    async fn content(&mut self, content: &ContentRef, role: &Role) -> Result<bool> {
        let key = (content.length, content.hash);
        if let Some(whole) = self.contents.get(&key) {
            return Ok(*whole);
        }
        let chunks: Vec<ChunkId> = content.chunk_ids().copied().collect();
        let mut whole = true;
        for chunks in chunks.chunks(1_000) {
            whole &= self.salvage.have(chunks, role).await?;
        }
        if self.contents.len() == 1 << 17 {
            self.contents.clear();
        }
        self.contents.insert(key, whole);
        Ok(whole)
    }
}
