//! The differences of two trees, found without reading what they share.
//!
//! Two sides are walked together. Everything before both positions is settled, so that two
//! subtrees with one id hold the same and are skipped. A subtree is opened only where its
//! entries may meet entries of the other side.

use std::cmp::Ordering;

use bytes::Bytes;

use super::node::{Payload, Record};
use super::walk::read_child;
use super::{NodeSource, read_node, read_value};
use crate::{Result, TreeRoot};

/// One key whose values differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The key.
    pub key: Bytes,
    /// Its value in the first tree, if it is there.
    pub before: Option<Bytes>,
    /// Its value in the second tree, if it is there.
    pub after: Option<Bytes>,
}

/// Delivers the differences of two trees in key order.
///
/// *Units and limits*: reads nodes in proportion to the differences; holds two paths of nodes.
#[derive(Debug)]
pub struct Differences<S> {
    nodes: S,
    before: Side,
    after: Side,
    ended: bool,
}

/// What is next on a side.
#[derive(Debug, Clone)]
enum Head {
    /// A whole subtree, ending at `last` if that is known.
    Subtree {
        level: u8,
        last: Option<Bytes>,
        reference: Record,
    },
    Entry(Record),
}

/// One tree, walked from left to right.
#[derive(Debug)]
struct Side {
    /// Open nodes, the root first: level of their records' children plus one, records to come.
    path: Vec<(u8, std::vec::IntoIter<Record>)>,
    root: Option<TreeRoot>,
    /// Everything that is still to come has greater keys.
    floor: Option<Bytes>,
}

impl Side {
    fn new(root: &TreeRoot) -> Self {
        let root = (root.entries > 0).then_some(*root);
        Self {
            path: Vec::new(),
            root,
            floor: None,
        }
    }

    fn head(&mut self) -> Option<Head> {
        if let Some(root) = self.root {
            let payload = Payload::Child {
                id: root.node,
                entries: root.entries,
            };
            let reference = Record {
                key: Bytes::new(),
                payload,
            };
            return Some(Head::Subtree {
                level: root.level,
                last: None,
                reference,
            });
        }
        loop {
            let (level, records) = self.path.last_mut()?;
            match records.as_slice().first() {
                None => self.path.pop(),
                Some(record) if *level == 0 => return Some(Head::Entry(record.clone())),
                Some(record) => {
                    let last = Some(record.key.clone());
                    let reference = record.clone();
                    return Some(Head::Subtree {
                        level: *level - 1,
                        last,
                        reference,
                    });
                }
            };
        }
    }

    /// Goes past the head.
    fn skip(&mut self) {
        if self.root.take().is_some() {
            return;
        }
        if let Some(record) = self.path.last_mut().and_then(|(_, records)| records.next()) {
            self.floor = Some(record.key);
        }
    }

    /// Replaces the subtree at the head by what it holds.
    async fn open(&mut self, nodes: &impl NodeSource) -> Result<()> {
        let node = match self.root.take() {
            Some(root) => read_node(nodes, &root).await?,
            None => {
                let Some((level, records)) = self.path.last_mut() else {
                    return Ok(());
                };
                let Some(record) = records.next() else {
                    return Ok(());
                };
                read_child(nodes, &record, level.saturating_sub(1)).await?
            }
        };
        self.path.push((node.level, node.records.into_iter()));
        Ok(())
    }

    /// Tells whether everything to come here lies behind `key`.
    fn is_behind(&self, key: &Bytes) -> bool {
        self.floor.as_ref().is_some_and(|floor| key <= floor)
    }
}

/// What to do next.
enum Step {
    Done,
    SkipBoth,
    Open {
        before: bool,
        after: bool,
    },
    Report {
        before: Option<Record>,
        after: Option<Record>,
    },
}

impl<S: NodeSource> Differences<S> {
    /// Starts comparing; nothing is read yet.
    pub fn new(nodes: S, before: &TreeRoot, after: &TreeRoot) -> Self {
        Self {
            nodes,
            before: Side::new(before),
            after: Side::new(after),
            ended: false,
        }
    }

    /// Returns the next difference. After an error the comparison is over.
    ///
    /// *Errors*: those of the store; `Damaged` if a node is not what it should be.
    pub async fn next(&mut self) -> Option<Result<Difference>> {
        let next = if self.ended {
            None
        } else {
            self.advance().await.transpose()
        };
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }

    async fn advance(&mut self) -> Result<Option<Difference>> {
        loop {
            match self.step() {
                Step::Done => return Ok(None),
                Step::SkipBoth => {
                    self.before.skip();
                    self.after.skip();
                }
                Step::Open { before, after } => {
                    if before {
                        self.before.open(&self.nodes).await?;
                    }
                    if after {
                        self.after.open(&self.nodes).await?;
                    }
                }
                Step::Report { before, after } => {
                    return self.report(before, after).await.map(Some);
                }
            }
        }
    }

    fn step(&mut self) -> Step {
        let open = |before, after| Step::Open { before, after };
        match (self.before.head(), self.after.head()) {
            (None, None) => Step::Done,
            (Some(Head::Subtree { .. }), None) => open(true, false),
            (None, Some(Head::Subtree { .. })) => open(false, true),
            (Some(Head::Entry(entry)), None) => removed(entry),
            (None, Some(Head::Entry(entry))) => added(entry),
            (Some(Head::Entry(entry)), Some(Head::Subtree { .. })) => {
                if self.after.is_behind(&entry.key) {
                    removed(entry)
                } else {
                    open(false, true)
                }
            }
            (Some(Head::Subtree { .. }), Some(Head::Entry(entry))) => {
                if self.before.is_behind(&entry.key) {
                    added(entry)
                } else {
                    open(true, false)
                }
            }
            (Some(Head::Entry(before)), Some(Head::Entry(after))) => {
                match before.key.cmp(&after.key) {
                    Ordering::Less => removed(before),
                    Ordering::Greater => added(after),
                    Ordering::Equal if before.payload == after.payload => Step::SkipBoth,
                    Ordering::Equal => Step::Report {
                        before: Some(before),
                        after: Some(after),
                    },
                }
            }
            (
                Some(Head::Subtree {
                    level: left,
                    last,
                    reference,
                }),
                Some(Head::Subtree {
                    level: right,
                    last: other_last,
                    reference: other,
                }),
            ) => {
                if left == right && reference.payload == other.payload {
                    Step::SkipBoth
                } else if last.is_some_and(|last| self.after.is_behind(&last)) {
                    open(true, false)
                } else if other_last.is_some_and(|last| self.before.is_behind(&last)) {
                    open(false, true)
                } else {
                    open(left >= right, right >= left)
                }
            }
        }
    }

    async fn report(
        &mut self,
        before: Option<Record>,
        after: Option<Record>,
    ) -> Result<Difference> {
        let key = before
            .as_ref()
            .or(after.as_ref())
            .map(|record| record.key.clone());
        let values = (
            self.value(before.as_ref()).await?,
            self.value(after.as_ref()).await?,
        );
        if before.is_some() {
            self.before.skip();
        }
        if after.is_some() {
            self.after.skip();
        }
        let (before, after) = values;
        Ok(Difference {
            key: key.unwrap_or_default(),
            before,
            after,
        })
    }

    async fn value(&self, record: Option<&Record>) -> Result<Option<Bytes>> {
        match record {
            Some(record) => read_value(&self.nodes, &record.payload).await.map(Some),
            None => Ok(None),
        }
    }
}

fn removed(entry: Record) -> Step {
    Step::Report {
        before: Some(entry),
        after: None,
    }
}

fn added(entry: Record) -> Step {
    Step::Report {
        before: None,
        after: Some(entry),
    }
}
