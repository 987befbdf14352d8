//! The queue of those who wait: in order at each node, and past each other where they share none
//! that is full.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use super::{Charge, Limiter};

/// Names one who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Those who wait, the first first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Queue {
    waiting: VecDeque<(Ticket, Charge)>,
    next: u64,
}

impl Limiter {
    /// Lets a request wait its turn; [`poll`](Self::poll) admits it.
    pub fn enqueue(&mut self, charge: Charge) -> Ticket {
        let ticket = Ticket(self.queue.next);
        self.queue.next += 1;
        self.queue.waiting.push_back((ticket, charge));
        ticket
    }

    /// Removes one who does not wait any more; `false` when it was admitted before.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let before = self.queue.waiting.len();
        self.queue.waiting.retain(|(own, _)| *own != ticket);
        self.queue.waiting.len() < before
    }

    /// Returns how many wait.
    pub fn waiting(&self) -> usize {
        self.queue.waiting.len()
    }

    /// Admits whom it can, in order, and returns them with the time at which to ask again, if a
    /// time is known.
    ///
    /// Nobody overtakes at a node that refuses: who comes later there waits as well.
    pub fn poll(&mut self, now: Duration) -> (Vec<(Ticket, Charge)>, Option<Duration>) {
        let mut admitted = Vec::new();
        let mut wake: Option<Duration> = None;
        let mut shut: HashSet<Vec<String>> = HashSet::new();
        let mut still = VecDeque::with_capacity(self.queue.waiting.len());
        for (ticket, charge) in std::mem::take(&mut self.queue.waiting) {
            let path = charge.path();
            let behind = (1..=path.len()).any(|length| shut.contains(&path[..length]));
            if behind {
                still.push_back((ticket, charge));
                continue;
            }
            match self.admit(now, &charge) {
                Ok(()) => admitted.push((ticket, charge)),
                Err(refusal) => {
                    shut.insert(path[..=refusal.depth].to_vec());
                    let known = refusal.not_before;
                    wake = match (wake, known) {
                        (Some(one), Some(other)) => Some(one.min(other)),
                        (one, other) => one.or(other),
                    };
                    still.push_back((ticket, charge));
                }
            }
        }
        self.queue.waiting = still;
        (admitted, wake)
    }
}
