//! A ready queue that several share: driven by `tokio::time`, with slots that give themselves back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::{Class, LaneId, QueueLimits, ReadyQueue, UnitId};
use crate::limiter::{Charge, LimitTable, SharedLimiter};

/// Shares one ready queue, and the limiter that it asks, among engines and tasks; cheap to clone.
///
/// *Shape*: a slot allows a unit of work to begin; each of its requests asks the limiter again, in a
/// transport that refuses ([`LimiterMode::Refuse`](crate::LimiterMode::Refuse)) over
/// [`limiter`](Self::limiter). A refused unit drops its slot and comes back.
#[derive(Clone)]
pub struct Scheduler(Arc<Shared>);

struct Shared {
    limiter: SharedLimiter,
    state: Mutex<State>,
}

struct State {
    queue: ReadyQueue,
    /// Those who wait; who is not among them any more may go.
    calls: BTreeMap<UnitId, Arc<Notify>>,
    wake: Option<Duration>,
    /// Which of those who wait looks after the time for all.
    timekeeper: Option<UnitId>,
}

impl Scheduler {
    /// Creates a scheduler before `limiter`.
    pub fn new(limiter: SharedLimiter, limits: QueueLimits) -> Self {
        Self(Arc::new(Shared {
            limiter,
            state: Mutex::new(State {
                queue: ReadyQueue::new(limits),
                calls: BTreeMap::new(),
                wake: None,
                timekeeper: None,
            }),
        }))
    }

    /// Returns the limiter that is asked.
    pub fn limiter(&self) -> &SharedLimiter {
        &self.0.limiter
    }

    /// Replaces the limits of what is under way at once.
    pub fn set_limits(&self, limits: QueueLimits) {
        self.lock().queue.set_limits(limits);
        self.advance();
    }

    /// Opens a lane whose units count in the limiter as `charge` says, `width` of them at once; it
    /// closes when dropped.
    pub fn lane(&self, class: Class, charge: Charge, width: usize) -> Lane {
        let id = self.lock().queue.open(class, charge.clone(), width);
        Lane {
            scheduler: self.clone(),
            charge,
            id,
        }
    }

    /// Returns how many units wait, and how many are under way.
    pub fn load(&self) -> (usize, usize) {
        let state = self.lock();
        (state.queue.waiting(), state.queue.under_way())
    }

    /// Returns how many bytes the units under way have announced.
    pub fn bytes_under_way(&self) -> u64 {
        self.lock().queue.bytes_under_way()
    }

    /// Lets go whom it can, and tells them.
    fn advance(&self) {
        let mut state = self.lock();
        let State { queue, wake, .. } = &mut *state;
        let (granted, next) = self.0.limiter.look(|limiter, now| queue.poll(now, limiter));
        let wakes_earlier = next.is_some_and(|next| wake.is_none_or(|wake| next < wake));
        *wake = next;
        for unit in granted {
            state.call(unit);
        }
        state.appoint(wakes_earlier);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells one who waits to go.
    fn call(&mut self, unit: UnitId) {
        if let Some(call) = self.calls.remove(&unit) {
            call.notify_one();
        }
        if self.timekeeper == Some(unit) {
            self.timekeeper = None;
        }
    }

    /// Sees to it that one of those who wait looks after the time, and knows of an earlier one.
    fn appoint(&mut self, wakes_earlier: bool) {
        let keeper = self.timekeeper.and_then(|unit| self.calls.get(&unit));
        match keeper {
            Some(call) if wakes_earlier => call.notify_one(),
            Some(_) => {}
            None => {
                let next = self.calls.first_key_value();
                self.timekeeper = next.map(|(unit, _)| *unit);
                if let Some((_, call)) = next {
                    call.notify_one();
                }
            }
        }
    }
}

impl Default for Scheduler {
    /// Without limits of a service.
    fn default() -> Self {
        let limiter = SharedLimiter::new(LimitTable::new());
        Self::new(limiter, QueueLimits::default())
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (waiting, under_way) = self.load();
        f.debug_struct("Scheduler")
            .field("waiting", &waiting)
            .field("under_way", &under_way)
            .finish_non_exhaustive()
    }
}

/// A lane of the scheduler; closed when dropped.
pub struct Lane {
    scheduler: Scheduler,
    charge: Charge,
    id: LaneId,
}

impl Lane {
    /// Says how long the work that remains takes at the best pace the service allows.
    pub fn set_remaining(&self, remaining: Duration) {
        let mut state = self.scheduler.lock();
        state.queue.set_remaining(self.id, remaining);
    }

    /// Changes the class of the lane.
    pub fn set_class(&self, class: Class) {
        self.scheduler.lock().queue.set_class(self.id, class);
    }

    /// Waits until a unit that brings `bytes` into memory may begin; one that comes back after a
    /// refusal goes before the others of its lane.
    ///
    /// *Cancel safety*: dropping the future gives up the place.
    pub async fn slot(&self, bytes: u64, comes_back: bool) -> Slot {
        let called = Arc::new(Notify::new());
        let unit = {
            let mut state = self.scheduler.lock();
            let unit = state.queue.ask(self.id, bytes, comes_back);
            state.calls.insert(unit, called.clone());
            unit
        };
        let slot = Slot {
            scheduler: self.scheduler.clone(),
            unit,
        };
        self.scheduler.advance();
        loop {
            let wake = {
                let state = self.scheduler.lock();
                if !state.calls.contains_key(&unit) {
                    return slot;
                }
                let is_keeper = state.timekeeper == Some(unit);
                state.wake.filter(|_| is_keeper)
            };
            let Some(time) = wake else {
                called.notified().await;
                continue;
            };
            let time = self.scheduler.0.limiter.instant(time);
            tokio::select! {
                biased;
                () = called.notified() => {}
                () = tokio::time::sleep_until(time) => self.scheduler.advance(),
            }
        }
    }

    /// Lets no unit of this lane begin for a time.
    pub fn hold(&self, wait: Duration) {
        let until = self.scheduler.0.limiter.now().saturating_add(wait);
        self.scheduler.lock().queue.hold(self.id, until);
        self.scheduler.advance();
    }

    /// Lets nothing through where a refusal of the service pauses, for a time.
    pub fn pause(&self, wait: Duration) {
        let limiter = &self.scheduler.0.limiter;
        limiter.pause(self.charge.paused_path(), wait);
        self.scheduler.advance();
    }

    /// Tells whether a pause, a window or a hold keeps this lane from going on now.
    pub fn is_held(&self) -> bool {
        let state = self.scheduler.lock();
        let limiter = &self.scheduler.0.limiter;
        limiter.look(|limiter, now| state.queue.is_held(now, limiter, self.id))
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.scheduler.lock().queue.close(self.id);
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of nodes are ids of the tenant: not for logs.
        f.write_str("Lane(..)")
    }
}

/// Allows one unit of work; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    scheduler: Scheduler,
    unit: UnitId,
}

impl Drop for Slot {
    fn drop(&mut self) {
        {
            let mut state = self.scheduler.lock();
            state.call(self.unit);
            let State { queue, .. } = &mut *state;
            let limiter = &self.scheduler.0.limiter;
            limiter.look(|limiter, _| queue.end(self.unit, limiter));
        }
        self.scheduler.advance();
    }
}
