//! Choosing a sample: from every pack its share of blocks, least recently read first.
//!
//! Within a pack the blocks that this round has not read yet are drawn at random; when all are
//! read, a new round begins. What is left over after every pack has given the whole blocks of
//! its share comes from the packs that were left alone longest.

use std::collections::BTreeMap;

use crate::{Environment, PackId, Result, Timestamp};

use super::share::{SampleReport, Share};

/// What is remembered of one pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remembered {
    /// Number of its blocks.
    pub(super) blocks: u32,
    /// The blocks that this round has read, one bit each.
    pub(super) read: Vec<u8>,
    /// When it was last read from.
    pub(super) last: Option<Timestamp>,
}

impl Remembered {
    pub(super) fn new(blocks: u32) -> Self {
        Self {
            blocks,
            read: vec![0; blocks.div_ceil(8) as usize],
            last: None,
        }
    }

    fn has_read(&self, block: u32) -> bool {
        let byte = self.read.get(block as usize / 8);
        byte.is_some_and(|byte| byte >> (block % 8) & 1 == 1)
    }

    fn count_read(&self) -> u32 {
        self.read.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Draws `count` blocks, those of this round first, and notes them as read.
    fn draw(&mut self, count: u32, dice: &mut Dice) -> Vec<u32> {
        let mut open: Vec<u32> = (0..self.blocks).filter(|at| !self.has_read(*at)).collect();
        let mut drawn = Vec::new();
        for _ in 0..count.min(self.blocks) {
            if open.is_empty() {
                self.read.fill(0);
                open = (0..self.blocks).filter(|at| !drawn.contains(at)).collect();
            }
            let block = open.swap_remove(dice.below(open.len()));
            self.read[block as usize / 8] |= 1 << (block % 8);
            drawn.push(block);
        }
        drawn.sort_unstable();
        drawn
    }
}

/// What is remembered of all packs.
pub(super) type Memory = BTreeMap<PackId, Remembered>;

/// Chooses the blocks to read now, and notes them as read.
pub(super) fn choose(
    memory: &mut Memory,
    share: Share,
    now: Timestamp,
    dice: &mut Dice,
) -> Vec<(PackId, Vec<u32>)> {
    let total: u64 = memory.values().map(|pack| u64::from(pack.blocks)).sum();
    let mut counts: BTreeMap<PackId, u32> = memory
        .iter()
        .map(|(id, pack)| (*id, share.of_at_least(pack.blocks)))
        .collect();
    let given: u64 = counts.values().map(|count| u64::from(*count)).sum();
    let mut left = share.of(total).saturating_sub(given);
    let mut order: Vec<(Option<Timestamp>, u64, PackId)> = memory
        .iter()
        .map(|(id, pack)| (pack.last, dice.number(), *id))
        .collect();
    order.sort_unstable();
    for (_, _, id) in order {
        let full = memory.get(&id).map_or(0, |pack| pack.blocks);
        let count = counts.entry(id).or_default();
        if left > 0 && *count < full {
            *count += 1;
            left -= 1;
        }
    }
    let mut chosen = Vec::new();
    for (id, count) in counts {
        if let Some(pack) = memory.get_mut(&id)
            && count > 0
        {
            chosen.push((id, pack.draw(count, dice)));
            pack.last = Some(now);
        }
    }
    chosen
}

/// Sums up what is remembered after a sample.
pub(super) fn summary(memory: &Memory, read: u64) -> SampleReport {
    let never = memory
        .values()
        .any(|pack| pack.last.is_none() && pack.blocks > 0);
    let oldest = memory.values().filter_map(|pack| pack.last).min();
    SampleReport {
        packs: memory.len() as u64,
        blocks: memory.values().map(|pack| u64::from(pack.blocks)).sum(),
        read,
        covered: memory
            .values()
            .map(|pack| u64::from(pack.count_read()))
            .sum(),
        oldest: oldest.filter(|_| !never),
    }
}

/// Random numbers from one seed of the environment.
#[derive(Debug)]
pub(super) struct Dice(blake3::OutputReader);

impl Dice {
    pub(super) fn new(environment: &dyn Environment) -> Result<Self> {
        let mut seed = [0; 32];
        environment.fill(&mut seed)?;
        Ok(Self::seeded(seed))
    }

    fn seeded(seed: [u8; 32]) -> Self {
        Self(blake3::Hasher::new_keyed(&seed).finalize_xof())
    }

    fn number(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn below(&mut self, limit: usize) -> usize {
        let below = self.number() % limit.max(1) as u64;
        usize::try_from(below).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn memory(blocks: &[u32]) -> Memory {
        let pack = |(number, blocks): (usize, &u32)| {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(number as u64).to_be_bytes());
            (PackId::from_bytes(id), Remembered::new(*blocks))
        };
        blocks.iter().enumerate().map(pack).collect()
    }

    proptest! {
        #[test]
        fn samples_of_one_round_read_every_block_before_any_twice(
            blocks in prop::collection::vec(0u32..200, 1..20), percent in 1.0f64..100.0, seed: u8,
        ) {
            let total: u64 = blocks.iter().map(|count| u64::from(*count)).sum();
            let share = Share::percent(percent).unwrap();
            let mut memory = memory(&blocks);
            let mut dice = Dice::seeded([seed; 32]);
            let mut times: BTreeMap<(PackId, u32), u32> = BTreeMap::new();
            let mut rounds = 0;
            while rounds < 300 && (times.len() as u64) < total {
                let now = Timestamp::from_millis(rounds);
                let chosen = choose(&mut memory, share, now, &mut dice);
                let count: u64 = chosen.iter().map(|(_, blocks)| blocks.len() as u64).sum();
                prop_assert_eq!(count, share.of(total));
                for (pack, blocks) in chosen {
                    prop_assert!(blocks.is_sorted_by(|a, b| a < b));
                    // From every pack its share, give or take one block.
                    let fair = share.ratio() * f64::from(memory[&pack].blocks);
                    prop_assert!((blocks.len() as f64) < fair + 1.001, "{} of {fair}", blocks.len());
                    for block in blocks {
                        *times.entry((pack, block)).or_default() += 1;
                    }
                }
                rounds += 1;
            }
            prop_assert_eq!(times.len() as u64, total);
            for (id, pack) in &memory {
                let of_pack = times.range((*id, 0)..=(*id, u32::MAX)).map(|(_, count)| *count);
                let (least, most) = (of_pack.clone().min(), of_pack.max());
                prop_assert!(
                    most.unwrap_or(0) <= least.unwrap_or(0) + 1,
                    "{} blocks, read {least:?} to {most:?} times", pack.blocks
                );
            }
        }
    }

    #[test]
    fn packs_left_alone_longest_come_first() {
        let mut memory = memory(&[10; 50]);
        let mut dice = Dice::seeded([1; 32]);
        let share = Share::percent(2.0).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..5 {
            let chosen = choose(&mut memory, share, Timestamp::from_millis(round), &mut dice);
            assert_eq!(chosen.len(), 10);
            assert!(
                chosen.iter().all(|(pack, _)| seen.insert(*pack)),
                "round {round}"
            );
        }
        assert_eq!(summary(&memory, 10).oldest, Some(Timestamp::from_millis(0)));
    }
}
