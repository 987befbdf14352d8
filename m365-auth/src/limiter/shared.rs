//! A limiter that several share: driven by `tokio::time`, with permits that give themselves back.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::{Charge, Feedback, LimitTable, Limiter, Limits, Refusal, Ticket};

/// Shares one limiter among clients, engines and tasks; cheap to clone.
#[derive(Clone)]
pub struct SharedLimiter(Arc<Shared>);

struct Shared {
    origin: Instant,
    state: Mutex<State>,
    /// Tells those who sleep that the time to wake has changed.
    changed: Notify,
}

struct State {
    limiter: Limiter,
    calls: HashMap<Ticket, oneshot::Sender<Permit>>,
    wake: Option<Duration>,
}

impl SharedLimiter {
    /// Creates a limiter; its time begins now.
    pub fn new(table: LimitTable) -> Self {
        Self(Arc::new(Shared {
            origin: Instant::now(),
            state: Mutex::new(State {
                limiter: Limiter::new(table),
                calls: HashMap::new(),
                wake: None,
            }),
            changed: Notify::new(),
        }))
    }

    /// Admits a request now or not at all.
    ///
    /// *Errors*: the refusal, whose time is made a span from now.
    pub fn try_acquire(&self, charge: &Charge) -> Result<Permit, Refusal> {
        let now = self.now();
        let mut state = self.lock();
        let admitted = state.limiter.admit(now, charge);
        drop(state);
        match admitted {
            Ok(()) => Ok(self.permit(charge.clone())),
            Err(refusal) => Err(Refusal {
                not_before: refusal.not_before.map(|time| time.saturating_sub(now)),
                ..refusal
            }),
        }
    }

    /// Waits until a request is admitted.
    ///
    /// *Cancel safety*: dropping the future gives up the place in the queue.
    pub async fn acquire(&self, charge: &Charge) -> Permit {
        let (call, mut called) = oneshot::channel();
        let ticket = {
            let mut state = self.lock();
            let ticket = state.limiter.enqueue(charge.clone());
            state.calls.insert(ticket, call);
            ticket
        };
        let place = Place {
            limiter: self,
            ticket,
        };
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // Registered before the state is looked at, so that no change is missed.
            changed.as_mut().enable();
            self.advance();
            let wake = self.lock().wake;
            let sleep = async {
                match wake {
                    Some(time) => tokio::time::sleep_until(self.0.origin + time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                permit = &mut called => if let Ok(permit) = permit {
                    drop(place);
                    return permit;
                },
                () = sleep => {}
                () = changed => {}
            }
        }
    }

    /// Lets nothing through at a node, nor below it, for a time.
    pub fn pause(&self, path: &[String], wait: Duration) {
        let until = self.now().saturating_add(wait);
        self.lock().limiter.pause(path, until);
    }

    /// Replaces what holds for all nodes together, such as the share of a line.
    pub fn set_overall(&self, limits: Limits) {
        self.lock().limiter.set_overall(limits);
        self.advance();
    }

    /// Divides the limits of nodes whose paths have at most `depth` names among `sharers`, of whom
    /// this limiter is one.
    pub fn set_share(&self, sharers: u32, depth: usize) {
        self.lock().limiter.set_share(sharers, depth);
        self.advance();
    }

    /// Calls with the limiter and its time; nothing is sent.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Limiter, Duration) -> T) -> T {
        let now = self.now();
        look(&mut self.lock().limiter, now)
    }

    /// Returns when `time` of the limiter is.
    pub(crate) fn instant(&self, time: Duration) -> Instant {
        self.0.origin + time
    }

    fn permit(&self, charge: Charge) -> Permit {
        Permit {
            limiter: self.clone(),
            charge,
            feedback: Feedback::default(),
        }
    }

    /// Returns the time of the limiter.
    pub(crate) fn now(&self) -> Duration {
        self.0.origin.elapsed()
    }

    /// Admits whom it can, and hands out the permits.
    fn advance(&self) {
        let mut calls = Vec::new();
        {
            let now = self.now();
            let mut state = self.lock();
            let (admitted, wake) = state.limiter.poll(now);
            for (ticket, charge) in admitted {
                calls.push((state.calls.remove(&ticket), charge));
            }
            if state.wake != wake {
                state.wake = wake;
                self.0.changed.notify_waiters();
            }
        }
        for (call, charge) in calls {
            let permit = self.permit(charge);
            // One who left meanwhile gives the permit back by dropping it, outside the lock.
            if let Some(call) = call {
                let _ = call.send(permit);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue, given up when dropped.
struct Place<'a> {
    limiter: &'a SharedLimiter,
    ticket: Ticket,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.lock();
        state.calls.remove(&self.ticket);
        let waited = state.limiter.cancel(self.ticket);
        drop(state);
        if waited {
            // Those behind may be able to go on.
            self.limiter.advance();
        }
    }
}

/// Allows one request; given back when dropped, with what was learnt.
pub struct Permit {
    limiter: SharedLimiter,
    charge: Charge,
    feedback: Feedback,
}

impl Permit {
    /// Notes what the request came to; taken into account when the permit is dropped.
    pub fn note(&mut self, feedback: Feedback) {
        self.feedback = feedback;
    }

    /// Notes bytes that went beyond those charged for.
    pub fn note_bytes(&mut self, bytes: u64) {
        self.feedback.further_bytes = self.feedback.further_bytes.saturating_add(bytes);
    }

    /// Returns what the request was charged with.
    pub fn charge(&self) -> &Charge {
        &self.charge
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let now = self.limiter.now();
        let waiting = {
            let mut state = self.limiter.lock();
            state.limiter.release(now, &self.charge, self.feedback);
            state.limiter.waiting() > 0
        };
        if waiting {
            self.limiter.advance();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names of nodes are ids of the tenant: not for logs.
        f.write_str("Permit(..)")
    }
}

impl fmt::Debug for SharedLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("SharedLimiter")
            .field("nodes", &state.limiter.nodes())
            .field("waiting", &state.limiter.waiting())
            .finish_non_exhaustive()
    }
}
