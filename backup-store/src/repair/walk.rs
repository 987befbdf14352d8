//! Walking a tree of which parts may be lost: what can be read is delivered in order, and what
//! cannot is counted.

use bytes::Bytes;

use super::salvage::is_damage;
use crate::tree::{self, Node, NodeSource, Payload, Record};
use crate::{Result, TreeRoot};

/// What a walk delivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// An entry: key and value; no value where that is lost.
    Entry(Bytes, Option<Bytes>),
    /// A subtree that is lost with this many entries.
    Lost(u64),
}

/// Walks one tree from left to right.
pub(super) struct Walk<S> {
    nodes: S,
    root: Option<TreeRoot>,
    /// Level of each open node, and its records to come.
    path: Vec<(u8, std::vec::IntoIter<Record>)>,
    /// The key of the last entry: what does not follow it is not delivered.
    last: Option<Bytes>,
}

impl<S: NodeSource> Walk<S> {
    pub(super) fn new(nodes: S, root: &TreeRoot) -> Self {
        Self {
            nodes,
            root: (root.entries > 0).then_some(*root),
            path: Vec::new(),
            last: None,
        }
    }

    /// Returns what comes next.
    ///
    /// *Errors*: those of a backend that does not answer; damage is no error here.
    pub(super) async fn next(&mut self) -> Result<Option<Step>> {
        loop {
            let (root, last) = if let Some(root) = self.root.take() {
                (root, None)
            } else {
                let Some((level, records)) = self.path.last_mut() else {
                    return Ok(None);
                };
                let Some(record) = records.next() else {
                    self.path.pop();
                    continue;
                };
                match record.payload {
                    Payload::Child { id, entries } => {
                        let level = level.saturating_sub(1);
                        let node = TreeRoot {
                            node: id,
                            level,
                            entries,
                        };
                        (node, Some(record.key))
                    }
                    _ => match self.entry(record).await? {
                        Some(step) => return Ok(Some(step)),
                        None => continue,
                    },
                }
            };
            match self.open(&root, last.as_ref()).await? {
                Some(node) => self.path.push((node.level, node.records.into_iter())),
                None => return Ok(Some(Step::Lost(root.entries))),
            }
        }
    }

    async fn entry(&mut self, record: Record) -> Result<Option<Step>> {
        if self.last.as_ref().is_some_and(|last| record.key <= last) {
            return Ok(None);
        }
        self.last = Some(record.key.clone());
        let value = match tree::read_value(&self.nodes, &record.payload).await {
            Ok(value) => Some(value),
            Err(cause) if is_damage(&cause) => None,
            Err(cause) => return Err(cause),
        };
        Ok(Some(Step::Entry(record.key, value)))
    }

    async fn open(&self, root: &TreeRoot, last: Option<&Bytes>) -> Result<Option<Node>> {
        match tree::read_node(&self.nodes, root).await {
            Ok(node) if last.is_none_or(|last| node.last_key() == Some(last)) => Ok(Some(node)),
            Ok(_) => Ok(None),
            Err(cause) if is_damage(&cause) => Ok(None),
            Err(cause) => Err(cause),
        }
    }
}
