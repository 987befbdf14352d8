//! Tally: what became of each id that a pass has shown, so that totals add up by construction.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hash, Hasher};

use backup_store::catalog::Totals;

/// Stands for an item id in memory: 16 bytes instead of 150.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdHash([u8; 16]);

/// A map by ids.
pub(crate) type IdMap<T> = HashMap<IdHash, T, BuildHasherDefault<HashedAlready>>;
/// A set of ids.
pub(crate) type IdSet = HashSet<IdHash, BuildHasherDefault<HashedAlready>>;

impl Hash for IdHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        state.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Takes the first bytes of a hash for its hash. No key is in it: a service that chose ids whose hashes
/// begin alike would slow its own backup down, and nothing else.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

impl IdHash {
    pub(crate) fn of(id: &str) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&blake3::hash(id.as_bytes()).as_bytes()[..16]);
        Self(short)
    }
}

/// What became of an item that was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Stored,
    Unchanged,
    Assumed,
    Skipped,
    Quarantined,
}

impl Fate {
    pub(crate) const ALL: [Self; 5] = [
        Self::Stored,
        Self::Unchanged,
        Self::Assumed,
        Self::Skipped,
        Self::Quarantined,
    ];
}

/// Counts distinct ids by their last fate.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    fates: IdMap<Fate>,
    /// How many there are of each fate, by its place: asked for after every page.
    counts: [u64; Fate::ALL.len()],
    removed: IdSet,
    moved: IdSet,
    bytes: u64,
}

impl Tally {
    /// Notes that `id` was shown. Being shown again without a change does not undo a fate.
    pub(crate) fn shown(&mut self, id: IdHash, fate: Fate) {
        self.removed.remove(&id);
        let counts = &mut self.counts;
        let entry = self.fates.entry(id).or_insert_with(|| {
            counts[fate as usize] += 1;
            fate
        });
        if fate != Fate::Unchanged && !(*entry == Fate::Stored && fate == Fate::Assumed) {
            counts[*entry as usize] -= 1;
            counts[fate as usize] += 1;
            *entry = fate;
        }
    }

    /// Tells whether `id` was shown.
    pub(crate) fn has(&self, id: IdHash) -> bool {
        self.fates.contains_key(&id)
    }

    /// Notes that `id` is deleted.
    pub(crate) fn removed(&mut self, id: IdHash) {
        if let Some(fate) = self.fates.remove(&id) {
            self.counts[fate as usize] -= 1;
        }
        self.moved.remove(&id);
        self.removed.insert(id);
    }

    /// Notes that `id` came from another container.
    pub(crate) fn moved(&mut self, id: IdHash) {
        self.moved.insert(id);
    }

    /// Notes bytes of content that came from the service.
    pub(crate) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Returns the sums.
    pub(crate) fn totals(&self) -> Totals {
        let [stored, unchanged, assumed, skipped, quarantined] = self.counts;
        Totals {
            seen: self.fates.len() as u64,
            stored,
            unchanged: unchanged + assumed,
            assumed,
            skipped,
            quarantined,
            removed: self.removed.len() as u64,
            moved: self.moved.len() as u64,
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_that_is_shown_twice_counts_once() {
        let mut tally = Tally::default();
        let id = IdHash::of("1");
        tally.shown(id, Fate::Stored);
        tally.shown(id, Fate::Unchanged);
        tally.shown(id, Fate::Assumed);
        let totals = tally.totals();
        assert_eq!((totals.seen, totals.stored, totals.unchanged), (1, 1, 0));
        tally.removed(id);
        let totals = tally.totals();
        assert_eq!((totals.seen, totals.stored, totals.removed), (0, 0, 1));
    }

    proptest! {
        #[test]
        fn totals_add_up_whatever_happens(
            steps in prop::collection::vec((0_u8..20, 0_usize..7), 0..200)
        ) {
            let mut tally = Tally::default();
            for (id, step) in steps {
                let id = IdHash::of(&id.to_string());
                match Fate::ALL.get(step) {
                    Some(fate) => tally.shown(id, *fate),
                    None if step == 5 => tally.removed(id),
                    None => tally.moved(id),
                }
            }
            prop_assert!(tally.totals().check());
        }
    }
}
