//! Chunker: cuts large content where its bytes say so, at places only the key holder can predict.

use std::fmt;

use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use zeroize::Zeroizing;

use crate::keys::Key;

/// Smallest chunk of a cut content, its last chunk excepted.
pub(crate) const MIN_BYTES: usize = 256 * 1024;
/// Average the cutting aims at; content up to this size is one chunk.
pub(crate) const AVERAGE_BYTES: usize = 1024 * 1024;
/// Largest chunk.
pub(crate) const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The table that decides where chunks end: all its entries come from the chunker key.
///
/// The library's own seed is not a key: it would be XORed into a public table.
pub(crate) struct Gear {
    table: Zeroizing<Vec<u64>>,
    shifted: Zeroizing<Vec<u64>>,
}

impl Gear {
    pub(crate) fn new(key: &Key) -> Self {
        let mut bytes = Zeroizing::new([0u8; 256 * 8]);
        let mut stream = blake3::Hasher::new_keyed(key.bytes()).finalize_xof();
        stream.fill(bytes.as_mut());
        let entries = bytes.chunks_exact(8).map(|entry| {
            entry
                .iter()
                .rev()
                .fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
        });
        let table: Zeroizing<Vec<u64>> = Zeroizing::new(entries.collect());
        let shifted = Zeroizing::new(table.iter().map(|entry| entry << 1).collect());
        Self { table, shifted }
    }

    /// Returns the length of the first chunk of `source`.
    ///
    /// `source` is the rest of the content, or at least its next [`MAX_BYTES`]: more is not looked
    /// at, so that a stream is cut exactly as the whole would be.
    pub(crate) fn cut(&self, source: &[u8]) -> usize {
        let (strict, relaxed) = select_masks(AVERAGE_BYTES, Normalization::Level1);
        let (_, length) = cut_gear(
            source,
            MIN_BYTES,
            AVERAGE_BYTES,
            MAX_BYTES,
            strict,
            relaxed,
            strict << 1,
            relaxed << 1,
            &self.table,
            &self.shifted,
        );
        length.clamp(source.len().min(1), source.len())
    }
}

impl fmt::Debug for Gear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gear(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::tests::test_keys;

    fn noise(length: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new_keyed(&[seed; 32])
            .finalize_xof()
            .fill(&mut bytes);
        bytes
    }

    fn cuts(gear: &Gear, mut source: &[u8], window: usize) -> Vec<usize> {
        let mut lengths = Vec::new();
        while !source.is_empty() {
            let length = gear.cut(&source[..source.len().min(window)]);
            lengths.push(length);
            source = &source[length..];
        }
        lengths
    }

    #[test]
    fn cut_points_are_those_of_the_format() {
        let lengths = cuts(&test_keys().gear, &noise(12 << 20, 1), usize::MAX);
        assert_eq!(lengths, GOLDEN, "the cut points are part of the format");
    }

    #[test]
    fn a_window_of_the_largest_chunk_cuts_like_the_whole() {
        let source = noise(12 << 20, 1);
        let gear = &test_keys().gear;
        assert_eq!(
            cuts(gear, &source, MAX_BYTES),
            cuts(gear, &source, usize::MAX)
        );
    }

    #[test]
    fn chunks_keep_to_their_limits_and_find_their_way_back_after_an_insertion() {
        let source = noise(12 << 20, 2);
        let gear = &test_keys().gear;
        let before = cuts(gear, &source, usize::MAX);
        let inner = &before[..before.len() - 1];
        assert!(
            inner
                .iter()
                .all(|length| (MIN_BYTES..=MAX_BYTES).contains(length))
        );
        let mut edited = source.clone();
        edited.splice(100..100, *b"inserted");
        let after = cuts(gear, &edited, usize::MAX);
        assert_eq!(before.last(), after.last());
        let zeros = vec![0; 9 << 20];
        assert_eq!(
            cuts(gear, &zeros, usize::MAX),
            [MAX_BYTES, MAX_BYTES, 1 << 20]
        );
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let source = noise(12 << 20, 1);
        let other = Gear::new(&Key::from_slice(&[77; 32]).unwrap());
        let lengths = cuts(&test_keys().gear, &source, usize::MAX);
        assert_ne!(lengths, cuts(&other, &source, usize::MAX));
    }

    const GOLDEN: &[usize] = &[
        1_344_989, 3_057_434, 1_111_056, 1_053_472, 1_550_956, 1_365_668, 1_942_818, 1_156_519,
    ];
}
