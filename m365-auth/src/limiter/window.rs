//! Windows: how much went through in a span of time that slides.

use std::collections::VecDeque;
use std::time::Duration;

/// Counts what went through lately.
///
/// *Shape*: amounts are kept in slots of a sixty-fourth of the period, and leave one period after
/// the end of their slot: so that in no span of the period, wherever it begins, more goes through
/// than the limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    limit: u64,
    period: Duration,
    slot: Duration,
    slots: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Window {
    pub(super) fn new(limit: u64, period: Duration) -> Self {
        Self {
            limit,
            period,
            slot: (period / SLOTS).max(Duration::from_millis(1)),
            slots: VecDeque::new(),
            sum: 0,
        }
    }

    /// Returns when `amount` fits at the earliest, or `None` when it fits now.
    pub(super) fn not_before(&self, now: Duration, amount: u64) -> Option<Duration> {
        if self.limit == 0 {
            // It never opens; asking once a period is enough.
            return Some(now + self.period);
        }
        // More than ever fits goes through alone.
        let mut sum = self.sum.saturating_add(amount.min(self.limit));
        for (slot, held) in &self.slots {
            let leaves = self.leaves(*slot);
            if leaves > now && sum <= self.limit {
                return None;
            }
            sum = sum.saturating_sub(*held);
            if leaves > now && sum <= self.limit {
                return Some(leaves);
            }
        }
        None
    }

    pub(super) fn add(&mut self, now: Duration, amount: u64) {
        self.forget(now);
        if amount == 0 {
            return;
        }
        let slot = index(now, self.slot);
        match self.slots.back_mut() {
            Some((last, held)) if *last >= slot => *held = held.saturating_add(amount),
            _ => self.slots.push_back((slot, amount)),
        }
        self.sum = self.sum.saturating_add(amount);
    }

    /// Takes back what was charged for too much.
    pub(super) fn subtract(&mut self, amount: u64) {
        let mut left = amount;
        for (_, held) in self.slots.iter_mut().rev() {
            let part = left.min(*held);
            *held -= part;
            left -= part;
            self.sum -= part;
        }
    }

    pub(super) fn is_empty(&self, now: Duration) -> bool {
        self.slots
            .back()
            .is_none_or(|(slot, _)| self.leaves(*slot) <= now)
    }

    fn forget(&mut self, now: Duration) {
        while let Some((slot, held)) = self.slots.front().copied()
            && self.leaves(slot) <= now
        {
            self.slots.pop_front();
            self.sum -= held;
        }
    }

    /// Returns when the amounts of a slot leave the window.
    fn leaves(&self, slot: u64) -> Duration {
        let nanos = self.slot.as_nanos().saturating_mul(u128::from(slot) + 1);
        let end = u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos);
        end.saturating_add(self.period)
    }
}

fn index(now: Duration, slot: Duration) -> u64 {
    u64::try_from(now.as_nanos() / slot.as_nanos().max(1)).unwrap_or(u64::MAX)
}

/// Into how many slots a period is cut.
const SLOTS: u32 = 64;
