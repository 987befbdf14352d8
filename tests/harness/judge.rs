//! The judge: reads every snapshot of a world, byte for byte, with a cold cache, and compares it
//! with what the tenant held while it was made.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use backup_store::catalog::{
    Browse, Container, Item, ItemState, Outcome, RepresentationKind, ResourceId, Snapshot,
    choose_parent,
};
use backup_store::{Backend, Store, TreeRoot};

use super::clock::{Clock, TrueTime};
use super::truth::{Shown, Truth};
use super::world::{Template, World};

/// The roots of the newest snapshot of each resource: containers, items.
pub type Roots = BTreeMap<ResourceId, (TreeRoot, TreeRoot)>;

/// What a judgement found to be in order.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub snapshots: u64,
    pub contents: u64,
    pub newest: Roots,
}

/// What a snapshot holds.
struct Held {
    containers: BTreeMap<String, (Container, Vec<u8>)>,
    items: BTreeMap<String, (Item, Option<[u8; 32]>)>,
    digest: [u8; 32],
}

/// Reads everything. What was there before must be there as it was; what is new must show what the
/// tenant held in `interval`.
pub async fn judge(
    template: &Template,
    world: &mut World,
    interval: &RangeInclusive<usize>,
) -> Result<Verdict, String> {
    if let Some(wrong) = world.wrong.pop() {
        return Err(wrong);
    }
    let backend: Arc<dyn Backend> = Arc::new(world.memory.clone());
    let clock = Clock::new(TrueTime::from(world.now_ms), 2);
    let store = template.open(backend, clock).await;
    let store = store.map_err(|cause| format!("the store does not open: {cause}"))?;
    let entries = store.snapshots().await;
    let entries = entries.map_err(|cause| format!("the snapshots cannot be listed: {cause}"))?;
    let there: BTreeSet<_> = entries.iter().map(|entry| entry.id).collect();
    if let Some(id) = world.seen.keys().find(|id| !there.contains(id)) {
        return Err(format!("snapshot {id} is gone"));
    }
    let mut verdict = Verdict::default();
    let mut read: Vec<((TreeRoot, TreeRoot), Arc<Held>)> = Vec::new();
    for entry in &entries {
        let snapshot = &entry.snapshot;
        let torn =
            |cause: String| format!("snapshot {} ({:?}): {cause}", entry.id, snapshot.outcome);
        let roots = (snapshot.containers, snapshot.items);
        let known = read.iter().find(|(known, _)| *known == roots);
        let held = match known {
            Some((_, held)) => held.clone(),
            None => {
                let held = Arc::new(hold(&store, snapshot).await.map_err(torn)?);
                read.push((roots, held.clone()));
                held
            }
        };
        for enumeration in &snapshot.enumerations {
            let mut growing = snapshot.clone();
            growing.items = enumeration.items;
            hold(&store, &growing).await.map_err(torn)?;
        }
        match world.seen.insert(entry.id, held.digest) {
            Some(before) if before != held.digest => {
                return Err(torn("it is not what it was".to_owned()));
            }
            Some(_) => {}
            None => {
                compare(snapshot, &held, &world.traffic.history, interval).map_err(torn)?;
                let parent = entries.iter().find(|one| Some(one.id) == snapshot.parent);
                let roots = parent.map(|one| (one.snapshot.containers, one.snapshot.items));
                let parent = read.iter().find(|(known, _)| Some(*known) == roots);
                if let Some((_, parent)) = parent {
                    let history = &world.traffic.history[..=*interval.end()];
                    inherits(snapshot, &held, parent, history).map_err(torn)?;
                }
            }
        }
        verdict.snapshots += 1;
        verdict.contents += held.items.len() as u64;
        let newest = choose_parent(&entries, &snapshot.resource.id);
        if newest.is_some_and(|newest| newest.id == entry.id) {
            verdict.newest.insert(snapshot.resource.id.clone(), roots);
        }
    }
    Ok(verdict)
}

async fn hold(store: &Store, snapshot: &Snapshot) -> Result<Held, String> {
    let words = |cause: backup_store::Error| cause.to_string();
    let browse = Browse::over(store.clone(), snapshot);
    let mut hasher = blake3::Hasher::new();
    let mut containers = BTreeMap::new();
    for container in browse.containers().await.map_err(words)? {
        hasher.update(&container.encode());
        let mut properties = Vec::new();
        if let Some(content) = &container.properties {
            let reader = store.open_content(content);
            properties = reader.collect(LIMIT).await.map_err(words)?;
        }
        let id = container.id.clone();
        if containers
            .insert(id.clone(), (container, properties))
            .is_some()
        {
            return Err(format!("container {id} is there twice"));
        }
    }
    let mut items = BTreeMap::new();
    let mut all = browse.items();
    while let Some(item) = all.next().await {
        let item = item.map_err(words)?;
        hasher.update(&item.key.encode());
        hasher.update(&item.encode());
        let mut content = None;
        for form in &item.representations {
            let reader = store.open_content(&form.content);
            let bytes = reader.collect(LIMIT).await;
            let bytes = bytes.map_err(|cause| format!("item {}: {cause}", item.name))?;
            let digest = *blake3::hash(&bytes).as_bytes();
            hasher.update(&digest);
            if form.kind != RepresentationKind::GraphJson {
                content = Some(digest);
            }
        }
        let (id, name) = (item.key.id.clone(), item.name.clone());
        if items.insert(id, (item, content)).is_some() {
            return Err(format!("item {name} is there twice"));
        }
    }
    Ok(Held {
        containers,
        items,
        digest: *hasher.finalize().as_bytes(),
    })
}

const LIMIT: u64 = 1 << 20;

/// Says where the newest snapshots of two worlds differ.
pub async fn difference(template: &Template, found: &World, expected: &World) -> String {
    let (found, expected) = (
        newest(template, found).await,
        newest(template, expected).await,
    );
    if found.keys().ne(expected.keys()) {
        return "other resources".to_owned();
    }
    for (id, held) in &expected {
        let other = &found[id];
        for (container, shown) in &held.containers {
            let text = |(record, properties): &(Container, Vec<u8>)| {
                format!("{record:?} {}", String::from_utf8_lossy(properties))
            };
            match other.containers.get(container) {
                None => return format!("{id}: folder {} is missing", shown.0.name),
                Some(known) if known != shown => {
                    return format!("{id}: {} is not {}", text(known), text(shown));
                }
                Some(_) => {}
            }
        }
        let surplus = |id: &&String| !held.containers.contains_key(*id);
        if let Some(surplus) = other.containers.keys().find(surplus) {
            return format!("{id}: folder {surplus} is too much");
        }
        for (item, shown) in &held.items {
            match other.items.get(item) {
                None => return format!("{id}: {} is missing", shown.0.name),
                Some(known) if known != shown => {
                    return format!("{id}: {known:?} is not {shown:?}");
                }
                Some(_) => {}
            }
        }
        if let Some(surplus) = other
            .items
            .keys()
            .find(|item| !held.items.contains_key(*item))
        {
            return format!("{id}: {surplus} is too much");
        }
    }
    "no record differs".to_owned()
}

async fn newest(template: &Template, world: &World) -> BTreeMap<ResourceId, Held> {
    let backend: Arc<dyn Backend> = Arc::new(world.memory.clone());
    let clock = Clock::new(TrueTime::from(world.now_ms), 2);
    let store = template.open(backend, clock).await.unwrap();
    let entries = store.snapshots().await.unwrap();
    let mut newest = BTreeMap::new();
    for entry in &entries {
        let id = &entry.snapshot.resource.id;
        let chosen = choose_parent(&entries, id).unwrap();
        newest.insert(id.clone(), hold(&store, &chosen.snapshot).await.unwrap());
    }
    newest
}

/// Compares a snapshot with what the tenant held.
fn compare(
    snapshot: &Snapshot,
    held: &Held,
    history: &[Arc<Truth>],
    interval: &RangeInclusive<usize>,
) -> Result<(), String> {
    let complete = matches!(
        snapshot.outcome,
        Outcome::Complete | Outcome::CompleteWithQuarantine
    );
    // What was not looked at since is as it was seen at some time before.
    let from = if complete { *interval.start() } else { 0 };
    let states = history[from..=*interval.end()]
        .iter()
        .map(|truth| truth.resources.get(&snapshot.resource.id));
    let states: Vec<&BTreeMap<String, Shown>> = states.flatten().collect();
    for (id, (item, content)) in &held.items {
        let shown: Vec<&Shown> = states.iter().filter_map(|state| state.get(id)).collect();
        if shown.is_empty() {
            return Err(format!("item {} was not there at the time", item.name));
        }
        if !held.containers.contains_key(&item.key.container) && complete {
            return Err(format!("the container of item {} is missing", item.name));
        }
        let place = |shown: &&&Shown| shown.container == item.key.container;
        if !shown.iter().any(|shown| place(&shown)) {
            return Err(format!("item {} is where it never was", item.name));
        }
        match (&item.state, content) {
            (ItemState::Stored, Some(content)) => {
                if !shown.iter().any(|shown| shown.content == *content) {
                    return Err(format!("item {} has bytes that it never had", item.name));
                }
            }
            (ItemState::Quarantined { .. } | ItemState::Skipped { .. }, _) => {}
            (state, _) => return Err(format!("item {} is {state:?}, empty", item.name)),
        }
    }
    if !complete {
        return Ok(());
    }
    let mut always = states.first().map_or_else(BTreeSet::new, |state| {
        state.keys().collect::<BTreeSet<&String>>()
    });
    for state in &states {
        always.retain(|id| state.contains_key(*id));
    }
    match always.iter().find(|id| !held.items.contains_key(**id)) {
        Some(id) => {
            let name = states.first().map(|state| &state[*id].name);
            Err(format!("item {name:?} is missing"))
        }
        None => Ok(()),
    }
}

/// Compares a snapshot, a checkpoint too, with its parent: what that held, and what was there all
/// the time, must be here.
fn inherits(
    snapshot: &Snapshot,
    held: &Held,
    parent: &Held,
    history: &[Arc<Truth>],
) -> Result<(), String> {
    let id = &snapshot.resource.id;
    let states = || history.iter().filter_map(|truth| truth.resources.get(id));
    let lost = parent.items.iter().find(|(item, _)| {
        !held.items.contains_key(*item) && states().all(|state| state.contains_key(*item))
    });
    match lost {
        Some((_, (item, _))) => Err(format!("item {} of its parent is missing", item.name)),
        None => Ok(()),
    }
}
