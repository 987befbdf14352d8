//! Nodes: what one name in the tree holds.

use std::time::Duration;

use super::limits::Limits;
use super::window::Window;
use super::{Charge, Feedback, RefusalCause, Unit};

/// One node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    concurrency: Option<u32>,
    under_way: u32,
    windows: Vec<(Unit, Window)>,
    paused_until: Duration,
    /// Refusals of the service in a row that named no pause.
    unnamed: u32,
}

impl Node {
    pub(super) fn new(limits: Limits) -> Self {
        let window = |(unit, limit, period)| (unit, Window::new(limit, period));
        Self {
            concurrency: limits.concurrency,
            under_way: 0,
            windows: limits.windows.into_iter().map(window).collect(),
            paused_until: Duration::ZERO,
            unnamed: 0,
        }
    }

    /// Says what refuses a charge, and until when that is known.
    pub(super) fn refusal(
        &self,
        now: Duration,
        charge: &Charge,
    ) -> Option<(RefusalCause, Option<Duration>)> {
        let paused = (self.paused_until > now).then_some(self.paused_until);
        let full = self
            .windows
            .iter()
            .filter_map(|(unit, window)| window.not_before(now, charge.amount(*unit)))
            .max();
        let places = self.places(charge);
        let busy = self
            .concurrency
            .is_some_and(|most| self.under_way.saturating_add(places) > most);
        let cause = match (paused, full, busy) {
            (Some(_), ..) => RefusalCause::Pause,
            (_, Some(_), _) => RefusalCause::Window,
            (.., true) => RefusalCause::Concurrency,
            _ => return None,
        };
        Some((cause, paused.max(full)))
    }

    pub(super) fn take(&mut self, now: Duration, charge: &Charge) {
        self.under_way = self.under_way.saturating_add(self.places(charge));
        for (unit, window) in &mut self.windows {
            window.add(now, charge.amount(*unit));
        }
    }

    pub(super) fn release(&mut self, now: Duration, charge: &Charge, feedback: &Feedback) {
        self.under_way = self.under_way.saturating_sub(self.places(charge));
        for (unit, window) in &mut self.windows {
            match unit {
                Unit::Requests | Unit::SentBytes => {}
                Unit::Bytes | Unit::ReceivedBytes => window.add(now, feedback.further_bytes),
                Unit::Units => {
                    let charged = charge.amount(Unit::Units);
                    let billed = feedback.units.unwrap_or(charged);
                    window.add(now, billed.saturating_sub(charged));
                    window.subtract(charged.saturating_sub(billed));
                }
            }
        }
    }

    /// Returns how many of the places under way a charge takes: a batch never more than there are.
    fn places(&self, charge: &Charge) -> u32 {
        let most = self.concurrency.unwrap_or(u32::MAX).max(1);
        charge.requests().min(most)
    }

    /// Pauses after a refusal of the service; where it names no pause, longer every time.
    pub(super) fn throttle(&mut self, now: Duration, pause: Option<Duration>) {
        let pause = pause.unwrap_or_else(|| {
            let doublings = self.unnamed.min(16);
            self.unnamed += 1;
            FIRST_PAUSE
                .saturating_mul(1 << doublings)
                .min(LONGEST_UNNAMED)
        });
        self.pause(now.saturating_add(pause.min(LONGEST_PAUSE)));
    }

    pub(super) fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Forgets earlier refusals after a request that went through.
    pub(super) fn calm(&mut self) {
        self.unnamed = 0;
    }

    /// Tells whether the node holds nothing that a new one would not.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.under_way == 0
            && self.paused_until <= now
            && self.windows.iter().all(|(_, window)| window.is_empty(now))
    }
}

/// The first pause where the service names none, and the longest.
/// *Source*: facts/performance.md 4.2: 1 s to 5 min.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_UNNAMED: Duration = Duration::from_secs(300);
/// Longer pauses are cut to this: a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);
