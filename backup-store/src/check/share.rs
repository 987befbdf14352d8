//! Samples: how large a share is read, and what a sample lets one say about the rest.

use crate::{Error, ErrorKind, Result, Timestamp};

const WHOLE: u32 = 1_000_000;

/// A share of the stored blocks, in parts of a million.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// Takes a share in parts of a million.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] for nothing, and for more than the whole.
    pub fn per_million(parts: u32) -> Result<Self> {
        if (1..=WHOLE).contains(&parts) {
            return Ok(Self(parts));
        }
        let words = format!("share of {parts} in a million: must be from 1 to 1000000");
        Err(Error::new(ErrorKind::InvalidInput, words))
    }

    /// Takes a share in percent, as in 1 or 0.5.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] outside of 0.0001 to 100.
    pub fn percent(percent: f64) -> Result<Self> {
        let parts = (percent * 10_000.0).round();
        if (1.0..=f64::from(WHOLE)).contains(&parts) {
            #[allow(clippy::cast_possible_truncation, reason = "a whole number in range")]
            return Self::per_million(parts as u32);
        }
        let words = format!("share of {percent} %: must be from 0.0001 to 100");
        Err(Error::new(ErrorKind::InvalidInput, words))
    }

    /// Returns the share as a number from 0 to 1.
    pub fn ratio(self) -> f64 {
        f64::from(self.0) / f64::from(WHOLE)
    }

    /// Returns the share of `count`, rounded up.
    pub(super) fn of(self, count: u64) -> u64 {
        let share = u128::from(count) * u128::from(self.0);
        u64::try_from(share.div_ceil(WHOLE.into())).unwrap_or(count)
    }

    /// Returns the share of `count`, rounded down.
    pub(super) fn of_at_least(self, count: u32) -> u32 {
        let share = u64::from(count) * u64::from(self.0) / u64::from(WHOLE);
        u32::try_from(share).unwrap_or(count)
    }
}

/// Reports what a sample read, and what that says about the rest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SampleReport {
    /// Packs whose table could be read.
    pub packs: u64,
    /// Blocks in those packs.
    pub blocks: u64,
    /// Blocks that were read this time.
    pub read: u64,
    /// Blocks that were read by this sample or by earlier ones of the same round; a round ends
    /// for a pack when all its blocks were read.
    pub covered: u64,
    /// When the pack that was left alone longest was last read from; absent while some pack was
    /// never read from, and without a cache directory.
    pub oldest: Option<Timestamp>,
}

impl SampleReport {
    /// Returns the probability that the sample read a damaged block if this share of all blocks
    /// is damaged, wherever they lie.
    ///
    /// *Shape*: from 0 to 1. It is never stated too high: drawing without putting back, and from
    /// every pack in turn, finds more.
    pub fn confidence(&self, damaged_share: f64) -> f64 {
        if self.blocks == 0 {
            return 0.0;
        }
        let damaged = (damaged_share.clamp(0.0, 1.0) * self.blocks as f64).ceil();
        1.0 - self.missed_by_one().powf(damaged)
    }

    /// Returns the least share of damaged blocks that the sample would have met with this
    /// confidence, as in 0.95; more than 1 says that no share would have been met so surely.
    pub fn least_share(&self, confidence: f64) -> f64 {
        let missed = self.missed_by_one();
        if self.blocks == 0 || missed >= 1.0 {
            return f64::INFINITY;
        }
        if missed <= 0.0 {
            return 1.0 / self.blocks as f64;
        }
        let damaged = ((1.0 - confidence.clamp(0.0, 0.999_999)).ln() / missed.ln()).ceil();
        damaged.max(1.0) / self.blocks as f64
    }

    /// The probability that one given block was not read.
    fn missed_by_one(&self) -> f64 {
        1.0 - self.read as f64 / self.blocks as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_part_of_the_whole() {
        assert_eq!(
            Share::percent(1.0).unwrap(),
            Share::per_million(10_000).unwrap()
        );
        for percent in [0.0, -1.0, 100.1, f64::NAN] {
            assert!(Share::percent(percent).is_err(), "{percent}");
        }
        let share = Share::percent(1.0).unwrap();
        assert_eq!((share.of(1), share.of(100), share.of(101)), (1, 1, 2));
        assert_eq!((share.of_at_least(99), share.of_at_least(250)), (0, 2));
    }

    #[test]
    fn confidence_follows_from_what_was_read() {
        let report = SampleReport {
            blocks: 10_000,
            read: 100,
            ..SampleReport::default()
        };
        // 5 % damage, one block in a hundred read: 500 damaged blocks, each missed with 0.99.
        let found = report.confidence(0.05);
        assert!((found - (1.0 - 0.99f64.powi(500))).abs() < 1e-9, "{found}");
        assert_eq!(report.confidence(0.0), 0.0);
        let share = report.least_share(0.95);
        assert!((0.029..0.031).contains(&share), "{share}");
        assert!(report.confidence(share) >= 0.95);
        let all = SampleReport {
            blocks: 7,
            read: 7,
            ..report
        };
        assert_eq!(all.confidence(0.01), 1.0);
        assert_eq!(all.least_share(0.99), 1.0 / 7.0);
        let none = SampleReport::default();
        assert_eq!(none.confidence(1.0), 0.0);
    }
}
