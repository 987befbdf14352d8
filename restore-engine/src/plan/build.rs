//! Makes a plan: reads the snapshot and the state of the destination, writes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use backup_store::Store;
use backup_store::catalog::{Browse, Container, Item, ItemKey, ResourceId};

use super::{
    Collision, Estimate, ItemRef, ItemSet, PLAN_VERSION, ParentRef, Placement, PlanTotals,
    PlannedContainer, RestorePlan,
};
use crate::conflict::{Candidate, Decision, Occupants, fold_name};
use crate::error::{Error, ErrorKind, Result};
use crate::folder_map::{Route, parents_first, route, subtree};
use crate::loss::{LossCode, Losses};
use crate::request::{Destination, RestoreRequest, Selection};
use crate::target::{FoundContainer, Place, ServiceLimits, Target, WriteCost};

/// Plans `request` against the present state of the destination; writes nothing anywhere.
///
/// *Units and limits*: memory grows with the number of containers and of collisions, and with the
/// items of one destination folder at a time; not with the items restored.
///
/// *Errors*: [`InvalidRequest`](ErrorKind::InvalidRequest) when source and destination do not fit or
/// the selection names what the snapshot does not hold; errors of the store and of the service.
///
/// *Cancel safety*: may be dropped at any time.
pub async fn plan(
    store: &Store,
    request: &RestoreRequest,
    target: &dyn Target,
) -> Result<RestorePlan> {
    let resource = &request.snapshot.snapshot.resource;
    if resource.service != target.service() {
        let cause = format!(
            "{}: its items cannot be written to this service",
            resource.id
        );
        return Err(Error::new(ErrorKind::InvalidRequest, cause));
    }
    let place = target.place().await?;
    if request.destination == Destination::Original
        && ResourceId::new(place.resource.clone()) != resource.id
    {
        let cause = format!("{}: is not what {} has now", resource.id, place.owner);
        return Err(Error::new(ErrorKind::InvalidRequest, cause));
    }
    let browse = Browse::over(store.clone(), &request.snapshot.snapshot);
    let containers = browse.containers().await?;
    let mut builder = Builder::new(store, request, target, place);
    builder.place_containers(&containers).await?;
    builder.count_items(&browse).await?;
    builder.finish()
}

struct Builder<'a> {
    store: &'a Store,
    request: &'a RestoreRequest,
    target: &'a dyn Target,
    place: Place,
    planned: Vec<PlannedContainer>,
    /// Containers of the snapshot that go nowhere, with what that means for their items.
    omitted: BTreeMap<String, LossCode>,
    listings: HashMap<String, Vec<FoundContainer>>,
    losses: Losses,
    totals: PlanTotals,
    cost: WriteCost,
}

/// Where a container of the snapshot went.
#[derive(Clone)]
enum Mapped {
    Id(String),
    Planned(usize),
}

impl<'a> Builder<'a> {
    fn new(
        store: &'a Store,
        request: &'a RestoreRequest,
        target: &'a dyn Target,
        place: Place,
    ) -> Self {
        Self {
            store,
            request,
            target,
            place,
            planned: Vec::new(),
            omitted: BTreeMap::new(),
            listings: HashMap::new(),
            losses: Losses::new(),
            totals: PlanTotals::default(),
            cost: WriteCost::default(),
        }
    }

    async fn place_containers(&mut self, containers: &[Container]) -> Result<()> {
        let wanted = wanted(&self.request.selection, containers)?;
        let needed = with_ancestors(containers, &wanted);
        let base = self.place_base().await?;
        let gathered = self.request.into_folder.is_some();
        let mut mapped: HashMap<&str, Mapped> = HashMap::new();
        for at in parents_first(containers) {
            let container = &containers[at];
            if !needed.contains(container.id.as_str()) {
                continue;
            }
            let parent = container.parent.as_deref();
            if let Some(code) = parent.and_then(|parent| self.omitted.get(parent)).copied() {
                self.omit(container, code);
                continue;
            }
            let service = &self.request.snapshot.snapshot.resource.service;
            let under = parent
                .and_then(|parent| mapped.get(parent))
                .unwrap_or(&base)
                .clone();
            let (known, code) = match route(container, service, gathered) {
                Route::Omitted(code) => {
                    self.omit(container, code);
                    continue;
                }
                Route::Root => (Some(base.clone()), None),
                Route::WellKnown(name, code) => {
                    (self.target.well_known(name).await?.map(Mapped::Id), code)
                }
                Route::ByName(code) => (None, code),
            };
            if let Some(code) = code {
                self.losses.add(code, &container.name);
            }
            let items = items_of(&self.request.selection, &wanted, container);
            let place = self.place_one(container, known, under, items).await?;
            mapped.insert(&container.id, place);
        }
        Ok(())
    }

    /// Plans the folder that everything goes into, if there is one.
    async fn place_base(&mut self) -> Result<Mapped> {
        let root = Mapped::Id(self.place.root.clone());
        let Some(name) = &self.request.into_folder else {
            return Ok(root);
        };
        if name.trim().is_empty() {
            let cause = "folder to restore into: has an empty name";
            return Err(Error::new(ErrorKind::InvalidRequest, cause));
        }
        let placement = self.by_name(&root, name, false).await?;
        Ok(self.push(None, name.clone(), placement, ItemSet::None))
    }

    async fn place_one(
        &mut self,
        container: &Container,
        known: Option<Mapped>,
        under: Mapped,
        items: ItemSet,
    ) -> Result<Mapped> {
        let source = Some(container.id.clone());
        match known {
            Some(Mapped::Planned(at)) => {
                // The top of the source is the folder that everything goes into.
                self.planned[at].source = source;
                self.planned[at].items = items;
                Ok(Mapped::Planned(at))
            }
            Some(Mapped::Id(id)) => {
                let top = id == self.place.root;
                let path = if top {
                    "/".to_owned()
                } else {
                    container.name.clone()
                };
                let placement = Placement::Existing { id };
                Ok(self.push(source, path, placement, items))
            }
            None => {
                let placement = self
                    .by_name(&under, &container.name, container.hidden)
                    .await?;
                let path = match &under {
                    Mapped::Planned(at) if self.planned[*at].path != "/" => {
                        format!("{}/{}", self.planned[*at].path, container.name)
                    }
                    _ => container.name.clone(),
                };
                Ok(self.push(source, path, placement, items))
            }
        }
    }

    async fn by_name(&mut self, under: &Mapped, name: &str, hidden: bool) -> Result<Placement> {
        let create = |parent| Placement::Create {
            parent,
            name: name.to_owned(),
            hidden,
        };
        let parent = match under {
            Mapped::Id(id) => id.clone(),
            Mapped::Planned(at) => match &self.planned[*at].placement {
                Placement::Existing { id } => id.clone(),
                Placement::Create { .. } => return Ok(create(ParentRef::Planned(*at))),
            },
        };
        if !self.listings.contains_key(&parent) {
            let listing = self.target.child_containers(&parent).await?;
            self.cost.requests += 1;
            self.listings.insert(parent.clone(), listing);
        }
        let listing = self.listings.get(&parent).into_iter().flatten();
        let found = { listing }.find(|each| fold_name(&each.name) == fold_name(name));
        Ok(match found {
            Some(found) => Placement::Existing {
                id: found.id.clone(),
            },
            None => create(ParentRef::Id(parent)),
        })
    }

    fn push(
        &mut self,
        source: Option<String>,
        path: String,
        placement: Placement,
        items: ItemSet,
    ) -> Mapped {
        self.planned.push(PlannedContainer {
            source,
            path,
            placement,
            items,
            write: 0,
            skip: 0,
            unavailable: 0,
            bytes: 0,
            collisions: Vec::new(),
        });
        Mapped::Planned(self.planned.len() - 1)
    }

    fn omit(&mut self, container: &Container, code: LossCode) {
        self.losses.add(code, &container.name);
        self.omitted.insert(container.id.clone(), code);
    }

    async fn count_items(&mut self, browse: &Browse<Store>) -> Result<()> {
        for at in 0..self.planned.len() {
            let Some(source) = self.planned[at].source.clone() else {
                continue;
            };
            let occupants = match &self.planned[at].placement {
                Placement::Existing { id } if self.planned[at].items != ItemSet::None => {
                    self.cost.requests += 1;
                    let list = self.target.occupants(id).await?;
                    Occupants::new(list, self.target.names_are_unique())
                }
                _ => Occupants::default(),
            };
            match self.planned[at].items.clone() {
                ItemSet::None => {}
                ItemSet::All => {
                    let mut items = browse.items_in(&source);
                    while let Some(item) = items.next().await {
                        self.count_item(at, &item?, &occupants).await?;
                    }
                }
                ItemSet::Only(wanted) => {
                    for ItemRef { created, id } in wanted {
                        let key = ItemKey {
                            container: source.clone(),
                            created,
                            id,
                        };
                        let item = browse.item(&key).await?.ok_or_else(|| missing_item(&key))?;
                        self.count_item(at, &item, &occupants).await?;
                    }
                }
            }
        }
        self.count_unplaced(browse).await
    }

    async fn count_item(&mut self, at: usize, item: &Item, occupants: &Occupants) -> Result<()> {
        self.totals.selected += 1;
        if let Some(code) = self.target.unavailable(item) {
            self.losses.add(code, &item.name);
            self.planned[at].unavailable += 1;
            return Ok(());
        }
        let decision = decide(
            self.store,
            self.target,
            item,
            occupants,
            self.request.conflict,
        );
        let decision = decision.await?;
        let container = &mut self.planned[at];
        if matches!(decision, Some(Decision::Skip(_))) {
            container.skip += 1;
        } else {
            let cost = self.target.cost(item);
            container.write += 1;
            container.bytes += cost.bytes;
            self.cost.requests += cost.requests;
            self.cost.units += cost.units;
        }
        if let Some(decision) = decision {
            let item = ItemRef {
                created: item.key.created,
                id: item.key.id.clone(),
            };
            container.collisions.push(Collision { item, decision });
        }
        Ok(())
    }

    /// Counts what was selected but has no place: items of omitted or unknown containers.
    async fn count_unplaced(&mut self, browse: &Browse<Store>) -> Result<()> {
        for (container, code) in &self.omitted {
            let mut items = browse.items_in(container);
            while let Some(item) = items.next().await {
                self.losses.add(LossCode::NoContainer, &item?.name);
                self.totals.selected += 1;
                self.totals.unavailable += 1;
            }
            tracing::debug!(code = code.as_str(), "a computed folder is left out");
        }
        if self.request.selection == Selection::All {
            let stored = self.request.snapshot.snapshot.items.entries;
            let lost = stored.saturating_sub(self.totals.selected);
            self.losses.add_many(LossCode::NoContainer, lost);
            self.totals.selected += lost;
            self.totals.unavailable += lost;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<RestorePlan> {
        let mut totals = self.totals;
        for container in &self.planned {
            totals.write += container.write;
            totals.skip += container.skip;
            totals.unavailable += container.unavailable;
            totals.bytes += container.bytes;
            match container.placement {
                Placement::Create { .. } => totals.create_containers += 1,
                Placement::Existing { .. } => totals.merge_containers += 1,
            }
        }
        for code in self.target.standing_losses() {
            self.losses.add_many(*code, totals.write);
        }
        self.cost.requests += totals.create_containers;
        self.cost.units += totals.create_containers;
        let resource = &self.request.snapshot.snapshot.resource;
        let plan = RestorePlan {
            version: PLAN_VERSION,
            id: plan_id(self.request, &self.place),
            snapshot: self.request.snapshot.id,
            as_of: self.request.snapshot.snapshot.started,
            resource: resource.id.as_str().to_owned(),
            owner: resource.owner.clone(),
            place: self.place,
            into_folder: self.request.into_folder.clone(),
            conflict: self.request.conflict,
            containers: self.planned,
            losses: self.losses.into_vec(),
            totals,
            estimate: estimate(self.cost, totals.bytes, &self.target.limits()),
        };
        plan.validate()?;
        Ok(plan)
    }
}

/// Decides about one item; `None` when nothing is in its way.
pub(crate) async fn decide(
    store: &Store,
    target: &dyn Target,
    item: &Item,
    occupants: &Occupants,
    rule: crate::request::ConflictRule,
) -> Result<Option<Decision>> {
    let mut candidate = Candidate {
        id: &item.key.id,
        name: &item.name,
        change_key: &item.change_key,
        size: item.size_bytes,
        hash: None,
    };
    let Some(occupant) = occupants.in_the_way(&candidate) else {
        return Ok(None);
    };
    // The stored hash costs a read of the store: it is asked for only where it can decide.
    let hash = match &occupant.content_hash {
        Some(_) => target.stored_hash(store, item).await?,
        None => None,
    };
    candidate.hash = hash.as_deref();
    Ok(Some(occupants.decide(&candidate, rule)))
}

fn missing_item(key: &ItemKey) -> Error {
    let cause = format!("item {}: is not in the snapshot", key.id);
    Error::new(ErrorKind::InvalidRequest, cause)
}

/// Returns the ids of the containers whose items, or some of them, are wanted.
fn wanted<'a>(selection: &'a Selection, list: &'a [Container]) -> Result<BTreeSet<&'a str>> {
    let known: BTreeSet<&str> = list.iter().map(|each| each.id.as_str()).collect();
    let wanted = match selection {
        Selection::All => known.clone(),
        Selection::Container(id) => subtree(list, id),
        Selection::Items(keys) => keys.iter().map(|key| key.container.as_str()).collect(),
    };
    match wanted.iter().find(|id| !known.contains(**id)) {
        Some(id) => {
            let cause = format!("container {id}: is not in the snapshot");
            Err(Error::new(ErrorKind::InvalidRequest, cause))
        }
        None => Ok(wanted),
    }
}

/// Adds all containers above the wanted ones: those are needed to put them under.
fn with_ancestors<'a>(list: &'a [Container], wanted: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let parents: HashMap<&str, &str> = list
        .iter()
        .filter_map(|each| Some((each.id.as_str(), each.parent.as_deref()?)))
        .collect();
    let mut needed = wanted.clone();
    for id in wanted {
        let mut at = *id;
        while let Some(parent) = parents.get(at) {
            if !needed.insert(parent) {
                break;
            }
            at = parent;
        }
    }
    needed
}

fn items_of(selection: &Selection, wanted: &BTreeSet<&str>, container: &Container) -> ItemSet {
    if !wanted.contains(container.id.as_str()) {
        return ItemSet::None;
    }
    let Selection::Items(keys) = selection else {
        return ItemSet::All;
    };
    let here = keys.iter().filter(|key| key.container == container.id);
    let refs: BTreeSet<ItemRef> = here
        .map(|key| ItemRef {
            created: key.created,
            id: key.id.clone(),
        })
        .collect();
    ItemSet::Only(refs.into_iter().collect())
}

/// Names what was asked for, whatever the state of the destination: an interrupted restore that is
/// planned anew finds its journal.
fn plan_id(request: &RestoreRequest, place: &Place) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(b"restore plan 1");
    part(request.snapshot.id.as_bytes());
    part(place.resource.as_bytes());
    part(
        request
            .into_folder
            .as_deref()
            .unwrap_or_default()
            .as_bytes(),
    );
    part(request.conflict.as_str().as_bytes());
    match &request.selection {
        Selection::All => part(b"all"),
        Selection::Container(id) => {
            part(b"container");
            part(id.as_bytes());
        }
        Selection::Items(keys) => {
            part(b"items");
            let sorted: BTreeSet<&ItemKey> = keys.iter().collect();
            for key in sorted {
                part(&key.encode());
            }
        }
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Estimates the cost by the service's documented limits. Pure.
pub(crate) fn estimate(cost: WriteCost, bytes: u64, limits: &ServiceLimits) -> Estimate {
    let seconds = |amount: u64, limit: u64, window: std::time::Duration| {
        let scaled = u128::from(amount) * u128::from(window.as_secs());
        u64::try_from(scaled.div_ceil(u128::from(limit.max(1)))).unwrap_or(u64::MAX)
    };
    let by_units = seconds(cost.units, limits.units, limits.unit_window);
    let by_bytes = seconds(bytes, limits.bytes, limits.byte_window);
    Estimate {
        requests: cost.requests,
        seconds: by_units.max(by_bytes),
    }
}
