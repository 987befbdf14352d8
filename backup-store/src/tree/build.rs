//! Building a tree from entries in key order, in one pass and bounded memory.

use bytes::Bytes;

use super::boundary::{BoundaryKey, Chunker, Ended};
use super::node::{LEVEL_MAX, Payload, Record};
use super::{NodeStore, empty, make_record};
use crate::{Error, ErrorKind, Result, TreeRoot};

/// Builds the tree of a map whose entries arrive in key order.
///
/// *Units and limits*: holds one open node per level, 128 KiB each.
#[derive(Debug)]
pub struct Builder<S> {
    nodes: S,
    boundary: BoundaryKey,
    last_key: Option<Bytes>,
    levels: Levels,
}

impl<S: NodeStore> Builder<S> {
    /// Starts an empty map.
    pub fn new(nodes: S, boundary: &BoundaryKey) -> Self {
        let levels = Levels::new(0);
        Self {
            nodes,
            boundary: boundary.clone(),
            last_key: None,
            levels,
        }
    }

    /// Appends an entry.
    ///
    /// *Errors*: `InvalidInput` if the key is not greater than the one before, `TooLarge` for a
    /// key or value over the limits, and those of the store.
    pub async fn push(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<()> {
        let key = key.into();
        if self.last_key.as_ref().is_some_and(|last| *last >= key) {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "tree entries: keys out of order",
            ));
        }
        let record = make_record(&self.nodes, key.clone(), value.into()).await?;
        self.last_key = Some(key);
        self.levels.push(&self.nodes, &self.boundary, record).await
    }

    /// Ends the map and returns its root.
    pub async fn finish(self) -> Result<TreeRoot> {
        self.levels.finish(&self.nodes, &self.boundary).await
    }
}

/// The open nodes of all levels from `base` on.
#[derive(Debug)]
pub(super) struct Levels {
    base: u8,
    open: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    chunker: Chunker,
    /// The first ended node, not yet passed to the level above: it may be the root.
    first: Option<Record>,
    /// Whether the first ended node was passed on.
    passed: bool,
}

impl Levels {
    pub(super) fn new(base: u8) -> Self {
        Self {
            base,
            open: Vec::new(),
        }
    }

    /// Appends a record at the base, and what follows from it above.
    pub(super) async fn push(
        &mut self,
        nodes: &impl NodeStore,
        boundary: &BoundaryKey,
        record: Record,
    ) -> Result<()> {
        self.push_at(nodes, boundary, 0, vec![record]).await
    }

    async fn push_at(
        &mut self,
        nodes: &impl NodeStore,
        boundary: &BoundaryKey,
        mut depth: usize,
        mut records: Vec<Record>,
    ) -> Result<()> {
        while !records.is_empty() {
            self.open_to(boundary, depth)?;
            let level = &mut self.open[depth];
            let mut above = Vec::new();
            for record in &records {
                if let Some(ended) = level.chunker.push(record) {
                    let child = store(nodes, ended).await?;
                    level.pass(child, &mut above);
                }
            }
            records = above;
            depth += 1;
        }
        Ok(())
    }

    fn open_to(&mut self, boundary: &BoundaryKey, depth: usize) -> Result<()> {
        while self.open.len() <= depth {
            let level = usize::from(self.base) + self.open.len();
            let level = u8::try_from(level).unwrap_or(u8::MAX);
            if level > LEVEL_MAX {
                return Err(Error::new(ErrorKind::TooLarge, "tree: too many levels"));
            }
            let chunker = Chunker::new(boundary, level);
            self.open.push(Level {
                chunker,
                first: None,
                passed: false,
            });
        }
        Ok(())
    }

    /// Ends all open nodes, lowest first; the first level with one node is the root.
    pub(super) async fn finish(
        mut self,
        nodes: &impl NodeStore,
        boundary: &BoundaryKey,
    ) -> Result<TreeRoot> {
        let mut depth = 0;
        while depth < self.open.len() {
            let mut above = Vec::new();
            let level = &mut self.open[depth];
            if let Some(ended) = level.chunker.finish() {
                let child = store(nodes, ended).await?;
                level.pass(child, &mut above);
            }
            if let (false, Some(only)) = (level.passed, &level.first) {
                return root_of(only, usize::from(self.base) + depth);
            }
            self.push_at(nodes, boundary, depth + 1, above).await?;
            depth += 1;
        }
        empty(nodes).await
    }
}

impl Level {
    fn pass(&mut self, child: Record, above: &mut Vec<Record>) {
        if self.passed {
            above.push(child);
        } else if let Some(first) = self.first.take() {
            self.passed = true;
            above.extend([first, child]);
        } else {
            self.first = Some(child);
        }
    }
}

fn root_of(only: &Record, level: usize) -> Result<TreeRoot> {
    let (Payload::Child { id, entries }, Ok(level)) = (&only.payload, u8::try_from(level)) else {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            "tree: its root is not a node",
        ));
    };
    Ok(TreeRoot {
        node: *id,
        level,
        entries: *entries,
    })
}

/// Stores a node that has ended; returns its record for the level above.
pub(super) async fn store(nodes: &impl NodeStore, ended: Ended) -> Result<Record> {
    let id = nodes.put(ended.bytes).await?;
    let payload = Payload::Child {
        id,
        entries: ended.entries,
    };
    Ok(Record {
        key: ended.last_key,
        payload,
    })
}
