//! A seeded environment: equal seeds give equal bytes and times.

use std::sync::{Mutex, PoisonError};

use crate::environment::Environment;
use crate::error::Result;
use crate::time::Timestamp;

/// Seconds from 1970 to the moment at which simulated time begins: 2026-01-01.
const BEGINNING_MS: i64 = 1_767_225_600_000;

/// Supplies a fixed clock that moves a millisecond with each look, and bytes from a seed.
///
/// For tests only: whoever knows the seed knows the keys.
#[derive(Debug)]
pub struct SeededEnvironment(Mutex<State>);

#[derive(Debug)]
struct State {
    stream: blake3::OutputReader,
    looks: i64,
}

impl SeededEnvironment {
    /// Creates an environment; each life of a simulated machine needs a seed of its own.
    pub fn new(seed: u64) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"seeded environment");
        hasher.update(&seed.to_le_bytes());
        Self(Mutex::new(State {
            stream: hasher.finalize_xof(),
            looks: 0,
        }))
    }
}

impl Environment for SeededEnvironment {
    fn now(&self) -> Timestamp {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.looks += 1;
        Timestamp::from_millis(BEGINNING_MS + state.looks)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.stream.fill(bytes);
        Ok(())
    }
}

/// Throws dice: a small generator (SplitMix64) for choices that need no secrecy.
#[derive(Debug, Clone)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`, or 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).unwrap_or(0)
    }
}
