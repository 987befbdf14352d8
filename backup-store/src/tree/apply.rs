//! Applying edits: rewrites the nodes they touch, and gives the tree that a full build gives.
//!
//! In each level the records are cut anew from the start of a touched node, until a new boundary
//! meets an old one with no edit left before it; the state of the rule is reset at every boundary,
//! so that from there on nothing can differ. What nodes went and came are the edits of the level
//! above, which gets them as soon as no later one can come before them: all levels go forward
//! side by side, and nobody holds all edits.

use std::collections::BTreeMap;
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

/// Applies edits to a tree, one after the other, and returns the new root.
///
/// Edits that change nothing return the same root; removing a key that is not there is one.
/// Where edits come from something that can fail, [`Editor`] takes them one by one.
///
/// *Units and limits*: those of [`Editor`].
///
/// *Errors*: those of [`Editor::edit`].
///
/// *Cancel safety*: a dropped call leaves unreferenced nodes at most.
pub async fn apply<S: NodeStore>(
    nodes: &S,
    boundary: &BoundaryKey,
    root: &TreeRoot,
    edits: impl IntoIterator<Item = Edit, IntoIter: Send>,
) -> Result<TreeRoot> {
    let mut editor = Editor::new(nodes, boundary, root);
    for (key, value) in edits {
        editor.edit(key, value).await?;
    }
    editor.finish().await
}

/// Applies edits that arrive in key order.
///
/// *Units and limits*: holds one node per level with the nodes above it, and the references to
/// nodes that went in a row without a successor; the number of edits does not matter.
#[derive(Debug)]
pub struct Editor<S> {
    nodes: S,
    boundary: BoundaryKey,
    root: TreeRoot,
    last_key: Option<Bytes>,
    /// From the leaves up to the highest level that an edit has reached.
    passes: Vec<Pass<S>>,
    tops: Tops,
}

impl<S: NodeStore + Clone> Editor<S> {
    /// Starts from a tree; nothing is read yet.
    pub fn new(nodes: S, boundary: &BoundaryKey, root: &TreeRoot) -> Self {
        Self {
            nodes,
            boundary: boundary.clone(),
            root: *root,
            last_key: None,
            passes: Vec::new(),
            tops: Tops::default(),
        }
    }

    /// Sets the value of a key, or removes it.
    ///
    /// *Errors*: `InvalidInput` unless keys ascend strictly, `TooLarge` for a key or value over the
    /// limits, `Damaged` if a node is not what it should be, and those of the store. After an
    /// error, as after a dropped call, the editor is of no use.
    pub async fn edit(
        &mut self,
        key: impl Into<Bytes>,
        value: Option<impl Into<Bytes>>,
    ) -> Result<()> {
        let key = key.into();
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "tree edits: keys out of order",
            ));
        }
        self.last_key = Some(key.clone());
        let record = match value {
            Some(value) => Some(make_record(&self.nodes, key.clone(), value.into()).await?),
            None => None,
        };
        self.pass_on(0, vec![(key, record)]).await
    }

    /// Ends the edits and returns the root.
    ///
    /// *Errors*: those of [`edit`](Self::edit).
    pub async fn finish(mut self) -> Result<TreeRoot> {
        for level in 0..=self.root.level {
            let top = level == self.root.level;
            let Some(pass) = self.passes.get_mut(usize::from(level)) else {
                return Ok(self.root);
            };
            pass.end(&self.nodes).await?;
            let changes = pass.settled(top);
            self.pass_on(level + 1, changes).await?;
        }
        let Self {
            nodes,
            boundary,
            root,
            tops,
            ..
        } = self;
        tops.finish(&nodes, &boundary, root.level).await
    }

    /// Applies edits at one level, and what follows from them above.
    async fn pass_on(&mut self, from: u8, mut edits: LevelEdits) -> Result<()> {
        for level in from..=self.root.level {
            if edits.is_empty() {
                return Ok(());
            }
            let at = usize::from(level);
            if self.passes.len() <= at {
                let walk = Walk::new(self.nodes.clone(), &self.root, level);
                self.passes.push(Pass::new(walk, &self.boundary, level));
            }
            let pass = &mut self.passes[at];
            for (key, record) in edits {
                pass.edit(&self.nodes, &key, record).await?;
            }
            edits = pass.settled(level == self.root.level);
        }
        for (_, record) in edits {
            if let Some(record) = record {
                self.tops
                    .push(&self.nodes, &self.boundary, self.root.level, record)
                    .await?;
            }
        }
        Ok(())
    }
}

/// The nodes of what was the root's level, and the levels that grow above them.
#[derive(Debug, Default)]
struct Tops {
    only: Option<Record>,
    above: Option<Levels>,
}

impl Tops {
    async fn push(
        &mut self,
        nodes: &impl NodeStore,
        boundary: &BoundaryKey,
        level: u8,
        top: Record,
    ) -> Result<()> {
        if self.above.is_none() && self.only.is_none() {
            self.only = Some(top);
            return Ok(());
        }
        let above = self.above.get_or_insert_with(|| Levels::new(level + 1));
        if let Some(first) = self.only.take() {
            above.push(nodes, boundary, first).await?;
        }
        above.push(nodes, boundary, top).await
    }

    /// Finds the root over all of them.
    async fn finish(
        self,
        nodes: &impl NodeStore,
        boundary: &BoundaryKey,
        level: u8,
    ) -> Result<TreeRoot> {
        if let Some(above) = self.above {
            return above.finish(nodes, boundary).await;
        }
        let Some(Record {
            payload: Payload::Child { id, entries },
            ..
        }) = self.only
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
}

/// Cuts one level anew where edits touch it.
#[derive(Debug)]
struct Pass<S> {
    walk: Walk<S>,
    chunker: Chunker,
    /// The node of the old tree that is gone through.
    old: Option<Old>,
    /// Whether the last node of the level was gone through: what comes now is appended.
    at_end: bool,
    /// Nodes by their last key: the one that went, the one that came.
    changes: BTreeMap<Bytes, (Option<Record>, Option<Record>)>,
}

/// An old node: what is left of it, its bytes, and how the level above refers to it.
#[derive(Debug)]
struct Old {
    records: IntoIter<Record>,
    left: bool,
    bytes: Bytes,
    reference: Record,
}

impl<S: NodeStore> Pass<S> {
    fn new(walk: Walk<S>, boundary: &BoundaryKey, level: u8) -> Self {
        Self {
            walk,
            chunker: Chunker::new(boundary, level),
            old: None,
            at_end: false,
            changes: BTreeMap::new(),
        }
    }

    /// Puts a record in its place, or removes the one that is there.
    async fn edit(&mut self, nodes: &S, key: &Bytes, record: Option<Record>) -> Result<()> {
        self.go_to(nodes, Some(key)).await?;
        if let Some(old) = &mut self.old
            && old
                .records
                .as_slice()
                .first()
                .is_some_and(|next| next.key == *key)
        {
            old.records.next();
        }
        match record {
            Some(record) => self.push(nodes, &record).await,
            None => Ok(()),
        }
    }

    /// Goes on to where nothing can differ any more.
    async fn end(&mut self, nodes: &S) -> Result<()> {
        self.go_to(nodes, None).await?;
        match self.chunker.finish() {
            Some(ended) => self.came(nodes, ended).await,
            None => Ok(()),
        }
    }

    /// Passes on old records up to `key`; without one, to a boundary that old and new share.
    async fn go_to(&mut self, nodes: &S, key: Option<&Bytes>) -> Result<()> {
        while !self.at_end {
            while let Some(record) = self.next_before(key) {
                self.push(nodes, &record).await?;
            }
            let next = match &mut self.old {
                Some(old) if !old.records.as_slice().is_empty() => return Ok(()),
                Some(old) if !old.left => {
                    old.left = true;
                    self.at_end = self.walk.is_at_end();
                    continue;
                }
                Some(_) if !self.chunker.at_boundary() => self.walk.next().await?,
                _ => match key {
                    Some(key) => self.walk.seek(key).await?,
                    None => return Ok(()),
                },
            };
            match next {
                Some(placed) => self.enter(placed),
                None => self.at_end = true,
            }
        }
        Ok(())
    }

    fn next_before(&mut self, key: Option<&Bytes>) -> Option<Record> {
        let records = &mut self.old.as_mut()?.records;
        let next = records.as_slice().first()?;
        key.is_none_or(|key| next.key < *key)
            .then(|| records.next())?
    }

    fn enter(&mut self, Placed { node, reference }: Placed) {
        let went = self.changes.entry(reference.key.clone()).or_default();
        went.0 = Some(reference.clone());
        self.old = Some(Old {
            records: node.records.into_iter(),
            left: false,
            bytes: node.encoded,
            reference,
        });
    }

    async fn push(&mut self, nodes: &S, record: &Record) -> Result<()> {
        match self.chunker.push(record) {
            Some(ended) => self.came(nodes, ended).await,
            None => Ok(()),
        }
    }

    async fn came(&mut self, nodes: &S, ended: Ended) -> Result<()> {
        let record = match &self.old {
            Some(old) if old.bytes == ended.bytes => old.reference.clone(),
            _ => store(nodes, ended).await?,
        };
        let came = self.changes.entry(record.key.clone()).or_default();
        came.1 = Some(record);
        Ok(())
    }

    /// Takes the changes that no later one can come before; `all` takes what stays as it was too.
    fn settled(&mut self, all: bool) -> LevelEdits {
        let left = self.old.as_ref().map(|old| old.records.as_slice());
        let next = left.and_then(|left| Some(&left.first()?.key));
        // The open node may end with the record that it has, or with any later one.
        let bound = self.chunker.last_key().or(next);
        let mut edits = LevelEdits::new();
        while let Some(first) = self.changes.first_entry() {
            if bound.is_some_and(|bound| first.key() >= bound) {
                break;
            }
            let (key, (went, came)) = first.remove_entry();
            if all || went != came {
                edits.push((key, came));
            }
        }
        edits
    }
}
