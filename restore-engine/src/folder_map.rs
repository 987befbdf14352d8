//! Folder map: where a container of the snapshot belongs at the destination. Pure.
//!
//! Well-known folders map by their language-independent name, so that an inbox goes to the inbox
//! whatever either is called. All others go by name under wherever their parent went.

use std::collections::{BTreeMap, BTreeSet};

use backup_store::catalog::{Container, Service};

use crate::loss::LossCode;

/// Says where one container goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the destination's topmost container.
    Root,
    /// To the container with this language-independent name; by its own name if there is none.
    WellKnown(&'static str, Option<LossCode>),
    /// To the container of its own name under where its parent went.
    ByName(Option<LossCode>),
    /// Nowhere: neither it nor its items are written.
    Omitted(LossCode),
}

/// Decides where `container` goes; `gathered` says that everything goes under one folder.
pub(crate) fn route(container: &Container, service: &Service, gathered: bool) -> Route {
    let well_known = container
        .well_known
        .as_deref()
        .unwrap_or_default()
        .to_ascii_lowercase();
    if *service != Service::Outlook {
        let top = container.parent.is_none() || well_known == "root";
        return if top {
            Route::Root
        } else {
            Route::ByName(None)
        };
    }
    match well_known.as_str() {
        "msgfolderroot" => Route::Root,
        // The service computes these from searches.
        "searchfolders" => Route::Omitted(LossCode::ComputedFolder),
        // Items of the dumpster cannot be written there.
        "recoverableitemsdeletions"
        | "recoverableitemsroot"
        | "recoverableitemspurges"
        | "recoverableitemsversions" => Route::ByName(Some(LossCode::SpecialFolderAsOrdinary)),
        _ if gathered => Route::ByName(None),
        // A mail client may send what lies in an outbox; nothing here ever sends.
        "outbox" => Route::WellKnown("drafts", Some(LossCode::OutboxToDrafts)),
        name => match WELL_KNOWN.iter().find(|known| **known == name) {
            Some(known) => Route::WellKnown(known, None),
            None => Route::ByName(None),
        },
    }
}

/// The folders that every mailbox has, or may have, whatever its language.
///
/// *Source*: the reference page of the mailFolder resource, well-known names.
const WELL_KNOWN: [&str; 13] = [
    "archive",
    "clutter",
    "conflicts",
    "conversationhistory",
    "deleteditems",
    "drafts",
    "inbox",
    "junkemail",
    "localfailures",
    "scheduled",
    "sentitems",
    "serverfailures",
    "syncissues",
];

/// Puts containers in an order in which parents come before children; names decide among siblings.
///
/// A container whose parent is not in the list counts as a top one; of a cycle, whatever cannot be
/// reached from a top is appended at the end, as if it were one.
pub(crate) fn parents_first(containers: &[Container]) -> Vec<usize> {
    let known: BTreeMap<&str, usize> = containers
        .iter()
        .enumerate()
        .map(|(at, each)| (each.id.as_str(), at))
        .collect();
    let mut children: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for (at, container) in containers.iter().enumerate() {
        let parent = container
            .parent
            .as_deref()
            .and_then(|id| known.get(id))
            .copied();
        children
            .entry(parent.filter(|parent| *parent != at))
            .or_default()
            .push(at);
    }
    for siblings in children.values_mut() {
        siblings.sort_by(|a, b| {
            let key = |at: &usize| (&containers[*at].name, &containers[*at].id);
            key(a).cmp(&key(b))
        });
    }
    let mut order = Vec::with_capacity(containers.len());
    let mut seen = BTreeSet::new();
    let mut stack: Vec<usize> = children
        .get(&None)
        .into_iter()
        .flatten()
        .rev()
        .copied()
        .collect();
    let mut rest = 0..containers.len();
    loop {
        while let Some(at) = stack.pop() {
            if seen.insert(at) {
                order.push(at);
                stack.extend(children.get(&Some(at)).into_iter().flatten().rev());
            }
        }
        match rest.find(|at| !seen.contains(at)) {
            Some(at) => stack.push(at),
            None => return order,
        }
    }
}

/// Returns the ids of `top` and everything below it.
pub(crate) fn subtree<'a>(containers: &'a [Container], top: &'a str) -> BTreeSet<&'a str> {
    let mut inside = BTreeSet::from([top]);
    for at in parents_first(containers) {
        let container = &containers[at];
        if container
            .parent
            .as_deref()
            .is_some_and(|parent| inside.contains(parent))
        {
            inside.insert(&container.id);
        }
    }
    inside
}

#[cfg(test)]
mod tests {
    use backup_store::catalog::ContainerKind;
    use proptest::prelude::*;

    use super::*;

    fn folder(id: &str, parent: Option<&str>, well_known: Option<&str>) -> Container {
        Container {
            id: id.into(),
            parent: parent.map(str::to_owned),
            name: format!("name of {id}"),
            kind: ContainerKind::MailFolder,
            well_known: well_known.map(str::to_owned),
            hidden: false,
            change_key: None,
            created: None,
            modified: None,
            properties: None,
        }
    }

    #[test]
    fn mail_folders_map_by_well_known_name() {
        let check = |well_known: Option<&str>, gathered, expected| {
            let container = folder("x", Some("root"), well_known);
            assert_eq!(route(&container, &Service::Outlook, gathered), expected);
        };
        check(Some("inbox"), false, Route::WellKnown("inbox", None));
        check(
            Some("SentItems"),
            false,
            Route::WellKnown("sentitems", None),
        );
        check(Some("inbox"), true, Route::ByName(None));
        check(Some("msgfolderroot"), true, Route::Root);
        check(None, false, Route::ByName(None));
        check(Some("something-new"), false, Route::ByName(None));
        let drafts = Route::WellKnown("drafts", Some(LossCode::OutboxToDrafts));
        check(Some("outbox"), false, drafts);
        check(Some("outbox"), true, Route::ByName(None));
        check(
            Some("searchfolders"),
            false,
            Route::Omitted(LossCode::ComputedFolder),
        );
        let ordinary = Route::ByName(Some(LossCode::SpecialFolderAsOrdinary));
        check(Some("recoverableitemsdeletions"), false, ordinary);
    }

    #[test]
    fn the_top_of_a_drive_maps_to_the_top() {
        let check = |parent, expected| {
            let container = folder("x", parent, None);
            assert_eq!(route(&container, &Service::OneDrive, false), expected);
        };
        check(None, Route::Root);
        check(Some("r"), Route::ByName(None));
    }

    #[test]
    fn a_subtree_holds_everything_below() {
        let list = [
            folder("c", Some("b"), None),
            folder("b", Some("a"), None),
            folder("a", None, None),
            folder("d", Some("a"), None),
        ];
        assert_eq!(subtree(&list, "b"), BTreeSet::from(["b", "c"]));
        assert_eq!(subtree(&list, "a").len(), 4);
    }

    proptest! {
        #[test]
        fn order_is_complete_and_parents_come_first(
            parents in prop::collection::vec(prop::option::of(0usize..12), 0..12)
        ) {
            let list: Vec<Container> = parents.iter().enumerate().map(|(at, parent)| {
                folder(&format!("{at}"), parent.map(|p| p.to_string()).as_deref(), None)
            }).collect();
            let order = parents_first(&list);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..list.len()).collect::<Vec<_>>());
            // Without a cycle a parent always comes first.
            let acyclic = parents.iter().enumerate().all(|(at, p)| p.is_none_or(|p| p < at));
            if acyclic {
                for (at, parent) in parents.iter().enumerate() {
                    if let Some(parent) = parent {
                        let place = |of: usize| order.iter().position(|x| *x == of);
                        prop_assert!(place(*parent) < place(at));
                    }
                }
            }
        }
    }
}
