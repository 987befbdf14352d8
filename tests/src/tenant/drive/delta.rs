//! Delta: pages over the order of changes, from a position that the caller keeps.
//!
//! A page holds what changed after its position, in the order of last changes, as it is *now*. An
//! item that changes during a reading moves behind the reader and comes again. What was deleted
//! before a first reading began is left out; what was deleted since is told.

use super::{Drive, Item};

/// Marks how far a reader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs)]
pub struct DeltaPosition {
    /// The generation of cursors it belongs to.
    pub generation: u32,
    /// Everything up to this place in the order of changes has been read.
    pub read: u64,
    /// Deletions up to this place are unknown to the reader and are not told.
    pub deletions_from: u64,
}

/// Holds one entry of a page.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum DeltaChange<'a> {
    /// The item exists, as given.
    Present(&'a Item),
    /// The item is deleted.
    Deleted(&'a Item),
}

/// Holds one page of a reading.
#[derive(Debug)]
#[non_exhaustive]
pub struct DeltaPage<'a> {
    /// What to tell; an item may stand here that did not change.
    pub changes: Vec<DeltaChange<'a>>,
    /// Where the next page, or the next reading, begins.
    pub next: DeltaPosition,
    /// Tells whether more pages follow now.
    pub more: bool,
}

impl Drive {
    /// Returns the position of a first reading.
    pub fn delta_start(&self) -> DeltaPosition {
        DeltaPosition {
            generation: self.generation,
            read: 0,
            deletions_from: self.clock,
        }
    }

    /// Returns the position after everything that has happened.
    pub fn delta_latest(&self) -> DeltaPosition {
        DeltaPosition {
            generation: self.generation,
            read: self.clock,
            deletions_from: self.clock,
        }
    }

    /// Tells whether a position can still be read from.
    pub fn is_current(&self, position: &DeltaPosition) -> bool {
        position.generation == self.generation && position.read <= self.clock
    }

    /// Makes all positions given out so far unreadable.
    pub fn expire_positions(&mut self) {
        self.generation += 1;
    }

    /// Returns one page of at most about `top` changes after `from`.
    ///
    /// With `parents`, the folder of a changed item is told again when it did not change itself,
    /// as the service does unless it is asked not to.
    pub fn delta(&self, from: &DeltaPosition, top: usize, parents: bool) -> DeltaPage<'_> {
        let mut changes = Vec::new();
        let mut told: Vec<&str> = Vec::new();
        let mut next = *from;
        let mut counted = 0;
        let mut more = false;
        for (place, id) in self.changes.range(from.read + 1..) {
            let Some(item) = self.items.get(id) else {
                continue;
            };
            if counted >= top {
                more = true;
                break;
            }
            next.read = *place;
            match item.deleted {
                Some(at) if at <= from.deletions_from && from.reads_first() => continue,
                Some(_) => changes.push(DeltaChange::Deleted(item)),
                None => {
                    if parents
                        && let Some(parent) = item.parent.as_deref()
                        && !told.contains(&parent)
                        && let Some(folder) = self.item(parent)
                    {
                        changes.push(DeltaChange::Present(folder));
                        told.push(&folder.id);
                    }
                    changes.push(DeltaChange::Present(item));
                    told.push(&item.id);
                }
            }
            counted += 1;
        }
        if !more {
            next.deletions_from = 0;
        }
        DeltaPage {
            changes,
            next,
            more,
        }
    }
}

impl DeltaPosition {
    /// Tells whether it belongs to a first reading.
    pub fn reads_first(&self) -> bool {
        self.deletions_from > 0
    }
}
