//! Marking: which chunks the kept snapshots need.
//!
//! Trees are streamed, each distinct node once. A chunk is marked by the first eight bytes of its
//! id: two that share them are kept or lost together as long as nobody says that one is a copy of
//! the other, which is decided by whole ids later.
//!
//! *Units and limits*: 8 bytes a distinct chunk, and an eighth of that for those that are not sorted
//! yet; about 32 bytes a distinct node. A million chunks of mail cost some 9 MB.

use std::collections::HashSet;

use crate::catalog::{Container, Item, Snapshot};
use crate::content::ContentRef;
use crate::error::Result;
use crate::id::{ChunkId, TreeRoot};
use crate::store::Store;
use crate::tree::{self, Payload};

/// Marks that are gathered at least before they are sorted.
const GATHERED_LEAST: usize = 1 << 16;
/// So many times more marks are sorted than gathered.
const SORTED_TIMES: usize = 8;

/// Which chunks are needed, as a sorted list of the beginnings of their ids.
#[derive(Debug, Default)]
pub(super) struct Marks(Vec<u64>);

impl Marks {
    /// Finds a chunk among the marked ones.
    pub(super) fn find(&self, id: &ChunkId) -> Option<usize> {
        self.0.binary_search(&beginning(id)).ok()
    }

    /// Begins to find chunks whose ids come in ascending order.
    pub(super) fn in_order(&self) -> MarksInOrder<'_> {
        MarksInOrder {
            ahead: &self.0,
            found: false,
            missing: 0,
        }
    }
}

/// Marks that are gone through beside a sorted list of chunks.
pub(super) struct MarksInOrder<'a> {
    ahead: &'a [u64],
    /// Whether a chunk was found that has the first mark ahead.
    found: bool,
    missing: u64,
}

impl MarksInOrder<'_> {
    /// Tells whether a chunk is marked; none may come before the one asked for last.
    pub(super) fn is_found(&mut self, id: &ChunkId) -> bool {
        let wanted = beginning(id);
        while let Some((first, rest)) = self.ahead.split_first()
            && *first < wanted
        {
            self.missing += u64::from(!self.found);
            self.found = false;
            self.ahead = rest;
        }
        let found = self.ahead.first() == Some(&wanted);
        self.found |= found;
        found
    }

    /// Ends the list; returns how many marks no chunk had.
    pub(super) fn missing(self) -> u64 {
        self.missing + self.ahead.len() as u64 - u64::from(self.found)
    }
}

fn beginning(id: &ChunkId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.as_bytes()[..8]);
    u64::from_be_bytes(bytes)
}

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
    /// In order, each once.
    marks: Vec<u64>,
    /// Those that came since.
    gathered: Vec<u64>,
    /// Nodes that were walked: half of each id, which no two of them share.
    nodes: HashSet<([u8; 16], Values)>,
}

impl<'a> Marker<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self {
            store,
            marks: Vec::new(),
            gathered: Vec::new(),
            nodes: HashSet::new(),
        }
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

    pub(super) fn finish(mut self) -> Marks {
        join(&mut self.marks, &mut self.gathered);
        Marks(self.marks)
    }

    async fn tree(&mut self, root: &TreeRoot, values: Values) -> Result<()> {
        let mut ahead = vec![*root];
        while let Some(reference) = ahead.pop() {
            if reference.entries == 0 || !self.enter(&reference.node, values) {
                continue;
            }
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
        self.gathered.push(beginning(id));
        if self.gathered.len() >= (self.marks.len() / SORTED_TIMES).max(GATHERED_LEAST) {
            join(&mut self.marks, &mut self.gathered);
        }
    }
}

/// Moves what was gathered to its places among the sorted, without a second copy of those.
fn join(sorted: &mut Vec<u64>, gathered: &mut Vec<u64>) {
    gathered.sort_unstable();
    gathered.dedup();
    let mut known = sorted.iter().peekable();
    gathered.retain(|mark| {
        while known.next_if(|known| *known < mark).is_some() {}
        known.peek() != Some(&mark)
    });
    let (mut from, mut to) = (sorted.len(), sorted.len() + gathered.len());
    sorted.reserve_exact(gathered.len());
    sorted.resize(to, 0);
    // From the end on, so that nothing is written over that is still to be moved.
    while let Some(mark) = gathered.pop() {
        while from > 0 && sorted[from - 1] > mark {
            (from, to) = (from - 1, to - 1);
            sorted[to] = sorted[from];
        }
        to -= 1;
        sorted[to] = mark;
    }
    gathered.shrink_to(0);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::join;

    proptest! {
        #[test]
        fn joined_marks_are_those_of_a_set(
            batches in prop::collection::vec(prop::collection::vec(0u64..50, 0..30), 0..6),
        ) {
            let (mut sorted, mut set) = (Vec::new(), BTreeSet::new());
            for mut batch in batches {
                set.extend(batch.iter().copied());
                join(&mut sorted, &mut batch);
                prop_assert!(batch.is_empty());
                prop_assert!(sorted.iter().eq(&set));
            }
        }
    }
}
