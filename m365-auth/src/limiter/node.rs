//! Nodes: what one name in the tree holds.

use std::time::Duration;

use super::limits::Limits;
use super::ramp::Ramp;
use super::window::Window;
use super::{Charge, Feedback, RefusalCause, Unit};

/// One node of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    concurrency: Concurrency,
    under_way: u32,
    /// Requests that will come soon, here or below; and those of them that are promised to this node.
    promised: u32,
    own_promises: u32,
    windows: Vec<(Unit, Window, Vec<u64>)>,
    /// Which rung the windows stand on, and when that may be doubted.
    rung: usize,
    climbs_from: Duration,
    paused_until: Duration,
    /// How it goes on after a pause that many waited for.
    ramp: Option<Ramp>,
    /// Refusals of the service in a row that named no pause.
    unnamed: u32,
}

/// How many requests may be under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Concurrency {
    /// As the table says.
    limit: Option<u32>,
    /// Among how many it is divided, besides this side.
    others: u32,
    /// By how much the service made it less, and when it last did.
    lowered: u32,
    lowered_at: Duration,
    /// What was found to hold for all nodes below together, and until when that is believed.
    shared: Option<(u32, Duration)>,
}

impl Concurrency {
    fn most(&self, now: Duration) -> Option<u32> {
        let own = self
            .limit()
            .map(|limit| limit.saturating_sub(self.lowered(now)).max(limit.min(1)));
        let shared = self.shared.filter(|(_, until)| *until > now);
        let shared = shared.map(|(most, _)| most);
        match (own, shared) {
            (Some(own), Some(shared)) => Some(own.min(shared)),
            (own, shared) => own.or(shared),
        }
    }

    /// Returns this side's part: never nothing of something.
    fn limit(&self) -> Option<u32> {
        let part = |limit: u32| (limit / self.others.saturating_add(1)).max(limit.min(1));
        self.limit.map(part)
    }

    /// One comes back for every two minutes without a refusal.
    fn lowered(&self, now: Duration) -> u32 {
        let clean = now.saturating_sub(self.lowered_at).as_secs() / REGAIN.as_secs();
        let clean = u32::try_from(clean).unwrap_or(u32::MAX);
        self.lowered.saturating_sub(clean)
    }

    fn lower(&mut self, now: Duration) {
        let most = self.limit().unwrap_or(1).saturating_sub(1);
        self.lowered = self.lowered(now).saturating_add(1).min(most);
        self.lowered_at = now;
    }
}

impl Node {
    pub(super) fn new(limits: Limits) -> Self {
        let window = |(unit, rungs, period): (Unit, Vec<u64>, Duration)| {
            let first = rungs.first().copied().unwrap_or_default();
            (unit, Window::new(first, period), rungs)
        };
        Self {
            concurrency: Concurrency {
                limit: limits.concurrency,
                ..Concurrency::default()
            },
            under_way: 0,
            promised: 0,
            own_promises: 0,
            windows: limits.windows.into_iter().map(window).collect(),
            rung: 0,
            climbs_from: Duration::ZERO,
            paused_until: Duration::ZERO,
            ramp: None,
            unnamed: 0,
        }
    }

    /// Says what refuses a charge, and until when that is known; if wished, behind those that were
    /// promised, as if they were like it.
    pub(super) fn refusal(
        &self,
        now: Duration,
        charge: &Charge,
        behind_promised: bool,
    ) -> Option<(RefusalCause, Option<Duration>)> {
        let ahead = if behind_promised { self.promised } else { 0 };
        let paused = (self.paused_until > now).then_some(self.paused_until);
        let full = self
            .windows
            .iter()
            .filter_map(|(unit, window, _)| {
                let amount = charge.amount(*unit);
                let ahead = amount.saturating_mul(u64::from(ahead));
                let ramp = self.ramp.as_ref();
                let slow = ramp.and_then(|ramp| ramp.not_before(now, *unit, amount, ahead, window));
                window
                    .not_before(now, amount, ahead, charge.left())
                    .max(slow)
            })
            .max();
        let under_way = self.under_way.saturating_add(ahead);
        let busy = self.concurrency.most(now).is_some_and(|most| {
            let places = self.places(charge).min(most.max(1));
            under_way.saturating_add(places) > most
        });
        let cause = match (paused, full, busy) {
            (Some(_), ..) => RefusalCause::Pause,
            (_, Some(_), _) => RefusalCause::Window,
            (.., true) => RefusalCause::Concurrency,
            _ => return None,
        };
        Some((cause, paused.max(full)))
    }

    /// Leaves only a part of what the node holds to this side.
    pub(super) fn set_sharers(&mut self, sharers: u32) {
        self.concurrency.others = sharers.saturating_sub(1);
        for (_, window, _) in &mut self.windows {
            window.set_sharers(sharers);
        }
    }

    /// Counts promises, here or below.
    pub(super) fn promise(&mut self, more: i64) {
        self.promised = added(self.promised, more);
    }

    /// Counts promises to this very node.
    pub(super) fn own_promises(&mut self, more: i64) {
        self.own_promises = added(self.own_promises, more);
    }

    pub(super) fn promises(&self) -> u32 {
        self.own_promises
    }

    pub(super) fn take(&mut self, now: Duration, charge: &Charge) {
        self.under_way = self.under_way.saturating_add(self.places(charge));
        for (unit, window, _) in &mut self.windows {
            window.add(now, charge.amount(*unit));
        }
        if let Some(ramp) = &mut self.ramp {
            ramp.take(now, charge);
        }
        self.climb(now);
    }

    pub(super) fn release(&mut self, now: Duration, charge: &Charge, feedback: &Feedback) {
        self.under_way = self.under_way.saturating_sub(self.places(charge));
        for (unit, window, _) in &mut self.windows {
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

    /// Takes over what the service says of the node's own limit: its height and what is left.
    pub(super) fn hear(&mut self, now: Duration, feedback: &Feedback) {
        if feedback.limit.is_some() || feedback.used_percent.is_some() {
            // A service that speaks has said what there is to climb to.
            self.climbs_from = now.saturating_add(QUIET);
        }
        let billed = |(unit, ..): &&mut (Unit, Window, Vec<u64>)| *unit == Unit::Units;
        if let Some(limit) = feedback.limit
            && limit > 0
            && let Some((_, window, rungs)) = self.windows.iter_mut().find(billed)
        {
            window.set_limit(limit);
            if rungs.len() > 1 {
                let known = rungs.partition_point(|rung| *rung <= limit);
                self.stand_on(known.saturating_sub(1), Some(limit));
            }
        }
        let Some((_, window, _)) = self.windows.iter_mut().find(billed) else {
            return;
        };
        let reset = feedback.reset.unwrap_or(window.period());
        if let Some(left) = feedback.remaining {
            window.agree(now, window.limit().saturating_sub(window.part(left)), reset);
        } else if let Some(percent) = feedback.used_percent {
            let used = window.limit().saturating_mul(u64::from(percent)) / 100;
            window.agree(now, used, reset);
        }
    }

    /// Sets the windows with rungs; the first of them to what the service said, where it did.
    fn stand_on(&mut self, rung: usize, said: Option<u64>) {
        self.rung = rung;
        let mut said = said;
        for (_, window, rungs) in &mut self.windows {
            if rungs.len() > 1 {
                let last = rungs.len() - 1;
                window.set_limit(said.take().unwrap_or(rungs[rung.min(last)]));
            }
        }
    }

    /// Steps up when the present rung was used up and the service never spoke of it.
    fn climb(&mut self, now: Duration) {
        if self.climbs_from > now {
            return;
        }
        let Some((_, window, rungs)) = self.windows.iter().find(|(.., rungs)| rungs.len() > 1)
        else {
            return;
        };
        let full = window.used(now).saturating_mul(100) >= window.limit().saturating_mul(95);
        if full && self.rung + 1 < rungs.len() {
            self.stand_on(self.rung + 1, None);
        }
    }

    /// Returns how many of the places under way a charge takes: a batch never more than there are.
    fn places(&self, charge: &Charge) -> u32 {
        // Of the whole limit: what a request took when it began, it must give back.
        let most = self.concurrency.limit.unwrap_or(u32::MAX).max(1);
        charge.requests().min(most)
    }

    /// Pauses after a refusal of the service; where it names no pause, longer every time.
    pub(super) fn throttle(&mut self, now: Duration, pause: Option<Duration>, is_shared: bool) {
        let pause = pause.unwrap_or_else(|| {
            let doublings = self.unnamed.min(16);
            self.unnamed += 1;
            FIRST_PAUSE
                .saturating_mul(1 << doublings)
                .min(LONGEST_UNNAMED)
        });
        let until = now.saturating_add(pause.min(LONGEST_PAUSE));
        if is_shared && self.concurrency.limit.is_none() {
            self.ramp = Some(Ramp::new(until.max(self.paused_until)));
        }
        if self.rung > 0 && self.climbs_from <= now {
            // Nothing was said, so the last step up is what was too much.
            self.stand_on(self.rung - 1, None);
        }
        self.climbs_from = self.climbs_from.max(until.saturating_add(QUIET));
        self.pause(until);
    }

    pub(super) fn pause(&mut self, until: Duration) {
        self.paused_until = self.paused_until.max(until);
    }

    /// Lets one request less go at once, after the service said that they were too many.
    pub(super) fn lower_concurrency(&mut self, now: Duration) {
        self.concurrency.lower(now);
    }

    /// Returns how many the table lets go at once, if that many or fewer are under way.
    pub(super) fn kept_concurrency(&self) -> Option<u32> {
        let limit = self.concurrency.limit()?;
        (self.under_way <= limit).then_some(limit)
    }

    /// Holds all nodes below to `most` requests together, for a time.
    pub(super) fn share_concurrency(&mut self, most: u32, until: Duration) {
        self.concurrency.shared = Some((most, until));
    }

    /// Forgets earlier refusals after a request that went through.
    pub(super) fn calm(&mut self) {
        self.unnamed = 0;
    }

    /// Tells whether the node holds nothing that a new one would not.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.under_way == 0
            && self.promised == 0
            && self.paused_until <= now
            && self.rung == 0
            && self.ramp.as_ref().is_none_or(|ramp| ramp.is_over(now))
            && self.concurrency.lowered(now) == 0
            && self
                .concurrency
                .shared
                .is_none_or(|(_, until)| until <= now)
            && self
                .windows
                .iter()
                .all(|(_, window, _)| window.is_empty(now))
    }
}

fn added(count: u32, more: i64) -> u32 {
    u32::try_from(i64::from(count) + more).unwrap_or_default()
}

/// The first pause where the service names none, and the longest.
/// *Source*: our own choice: 1 s to 5 min.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_UNNAMED: Duration = Duration::from_secs(300);
/// Longer pauses are cut to this: a day.
const LONGEST_PAUSE: Duration = Duration::from_secs(86_400);
/// How long without a refusal brings back one place. *Source*: as above: 2 clean minutes.
const REGAIN: Duration = Duration::from_secs(120);
/// How long after a word of the service, or a refusal, its limit is taken as known: one hour.
const QUIET: Duration = Duration::from_secs(3_600);
