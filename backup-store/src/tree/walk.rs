//! Walking a tree in key order: node by node of one level, or entry by entry of a range.

use std::ops::{Bound, RangeBounds};

use bytes::Bytes;

use super::node::{Node, Payload, Record};
use super::{NodeSource, read_node, read_value};
use crate::{Error, Result, TreeRoot};

/// Reads the child that a record of an index node names, and checks that it fits its place.
pub(super) async fn read_child(
    nodes: &impl NodeSource,
    record: &Record,
    level: u8,
) -> Result<Node> {
    let Payload::Child { id, entries } = record.payload else {
        return Err(Error::damaged(
            "tree node",
            "it has a value where a child should be",
        ));
    };
    let reference = TreeRoot {
        node: id,
        level,
        entries,
    };
    let node = read_node(nodes, &reference).await?;
    if node.last_key() == Some(&record.key) {
        Ok(node)
    } else {
        Err(Error::damaged(
            format!("tree node {id}"),
            "it ends at another key than referred to",
        ))
    }
}

/// A node, and how the level above refers to it.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) node: Node,
    pub(super) reference: Record,
}

/// Delivers the nodes of one level in key order.
#[derive(Debug)]
pub(super) struct Walk<S> {
    nodes: S,
    root: TreeRoot,
    level: u8,
    /// Index nodes from the root down to the level above, each with the position of its child.
    path: Vec<(Node, usize)>,
}

impl<S: NodeSource> Walk<S> {
    pub(super) fn new(nodes: S, root: &TreeRoot, level: u8) -> Self {
        Self {
            nodes,
            root: *root,
            level,
            path: Vec::new(),
        }
    }

    pub(super) fn nodes(&self) -> &S {
        &self.nodes
    }

    /// Goes forward to the node in which `key` lies or would lie: the first that does not end
    /// before it, otherwise the last of the level. Absent in an empty tree.
    pub(super) async fn seek(&mut self, key: &[u8]) -> Result<Option<Placed>> {
        if self.root.entries == 0 {
            return Ok(None);
        }
        if self.root.level == self.level {
            return self.read_root().await.map(Some);
        }
        let ends_before = |node: &Node| node.last_key().is_none_or(|last| last[..] < *key);
        while self.path.last().is_some_and(|(node, _)| ends_before(node)) {
            self.path.pop();
        }
        if self.path.is_empty() {
            let root = read_node(&self.nodes, &self.root).await?;
            self.path.push((root, 0));
        }
        if let Some((node, at)) = self.path.last_mut() {
            *at = node.position(key).min(node.records.len() - 1);
        }
        self.descend(|node| node.position(key).min(node.records.len() - 1))
            .await
    }

    /// Tells whether the node delivered last is the last of its level.
    pub(super) fn is_at_end(&self) -> bool {
        self.path
            .iter()
            .all(|(node, at)| at + 1 == node.records.len())
    }

    async fn read_root(&self) -> Result<Placed> {
        let TreeRoot {
            node: id, entries, ..
        } = self.root;
        let node = read_node(&self.nodes, &self.root).await?;
        let key = node.last_key().cloned().unwrap_or_default();
        Ok(Placed {
            node,
            reference: Record {
                key,
                payload: Payload::Child { id, entries },
            },
        })
    }

    /// Goes on to the next node of the level.
    pub(super) async fn next(&mut self) -> Result<Option<Placed>> {
        loop {
            let Some((node, at)) = self.path.last_mut() else {
                return Ok(None);
            };
            *at += 1;
            if *at < node.records.len() {
                return self.descend(|_| 0).await;
            }
            self.path.pop();
        }
    }

    /// Reads down from the child at which the path points; `choose` picks a child on the way.
    async fn descend(&mut self, choose: impl Fn(&Node) -> usize + Send) -> Result<Option<Placed>> {
        loop {
            let Some((parent, at)) = self.path.last() else {
                return Ok(None);
            };
            // An index node of level 0 cannot be decoded, so the level below exists.
            let below = parent.level.saturating_sub(1);
            let reference = &parent.records[*at];
            let node = read_child(&self.nodes, reference, below).await?;
            if node.level == self.level {
                return Ok(Some(Placed {
                    node,
                    reference: reference.clone(),
                }));
            }
            let at = choose(&node);
            self.path.push((node, at));
        }
    }
}

/// Delivers the entries of a key range in order, one leaf in memory at a time.
#[derive(Debug)]
pub struct Scan<S> {
    walk: Walk<S>,
    start: Bound<Vec<u8>>,
    end: Bound<Vec<u8>>,
    leaf: std::vec::IntoIter<Record>,
    begun: bool,
    ended: bool,
}

impl<S: NodeSource> Scan<S> {
    /// Starts a scan; nothing is read yet.
    pub fn new(nodes: S, root: &TreeRoot, range: impl RangeBounds<Vec<u8>>) -> Self {
        Self {
            walk: Walk::new(nodes, root, 0),
            start: range.start_bound().cloned(),
            end: range.end_bound().cloned(),
            leaf: Vec::new().into_iter(),
            begun: false,
            ended: false,
        }
    }

    /// Returns the next entry: key and value.
    ///
    /// After an error the scan is over.
    ///
    /// *Errors*: those of the store; `Damaged` if a node is not what it should be.
    ///
    /// *Cancel safety*: a dropped call skips nothing that was not delivered, unless it was
    /// reading a large value; start anew after the last key.
    pub async fn next(&mut self) -> Option<Result<(Bytes, Bytes)>> {
        let entry = self.next_entry().await.transpose();
        self.ended |= !matches!(entry, Some(Ok(_)));
        entry
    }

    async fn next_entry(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        while !self.ended {
            let Some(record) = self.leaf.next() else {
                if !self.next_leaf().await? {
                    break;
                }
                continue;
            };
            if self.is_before_start(&record.key) {
                continue;
            }
            if self.is_after_end(&record.key) {
                break;
            }
            let value = read_value(self.walk.nodes(), &record.payload).await?;
            return Ok(Some((record.key, value)));
        }
        Ok(None)
    }

    async fn next_leaf(&mut self) -> Result<bool> {
        let leaf = if self.begun {
            self.walk.next().await?
        } else {
            let start = match &self.start {
                Bound::Included(key) | Bound::Excluded(key) => key.as_slice(),
                Bound::Unbounded => &[],
            };
            self.walk.seek(start).await?
        };
        self.begun = true;
        let found = leaf.is_some();
        self.leaf = leaf
            .map(|leaf| leaf.node.records)
            .unwrap_or_default()
            .into_iter();
        Ok(found)
    }

    fn is_before_start(&self, key: &[u8]) -> bool {
        match &self.start {
            Bound::Included(start) => key < start.as_slice(),
            Bound::Excluded(start) => key <= start.as_slice(),
            Bound::Unbounded => false,
        }
    }

    fn is_after_end(&self, key: &[u8]) -> bool {
        match &self.end {
            Bound::Included(end) => key > end.as_slice(),
            Bound::Excluded(end) => key >= end.as_slice(),
            Bound::Unbounded => false,
        }
    }
}

/// Returns the value under a key.
///
/// *Errors*: those of the store; `Damaged` if a node is not what it should be.
pub async fn get(nodes: &impl NodeSource, root: &TreeRoot, key: &[u8]) -> Result<Option<Bytes>> {
    let Some(Placed { node, .. }) = Walk::new(nodes, root, 0).seek(key).await? else {
        return Ok(None);
    };
    match node.records.get(node.position(key)) {
        Some(record) if record.key == key => read_value(nodes, &record.payload).await.map(Some),
        _ => Ok(None),
    }
}
