//! The limiter tree: what may be sent now, decided without a clock, a socket or a task.
//!
//! Nodes have generic names, from the application down: app → tenant → service → resource →
//! operation. Each may hold a concurrency, windows of requests, units and bytes, and a pause. A
//! request is admitted when all of its nodes agree, at once, or not at all.

mod charge;
mod limits;
mod node;
mod queue;
mod shared;
mod transport;
mod window;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::time::Duration;

use node::Node;

pub use charge::Charge;
pub use limits::{LimitTable, Limits, Unit};
pub use queue::Ticket;
pub use shared::{Permit, SharedLimiter};
pub use transport::{LimitedTransport, LimiterMode};

/// Decides which requests may be sent.
///
/// *Shape*: a state machine. Every call takes `now`, the time since an origin that the owner
/// chooses; nothing here sleeps or reads a clock. [`SharedLimiter`] drives it by `tokio::time`.
///
/// *Units and limits*: nodes that hold nothing any more are dropped, so that memory follows the
/// resources in use, not the tenant's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limiter {
    table: LimitTable,
    nodes: HashMap<Vec<String>, Node>,
    queue: queue::Queue,
    /// How many nodes there may be before the idle ones are looked for.
    sweep_at: usize,
}

/// Says why a request is not admitted, and when to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The earliest time at which it could be admitted; `None` when only the end of another request
    /// can tell.
    pub not_before: Option<Duration>,
    /// Which node refused: 0 is the topmost.
    pub depth: usize,
    /// What of it refused.
    pub cause: RefusalCause,
}

/// Says what of a node refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefusalCause {
    /// As many requests are under way as may be.
    Concurrency,
    /// A window is full.
    Window,
    /// The service asked for a pause.
    Pause,
}

/// Says what a request came to, for what the limiter learns from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Feedback {
    /// The units that the service billed, where it says so.
    pub units: Option<u64>,
    /// The bytes that went beyond those charged for.
    pub further_bytes: u64,
    /// The pause that the service asked for.
    pub pause: Option<Duration>,
    /// The service refused for load, with or without naming a pause.
    pub throttled: bool,
}

impl Limiter {
    /// Creates a tree without nodes; they come into being with the limits of `table`.
    pub fn new(table: LimitTable) -> Self {
        Self {
            table,
            nodes: HashMap::new(),
            queue: queue::Queue::default(),
            sweep_at: FIRST_SWEEP,
        }
    }

    /// Admits a request at all of its nodes, or at none.
    ///
    /// A charge larger than a window is admitted when the window is empty.
    ///
    /// *Errors*: a [`Refusal`], which leaves everything as it was.
    pub fn admit(&mut self, now: Duration, charge: &Charge) -> Result<(), Refusal> {
        if let Some(refusal) = self.refusal(now, charge) {
            return Err(refusal);
        }
        for depth in 0..charge.path().len() {
            self.node(&charge.path()[..=depth]).take(now, charge);
        }
        if self.nodes.len() > self.sweep_at {
            self.nodes.retain(|_, node| !node.is_idle(now));
            self.sweep_at = (self.nodes.len() * 2).max(FIRST_SWEEP);
        }
        Ok(())
    }

    /// Ends a request that was admitted with `charge`.
    pub fn release(&mut self, now: Duration, charge: &Charge, feedback: Feedback) {
        for depth in 0..charge.path().len() {
            if let Some(node) = self.nodes.get_mut(&charge.path()[..=depth]) {
                node.release(now, charge, &feedback);
            }
        }
        let paused = charge.paused_path();
        if !paused.is_empty() && (feedback.throttled || feedback.pause.is_some()) {
            self.node(paused).throttle(now, feedback.pause);
        } else if let Some(node) = self.nodes.get_mut(paused) {
            node.calm();
        }
    }

    /// Lets nothing through at the node of `path`, nor below it, until `until`; a longer pause
    /// stays.
    pub fn pause(&mut self, path: &[String], until: Duration) {
        self.node(path).pause(until);
    }

    /// Returns how many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Says why a request would not be admitted, if it would not.
    fn refusal(&self, now: Duration, charge: &Charge) -> Option<Refusal> {
        let mut verdict: Option<Refusal> = None;
        for depth in 0..charge.path().len() {
            let path = &charge.path()[..=depth];
            let found = match self.nodes.get(path) {
                Some(node) => node.refusal(now, charge),
                // A node that does not exist yet refuses nothing but a concurrency of none.
                None => Node::new(self.table.limits_of(path)).refusal(now, charge),
            };
            let Some((cause, not_before)) = found else {
                continue;
            };
            verdict = Some(match verdict {
                None => Refusal {
                    not_before,
                    depth,
                    cause,
                },
                // The latest of the times is the first at which all could agree.
                Some(before) => Refusal {
                    not_before: before.not_before.max(not_before),
                    ..before
                },
            });
        }
        verdict
    }

    fn node(&mut self, path: &[String]) -> &mut Node {
        let Self { nodes, table, .. } = self;
        nodes
            .entry(path.to_vec())
            .or_insert_with(|| Node::new(table.limits_of(path)))
    }
}

/// How many nodes there are before the idle ones are looked for the first time.
const FIRST_SWEEP: usize = 1_024;
