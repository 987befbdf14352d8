//! What a check has dealt with already, in bounded memory, and the problems met there.

use std::collections::{HashMap, HashSet};

use super::report::ProblemNumber;

/// Entries of one generation; two of them take about 20 MB.
const GENERATION_MAX: usize = 7 << 16;
/// Entries whose problems are remembered.
const TROUBLED_MAX: usize = 100_000;
/// Problems that are remembered for one entry.
const PROBLEMS_MAX: usize = 16;

/// A set of what was seen; forgets what was not met for long, so that it is merely seen again.
#[derive(Debug, Default)]
pub(super) struct Seen {
    recent: HashSet<[u8; 16]>,
    older: HashSet<[u8; 16]>,
    troubled: HashMap<[u8; 16], Vec<ProblemNumber>>,
}

impl Seen {
    /// Notes something; tells whether it is new.
    pub(super) fn insert(&mut self, key: [u8; 16]) -> bool {
        let known = self.older.contains(&key);
        if self.recent.len() == GENERATION_MAX {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(key) && !known
    }

    /// Remembers the problems that were met below something.
    pub(super) fn note_problems(&mut self, key: [u8; 16], problems: &[ProblemNumber]) {
        if !problems.is_empty() && self.troubled.len() < TROUBLED_MAX {
            let kept = problems.iter().take(PROBLEMS_MAX).copied().collect();
            self.troubled.insert(key, kept);
        }
    }

    /// Returns the problems that were met below something.
    pub(super) fn problems(&self, key: &[u8; 16]) -> Vec<ProblemNumber> {
        self.troubled.get(key).cloned().unwrap_or_default()
    }
}

/// The first half of a hash: enough to tell apart what is in one store.
pub(super) fn short(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    key
}

/// Adds problems to a list that stays short.
pub(super) fn add(problems: &mut Vec<ProblemNumber>, more: &[ProblemNumber]) {
    for number in more {
        if problems.len() < PROBLEMS_MAX && !problems.contains(number) {
            problems.push(*number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_is_new_once() {
        let mut seen = Seen::default();
        assert!(seen.insert([1; 16]));
        assert!(!seen.insert([1; 16]));
        seen.note_problems([1; 16], &[7]);
        assert_eq!(seen.problems(&[1; 16]), [7]);
        assert!(seen.problems(&[2; 16]).is_empty());
    }
}
