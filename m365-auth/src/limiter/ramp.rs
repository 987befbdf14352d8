//! Ramp: how the many who waited for one pause go on after it, slowly first.

use std::time::Duration;

use super::window::Window;
use super::{Charge, Unit};

/// The way back after a pause: a quarter of the rate, then half of it, then all.
///
/// *Source*: our own choice, held by the bench of time over bound: a quarter, doubling every 5 s.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ramp {
    from: Duration,
    step: u32,
    /// What has gone in this step, by unit.
    taken: Vec<(Unit, u64)>,
}

impl Ramp {
    /// Begins at the end of a pause.
    pub(super) fn new(from: Duration) -> Self {
        Self {
            from,
            step: 0,
            taken: Vec::new(),
        }
    }

    /// Returns when `amount` fits at the earliest, behind `ahead`, or `None` when it fits now.
    pub(super) fn not_before(
        &self,
        now: Duration,
        unit: Unit,
        amount: u64,
        ahead: u64,
        window: &Window,
    ) -> Option<Duration> {
        if window.period() < STEP {
            return None;
        }
        let step = self.step_at(now)?;
        let taken = if step == self.step {
            self.used(unit)
        } else {
            0
        };
        let used = taken.saturating_add(ahead);
        // The whole rate is the limit over its period; a step is five seconds of a share of it.
        let whole = u128::from(window.limit()) * STEP.as_millis();
        let share = whole / window.period().as_millis().max(1) / u128::from(SLOWEST >> step);
        let fits = used == 0 || u128::from(used) + u128::from(amount) <= share;
        (!fits).then(|| self.from.saturating_add(STEP.saturating_mul(step + 1)))
    }

    pub(super) fn take(&mut self, now: Duration, charge: &Charge) {
        let Some(step) = self.step_at(now) else {
            return;
        };
        if step != self.step {
            *self = Self {
                step,
                ..Self::new(self.from)
            };
        }
        for unit in UNITS {
            let amount = charge.amount(unit);
            match self.taken.iter_mut().find(|(known, _)| *known == unit) {
                Some((_, taken)) => *taken = taken.saturating_add(amount),
                None => self.taken.push((unit, amount)),
            }
        }
    }

    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.from && self.step_at(now).is_none()
    }

    fn step_at(&self, now: Duration) -> Option<u32> {
        let passed = now.saturating_sub(self.from).as_secs() / STEP.as_secs();
        let step = u32::try_from(passed).ok()?;
        (step < STEPS).then_some(step)
    }

    fn used(&self, unit: Unit) -> u64 {
        let taken = self.taken.iter().find(|(known, _)| *known == unit);
        taken.map_or(0, |(_, amount)| *amount)
    }
}

const UNITS: [Unit; 5] = [
    Unit::Requests,
    Unit::Units,
    Unit::Bytes,
    Unit::SentBytes,
    Unit::ReceivedBytes,
];
const STEP: Duration = Duration::from_secs(5);
/// How many steps are slower than the whole rate.
const STEPS: u32 = 2;
/// The first step is this part of the rate, the next one twice as much.
const SLOWEST: u32 = 4;
