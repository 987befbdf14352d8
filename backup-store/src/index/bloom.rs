//! Filter: tells at once, in memory, that a chunk is not in the index.
//!
//! A Bloom filter over the chunk ids of the cache. Ids are keyed hashes, so that their own bytes
//! serve as its hash values.

use crate::id::ChunkId;

/// Bits probed per id.
const PROBES: usize = 5;
/// Bits per id that the filter is made for.
const BITS_PER_ID: usize = 12;
/// Ids that a new filter has room for at least; beyond its room it says "perhaps" more often.
const LEAST_ROOM: usize = 500_000;
/// Ids beyond which no filter is kept: 3 MB of memory.
pub(crate) const MOST_IDS: usize = 2_000_000;

/// Remembers ids, roughly: never forgets one, now and then thinks of one it never saw.
#[derive(Debug)]
pub(crate) struct Filter {
    words: Vec<u64>,
}

impl Filter {
    /// Makes an empty filter for about twice as many ids as there are now.
    pub(crate) fn new(ids: usize) -> Self {
        let bits = (ids * 2).max(LEAST_ROOM) * BITS_PER_ID;
        Self {
            words: vec![0; bits.div_ceil(64).next_power_of_two()],
        }
    }

    pub(crate) fn insert(&mut self, id: &ChunkId) {
        for (word, bit) in self.places(id) {
            self.words[word] |= bit;
        }
    }

    /// Returns false only if the id was never inserted.
    pub(crate) fn may_hold(&self, id: &ChunkId) -> bool {
        self.places(id)
            .into_iter()
            .all(|(word, bit)| self.words[word] & bit != 0)
    }

    fn places(&self, id: &ChunkId) -> [(usize, u64); PROBES] {
        let mut places = [(0, 0); PROBES];
        for (place, bytes) in places.iter_mut().zip(id.as_bytes().chunks_exact(6)) {
            let number = bytes
                .iter()
                .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
            let mask = self.words.len() as u64 - 1; // The length is a power of two.
            *place = (
                usize::try_from((number >> 6) & mask).unwrap_or(0),
                1 << (number & 63),
            );
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ChunkId {
        ChunkId::from_bytes(blake3::hash(&number.to_le_bytes()).into())
    }

    #[test]
    fn what_was_inserted_is_held_and_little_else() {
        let mut filter = Filter::new(0);
        (0..20_000).for_each(|number| filter.insert(&id(number)));
        assert!((0..20_000).all(|number| filter.may_hold(&id(number))));
        let wrong = (20_000..40_000)
            .filter(|number| filter.may_hold(&id(*number)))
            .count();
        assert!(wrong < 200, "{wrong} of 20,000");
    }
}
