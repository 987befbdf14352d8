//! The ready queue: which unit of work goes next, decided without a clock, a socket or a task.
//!
//! Units wait in lanes, one lane for whatever the service limits as one (it has a path in the
//! limiter). Lanes are taken by class, then by the time that their remaining work needs; every
//! twentieth unit is the turn of whoever comes next, so that nobody waits for ever. A unit goes when
//! the limiter agrees at all nodes of its lane, and its bytes have room in memory; or it stays.

mod knee;
mod page_size;
mod scheduler;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Duration;

use crate::limiter::{Charge, Limiter, Print};
use knee::Knee;

pub use page_size::PageSize;
pub use scheduler::{Lane, Scheduler, Slot};

/// Says whose work goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// Somebody waits for it.
    Restore,
    /// What changed since the last time.
    Incremental,
    /// What was never read before.
    First,
    /// What is read again, to prove it.
    Verification,
}

/// Bounds what is under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLimits {
    /// Units of work.
    pub units: usize,
    /// Whether fewer units go at once where more bring nothing: over a full line, more only make those
    /// wait that have the longest way to go. Never fewer than a quarter; limits below 64 stay as they are.
    pub adaptive: bool,
    /// Bytes in memory, as announced by the units; one larger unit goes alone.
    pub bytes: u64,
}

impl Default for QueueLimits {
    /// 512 units, adaptive, 256 MiB.
    ///
    /// *Source*: our own choice: memory stays bounded whatever the tenant, at over 100 mailboxes of four.
    fn default() -> Self {
        Self {
            units: 512,
            adaptive: true,
            bytes: 256 << 20,
        }
    }
}

/// Names a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(u64);

/// Names a unit that waits, or is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnitId(u64);

/// Decides which unit of work goes next.
///
/// *Shape*: a state machine. Every call that depends on it takes `now`, the time of the limiter.
///
/// *Units and limits*: a poll costs the logarithm of the lanes for each unit that goes or is
/// refused; lanes behind a shared node that refuses are not looked at.
#[derive(Debug, Clone)]
pub struct ReadyQueue {
    limits: QueueLimits,
    knee: Knee,
    under_way: usize,
    bytes: u64,
    lanes: HashMap<LaneId, Entry, BuildHasherDefault<Print>>,
    units: HashMap<UnitId, Unit, BuildHasherDefault<Print>>,
    /// Lanes with a unit that may go as far as the lane itself knows, by the path above them.
    ready: BTreeMap<Vec<String>, BTreeSet<Rank>>,
    /// The same lanes, in the order of their turns.
    turns: BTreeSet<LaneId>,
    last_turn: LaneId,
    granted: u64,
    /// Lanes that wait for a time.
    held: BTreeSet<(Duration, LaneId)>,
    next: u64,
}

/// The order of lanes: by class, the longest first, then by age.
type Rank = (Class, Reverse<Duration>, LaneId);

#[derive(Debug, Clone)]
struct Entry {
    class: Class,
    charge: Charge,
    width: usize,
    remaining: Duration,
    under_way: usize,
    waiting: VecDeque<UnitId>,
    /// It goes when the last unit under way has ended.
    is_closed: bool,
    held_until: Option<Duration>,
    /// It is held only because its own units fill a node: the end of one of them helps.
    is_full: bool,
    /// Under what it stands among the ready ones, if it does.
    rank: Option<Rank>,
}

#[derive(Debug, Clone, Copy)]
struct Unit {
    lane: LaneId,
    bytes: u64,
    is_under_way: bool,
}

impl ReadyQueue {
    /// Creates a queue without lanes.
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            knee: Knee::new(limits.units),
            under_way: 0,
            bytes: 0,
            lanes: HashMap::default(),
            units: HashMap::default(),
            ready: BTreeMap::new(),
            turns: BTreeSet::new(),
            last_turn: LaneId(0),
            granted: 0,
            held: BTreeSet::new(),
            next: 1,
        }
    }

    /// Replaces the limits; what is under way beyond them ends in its own time.
    pub fn set_limits(&mut self, limits: QueueLimits) {
        if self.limits != limits {
            self.limits = limits;
            self.knee = Knee::new(limits.units);
        }
    }

    /// Opens a lane whose units count in the limiter as `charge` says, `width` of them at once.
    pub fn open(&mut self, class: Class, charge: Charge, width: usize) -> LaneId {
        let id = LaneId(self.number());
        let entry = Entry {
            class,
            charge,
            width: width.max(1),
            remaining: Duration::ZERO,
            under_way: 0,
            waiting: VecDeque::new(),
            is_closed: false,
            held_until: None,
            is_full: false,
            rank: None,
        };
        self.lanes.insert(id, entry);
        id
    }

    /// Closes a lane; units that wait in it are forgotten, those under way are ended as ever.
    pub fn close(&mut self, lane: LaneId) {
        self.unrank(lane);
        let Some(entry) = self.lanes.get_mut(&lane) else {
            return;
        };
        entry.is_closed = true;
        if let Some(until) = entry.held_until.take() {
            self.held.remove(&(until, lane));
        }
        for unit in entry.waiting.drain(..) {
            self.units.remove(&unit);
        }
        if entry.under_way == 0 {
            self.lanes.remove(&lane);
        }
    }

    /// Says how long the work that remains in a lane takes at the best pace the service allows it.
    pub fn set_remaining(&mut self, lane: LaneId, remaining: Duration) {
        if let Some(entry) = self.lanes.get_mut(&lane)
            && entry.remaining != remaining
        {
            entry.remaining = remaining;
            self.rank(lane);
        }
    }

    /// Changes the class of a lane.
    pub fn set_class(&mut self, lane: LaneId, class: Class) {
        if let Some(entry) = self.lanes.get_mut(&lane) {
            entry.class = class;
            self.rank(lane);
        }
    }

    /// Lets a unit that brings `bytes` into memory wait in its lane; one that comes back after a
    /// refusal waits before the others.
    pub fn ask(&mut self, lane: LaneId, bytes: u64, comes_back: bool) -> UnitId {
        let id = UnitId(self.number());
        if let Some(entry) = self.lanes.get_mut(&lane).filter(|entry| !entry.is_closed) {
            let unit = Unit {
                lane,
                bytes,
                is_under_way: false,
            };
            self.units.insert(id, unit);
            if comes_back {
                entry.waiting.push_front(id);
            } else {
                entry.waiting.push_back(id);
            }
            self.rank(lane);
        }
        id
    }

    /// Ends a unit that is under way, or takes back one that waits.
    pub fn end(&mut self, unit: UnitId, limiter: &mut Limiter) {
        let Some(Unit {
            lane,
            bytes,
            is_under_way,
        }) = self.units.remove(&unit)
        else {
            return;
        };
        if is_under_way {
            self.under_way -= 1;
            self.bytes -= bytes;
            self.knee.note_end();
        }
        if let Some(entry) = self.lanes.get_mut(&lane) {
            if is_under_way {
                entry.under_way -= 1;
                // It may have ended without a request.
                let most = u32::try_from(entry.under_way).unwrap_or(u32::MAX);
                limiter.keep_promises(&entry.charge, most);
                if std::mem::take(&mut entry.is_full)
                    && let Some(until) = entry.held_until.take()
                {
                    self.held.remove(&(until, lane));
                }
            } else {
                entry.waiting.retain(|waiting| *waiting != unit);
            }
            if entry.is_closed && entry.under_way == 0 {
                self.lanes.remove(&lane);
            }
            self.rank(lane);
        }
    }

    /// Lets no unit of a lane go before `until`; a longer hold stays. Other lanes go on.
    pub fn hold(&mut self, lane: LaneId, until: Duration) {
        let Some(entry) = self.lanes.get_mut(&lane) else {
            return;
        };
        if let Some(before) = entry.held_until {
            if before >= until {
                return;
            }
            self.held.remove(&(before, lane));
        }
        entry.held_until = Some(until);
        entry.is_full = false;
        self.held.insert((until, lane));
        self.rank(lane);
    }

    /// Lets units go, the first first, and returns them with the time at which to ask again, if
    /// waiting can help.
    ///
    /// A unit that goes is promised its place in the limiter, until its first request comes.
    pub fn poll(
        &mut self,
        now: Duration,
        limiter: &mut Limiter,
    ) -> (Vec<UnitId>, Option<Duration>) {
        self.release_held(now);
        let mut pass = Pass::default();
        let most = match self.limits.adaptive {
            true => self.knee.allowed(),
            false => self.limits.units,
        };
        while self.under_way < most {
            let Some(lane) = self.pick(&pass.shut) else {
                break;
            };
            let Some(unit) = self.first_unit(lane) else {
                self.unrank(lane);
                continue;
            };
            let bytes = self.units.get(&unit).map_or(0, |unit| unit.bytes);
            if self.bytes > 0 && self.bytes.saturating_add(bytes) > self.limits.bytes {
                // Nobody overtakes one that waits for memory, else a large one never goes.
                break;
            }
            if self.is_refused(now, limiter, lane, &mut pass) {
                continue;
            }
            self.grant(lane, unit, bytes);
            pass.granted.push(unit);
        }
        if self.limits.adaptive {
            let has_backlog = self.under_way >= most && !self.turns.is_empty();
            self.knee.look(now, has_backlog);
        }
        let held = self.held.first().map(|(until, _)| *until);
        let wake = held.into_iter().chain(pass.wake).min();
        (pass.granted, wake)
    }

    /// Tells whether the limiter, or a hold, keeps a lane from going on now.
    pub fn is_held(&self, now: Duration, limiter: &Limiter, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|entry| {
            let refusal = limiter.refusal(now, &entry.charge);
            entry.held_until.is_some_and(|until| until > now)
                || refusal.is_some_and(|refusal| refusal.not_before.is_some())
        })
    }

    /// Returns how many units wait.
    pub fn waiting(&self) -> usize {
        self.units.len() - self.under_way
    }

    /// Returns how many units are under way.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// Returns how many bytes the units under way have announced.
    pub fn bytes_under_way(&self) -> u64 {
        self.bytes
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Picks the lane that comes next: by rank, or by turn.
    fn pick(&self, shut: &HashSet<Vec<String>>) -> Option<LaneId> {
        let is_open = |lane: &&LaneId| {
            let entry = self.lanes.get(lane);
            entry.is_some_and(|entry| !shut.contains(above(&entry.charge)))
        };
        if self.granted % TURN_EVERY == TURN_EVERY - 1 {
            let after = (
                std::ops::Bound::Excluded(self.last_turn),
                std::ops::Bound::Unbounded,
            );
            let mut round = self
                .turns
                .range(after)
                .chain(self.turns.range(..=self.last_turn));
            return round.find(is_open).copied();
        }
        let open = self.ready.iter().filter(|(path, _)| !shut.contains(*path));
        let first = open.filter_map(|(_, lanes)| lanes.first()).min();
        first.map(|(_, _, lane)| *lane)
    }

    fn first_unit(&self, lane: LaneId) -> Option<UnitId> {
        self.lanes.get(&lane)?.waiting.front().copied()
    }

    /// Asks the limiter; what it refuses is not looked at again before it can have changed.
    fn is_refused(
        &mut self,
        now: Duration,
        limiter: &mut Limiter,
        lane: LaneId,
        pass: &mut Pass,
    ) -> bool {
        let Some(entry) = self.lanes.get(&lane) else {
            return true;
        };
        let Some(refusal) = limiter.refusal(now, &entry.charge) else {
            limiter.promise(&entry.charge);
            return false;
        };
        let path = above(&entry.charge);
        let again = refusal.not_before.unwrap_or(now + LOOK_AGAIN);
        if refusal.depth + 1 < entry.charge.path().len() {
            pass.shut.insert(path.to_vec());
            pass.wake = Some(pass.wake.map_or(again, |wake| wake.min(again)));
        } else {
            self.hold(lane, again);
            if let Some(entry) = self.lanes.get_mut(&lane) {
                entry.is_full = refusal.not_before.is_none();
            }
        }
        true
    }

    fn grant(&mut self, lane: LaneId, unit: UnitId, bytes: u64) {
        if self.granted % TURN_EVERY == TURN_EVERY - 1 {
            self.last_turn = lane;
        }
        self.granted += 1;
        self.under_way += 1;
        self.bytes += bytes;
        if let Some(unit) = self.units.get_mut(&unit) {
            unit.is_under_way = true;
        }
        if let Some(entry) = self.lanes.get_mut(&lane) {
            entry.waiting.pop_front();
            entry.under_way += 1;
        }
        self.rank(lane);
    }

    fn release_held(&mut self, now: Duration) {
        while let Some((until, lane)) = self.held.first().copied()
            && until <= now
        {
            self.held.pop_first();
            if let Some(entry) = self.lanes.get_mut(&lane) {
                entry.held_until = None;
            }
            self.rank(lane);
        }
    }

    /// Puts a lane where it belongs among the ready ones, or takes it out.
    fn rank(&mut self, lane: LaneId) {
        let Some(entry) = self.lanes.get(&lane) else {
            return;
        };
        let is_ready = !entry.waiting.is_empty()
            && entry.under_way < entry.width
            && entry.held_until.is_none();
        let rank = is_ready.then_some((entry.class, Reverse(entry.remaining), lane));
        if entry.rank == rank {
            return;
        }
        self.unrank(lane);
        if let (Some(rank), Some(entry)) = (rank, self.lanes.get_mut(&lane)) {
            entry.rank = Some(rank);
            let path = above(&entry.charge);
            match self.ready.get_mut(path) {
                Some(lanes) => lanes.insert(rank),
                None => self.ready.entry(path.to_vec()).or_default().insert(rank),
            };
            self.turns.insert(lane);
        }
    }

    fn unrank(&mut self, lane: LaneId) {
        let Some(entry) = self.lanes.get_mut(&lane) else {
            return;
        };
        let Some(rank) = entry.rank.take() else {
            return;
        };
        self.turns.remove(&lane);
        let path = above(&entry.charge);
        if let Some(lanes) = self.ready.get_mut(path) {
            lanes.remove(&rank);
            if lanes.is_empty() {
                self.ready.remove(path);
            }
        }
    }
}

/// What one poll has found out so far.
#[derive(Debug, Default)]
struct Pass {
    granted: Vec<UnitId>,
    /// Paths whose lanes wait for a node that they share.
    shut: HashSet<Vec<String>>,
    wake: Option<Duration>,
}

/// Returns the path above the last node of a lane.
fn above(charge: &Charge) -> &[String] {
    charge.path().split_last().map_or(&[], |(_, above)| above)
}

/// Every so many units, one goes by turn: 5 %.
const TURN_EVERY: u64 = 20;
/// When a node is full of requests that did not come by the queue, it is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
