//! The limiter tree: what may be sent now, decided without a clock, a socket or a task.
//!
//! Nodes have generic names, from the application down: app → tenant → service → resource →
//! operation. Each may hold a concurrency, windows of requests, units and bytes, and a pause. A
//! request is admitted when all of its nodes agree, at once, or not at all.

mod charge;
mod limits;
mod node;
mod path;
mod queue;
mod ramp;
mod shared;
mod transport;
mod window;

#[cfg(test)]
mod tests;

use std::time::Duration;

use node::Node;
use path::{Key, Path, Table};

pub use charge::Charge;
pub use limits::{LimitTable, Limits, Unit};
pub(crate) use path::Print;
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
    nodes: Table<Node>,
    queue: queue::Queue,
    /// What holds for all nodes together.
    overall: Node,
    /// Among how many what nodes hold is divided, down to which depth.
    share: (u32, usize),
    /// Which nodes were lately said to have too much under way, and when.
    crowded: Vec<(Duration, Key)>,
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
    /// It said that too many requests were under way at once.
    pub crowded: bool,
    /// The units that the service's window holds, as it says.
    pub limit: Option<u64>,
    /// The units that are left in it.
    pub remaining: Option<u64>,
    /// How long until it begins anew.
    pub reset: Option<Duration>,
    /// The share of the window in use, in percent, where the service says that instead.
    pub used_percent: Option<u8>,
}

impl Limiter {
    /// Creates a tree without nodes; they come into being with the limits of `table`.
    pub fn new(table: LimitTable) -> Self {
        Self {
            table,
            nodes: Table::default(),
            queue: queue::Queue::default(),
            overall: Node::new(Limits::none()),
            share: (1, 0),
            crowded: Vec::new(),
            sweep_at: FIRST_SWEEP,
        }
    }

    /// Replaces what holds for all nodes together, such as the share of a line; what is counted of
    /// the earlier limits is forgotten.
    pub fn set_overall(&mut self, limits: Limits) {
        self.overall = Node::new(limits);
    }

    /// Divides the limits of nodes whose paths have at most `depth` names among `sharers`, of whom
    /// this limiter is one; what lies deeper belongs to whoever works on it.
    ///
    /// *Units and limits*: at least one of everything is left, so that the sum of all parts exceeds
    /// a limit only where there are more sharers than units. What the others have used before they
    /// were known is not counted here.
    pub fn set_share(&mut self, sharers: u32, depth: usize) {
        let (_, before) = self.share;
        self.share = (sharers.max(1), depth);
        for (key, node) in &mut self.nodes {
            if key.names().len() <= before.max(depth) {
                node.set_sharers(sharers_of(self.share, key.names()));
            }
        }
    }

    /// Admits a request at all of its nodes, or at none.
    ///
    /// A charge larger than a window is admitted when the window is empty.
    ///
    /// *Errors*: a [`Refusal`], which leaves everything as it was.
    pub fn admit(&mut self, now: Duration, charge: &Charge) -> Result<(), Refusal> {
        if let Some(refusal) = self.verdict(now, charge, false) {
            return Err(refusal);
        }
        self.redeem(charge);
        self.overall.take(now, charge);
        for key in charge.keys() {
            self.change(key, |node| node.take(now, charge));
        }
        if self.nodes.len() > self.sweep_at {
            self.nodes.retain(|_, node| !node.is_idle(now));
            self.sweep_at = (self.nodes.len() * 2).max(FIRST_SWEEP);
        }
        Ok(())
    }

    /// Ends a request that was admitted with `charge`.
    pub fn release(&mut self, now: Duration, charge: &Charge, feedback: Feedback) {
        self.overall.release(now, charge, &feedback);
        if feedback.crowded {
            self.note_crowd(now, &charge.paused_key());
        }
        for key in charge.keys() {
            if let Some(node) = self.nodes.get_mut(&key) {
                node.release(now, charge, &feedback);
            }
        }
        let Some(node) = self.nodes.get_mut(&charge.paused_key()) else {
            return;
        };
        node.hear(now, &feedback);
        if feedback.crowded {
            node.lower_concurrency(now);
        }
        if feedback.throttled || feedback.pause.is_some() {
            let is_shared = charge.paused_depth() < charge.path().len();
            node.throttle(now, feedback.pause, is_shared);
        } else {
            node.calm();
        }
    }

    /// Notes that a node was said to have too much under way. If several next to each other hear
    /// that while each keeps its limit, the limit is that of the node above them.
    ///
    /// *Source*: our own choice, since the published pages contradict each other: three within ten
    /// seconds; doubted again after a day.
    fn note_crowd(&mut self, now: Duration, key: &Key) {
        let Some(above) = key.above() else {
            return;
        };
        let Some(most) = self.nodes.get(key).and_then(Node::kept_concurrency) else {
            return;
        };
        self.crowded
            .retain(|(time, known)| *time + CROWD_WITHIN > now && known != key);
        self.crowded.push((now, key.clone()));
        let beside = |known: &Key| known.above().as_ref() == Some(&above);
        let crowded = self.crowded.iter().filter(|(_, known)| beside(known));
        if crowded.count() >= CROWD {
            let until = now + CROWD_BELIEVED;
            self.change(above, |node| node.share_concurrency(most, until));
        }
    }

    /// Lets nothing through at the node of `path`, nor below it, until `until`; a longer pause
    /// stays.
    pub fn pause(&mut self, path: &[String], until: Duration) {
        let path: Path = path.iter().cloned().collect();
        self.change(path.key(path.names().len()), |node| node.pause(until));
    }

    /// Returns how many nodes there are.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Says why a request would not be admitted, once those that were promised have come; all stays
    /// as it is.
    pub fn refusal(&self, now: Duration, charge: &Charge) -> Option<Refusal> {
        self.verdict(now, charge, true)
    }

    /// Notes that a request of this charge will come soon, so that nobody is promised its place.
    pub fn promise(&mut self, charge: &Charge) {
        self.overall.promise(1);
        for key in charge.keys() {
            self.change(key, |node| node.promise(1));
        }
        if let Some(last) = charge.keys().next_back() {
            self.change(last, |node| node.own_promises(1));
        }
    }

    /// Takes back what was promised at the node of `charge` beyond `most`.
    pub fn keep_promises(&mut self, charge: &Charge, most: u32) {
        let length = charge.path().len();
        let node = charge
            .keys()
            .next_back()
            .and_then(|key| self.nodes.get(&key));
        let promised = node.map_or(0, Node::promises);
        if promised > most {
            self.withdraw(charge, length, promised - most);
        }
    }

    /// Takes back promises to the node to which the first `length` names lead.
    fn withdraw(&mut self, charge: &Charge, length: usize, count: u32) {
        let less = -i64::from(count);
        self.overall.promise(less);
        for (place, key) in charge.keys().take(length).enumerate() {
            if let Some(node) = self.nodes.get_mut(&key) {
                node.promise(less);
                if place + 1 == length {
                    node.own_promises(less);
                }
            }
        }
    }

    /// Redeems a promise at the lowest node of a path that has one.
    fn redeem(&mut self, charge: &Charge) {
        let promised = |key: Key| {
            let node = self.nodes.get(&key);
            node.is_some_and(|node| node.promises() > 0)
        };
        if let Some(place) = charge.keys().rposition(promised) {
            self.withdraw(charge, place + 1, 1);
        }
    }

    fn verdict(&self, now: Duration, charge: &Charge, promised: bool) -> Option<Refusal> {
        let mut verdict: Option<Refusal> = None;
        let overall = self.overall.refusal(now, charge, promised);
        let nodes = charge.keys().map(|key| match self.nodes.get(&key) {
            Some(node) => node.refusal(now, charge, promised),
            // A node that does not exist yet refuses nothing but what its table forbids.
            None => new_node(&self.table, self.share, key.names()).refusal(now, charge, false),
        });
        let nodes = nodes.enumerate();
        for (depth, found) in std::iter::once((0, overall)).chain(nodes) {
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

    /// Changes a node, which comes into being where there is none.
    fn change(&mut self, key: Key, change: impl FnOnce(&mut Node)) {
        if let Some(node) = self.nodes.get_mut(&key) {
            return change(node);
        }
        let mut node = new_node(&self.table, self.share, key.names());
        change(&mut node);
        self.nodes.insert(key, node);
    }
}

fn new_node(table: &LimitTable, share: (u32, usize), path: &[String]) -> Node {
    let mut node = Node::new(table.limits_of(path));
    node.set_sharers(sharers_of(share, path));
    node
}

fn sharers_of((sharers, depth): (u32, usize), path: &[String]) -> u32 {
    if path.len() <= depth { sharers } else { 1 }
}

/// How many nodes there are before the idle ones are looked for the first time.
const FIRST_SWEEP: usize = 1_024;
/// How many nodes next to each other must be crowded, within which time, and for how long it is then
/// believed that they share one limit.
const CROWD: usize = 3;
const CROWD_WITHIN: Duration = Duration::from_secs(10);
const CROWD_BELIEVED: Duration = Duration::from_secs(86_400);
