//! Windows: how much went through in a span of time that slides.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts what went through lately.
///
/// *Shape*: amounts are gathered over a sixty-fourth of the period, and leave one period after the
/// end of such a slot: so that in no span of the period, wherever it begins, more goes through
/// than the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// What holds for all who share the window, and among how many it is divided.
    whole: u64,
    sharers: u32,
    period: Duration,
    slot: Duration,
    /// When amounts leave, the first first.
    held: VecDeque<(Duration, u64)>,
    sum: u64,
}

impl Window {
    pub(super) fn new(limit: u64, period: Duration) -> Self {
        Self {
            whole: limit,
            sharers: 1,
            period,
            slot: (period / SLOTS).max(Duration::from_millis(1)),
            held: VecDeque::new(),
            sum: 0,
        }
    }

    /// Returns when `amount` fits at the earliest, behind `ahead`, if `percent` of a budget must stay
    /// free; `None` when it fits now.
    pub(super) fn not_before(
        &self,
        now: Duration,
        amount: u64,
        ahead: u64,
        percent: u8,
    ) -> Option<Duration> {
        let limit = self.open_to(percent);
        if limit == 0 {
            // It never opens; asking once a period is enough.
            return Some(now + self.period);
        }
        // More than ever fits goes through alone.
        let new = ahead.saturating_add(amount.min(limit));
        let mut sum = self.sum.saturating_add(new);
        for (leaves, held) in &self.held {
            if *leaves > now && sum <= limit {
                return None;
            }
            sum = sum.saturating_sub(*held);
            if *leaves > now && sum <= limit {
                return Some(*leaves);
            }
        }
        // What is ahead is not counted yet, so that nobody knows when it leaves.
        (new > limit).then(|| now.saturating_add(self.period))
    }

    /// Returns what of the limit may be used by those who leave `percent` of a budget to others; a
    /// budget is a window of a day or more.
    fn open_to(&self, percent: u8) -> u64 {
        if self.period < DAY {
            return self.limit();
        }
        let left = u64::from(100 - percent.min(100));
        self.limit() / 100 * left + self.limit() % 100 * left / 100
    }

    /// Replaces the limit; what went through stays counted.
    pub(super) fn set_limit(&mut self, limit: u64) {
        self.whole = limit;
    }

    /// Leaves only a part of the limit to this side.
    pub(super) fn set_sharers(&mut self, sharers: u32) {
        self.sharers = sharers.max(1);
    }

    /// Returns this side's part of the limit: never nothing of something.
    pub(super) fn limit(&self) -> u64 {
        self.part(self.whole).max(self.whole.min(1))
    }

    /// Returns this side's part of what all share.
    pub(super) fn part(&self, whole: u64) -> u64 {
        whole / u64::from(self.sharers)
    }

    pub(super) fn period(&self) -> Duration {
        self.period
    }

    /// Returns what is counted at `now`.
    pub(super) fn used(&self, now: Duration) -> u64 {
        let held = self.held.iter().rev();
        held.take_while(|(leaves, _)| *leaves > now)
            .map(|(_, held)| held)
            .sum()
    }

    /// Counts at least `used`, as the service does; what is more than was known leaves after
    /// `reset`, when the service begins anew.
    pub(super) fn agree(&mut self, now: Duration, used: u64, reset: Duration) {
        self.forget(now);
        let unknown = used.saturating_sub(self.sum);
        if unknown > 0 {
            let leaves = now.saturating_add(reset.min(self.period));
            let place = self.held.partition_point(|(known, _)| *known <= leaves);
            self.held.insert(place, (leaves, unknown));
            self.sum = self.sum.saturating_add(unknown);
        }
    }

    pub(super) fn add(&mut self, now: Duration, amount: u64) {
        self.forget(now);
        if amount == 0 {
            return;
        }
        let leaves = self.leaves(now);
        match self.held.back_mut() {
            Some((last, held)) if *last >= leaves => *held = held.saturating_add(amount),
            _ => self.held.push_back((leaves, amount)),
        }
        self.sum = self.sum.saturating_add(amount);
    }

    /// Takes back what was charged for too much.
    pub(super) fn subtract(&mut self, amount: u64) {
        let mut left = amount;
        for (_, held) in self.held.iter_mut().rev() {
            let part = left.min(*held);
            *held -= part;
            left -= part;
            self.sum -= part;
        }
    }

    pub(super) fn is_empty(&self, now: Duration) -> bool {
        self.held.back().is_none_or(|(leaves, _)| *leaves <= now)
    }

    fn forget(&mut self, now: Duration) {
        while let Some((leaves, held)) = self.held.front().copied()
            && leaves <= now
        {
            self.held.pop_front();
            self.sum -= held;
        }
    }

    /// Returns when what goes through now leaves the window: a period after the end of its slot.
    fn leaves(&self, now: Duration) -> Duration {
        let slot = self.slot.as_nanos().max(1);
        let end = slot.saturating_mul(now.as_nanos() / slot + 1);
        let end = u64::try_from(end).map_or(Duration::MAX, Duration::from_nanos);
        end.saturating_add(self.period)
    }
}

/// A window of at least this is a budget, of which a share may be left to others.
const DAY: Duration = Duration::from_secs(86_400);
/// Into how many slots a period is cut.
const SLOTS: u32 = 64;
