//! Fault plan: numbers the effects of a life, and says at which of them what goes wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::effect::{Change, Effect};
use crate::error::{Error, ErrorKind};
use crate::stop::StopSignal;

/// What goes wrong at one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The machine stops, and the effect does not happen.
    StopBefore,
    /// The effect happens, and the machine stops before it hears of it.
    StopAfter,
    /// The effect happens, but the answer is a retryable error.
    AnswerLost,
    /// The effect happens twice, as after a retry on the way; the answer is the second one.
    Twice,
    /// The effect does not happen, and the answer is a retryable error.
    Refused,
    /// From here on there is no room: an append may write a part of its bytes.
    Full,
}

/// Says what goes wrong in one life of a machine; clones share it.
#[derive(Clone, Default)]
pub struct FaultPlan(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    stopped: StopSignal,
}

#[derive(Default)]
struct State {
    done: Vec<Effect>,
    begun: u64,
    faults: BTreeMap<u64, Fault>,
    late: BTreeMap<u64, Vec<Effect>>,
    full: bool,
    reads: u64,
    flaky_reads: Option<u64>,
    slow_lists: Duration,
}

/// Says what to do about one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ruling {
    /// It happens.
    Do,
    /// It happens, and the machine [stops](FaultPlan::stop) before it hears of it.
    DoThenStop,
    /// It happens, and the answer is an error.
    DoThenFail,
    /// It happens twice.
    DoTwice,
    /// It does not happen, and the answer is an error.
    Fail,
    /// It does not happen where it needs room.
    Full,
    /// It does not happen: the machine has stopped.
    Stopped,
}

impl FaultPlan {
    /// Creates a plan by which nothing goes wrong.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans a fault at the effect with this number; the first is 0.
    #[must_use]
    pub fn with(self, effect: u64, fault: Fault) -> Self {
        self.lock().faults.insert(effect, fault);
        self
    }

    /// Plans that an effect of an earlier life lands before the effect with this number, or when
    /// [`FaultBackend::land_all`](super::FaultBackend::land_all) is called.
    #[must_use]
    pub fn with_late(self, before: u64, effect: Effect) -> Self {
        self.lock().late.entry(before).or_default().push(effect);
        self
    }

    /// Plans that every `nth` read of the backend fails with a retryable error.
    #[must_use]
    pub fn with_flaky_reads(self, nth: u64) -> Self {
        self.lock().flaky_reads = Some(nth.max(1));
        self
    }

    /// Plans that every listing takes this long, by tokio's clock.
    #[must_use]
    pub fn with_slow_lists(self, wait: Duration) -> Self {
        self.lock().slow_lists = wait;
        self
    }

    /// Makes room again, after [`Fault::Full`].
    pub fn make_room(&self) {
        self.lock().full = false;
    }

    /// Counts the effects that were begun.
    pub fn count(&self) -> u64 {
        self.lock().begun
    }

    /// Returns the effects that happened, in their order.
    pub fn effects(&self) -> Vec<Effect> {
        self.lock().done.clone()
    }

    /// Counts the effects that happened.
    pub fn effect_count(&self) -> usize {
        self.lock().done.len()
    }

    /// Tells whether the machine has stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.is_requested()
    }

    /// Waits until the machine stops: whatever it was doing is then to be dropped.
    pub async fn stopped(&self) {
        self.0.stopped.requested().await;
    }

    /// Rules over the next effect; a network or a database that shares the plan asks here, too.
    pub fn rule(&self) -> Ruling {
        if self.is_stopped() {
            return Ruling::Stopped;
        }
        let mut state = self.lock();
        let fault = state.faults.get(&state.begun).copied();
        state.begun += 1;
        match fault {
            Some(Fault::StopBefore) => {
                self.0.stopped.request();
                Ruling::Stopped
            }
            Some(Fault::Full) => {
                state.full = true;
                Ruling::Full
            }
            Some(Fault::StopAfter) => Ruling::DoThenStop,
            Some(Fault::AnswerLost) => Ruling::DoThenFail,
            Some(Fault::Twice) => Ruling::DoTwice,
            Some(Fault::Refused) => Ruling::Fail,
            None if state.full => Ruling::Full,
            None => Ruling::Do,
        }
    }

    /// Notes an effect that happened.
    pub(super) fn note(&self, effect: Effect) {
        self.lock().done.push(effect);
    }

    /// Notes an effect that happened elsewhere than in a store: nothing of it can be done again.
    pub fn note_other(&self, what: impl Into<String>) {
        self.note(Effect(Change::Other(what.into())));
    }

    /// Stops the machine.
    pub fn stop(&self) {
        self.0.stopped.request();
    }

    /// Takes the late effects that are due before the next effect; all of them, when asked.
    pub(super) fn take_late(&self, all: bool) -> Vec<Effect> {
        let mut state = self.lock();
        let after = if all { u64::MAX } else { state.begun };
        let later = match after.checked_add(1) {
            Some(next) => state.late.split_off(&next),
            None => BTreeMap::new(),
        };
        let due = std::mem::replace(&mut state.late, later);
        due.into_values().flatten().collect()
    }

    /// Tells whether this read fails, and how long a listing takes.
    pub(super) fn rule_read(&self) -> (bool, Duration) {
        let mut state = self.lock();
        state.reads += 1;
        let reads = state.reads;
        let fails = state
            .flaky_reads
            .is_some_and(|nth| reads.is_multiple_of(nth));
        (fails, state.slow_lists)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("FaultPlan")
            .field("begun", &state.begun)
            .field("faults", &state.faults)
            .finish_non_exhaustive()
    }
}

/// The error of an effect that was refused, or whose answer was lost.
pub(super) fn no_answer(object: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Backend, format!("{object}: no answer"))
}

/// The error of a full backend.
pub(super) fn no_room(object: impl fmt::Display) -> Error {
    let cause = io::Error::from(io::ErrorKind::StorageFull);
    Error::from_io(ErrorKind::Backend, object, cause)
}
