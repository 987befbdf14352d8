//! Places that must not be relied on: packs and blocks that are damaged or gone.

use std::collections::{BTreeSet, HashMap};

use super::report::ProblemNumber;
use crate::PackId;
use crate::pack::Location;
use crate::pack::layout::TRAILER;

/// Damaged blocks of one pack that are told apart; with more, the whole pack is given up.
const BLOCKS_MAX: usize = 10_000;

/// The packs and blocks that were found damaged, with the problem that each was noted as.
#[derive(Debug, Default)]
pub(super) struct Trouble(HashMap<PackId, PackTrouble>);

#[derive(Debug, Default)]
struct PackTrouble {
    /// Set when nothing of the pack can be read.
    whole: Option<Option<ProblemNumber>>,
    /// Whether its blocks were not read, since its table is damaged.
    unread: bool,
    blocks: HashMap<u32, Option<ProblemNumber>>,
}

/// Says whether a chunk can be read at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing speaks against it.
    Good,
    /// Nobody knows: the block was not read with its pack.
    Unread,
    /// It cannot be read; the problem, if it is listed.
    Lost(Option<ProblemNumber>),
}

impl Trouble {
    pub(super) fn pack(&mut self, pack: PackId, problem: Option<ProblemNumber>) {
        self.0.entry(pack).or_default().whole = Some(problem);
    }

    pub(super) fn table(&mut self, pack: PackId) {
        self.0.entry(pack).or_default().unread = true;
    }

    pub(super) fn block(&mut self, pack: PackId, block: u32, problem: Option<ProblemNumber>) {
        let trouble = self.0.entry(pack).or_default();
        if trouble.blocks.len() == BLOCKS_MAX {
            trouble.whole = Some(problem);
        } else {
            trouble.blocks.insert(block, problem);
        }
    }

    pub(super) fn judge(&self, place: &Location) -> Verdict {
        let Some(trouble) = self.0.get(&place.pack) else {
            return Verdict::Good;
        };
        match (trouble.whole, trouble.blocks.get(&place.block)) {
            (Some(problem), _) | (None, Some(&problem)) => Verdict::Lost(problem),
            (None, None) if trouble.unread => Verdict::Unread,
            (None, None) => Verdict::Good,
        }
    }

    /// Lists the places, and the packs whose table is damaged.
    pub(super) fn places(&self) -> BadPlaces {
        let mut places = BadPlaces::default();
        for (pack, trouble) in &self.0 {
            if trouble.whole.is_some() {
                places.packs.insert(*pack);
            }
            if trouble.unread {
                places.tables.insert(*pack);
            }
            places
                .blocks
                .extend(trouble.blocks.keys().map(|block| (*pack, *block)));
        }
        places
    }
}

/// Packs and blocks that must not be relied on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BadPlaces {
    /// Packs of which nothing can be read.
    pub(crate) packs: BTreeSet<PackId>,
    /// Packs whose table is damaged: their blocks may be whole.
    pub(crate) tables: BTreeSet<PackId>,
    /// Damaged blocks of other packs.
    pub(crate) blocks: BTreeSet<(PackId, u32)>,
}

impl BadPlaces {
    /// Tells whether nothing is bad.
    pub(crate) fn is_empty(&self) -> bool {
        self.packs.is_empty() && self.blocks.is_empty()
    }

    /// Adds other places.
    pub(crate) fn extend(&mut self, others: Self) {
        self.packs.extend(others.packs);
        self.tables.extend(others.tables);
        self.blocks.extend(others.blocks);
    }

    /// Returns the packs and blocks among these that others do not hold; a pack whose table is
    /// damaged counts as a whole.
    pub(crate) fn without(&self, others: &Self) -> Self {
        let packs: BTreeSet<_> = self.packs.union(&self.tables).copied().collect();
        let packs = &packs - &others.packs;
        let known = |pack: &PackId| packs.contains(pack) || others.packs.contains(pack);
        let blocks = self.blocks.difference(&others.blocks);
        let blocks = blocks.filter(|(pack, _)| !known(pack)).copied().collect();
        Self {
            packs,
            blocks,
            ..Self::default()
        }
    }

    /// Tells whether a pack is bad as a whole or in part.
    pub(crate) fn names(&self, pack: &PackId) -> bool {
        let mut blocks = self.blocks.range((*pack, 0)..=(*pack, u32::MAX));
        self.packs.contains(pack) || blocks.next().is_some()
    }

    /// Tells whether a chunk cannot be read at a place.
    pub(crate) fn holds(&self, place: &Location) -> bool {
        self.packs.contains(&place.pack) || self.blocks.contains(&(place.pack, place.block))
    }
}

/// The least size of a pack that holds a chunk at this place.
pub(super) fn least_size(place: &Location) -> u64 {
    place.offset + u64::from(place.sealed) + TRAILER as u64
}
