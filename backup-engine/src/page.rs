//! Page: from what a feed shows to the entry that is committed.

use std::collections::HashMap;
use std::sync::Arc;

use backup_store::catalog::{
    Container, Item, ItemKey, ItemState, Representation, RepresentationKind, RunNote,
};
use backup_store::{ContentClass, Gatherer, Timestamp};

use crate::change::{Decision, decide};
use crate::error::Result;
use crate::journal::{Edit, Entry};
use crate::mutant::{Mutant, mutated};
use crate::source::{Change, Feed, Fetched, Scope, SeenContainer, SeenItem};
use crate::tally::Fate;
use crate::view::{ROUTE_GRAPH, View};

/// A page on its way: what is decided, and what must be fetched first.
#[derive(Debug)]
pub(crate) struct PageWork {
    /// The entry, but for what is fetched.
    pub(crate) entry: Entry,
    /// The items whose content must be fetched.
    pub(crate) to_fetch: Vec<SeenItem>,
}

/// Decides what a page means for the state of the resource.
pub(crate) async fn plan(
    view: &mut View,
    feed: &Feed,
    changes: Vec<Change>,
    into: &Gatherer,
    now: Timestamp,
) -> Result<PageWork> {
    view.ahead().begin_page(&feed.id);
    let mut entry = Entry::new(now);
    entry.feed.clone_from(&feed.id);
    entry.generation = view.generation(&feed.id);
    let mut work = PageWork {
        entry,
        to_fetch: Vec::new(),
    };
    for change in last_words(changes) {
        match change {
            Change::Container(seen) => {
                let edit = plan_container(view, *seen, into).await?;
                work.entry.edits.push(edit);
            }
            Change::ContainerRemoved { id } => {
                if view.container(&id).is_some() {
                    work.entry.edits.push(Edit::ContainerGone { id });
                }
            }
            Change::Item(seen) => plan_item(view, &feed.id, *seen, into, &mut work).await?,
            Change::Removed { id, deleted } => {
                let edit = match view.item(&id).await? {
                    Some(_) if deleted => Edit::Delete { id },
                    Some(item) => {
                        let from = left_container(&feed.scope, &item);
                        Edit::Left { id, from }
                    }
                    None if entry_may_hold(&work) => Edit::Delete { id },
                    // It may have come and moved since the last run, into a feed already read.
                    None if !deleted && let Some(from) = scope_container(&feed.scope) => {
                        Edit::Left { id, from }
                    }
                    None => continue,
                };
                work.entry.edits.push(edit);
            }
        }
    }
    if mutated(Mutant::ItemDropped) && work.to_fetch.len() > 1 {
        work.to_fetch.pop();
    }
    Ok(work)
}

/// In an enumeration an item may have been shown before it was removed: it leaves the shadow too.
fn entry_may_hold(work: &PageWork) -> bool {
    work.entry.generation.is_some()
}

/// An item leaves the container of its feed; a feed of a whole resource means where it is.
fn left_container(scope: &Scope, item: &Item) -> String {
    scope_container(scope).unwrap_or_else(|| item.key.container.clone())
}

fn scope_container(scope: &Scope) -> Option<String> {
    match scope {
        Scope::Container(container) => Some(container.clone()),
        Scope::Containers | Scope::Resource => None,
    }
}

/// Keeps the last word on each id, in the order of the last words.
fn last_words(changes: Vec<Change>) -> Vec<Change> {
    let mut last = HashMap::with_capacity(changes.len());
    for (position, change) in changes.iter().enumerate() {
        last.insert(subject(change), position);
    }
    if last.len() == changes.len() {
        return changes;
    }
    let is_last = |(position, change): (usize, &Change)| last[&subject(change)] == position;
    let kept: Vec<bool> = changes.iter().enumerate().map(is_last).collect();
    let changes = changes.into_iter().zip(kept);
    changes
        .filter_map(|(change, kept)| kept.then_some(change))
        .collect()
}

/// Returns what a change is about, and whether that is a container.
fn subject(change: &Change) -> (bool, &str) {
    match change {
        Change::Container(seen) => (true, &seen.container.id),
        Change::ContainerRemoved { id } => (true, id),
        Change::Item(seen) => (false, &seen.id),
        Change::Removed { id, .. } => (false, id),
    }
}

async fn plan_container(view: &View, seen: SeenContainer, into: &Gatherer) -> Result<Edit> {
    let mut container = seen.container;
    let known = view.container(&container.id);
    if container.well_known.is_none() {
        container.well_known = known.and_then(|known| known.well_known.clone());
    }
    container.properties = Some(into.put(ContentClass::Metadata, &seen.properties).await?);
    Ok(container_edit(known, container))
}

fn container_edit(known: Option<&Container>, container: Container) -> Edit {
    if known == Some(&container) {
        Edit::SameContainer { id: container.id }
    } else {
        Edit::Container(Box::new(container))
    }
}

async fn plan_item(
    view: &mut View,
    feed: &str,
    seen: SeenItem,
    into: &Gatherer,
    work: &mut PageWork,
) -> Result<()> {
    let known = view.known(feed, &seen.id).await?;
    match decide(known.as_ref(), &seen) {
        Decision::Fetch => match view.ahead().take_kept(feed, &seen) {
            Some(kept) => work.entry.edits.push(kept),
            None => work.to_fetch.push(seen),
        },
        Decision::Unchanged => work.entry.edits.push(Edit::Same {
            id: seen.id,
            fate: Fate::Unchanged,
        }),
        Decision::KeepContent { assumed } => {
            let edit = keep_content(known, seen, assumed, into, work.entry.at).await?;
            work.entry.edits.push(edit);
        }
        Decision::Skip => {
            let properties = put_properties(&seen, into).await?;
            let reason = seen.skip.clone().unwrap_or_default();
            let state = ItemState::Skipped { reason };
            let item = record(seen, state, vec![properties]);
            let edit = if known.as_ref() == Some(&item) {
                Edit::Same {
                    id: item.key.id,
                    fate: Fate::Skipped,
                }
            } else {
                put(item, Fate::Skipped, None, 0)
            };
            work.entry.edits.push(edit);
        }
    }
    Ok(())
}

async fn keep_content(
    known: Option<Item>,
    seen: SeenItem,
    assumed: bool,
    into: &Gatherer,
    now: Timestamp,
) -> Result<Edit> {
    let mut representations = vec![put_properties(&seen, into).await?];
    let mut size_bytes = 0;
    if let Some(known) = known {
        size_bytes = known.size_bytes;
        let content = known.representations.into_iter();
        representations.extend(content.filter(|r| r.kind != RepresentationKind::GraphJson));
    }
    let size_bytes = seen.size_bytes.unwrap_or(size_bytes);
    let mut item = record(seen, ItemState::Stored, representations);
    item.size_bytes = size_bytes;
    let note = assumed.then(|| RunNote {
        first_seen: now,
        tries: 0,
        content_assumed: true,
        route: ROUTE_GRAPH.to_owned(),
    });
    let fate = if assumed {
        Fate::Assumed
    } else {
        Fate::Unchanged
    };
    Ok(put(item, fate, note, 0))
}

/// Turns the outcome of a fetch into an edit.
pub(crate) async fn fetched(
    seen: SeenItem,
    outcome: Fetched,
    note: Option<&RunNote>,
    into: &Gatherer,
    now: Timestamp,
) -> Result<Edit> {
    match outcome {
        Fetched::Gone => Ok(Edit::Delete { id: seen.id }),
        Fetched::Stored {
            representations: content,
            newer,
        } => {
            let seen = newer.map_or(seen, |newer| *newer);
            let fetched = content.iter().map(|form| form.content.length).sum::<u64>();
            let mut representations = vec![put_properties(&seen, into).await?];
            representations.extend(content);
            let size_bytes = seen.size_bytes.unwrap_or(fetched);
            let mut item = record(seen, ItemState::Stored, representations);
            item.size_bytes = size_bytes;
            Ok(put(item, Fate::Stored, None, fetched))
        }
        Fetched::Refused {
            representation,
            cause,
        } => {
            let properties = put_properties(&seen, into).await?;
            let state = ItemState::Quarantined {
                representation,
                cause,
            };
            let item = record(seen, state, vec![properties]);
            let note = RunNote {
                first_seen: note.map_or(now, |note| note.first_seen),
                tries: note.map_or(1, |note| note.tries.saturating_add(1)),
                content_assumed: false,
                route: ROUTE_GRAPH.to_owned(),
            };
            Ok(put(item, Fate::Quarantined, Some(note), 0))
        }
    }
}

fn put(item: Item, fate: Fate, note: Option<RunNote>, fetched: u64) -> Edit {
    Edit::Put {
        item: Arc::new(item),
        fate,
        note,
        fetched,
    }
}

async fn put_properties(seen: &SeenItem, into: &Gatherer) -> Result<Representation> {
    let content = into.put(ContentClass::Metadata, &seen.properties).await?;
    Ok(Representation {
        kind: RepresentationKind::GraphJson,
        content,
    })
}

fn record(seen: SeenItem, state: ItemState, representations: Vec<Representation>) -> Item {
    Item {
        key: ItemKey {
            container: seen.container,
            created: seen.created,
            id: seen.id,
        },
        kind: seen.kind,
        name: seen.name,
        sender: seen.sender,
        recipients: seen.recipients,
        change_key: seen.change_key,
        content_key: seen.content_key,
        size_bytes: seen.size_bytes.unwrap_or(0),
        modified: seen.modified,
        draft: seen.draft,
        state,
        representations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::tests::seen;

    #[test]
    fn the_last_word_on_an_id_counts() {
        let removed = |id: &str| Change::Removed {
            id: id.into(),
            deleted: false,
        };
        let shown = |id: &str, key: &str| Change::Item(Box::new(seen("a", id, key)));
        let changes = vec![
            shown("1", "k1"),
            removed("2"),
            shown("1", "k2"),
            shown("2", "k1"),
            removed("1"),
        ];
        assert_eq!(last_words(changes), vec![shown("2", "k1"), removed("1")]);
    }
}
