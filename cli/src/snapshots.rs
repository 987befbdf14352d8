//! Which snapshots a person means: by id, by its first digits, by `latest`, by owner and service.

use std::collections::BTreeMap;

use backup_store::catalog::{ResourceId, Service, SnapshotEntry, choose_parent};

use crate::args::SnapshotFilter;
use crate::config::nearest;
use crate::connect::OpenStore;
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// The services that can be named on the command line and in a config.
pub(crate) const SERVICES: [Service; 2] = [Service::Outlook, Service::OneDrive];

/// The word for the newest snapshot of each resource.
const LATEST: &str = "latest";

/// Understands the name of a service.
pub(crate) fn service(name: &str) -> Result<Service> {
    let known = SERVICES
        .iter()
        .find(|service| service.as_str().eq_ignore_ascii_case(name));
    known.cloned().ok_or_else(|| {
        let failure = Failure::usage(format!("there is no service {name:?}"));
        match nearest(&name.to_lowercase(), SERVICES.iter().map(Service::as_str)) {
            Some(near) => failure.next(format!("did you mean {near}?")),
            None => failure.next("choose outlook or onedrive"),
        }
    })
}

/// Lists the snapshots that `filter` lets through, oldest first.
///
/// *Errors*: an owner of whom the store holds nothing is a failure, not an empty list.
pub(crate) async fn list(open: &OpenStore, filter: &SnapshotFilter) -> Result<Vec<SnapshotEntry>> {
    let mut entries = open.snapshots().await?;
    if let Some(owner) = &filter.owner {
        let known: Vec<String> = owners(&entries);
        entries.retain(|entry| belongs_to(entry, owner));
        if entries.is_empty() {
            return Err(unknown_owner(open, owner, &known));
        }
    }
    if let Some(name) = &filter.service {
        let wanted = service(name)?;
        entries.retain(|entry| entry.snapshot.resource.service == wanted);
    }
    entries.sort_by(|a, b| {
        let order = (
            a.snapshot.finished,
            &a.snapshot.resource.owner,
            &a.snapshot.resource.id,
        );
        order.cmp(&(
            b.snapshot.finished,
            &b.snapshot.resource.owner,
            &b.snapshot.resource.id,
        ))
    });
    Ok(entries)
}

/// Keeps the newest snapshot of each resource, in the order of owner and service.
pub(crate) fn newest(entries: &[SnapshotEntry]) -> Vec<SnapshotEntry> {
    let mut resources: BTreeMap<(&str, &str), &ResourceId> = BTreeMap::new();
    for SnapshotEntry { snapshot, .. } in entries {
        let place = (
            snapshot.resource.owner.as_str(),
            snapshot.resource.id.as_str(),
        );
        resources.insert(place, &snapshot.resource.id);
    }
    let newest = resources
        .values()
        .filter_map(|id| choose_parent(entries, id));
    newest.cloned().collect()
}

/// Returns the snapshots that `selector` (an id, its first digits, or `latest`) and `filter` mean.
pub(crate) async fn select(
    open: &OpenStore,
    selector: &str,
    filter: &SnapshotFilter,
) -> Result<Vec<SnapshotEntry>> {
    let entries = list(open, filter).await?;
    if selector == LATEST {
        let newest = newest(&entries);
        if newest.is_empty() {
            return Err(Failure::new(
                Exit::Failed,
                format!("the store in {} holds no such snapshot yet", open.place),
            )
            .next("see what there is: m365-backup snapshots; or make one: m365-backup backup"));
        }
        return Ok(newest);
    }
    by_prefix(entries, selector)
}

/// Returns the one snapshot whose id begins with `prefix`.
pub(crate) async fn select_one(open: &OpenStore, prefix: &str) -> Result<SnapshotEntry> {
    let mut found = by_prefix(open.snapshots().await?, prefix)?;
    found.pop().ok_or_else(|| unknown_snapshot(prefix))
}

fn unknown_snapshot(prefix: &str) -> Failure {
    Failure::new(Exit::Failed, format!("there is no snapshot {prefix}"))
        .next("list them with: m365-backup snapshots")
}

fn by_prefix(entries: Vec<SnapshotEntry>, prefix: &str) -> Result<Vec<SnapshotEntry>> {
    let prefix = prefix.to_lowercase();
    let mut found: Vec<SnapshotEntry> = entries
        .into_iter()
        .filter(|entry| entry.id.to_string().starts_with(&prefix))
        .collect();
    match found.len() {
        1 => Ok(found),
        0 => Err(unknown_snapshot(&prefix)),
        count => {
            found.truncate(SHOWN_MAX);
            let ids: Vec<String> = found.iter().map(|entry| entry.id.to_string()).collect();
            Err(
                Failure::usage(format!("{count} snapshots begin with {prefix}"))
                    .cause(ids.join(", "))
                    .next("give more digits"),
            )
        }
    }
}

/// How many ids a message lists at most.
const SHOWN_MAX: usize = 4;

fn belongs_to(entry: &SnapshotEntry, owner: &str) -> bool {
    let resource = &entry.snapshot.resource;
    resource.owner.eq_ignore_ascii_case(owner) || resource.owner_id == owner
}

fn owners(entries: &[SnapshotEntry]) -> Vec<String> {
    let mut owners: Vec<String> = entries
        .iter()
        .map(|entry| entry.snapshot.resource.owner.clone())
        .collect();
    owners.sort();
    owners.dedup();
    owners
}

fn unknown_owner(open: &OpenStore, owner: &str, known: &[String]) -> Failure {
    let place = &open.place;
    let failure = Failure::new(
        Exit::Failed,
        format!("the store in {place} holds nothing of {owner}"),
    );
    // The domain, which all have in common, says nothing about which of them is meant.
    let local = |name: &str| name.split('@').next().unwrap_or_default().to_lowercase();
    let locals: Vec<String> = known.iter().map(|name| local(name)).collect();
    let near = nearest(&local(owner), locals.iter().map(String::as_str));
    let near = near.and_then(|near| known.iter().find(|name| local(name) == near));
    match near {
        Some(near) => failure.next(format!("did you mean {near}?")),
        None => failure.next("list whose data it holds with: m365-backup snapshots --latest"),
    }
}
