//! Marking: which chunks the kept snapshots need.
//!
//! Trees are streamed, each distinct node once. A chunk is marked by the first eight bytes of its
//! id: two that share them are kept or lost together as long as nobody says that one is a copy of
//! the other, which is decided by whole ids later.
//!
//! *Units and limits*: marks are in files, see `marks`; about 32 bytes of memory a distinct node.

use std::collections::HashSet;

use super::marks::{Gathering, Marks};
use crate::catalog::{Container, Item, Snapshot};
use crate::content::ContentRef;
use crate::error::{Error, Result};
use crate::id::{ChunkId, TreeRoot};
use crate::offload::offload;
use crate::store::Store;
use crate::tree::{self, Payload};

/// What the values of a tree are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Values {
    Containers,
    Items,
    Notes,
}

/// Marks what snapshots need, one after the other.
pub(super) struct Marker<'a> {
    store: &'a Store,
    marks: Gathering,
    /// Nodes that were walked: half of each id, which no two of them share.
    nodes: HashSet<([u8; 16], Values)>,
}

impl<'a> Marker<'a> {
    pub(super) fn new(store: &'a Store) -> Result<Self> {
        Ok(Self {
            store,
            marks: Gathering::new(store)?,
            nodes: HashSet::new(),
        })
    }

    /// Marks everything that a snapshot refers to.
    ///
    /// *Errors*: those of reading its trees; nothing may then be taken for unneeded.
    pub(super) async fn snapshot(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.tree(&snapshot.containers, Values::Containers).await?;
        self.tree(&snapshot.items, Values::Items).await?;
        self.tree(&snapshot.notes, Values::Notes).await?;
        for enumeration in &snapshot.enumerations {
            self.tree(&enumeration.items, Values::Items).await?;
        }
        Ok(())
    }

    pub(super) async fn finish(self) -> Result<Marks> {
        let marks = self.marks;
        offload(self.store.offload().as_ref(), move || marks.finish()).await?
    }

    /// Puts marks away when there are enough of them.
    async fn settle(&mut self) -> Result<()> {
        if self.marks.is_full() {
            let mut marks = std::mem::take(&mut self.marks);
            let settled = offload(self.store.offload().as_ref(), move || {
                marks.settle()?;
                Ok::<_, Error>(marks)
            });
            self.marks = settled.await??;
        }
        Ok(())
    }

    async fn tree(&mut self, root: &TreeRoot, values: Values) -> Result<()> {
        let mut ahead = vec![*root];
        while let Some(reference) = ahead.pop() {
            if reference.entries == 0 || !self.enter(&reference.node, values) {
                continue;
            }
            self.settle().await?;
            self.mark(&reference.node);
            let node = tree::read_node(self.store, &reference).await?;
            for record in &node.records {
                match &record.payload {
                    Payload::Child { id, entries } => ahead.push(TreeRoot {
                        node: *id,
                        level: reference.level.saturating_sub(1),
                        entries: *entries,
                    }),
                    payload => {
                        if let Payload::Outline { id, .. } = payload {
                            self.mark(id);
                        }
                        if values != Values::Notes {
                            let value = tree::read_value(self.store, payload).await?;
                            self.value(&record.key, &value, values)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, key: &[u8], value: &[u8], values: Values) -> Result<()> {
        if values == Values::Containers {
            let container = Container::decode(key, value)?;
            container
                .properties
                .iter()
                .for_each(|content| self.content(content));
        } else {
            let item = Item::decode(key, value)?;
            let contents = item.representations.iter().map(|each| &each.content);
            contents.for_each(|content| self.content(content));
        }
        Ok(())
    }

    fn content(&mut self, content: &ContentRef) {
        content.chunk_ids().for_each(|id| self.mark(id));
    }

    fn enter(&mut self, node: &ChunkId, values: Values) -> bool {
        let mut half = [0; 16];
        half.copy_from_slice(&node.as_bytes()[..16]);
        self.nodes.insert((half, values))
    }

    fn mark(&mut self, id: &ChunkId) {
        self.marks.push(id);
    }
}
