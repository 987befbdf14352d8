//! Searching a snapshot by scanning its items: no index, nothing in plaintext on disk.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::words::Words;
use super::{Browse, Container, Item, ItemKind, Items};
use crate::tree::NodeSource;
use crate::{Result, Store, Timestamp};

/// Says what is looked for; every condition that is set must hold.
///
/// Text is compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Found in the name, the sender or a recipient.
    pub text: Option<String>,
    /// Found in the name.
    pub name: Option<String>,
    /// Found in the sender.
    pub sender: Option<String>,
    /// Found in a recipient.
    pub recipient: Option<String>,
    /// The container's path: this one or one below it, as in `Inbox/Projects`.
    pub path: Option<String>,
    /// The kind of item.
    pub kind: Option<ItemKind>,
    /// Created within these times; the end is excluded.
    pub created: Option<Range<Timestamp>>,
    /// Each found in the name, the sender, a recipient or the path; with `*` and `?` for any text
    /// and any character, such a word stands for the whole of one of these.
    pub words: Vec<String>,
}

impl Filter {
    /// Tells whether a container of this path, or one the snapshot lacks, meets the path condition.
    pub(crate) fn is_within(&self, path: Option<&str>) -> bool {
        let Some(wanted) = &self.path else {
            return true;
        };
        let wanted = wanted.trim_matches('/').to_lowercase();
        path.is_some_and(|path| {
            let path = path.to_lowercase();
            let below = path.strip_prefix(&wanted);
            wanted.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    pub(crate) fn prepared(&self) -> Prepared {
        let lower = |text: &Option<String>| text.as_deref().map(str::to_lowercase);
        Prepared {
            text: lower(&self.text),
            name: lower(&self.name),
            sender: lower(&self.sender),
            recipient: lower(&self.recipient),
            kind: self.kind.clone(),
            created: self.created.clone(),
            words: Words::new(&self.words),
        }
    }
}

/// The conditions on an item, and the words, in lower case.
#[derive(Debug)]
pub(crate) struct Prepared {
    text: Option<String>,
    name: Option<String>,
    sender: Option<String>,
    recipient: Option<String>,
    kind: Option<ItemKind>,
    created: Option<Range<Timestamp>>,
    pub(crate) words: Words,
}

impl Prepared {
    /// Tells whether an item meets every condition except path and words.
    pub(crate) fn matches(&self, item: &Item) -> bool {
        let within = |range: &Range<Timestamp>| range.contains(&item.key.created);
        let sender = item.sender.as_slice();
        self.kind.as_ref().is_none_or(|kind| *kind == item.kind)
            && self.created.as_ref().is_none_or(within)
            && found(self.name.as_deref(), [&item.name])
            && found(self.sender.as_deref(), sender)
            && found(self.recipient.as_deref(), &item.recipients)
            && found(
                self.text.as_deref(),
                sender.iter().chain([&item.name]).chain(&item.recipients),
            )
    }

    /// Tells whether every word occurs in an item or in the path of its container.
    pub(crate) fn match_words(&self, item: &Item, path: Option<&str>) -> bool {
        if self.words.is_empty() {
            return true;
        }
        let texts = [item.name.as_str()].into_iter().chain(path);
        let texts = texts.chain(item.sender.as_deref());
        let texts = texts.chain(item.recipients.iter().map(String::as_str));
        let texts: Vec<String> = texts.map(str::to_lowercase).collect();
        self.words.match_texts(&texts)
    }
}

fn found<'a>(wanted: Option<&str>, texts: impl IntoIterator<Item = &'a String>) -> bool {
    let Some(wanted) = wanted else {
        return true;
    };
    texts
        .into_iter()
        .any(|text| text.to_lowercase().contains(wanted))
}

/// One item that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The path of the container it lies in; the container's id where the snapshot lacks it.
    pub path: String,
    /// The item.
    pub item: Item,
}

/// Delivers the items of a snapshot that meet a filter.
///
/// *Units and limits*: holds the containers' paths and one leaf of the item tree.
#[derive(Debug)]
pub struct Search<S = Store> {
    filter: Prepared,
    paths: HashMap<String, String>,
    /// The scans to make; one over everything, or one for each container of the path.
    scans: std::vec::IntoIter<Items<S>>,
    current: Option<Items<S>>,
}

impl<S: NodeSource + Clone> Search<S> {
    /// Starts a search: reads the containers, not yet the items.
    ///
    /// A path that no container has finds nothing.
    pub async fn begin(browse: &Browse<S>, filter: &Filter) -> Result<Self> {
        let containers = browse.containers().await?;
        let paths = paths(&containers);
        let scans = match &filter.path {
            None => vec![browse.items()],
            Some(_) => {
                let mut within: Vec<&String> = paths
                    .iter()
                    .filter(|(_, path)| filter.is_within(Some(path)))
                    .map(|(id, _)| id)
                    .collect();
                within.sort_unstable();
                within.into_iter().map(|id| browse.items_in(id)).collect()
            }
        };
        let filter = filter.prepared();
        Ok(Self {
            filter,
            paths,
            scans: scans.into_iter(),
            current: None,
        })
    }

    /// Returns the next item that meets the filter.
    ///
    /// *Errors*: those of [`Items::next`]; the search goes on after them where it can.
    pub async fn next(&mut self) -> Option<Result<Found>> {
        loop {
            let Some(items) = &mut self.current else {
                self.current = Some(self.scans.next()?);
                continue;
            };
            match items.next().await {
                None => self.current = None,
                Some(Err(error)) => return Some(Err(error)),
                Some(Ok(item)) => {
                    let id = &item.key.container;
                    let path = self.paths.get(id);
                    let known = path.map(String::as_str);
                    if self.filter.matches(&item) && self.filter.match_words(&item, known) {
                        let path = path.unwrap_or(id).clone();
                        return Some(Ok(Found { path, item }));
                    }
                }
            }
        }
    }
}

/// Works out the path of every container: the names from the top, joined by `/`.
pub fn paths(containers: &[Container]) -> HashMap<String, String> {
    let by_id: HashMap<&str, &Container> = containers
        .iter()
        .map(|each| (each.id.as_str(), each))
        .collect();
    let path = |container: &Container| {
        let mut names = vec![container.name.as_str()];
        let mut seen = HashSet::from([container.id.as_str()]);
        let mut parent = container.parent.as_deref();
        while let Some(above) = parent
            .filter(|id| seen.insert(*id))
            .and_then(|id| by_id.get(id))
        {
            names.push(&above.name);
            parent = above.parent.as_deref();
        }
        names.reverse();
        names.join("/")
    };
    containers
        .iter()
        .map(|each| (each.id.clone(), path(each)))
        .collect()
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::samples::{container, item, snapshot};
    use super::*;
    use crate::ErrorKind;
    use crate::tree::memory::MemoryNodes;

    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().unwrap()
    }

    fn mailbox(nodes: &MemoryNodes) -> Browse<&MemoryNodes> {
        let containers = [
            container("1", None, "Inbox"),
            container("2", Some("1"), "Projects"),
            container("3", None, "Inbox Two"),
            container("4", Some("5"), "Round"),
            container("5", Some("4"), "And round"),
        ];
        let mut offer = item("2", 3, "c", "Offer for the Bridge");
        offer.sender = Some("Dana@contoso.example".to_owned());
        offer.recipients = vec![
            "alex@contoso.example".to_owned(),
            "ÉVA@contoso.example".into(),
        ];
        let items = [
            item("1", 1, "a", "Lunch"),
            item("1", 2, "b", "Bridge"),
            offer,
            item("3", 4, "d", "Minutes"),
            item("gone", 5, "e", "Orphan"),
        ];
        Browse::over(nodes, &now(snapshot(nodes, &containers, &items)))
    }

    fn check(filter: Filter, expected: &[&str]) {
        let nodes = MemoryNodes::default();
        let browse = mailbox(&nodes);
        let mut search = now(Search::begin(&browse, &filter)).unwrap();
        let mut found = Vec::new();
        while let Some(each) = now(search.next()) {
            let Found { path, item } = each.unwrap();
            found.push(format!("{path}: {}", item.name));
        }
        assert_eq!(found, expected, "{filter:?}");
    }

    #[test]
    fn search_finds_what_meets_every_condition() {
        let text = |text: &str| Some(text.to_owned());
        let all = [
            "Inbox: Lunch",
            "Inbox: Bridge",
            "Inbox/Projects: Offer for the Bridge",
        ];
        let rest = ["Inbox Two: Minutes", "gone: Orphan"];
        check(Filter::default(), &[&all[..], &rest].concat());
        check(
            Filter {
                text: text("BRIDGE"),
                ..Filter::default()
            },
            &all[1..],
        );
        check(
            Filter {
                text: text("éva@"),
                ..Filter::default()
            },
            &all[2..],
        );
        check(
            Filter {
                text: text("dana"),
                name: text("lunch"),
                ..Filter::default()
            },
            &[],
        );
        check(
            Filter {
                sender: text("dana@"),
                ..Filter::default()
            },
            &all[2..],
        );
        check(
            Filter {
                recipient: text("dana@"),
                ..Filter::default()
            },
            &[],
        );
        check(
            Filter {
                path: text("/inbox/"),
                ..Filter::default()
            },
            &all,
        );
        check(
            Filter {
                path: text("Inbox/Projects"),
                ..Filter::default()
            },
            &all[2..],
        );
        check(
            Filter {
                path: text("Projects"),
                ..Filter::default()
            },
            &[],
        );
        let created = Some(Timestamp::from_millis(2)..Timestamp::from_millis(4));
        check(
            Filter {
                created,
                ..Filter::default()
            },
            &all[1..],
        );
        let words = |words: &[&str]| Filter {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            ..Filter::default()
        };
        check(words(&["projects", "BRIDGE"]), &all[2..]);
        check(words(&["inbox/*", "dana"]), &all[2..]);
        check(words(&["l?nch"]), &all[..1]);
        check(words(&["inbox", "minutes", "dana"]), &[]);
        check(
            Filter {
                kind: Some(ItemKind::File),
                ..Filter::default()
            },
            &[],
        );
    }

    #[test]
    fn browsing_finds_containers_paths_and_items() {
        let nodes = MemoryNodes::default();
        let browse = mailbox(&nodes);
        assert_eq!(now(browse.containers()).unwrap().len(), 5);
        assert_eq!(now(browse.path_of("2")).unwrap(), "Inbox/Projects");
        assert_eq!(now(browse.path_of("4")).unwrap(), "And round/Round");
        let error = now(browse.path_of("9")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let mut inbox = browse.items_in("1");
        let mut names = Vec::new();
        while let Some(item) = now(inbox.next()) {
            names.push(item.unwrap().name);
        }
        assert_eq!(names, ["Lunch", "Bridge"]);
        let wanted = item("3", 4, "d", "Minutes");
        assert_eq!(now(browse.item(&wanted.key)).unwrap(), Some(wanted));
        assert_eq!(now(browse.item(&item("3", 5, "d", "").key)).unwrap(), None);
    }

    #[test]
    fn paths_end_where_parents_lead_in_a_circle() {
        let nodes = MemoryNodes::default();
        let containers = now(mailbox(&nodes).containers()).unwrap();
        let paths = paths(&containers);
        assert_eq!(paths["2"], "Inbox/Projects");
        assert_eq!(paths["4"], "And round/Round");
    }
}
