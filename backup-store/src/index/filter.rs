//! Filter shards: tell in a few bytes per chunk that a segment certainly lacks a chunk id.
//!
//! A shard covers the ids of one prefix. Ids are keyed hashes, so that their own bits serve as
//! hash values: of n ids, each becomes a number below n · 2^12, in the order of the ids. The
//! numbers are kept in Elias–Fano form: the low 12 bits packed, the high ones as bits, so that a
//! shard takes 14 bits an id and wrongly says "perhaps" for one id in 4096.

use crate::codec::Decoder;
use crate::error::Result;
use crate::id::ChunkId;

/// Low bits that are kept of each number.
const LOW_BITS: u32 = 12;
const LOW_MASK: u64 = (1 << LOW_BITS) - 1;
/// Ids of one shard, on average at most.
pub(crate) const SHARD_IDS: u64 = 32 * 1024;
/// Most prefix bits: shards of a segment never number more than 2^16.
pub(crate) const SHARD_BITS_MAX: u32 = 16;
/// Ids that any one shard may hold.
const IDS_MAX: usize = 1 << 24;
/// Buckets between two places that are remembered.
const SAMPLE: usize = 64;

/// Returns the number of prefix bits for about `entries` ids.
pub(crate) fn shard_bits(entries: u64) -> u32 {
    let shards = entries.div_ceil(SHARD_IDS).max(1);
    shards.next_power_of_two().ilog2().min(SHARD_BITS_MAX)
}

/// Returns which shard an id belongs to.
pub(crate) fn shard_of(id: &ChunkId, bits: u32) -> usize {
    let prefix = head(id).checked_shr(64 - bits).unwrap_or(0);
    usize::try_from(prefix).unwrap_or(0)
}

/// The first eight bytes of an id as a number: in the order of the ids.
pub(crate) fn head(id: &ChunkId) -> u64 {
    let bytes = id.as_bytes().first_chunk::<8>();
    bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// Returns the number of an id among `count`, its shard prefix left out.
fn number(id: &ChunkId, bits: u32, count: usize) -> u64 {
    let hash = head(id) << bits;
    let wide = u128::from(hash) * count as u128;
    u64::try_from(wide >> (64 - LOW_BITS)).unwrap_or(u64::MAX)
}

/// The filter of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    count: usize,
    /// For each bucket a one for every number in it, then a zero.
    high: Vec<u64>,
    low: Vec<u8>,
    /// Where every 64th bucket begins in `high`.
    samples: Vec<u32>,
}

impl Shard {
    /// Writes the filter of some ids, which ascend strictly and share a prefix of `bits` bits.
    pub(crate) fn encode(ids: &[ChunkId], bits: u32) -> Vec<u8> {
        let count = ids.len();
        let mut high = vec![0u8; (2 * count).div_ceil(8)];
        let mut low = vec![0u8; low_bytes(count)];
        for (at, id) in ids.iter().enumerate() {
            let number = number(id, bits, count);
            let bit = usize::try_from(number >> LOW_BITS).unwrap_or(0) + at;
            high[bit / 8] |= 1 << (bit % 8);
            let [first, second, ..] = ((number & LOW_MASK) << (4 * (at % 2))).to_le_bytes();
            let byte = at * 3 / 2;
            low[byte] |= first;
            low[byte + 1] |= second;
        }
        let mut bytes = u32::try_from(count)
            .unwrap_or(u32::MAX)
            .to_le_bytes()
            .to_vec();
        bytes.extend_from_slice(&high);
        bytes.extend_from_slice(&low);
        bytes
    }

    /// Reads a filter.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("filter shard", bytes);
        let count = u32::from_le_bytes(decoder.array()?) as usize;
        if count > IDS_MAX {
            return Err(decoder.malformed("counts more ids than one may hold"));
        }
        let bits = decoder.raw((2 * count).div_ceil(8))?;
        let low = decoder.raw(low_bytes(count))?.to_vec();
        let words = bits.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let high: Vec<u64> = words.collect();
        let ones: usize = high.iter().map(|word| word.count_ones() as usize).sum();
        if ones != count {
            return Err(decoder.malformed("its bits do not count its ids"));
        }
        decoder.finish()?;
        let samples = samples(&high, count);
        Ok(Self {
            count,
            high,
            low,
            samples,
        })
    }

    /// Returns false only if the id is certainly not in the shard.
    pub(crate) fn may_hold(&self, id: &ChunkId, bits: u32) -> bool {
        if self.count == 0 {
            return false;
        }
        let number = number(id, bits, self.count);
        let bucket = usize::try_from(number >> LOW_BITS).unwrap_or(0);
        let wanted = number & LOW_MASK;
        let mut bit = self.bucket_start(bucket);
        while self.bit(bit) {
            if self.low(bit - bucket) == wanted {
                return true;
            }
            bit += 1;
        }
        false
    }

    /// Bytes that the filter takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.high.len() * 8 + self.low.len() + self.samples.len() * 4 + size_of::<Self>()
    }

    /// Finds the bit behind as many zeros as there are buckets before this one.
    fn bucket_start(&self, bucket: usize) -> usize {
        let from = self.samples.get(bucket / SAMPLE);
        let Some(mut bit) = from.map(|from| *from as usize) else {
            return usize::MAX;
        };
        let mut zeros = u32::try_from(bucket % SAMPLE).unwrap_or(0);
        while zeros > 0 {
            let Some(word) = self.high.get(bit / 64) else {
                return usize::MAX;
            };
            // Bits that are behind us count as ones.
            let mut free = !word & (u64::MAX << (bit % 64));
            let here = free.count_ones();
            if here < zeros {
                zeros -= here;
                bit = (bit / 64 + 1) * 64;
                continue;
            }
            for _ in 1..zeros {
                free &= free - 1;
            }
            return bit / 64 * 64 + free.trailing_zeros() as usize + 1;
        }
        bit
    }

    fn bit(&self, bit: usize) -> bool {
        let word = self.high.get(bit / 64);
        word.is_some_and(|word| word >> (bit % 64) & 1 == 1)
    }

    fn low(&self, at: usize) -> u64 {
        let byte = at * 3 / 2;
        let pair = self.low.get(byte..byte + 2).unwrap_or(&[0, 0]);
        let both = u64::from(pair[0]) | u64::from(pair[1]) << 8;
        both >> (4 * (at % 2)) & LOW_MASK
    }
}

/// Twelve bits a number; the last byte is never read alone.
fn low_bytes(count: usize) -> usize {
    (count * LOW_BITS as usize).div_ceil(8)
}

fn samples(high: &[u64], count: usize) -> Vec<u32> {
    let mut samples = Vec::with_capacity(count.div_ceil(SAMPLE));
    let mut zeros = 0;
    for bit in 0..2 * count {
        if zeros % SAMPLE == 0 && samples.len() == zeros / SAMPLE && zeros < count {
            samples.push(u32::try_from(bit).unwrap_or(u32::MAX));
        }
        if high[bit / 64] >> (bit % 64) & 1 == 0 {
            zeros += 1;
        }
    }
    samples
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ids(numbers: impl Iterator<Item = u32>, bits: u32) -> Vec<ChunkId> {
        let hash = |number: u32| *blake3::hash(&number.to_le_bytes()).as_bytes();
        let ids = numbers.map(|number| ChunkId::from_bytes(hash(number)));
        let mut ids: Vec<_> = ids.filter(|id| shard_of(id, bits) == 0).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    #[test]
    fn what_is_in_a_shard_is_held_and_little_else() {
        let held = ids(0..20_000, 0);
        let bytes = Shard::encode(&held, 0);
        assert!(bytes.len() * 8 < 20_000 * 15, "{} bytes", bytes.len());
        let shard = Shard::decode(&bytes).unwrap();
        assert!(held.iter().all(|id| shard.may_hold(id, 0)));
        let others = ids(20_000..420_000, 0);
        let wrong = others.iter().filter(|id| shard.may_hold(id, 0)).count();
        assert!((40..200).contains(&wrong), "{wrong} of 400,000");
    }

    #[test]
    fn shards_follow_the_order_of_the_ids() {
        let all = ids(0..5_000, 0);
        for bits in [1, 5, 16] {
            let shards: Vec<_> = all.iter().map(|id| shard_of(id, bits)).collect();
            assert!(shards.is_sorted() && shards[4_999] < 1 << bits);
        }
        assert_eq!(shard_of(&all[4_999], 0), 0);
        assert_eq!(
            [0, 1, SHARD_IDS, SHARD_IDS + 1, 2_500_000].map(shard_bits),
            [0, 0, 0, 1, 7]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_shard_forgets_an_id(count in 0u32..3000, first: u16, bits in 0u32..4) {
            let first = u32::from(first);
            let held = ids(first..first + count, bits);
            let shard = Shard::decode(&Shard::encode(&held, bits)).unwrap();
            prop_assert_eq!(shard.count, held.len());
            for id in &held {
                prop_assert!(shard.may_hold(id, bits));
            }
        }

        #[test]
        fn any_bytes_are_a_shard_or_an_error(
            count in 0u32..40,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let bytes = [&count.to_le_bytes()[..], &bytes].concat();
            if let Ok(shard) = Shard::decode(&bytes) {
                for id in ids(0..50, 0) {
                    shard.may_hold(&id, 0);
                }
            }
        }
    }
}
