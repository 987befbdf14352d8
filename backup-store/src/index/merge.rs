//! Which segments to merge: a pure plan that keeps them few and rewrites each entry seldom.
//!
//! Segments belong to tiers that grow by a factor of four; four of one tier are merged. One that
//! holds a fortieth of all entries is full and left alone, so that a merge needs memory for one
//! such segment only, whatever the size of the store.

use crate::pack::PackKind;

/// Segments from which on the smallest are merged whatever their tiers.
const CROWDED: usize = 56;
/// Segments that remain then.
const RELIEVED: usize = 48;
/// Segments of one tier that are merged.
const FAN_IN: usize = 4;
/// Entries below which all segments are of the lowest tier.
const TIER_BASE: u64 = 4096;
/// Entries of a full segment, at least.
const FULL_LEAST: u64 = 1 << 20;
/// Full segments that there may be.
const FULL_MAX: u64 = 40;

/// Chooses segments of one kind to merge next, by their kinds and numbers of entries.
pub(crate) fn plan(segments: &[(PackKind, u64)]) -> Option<Vec<usize>> {
    let total: u64 = segments.iter().map(|(_, entries)| entries).sum();
    let full = FULL_LEAST.max(total / FULL_MAX);
    let small = |kind: PackKind| {
        let of_kind = segments.iter().enumerate();
        let of_kind = of_kind.filter(|(_, (found, entries))| *found == kind && *entries < full);
        let mut small: Vec<(usize, u64)> = of_kind.map(|(at, (_, size))| (at, *size)).collect();
        small.sort_unstable_by_key(|(at, entries)| (*entries, *at));
        small
    };
    let tiered = PackKind::ALL.map(small);
    for small in &tiered {
        let mut counts = [0; 32];
        for (at, (_, entries)) in small.iter().enumerate() {
            let count = &mut counts[tier(*entries)];
            *count += 1;
            if *count == FAN_IN {
                return Some(group(&small[..=at], full, usize::MAX));
            }
        }
    }
    if segments.len() < CROWDED {
        return None;
    }
    let crowded = tiered.iter().max_by_key(|small| small.len())?;
    let enough = segments.len() - RELIEVED + 1;
    (crowded.len() > 1).then(|| group(crowded, full, enough))
}

fn tier(entries: u64) -> usize {
    let above = (entries / TIER_BASE).checked_ilog2().unwrap_or(0);
    usize::try_from(above / 2).unwrap_or(0)
}

/// Takes the smallest until they make a full segment; two at least.
fn group(small: &[(usize, u64)], full: u64, most: usize) -> Vec<usize> {
    let mut sum = 0;
    let mut group = Vec::new();
    for (at, entries) in small.iter().take(most) {
        if sum >= full && group.len() > 1 {
            break;
        }
        sum += entries;
        group.push(*at);
    }
    group
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Segments that there may be at any time.
    const SEGMENTS_MAX: usize = 64;

    /// Writes segments and merges as a writer does; returns the most segments there were, the
    /// largest merge, and how often each entry was written.
    fn simulate(flushes: impl Iterator<Item = (PackKind, u64)>) -> (usize, u64, f64) {
        let mut segments = Vec::new();
        let (mut most, mut largest, mut written, mut total) = (0, 0, 0, 0);
        for flush in flushes {
            segments.push(flush);
            written += flush.1;
            total += flush.1;
            most = most.max(segments.len());
            while let Some(group) = plan(&segments) {
                assert!(group.len() > 1);
                let kind = segments[group[0]].0;
                let sum = group.iter().map(|at| segments[*at].1).sum();
                let mut at = 0;
                segments.retain(|(found, _)| {
                    at += 1;
                    let goes = group.contains(&(at - 1));
                    assert!(!goes || *found == kind, "kinds are not mixed");
                    !goes
                });
                segments.push((kind, sum));
                largest = largest.max(sum);
                written += sum;
            }
        }
        (
            most,
            largest,
            written as f64 / f64::from(u32::try_from(total).unwrap()),
        )
    }

    #[test]
    fn a_hundred_million_chunks_lie_in_at_most_64_segments() {
        let flush = |number: u64| match number % 3 {
            0 => (PackKind::Tree, 20 + number % 371),
            _ => (PackKind::Content, 9_000 + number * 7919 % 6_000),
        };
        let (most, largest, amplification) = simulate((0..12_500).map(flush));
        assert!(most <= SEGMENTS_MAX, "{most} segments");
        assert!(largest < 4_600_000, "a merge of {largest} entries");
        assert!(
            amplification < 7.5,
            "each entry written {amplification} times"
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn there_are_never_more_than_64_segments(
            flushes in prop::collection::vec((any::<bool>(), 0u32..22), 1..600),
        ) {
            let flush = |(tree, bits): &(bool, u32)| {
                (if *tree { PackKind::Tree } else { PackKind::Content }, 1u64 << bits)
            };
            let (most, _, _) = simulate(flushes.iter().map(flush));
            prop_assert!(most <= SEGMENTS_MAX, "{} segments", most);
        }
    }
}
