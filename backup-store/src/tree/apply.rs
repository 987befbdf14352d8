//! Applying edits: rewrites the nodes they touch, and gives the tree that a full build gives.
//!
//! Level by level from the leaves. In each level the records are cut anew from the start of a
//! touched node, until a new boundary meets an old one with no edit left before it; the state of
//! the rule is reset at every boundary, so that from there on nothing can differ. What nodes went
//! and came are the edits of the level above.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::vec::IntoIter;

use bytes::Bytes;

use super::boundary::{BoundaryKey, Chunker, Ended};
use super::build::{Levels, store};
use super::node::{Payload, Record};
use super::walk::{Placed, Walk};
use super::{NodeStore, empty, make_record, read_node};
use crate::{Error, ErrorKind, Result, TreeRoot};

/// A change of one entry: its key, and its new value, or none to remove it.
pub type Edit = (Vec<u8>, Option<Vec<u8>>);

/// Records that come (or go) at one level, in key order.
type LevelEdits = Vec<(Bytes, Option<Record>)>;

/// Applies edits to a tree and returns the new root.
///
/// Edits that change nothing return the same root; removing a key that is not there is one.
///
/// *Units and limits*: holds the edits, one node per level, and the records of touched nodes.
///
/// *Errors*: `InvalidInput` unless keys ascend strictly, `TooLarge` for a key or value over the
/// limits, `Damaged` if a node is not what it should be, and those of the store.
///
/// *Cancel safety*: a dropped call leaves unreferenced nodes at most.
pub async fn apply<S: NodeStore>(
    nodes: &S,
    boundary: &BoundaryKey,
    root: &TreeRoot,
    edits: Vec<Edit>,
) -> Result<TreeRoot> {
    if edits.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "tree edits: keys out of order",
        ));
    }
    let mut level_edits = LevelEdits::with_capacity(edits.len());
    for (key, value) in edits {
        let key = Bytes::from(key);
        let record = match value {
            Some(value) => Some(make_record(nodes, key.clone(), value.into()).await?),
            None => None,
        };
        level_edits.push((key, record));
    }
    for level in 0..root.level {
        let changes = Pass::run(nodes, boundary, root, level, level_edits).await?;
        level_edits = changes.into_edits();
        if level_edits.is_empty() {
            return Ok(*root);
        }
    }
    if level_edits.is_empty() {
        return Ok(*root);
    }
    let changes = Pass::run(nodes, boundary, root, root.level, level_edits).await?;
    grow_or_shrink(nodes, boundary, root.level, changes.into_nodes()).await
}

/// Finds the root over all nodes of what was the root's level.
async fn grow_or_shrink<S: NodeStore>(
    nodes: &S,
    boundary: &BoundaryKey,
    level: u8,
    mut tops: Vec<Record>,
) -> Result<TreeRoot> {
    if tops.len() > 1 {
        let mut levels = Levels::new(level + 1);
        for top in tops {
            levels.push(nodes, boundary, top).await?;
        }
        return levels.finish(nodes, boundary).await;
    }
    let Some(Record {
        payload: Payload::Child { id, entries },
        ..
    }) = tops.pop()
    else {
        return empty(nodes).await;
    };
    let mut root = TreeRoot {
        node: id,
        level,
        entries,
    };
    // The root is the first level with one node: an index node with one child is none.
    while root.level > 0 {
        let node = read_node(nodes, &root).await?;
        let [
            Record {
                payload: Payload::Child { id, entries },
                ..
            },
        ] = &node.records[..]
        else {
            break;
        };
        root = TreeRoot {
            node: *id,
            level: root.level - 1,
            entries: *entries,
        };
    }
    Ok(root)
}

/// Nodes of one level by their last key: the one that went, the one that came.
#[derive(Default)]
struct Changes(BTreeMap<Bytes, (Option<Record>, Option<Record>)>);

impl Changes {
    fn went(&mut self, record: Record) {
        let key = record.key.clone();
        self.0.entry(key).or_default().0 = Some(record);
    }

    fn came(&mut self, record: Record) {
        let key = record.key.clone();
        self.0.entry(key).or_default().1 = Some(record);
    }

    /// What has changed, as edits of the level above.
    fn into_edits(self) -> LevelEdits {
        let changed = self.0.into_iter().filter(|(_, (old, new))| old != new);
        changed.map(|(key, (_, new))| (key, new)).collect()
    }

    /// The nodes that are there now.
    fn into_nodes(self) -> Vec<Record> {
        self.0.into_values().filter_map(|(_, new)| new).collect()
    }
}

/// Cuts one level anew where edits touch it.
struct Pass<'a, S> {
    nodes: &'a S,
    edits: Peekable<IntoIter<(Bytes, Option<Record>)>>,
    chunker: Chunker,
    changes: Changes,
    /// The old node that was read last: its bytes, and how the level above refers to it.
    old: Option<(Bytes, Record)>,
}

impl<'a, S: NodeStore> Pass<'a, S> {
    async fn run(
        nodes: &'a S,
        boundary: &BoundaryKey,
        root: &TreeRoot,
        level: u8,
        edits: LevelEdits,
    ) -> Result<Changes> {
        let mut pass = Self {
            nodes,
            edits: edits.into_iter().peekable(),
            chunker: Chunker::new(boundary, level),
            changes: Changes::default(),
            old: None,
        };
        let mut walk = Walk::new(nodes, root, level);
        while let Some((key, _)) = pass.edits.peek() {
            let mut old = walk.seek(key).await?;
            loop {
                let at_end = old.is_none() || walk.is_at_end();
                if let Some(placed) = old {
                    pass.merge(placed).await?;
                }
                if at_end {
                    pass.end_level().await?;
                    break;
                }
                if pass.chunker.at_boundary() {
                    break;
                }
                old = walk.next().await?;
            }
        }
        Ok(pass.changes)
    }

    /// Passes on the records of an old node, edited; edits behind its last key are left.
    async fn merge(&mut self, placed: Placed) -> Result<()> {
        let Placed { node, reference } = placed;
        self.changes.went(reference.clone());
        self.old = Some((node.encoded, reference));
        for record in node.records {
            while let Some((_, new)) = self.edits.next_if(|(key, _)| *key < record.key) {
                self.push(new).await?;
            }
            match self.edits.next_if(|(key, _)| *key == record.key) {
                Some((_, new)) => self.push(new).await?,
                None => self.push(Some(record)).await?,
            }
        }
        Ok(())
    }

    /// Passes on the edits behind the last key of the level, and ends its last node.
    async fn end_level(&mut self) -> Result<()> {
        while let Some((_, new)) = self.edits.next() {
            self.push(new).await?;
        }
        match self.chunker.finish() {
            Some(ended) => self.came(ended).await,
            None => Ok(()),
        }
    }

    async fn push(&mut self, record: Option<Record>) -> Result<()> {
        match record.and_then(|record| self.chunker.push(&record)) {
            Some(ended) => self.came(ended).await,
            None => Ok(()),
        }
    }

    async fn came(&mut self, ended: Ended) -> Result<()> {
        let record = match &self.old {
            Some((bytes, reference)) if *bytes == ended.bytes => reference.clone(),
            _ => store(self.nodes, ended).await?,
        };
        self.changes.came(record);
        Ok(())
    }
}
