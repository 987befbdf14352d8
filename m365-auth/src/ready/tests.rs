//! Laws of the ready queue, over random lanes, times and ends.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;

use super::{Class, LaneId, QueueLimits, ReadyQueue, UnitId};
use crate::limiter::{Charge, Feedback, LimitTable, Limiter, Limits, Unit};

fn limits(units: usize, bytes: u64) -> QueueLimits {
    QueueLimits {
        units,
        adaptive: true,
        bytes,
    }
}

fn mailbox(number: usize) -> Charge {
    Charge::at(["t".to_owned(), "mail".to_owned(), format!("m{number}")])
}

fn drive(number: usize) -> Charge {
    Charge::at(["t".to_owned(), "files".to_owned(), format!("d{number}")]).pausing_at(2)
}

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// Lets `count` units go one after the other and returns their lanes.
fn served(queue: &mut ReadyQueue, lanes: &HashMap<UnitId, LaneId>, count: usize) -> Vec<LaneId> {
    let mut limiter = Limiter::new(LimitTable::new());
    let mut order = Vec::new();
    while order.len() < count {
        let (granted, _) = queue.poll(Duration::ZERO, &mut limiter);
        assert!(!granted.is_empty(), "nobody goes though somebody waits");
        for unit in granted {
            order.push(lanes[&unit]);
            queue.end(unit, &mut limiter);
        }
    }
    order
}

/// Fills lanes of these classes and remaining times with `each` units.
fn filled(
    lanes: &[(Class, u64)],
    each: usize,
) -> (ReadyQueue, HashMap<UnitId, LaneId>, Vec<LaneId>) {
    let mut queue = ReadyQueue::new(limits(1, u64::MAX));
    let (mut units, mut ids) = (HashMap::new(), Vec::new());
    for (number, (class, remaining)) in lanes.iter().enumerate() {
        let lane = queue.open(*class, mailbox(number), 4);
        queue.set_remaining(lane, seconds(*remaining));
        for _ in 0..each {
            units.insert(queue.ask(lane, 0, false), lane);
        }
        ids.push(lane);
    }
    (queue, units, ids)
}

#[test]
fn classes_go_first_then_the_longest() {
    let classes = [
        (Class::First, 50),
        (Class::First, 90),
        (Class::Verification, 99),
        (Class::Restore, 1),
        (Class::Incremental, 5),
    ];
    let (mut queue, units, ids) = filled(&classes, 3);
    let order = served(&mut queue, &units, 15);
    let expected = [3, 4, 1, 0, 2].map(|place: usize| ids[place]);
    let mut seen = order;
    seen.dedup();
    assert_eq!(seen, expected);
}

#[test]
fn every_twentieth_goes_by_turn_so_that_the_last_is_not_starved() {
    let lanes: Vec<_> = (0..10)
        .map(|number| (Class::First, 1_000 - number))
        .collect();
    let (mut queue, units, ids) = filled(&lanes, 400);
    let order = served(&mut queue, &units, 400);
    let count = |lane| order.iter().filter(|seen| **seen == lane).count();
    assert_eq!(count(ids[0]), 382, "95 % and two turns");
    assert!(ids[1..].iter().all(|lane| count(*lane) == 2));
}

#[test]
fn what_comes_back_goes_before_the_others_of_its_lane() {
    let (mut queue, _, ids) = filled(&[(Class::First, 1)], 2);
    let returned = queue.ask(ids[0], 0, true);
    let (granted, _) = queue.poll(Duration::ZERO, &mut Limiter::new(LimitTable::new()));
    assert_eq!(granted, [returned]);
}

#[test]
fn a_pause_holds_what_it_names_and_nothing_else() {
    let mut limiter = Limiter::new(LimitTable::new());
    let mut queue = ReadyQueue::new(limits(100, u64::MAX));
    let mut ask = |charge| {
        let lane = queue.open(Class::First, charge, 4);
        queue.ask(lane, 0, false)
    };
    let (m0, m1) = (ask(mailbox(0)), ask(mailbox(1)));
    let (d0, d1) = (ask(drive(0)), ask(drive(1)));
    limiter.pause(mailbox(0).paused_path(), seconds(5));
    limiter.pause(drive(0).paused_path(), seconds(9));
    let (granted, wake) = queue.poll(seconds(0), &mut limiter);
    assert_eq!((granted, wake), (vec![m1], Some(seconds(5))));
    let (granted, wake) = queue.poll(seconds(5), &mut limiter);
    assert_eq!((granted, wake), (vec![m0], Some(seconds(9))));
    let (granted, wake) = queue.poll(seconds(9), &mut limiter);
    assert_eq!((granted, wake), (vec![d0, d1], None));
}

#[test]
fn nobody_overtakes_one_that_waits_for_memory() {
    let mut queue = ReadyQueue::new(limits(10, 100));
    let mut limiter = Limiter::new(LimitTable::new());
    let mut ask = |remaining, bytes| {
        let lane = queue.open(Class::First, mailbox(0), 4);
        queue.set_remaining(lane, seconds(remaining));
        queue.ask(lane, bytes, false)
    };
    let (first, large, small) = (ask(9, 60), ask(8, 500), ask(7, 10));
    assert_eq!(queue.poll(seconds(0), &mut limiter).0, [first]);
    assert!(queue.poll(seconds(0), &mut limiter).0.is_empty());
    queue.end(first, &mut limiter);
    assert_eq!(
        queue.poll(seconds(0), &mut limiter).0,
        [large],
        "a larger one alone"
    );
    queue.end(large, &mut limiter);
    assert_eq!(queue.poll(seconds(0), &mut limiter).0, [small]);
    assert_eq!(queue.bytes_under_way(), 10);
}

#[test]
fn a_hundred_thousand_lanes_behind_one_pause_cost_one_look() {
    let mut limiter = Limiter::new(LimitTable::new());
    let mut queue = ReadyQueue::new(limits(512, u64::MAX));
    for number in 0..100_000 {
        let lane = queue.open(Class::First, drive(number), 4);
        queue.ask(lane, 0, false);
    }
    limiter.pause(drive(0).paused_path(), seconds(100_000));
    for second in 0..1_000 {
        assert!(queue.poll(seconds(second), &mut limiter).0.is_empty());
    }
}

fn table(concurrency: u32, amount: u64) -> LimitTable {
    let second = Duration::from_secs(1);
    let shared = Limits::none().with_window(Unit::Requests, amount, second);
    let own = Limits::none().with_concurrency(concurrency);
    LimitTable::new().with(["t", "files"], shared).with(
        ["t", "mail", "*"],
        own.with_window(Unit::Requests, amount * 2, second * 3),
    )
}

/// One thing that happens: which lane asks for how many bytes, what ends, how much time passes.
type Happening = (usize, u64, u8, u64);

/// Plays a history and returns what must be empty in the end.
fn play(history: &[Happening], most: QueueLimits, width: usize, table: LimitTable) -> usize {
    let mut queue = ReadyQueue::new(most);
    let mut limiter = Limiter::new(table);
    let lanes: Vec<(LaneId, Charge)> = (0..6)
        .map(|number| {
            let charge = if number < 3 {
                mailbox(number)
            } else {
                drive(number)
            };
            let class = [Class::Incremental, Class::First][number % 2];
            (queue.open(class, charge.clone(), width), charge)
        })
        .collect();
    let mut now = Duration::ZERO;
    let mut owner: HashMap<UnitId, (usize, u64)> = HashMap::new();
    let mut waiting: HashSet<UnitId> = HashSet::new();
    let mut under_way: Vec<UnitId> = Vec::new();
    let mut quiet = 0;
    let mut happenings = history.iter();
    loop {
        match happenings.next() {
            Some((lane, bytes, what, pass)) => {
                now += Duration::from_millis(*pass);
                queue.set_remaining(lanes[*lane].0, seconds(*bytes));
                let unit = queue.ask(lanes[*lane].0, *bytes, what % 5 == 0);
                owner.insert(unit, (*lane, *bytes));
                waiting.insert(unit);
                if what % 7 == 0
                    && let Some(left) = waiting.iter().min().copied()
                {
                    waiting.remove(&left);
                    queue.end(left, &mut limiter);
                }
                if what % 2 == 0 && !under_way.is_empty() {
                    let unit = under_way.remove(0);
                    limiter.release(now, &lanes[owner[&unit].0].1, Feedback::default());
                    queue.end(unit, &mut limiter);
                }
            }
            None => {
                for unit in under_way.drain(..) {
                    limiter.release(now, &lanes[owner[&unit].0].1, Feedback::default());
                    queue.end(unit, &mut limiter);
                }
            }
        }
        let (granted, wake) = queue.poll(now, &mut limiter);
        quiet = if granted.is_empty() { quiet + 1 } else { 0 };
        for unit in granted {
            assert!(waiting.remove(&unit), "one goes that does not wait");
            let charge = &lanes[owner[&unit].0].1;
            limiter
                .admit(now, charge)
                .expect("what goes is admitted at all nodes");
            under_way.push(unit);
        }
        let bytes: u64 = under_way.iter().map(|unit| owner[unit].1).sum();
        assert_eq!(
            (queue.under_way(), queue.bytes_under_way()),
            (under_way.len(), bytes)
        );
        assert_eq!(queue.waiting(), waiting.len());
        let holders = under_way.iter().filter(|unit| owner[*unit].1 > 0).count();
        assert!(under_way.len() <= most.units && (bytes <= most.bytes || holders == 1));
        for lane in 0..lanes.len() {
            let busy = under_way
                .iter()
                .filter(|unit| owner[*unit].0 == lane)
                .count();
            assert!(busy <= width);
        }
        if happenings.len() == 0 {
            if waiting.is_empty() || quiet > 50 {
                return waiting.len();
            }
            now = wake.map_or(now, |wake| wake.max(now)) + Duration::from_millis(1);
        }
    }
}

proptest! {
    #[test]
    fn nothing_goes_beyond_a_limit_and_nobody_is_forgotten(
        history in proptest::collection::vec((0usize..6, 0u64..60, any::<u8>(), 0u64..400), 1..120),
        units in 1usize..6, width in 1usize..5, concurrency in 1u32..4, amount in 1u64..6
    ) {
        let left = play(&history, limits(units, 100), width, table(concurrency, amount));
        prop_assert_eq!(left, 0);
    }

    #[test]
    fn the_longest_of_the_first_class_goes_whatever_the_order_of_asking(
        lanes in proptest::collection::vec((0usize..4, 0u64..9), 1..12), each in 1usize..4
    ) {
        let class = [Class::Restore, Class::Incremental, Class::First, Class::Verification];
        let lanes: Vec<_> = lanes.iter().map(|(place, time)| (class[*place], *time)).collect();
        let (mut queue, units, ids) = filled(&lanes, each);
        let order = served(&mut queue, &units, lanes.len() * each);
        let rank = |lane: &LaneId| {
            let place = ids.iter().position(|id| id == lane).unwrap();
            (lanes[place].0, std::cmp::Reverse(lanes[place].1))
        };
        let by_rank = order.iter().enumerate().filter(|(place, _)| place % 20 != 19);
        let ranks: Vec<_> = by_rank.map(|(_, lane)| rank(lane)).collect();
        prop_assert!(ranks.is_sorted(), "{:?}", ranks);
    }
}
