//! Browsing a snapshot: its containers and items, read lazily from the trees.

use std::collections::HashSet;

use bytes::Bytes;

use super::{Container, Item, ItemKey, RunNote, Snapshot};
use crate::tree::{self, NodeSource, Scan};
use crate::{Error, ErrorKind, Result, Store, TreeRoot};

/// A path is cut off at this many containers, so that damaged parents cannot lead in a circle.
const PATH_MAX_CONTAINERS: usize = 1_000;

/// Reads what a snapshot holds.
///
/// *Units and limits*: a scan holds one leaf of the tree; containers are few and held whole.
#[derive(Debug, Clone)]
pub struct Browse<S = Store> {
    nodes: S,
    containers: TreeRoot,
    items: TreeRoot,
    notes: TreeRoot,
}

impl Browse {
    /// Starts browsing; nothing is read yet.
    pub fn new(store: &Store, snapshot: &Snapshot) -> Self {
        Self::over(store.clone(), snapshot)
    }
}

impl<S: NodeSource + Clone> Browse<S> {
    /// Starts browsing over another source of nodes, such as a writer's.
    pub fn over(nodes: S, snapshot: &Snapshot) -> Self {
        Self {
            nodes,
            containers: snapshot.containers,
            items: snapshot.items,
            notes: snapshot.notes,
        }
    }

    /// Returns all containers, ordered by id.
    ///
    /// *Errors*: those of the store; `Damaged` if a record is not what it should be.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        let mut scan = Scan::new(&self.nodes, &self.containers, ..);
        let mut containers = Vec::new();
        while let Some(entry) = scan.next().await {
            let (key, record) = entry?;
            containers.push(Container::decode(&key, &record)?);
        }
        Ok(containers)
    }

    /// Returns one container, if the snapshot has it.
    pub async fn container(&self, id: &str) -> Result<Option<Container>> {
        let record = tree::get(&self.nodes, &self.containers, id.as_bytes()).await?;
        record
            .map(|record| Container::decode(id.as_bytes(), &record))
            .transpose()
    }

    /// Returns the names from the top to a container, joined by `/`.
    ///
    /// A name with a `/` is not escaped: paths are for people, ids for programs. A parent that
    /// the snapshot does not hold ends the path.
    ///
    /// *Errors*: `NotFound` if the snapshot has no such container.
    pub async fn path_of(&self, container: &str) -> Result<String> {
        let mut names = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(container.to_owned());
        while let Some(id) = next.filter(|id| seen.insert(id.clone())) {
            let Some(container) = self.container(&id).await? else {
                break;
            };
            names.push(container.name);
            next = container
                .parent
                .filter(|_| names.len() < PATH_MAX_CONTAINERS);
        }
        if names.is_empty() {
            let words = format!("container {container}: not in the snapshot");
            return Err(Error::new(ErrorKind::NotFound, words));
        }
        names.reverse();
        Ok(names.join("/"))
    }

    /// Scans all items, by container and creation time.
    pub fn items(&self) -> Items<S> {
        Items(Scan::new(self.nodes.clone(), &self.items, ..))
    }

    /// Scans the items that lie directly in a container, by creation time.
    pub fn items_in(&self, container: &str) -> Items<S> {
        let range = ItemKey::container_range(container);
        Items(Scan::new(self.nodes.clone(), &self.items, range))
    }

    /// Returns one item, if the snapshot has it.
    pub async fn item(&self, key: &ItemKey) -> Result<Option<Item>> {
        let key = key.encode();
        let record = tree::get(&self.nodes, &self.items, &key).await?;
        record.map(|record| Item::decode(&key, &record)).transpose()
    }

    /// Returns what depends on the run about an item, if anything is noted.
    pub async fn note(&self, key: &ItemKey) -> Result<Option<RunNote>> {
        let record = tree::get(&self.nodes, &self.notes, &key.encode()).await?;
        record.map(|record| RunNote::decode(&record)).transpose()
    }
}

/// Delivers items in the order of their keys.
#[derive(Debug)]
pub struct Items<S = Store>(Scan<S>);

impl<S: NodeSource> Items<S> {
    /// Returns the next item.
    ///
    /// A record that cannot be decoded is one error, and the scan goes on; an error of the store
    /// ends it.
    pub async fn next(&mut self) -> Option<Result<Item>> {
        let decode = |(key, record): (Bytes, Bytes)| Item::decode(&key, &record);
        self.0.next().await.map(|entry| entry.and_then(decode))
    }
}
