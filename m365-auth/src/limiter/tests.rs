//! Laws of the limiter, over random requests and times.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::{Charge, Feedback, LimitTable, Limiter, Limits, RefusalCause, Unit};

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

fn table(concurrency: u32, amount: u64, period: Duration) -> LimitTable {
    let windows = Limits::none()
        .with_window(Unit::Requests, amount, period)
        .with_window(Unit::Units, amount * 3, period);
    LimitTable::new()
        .with(
            ["app"],
            Limits::none().with_window(Unit::Requests, amount * 2, period),
        )
        .with(["app", "*"], windows.with_concurrency(concurrency))
}

fn mailbox(number: u8) -> Charge {
    Charge::at(["app".to_owned(), format!("m{number}")])
}

#[test]
fn pauses_hold_where_they_were_asked_for_and_below() {
    let mut limiter = Limiter::new(LimitTable::new());
    let path = |names: &[&str]| -> Vec<String> { names.iter().map(ToString::to_string).collect() };
    limiter.pause(&path(&["app", "t", "exchange", "m1"]), millis(500));
    let at = |names: &[&str]| Charge::at(names.iter().copied());
    let refused = limiter.admit(millis(0), &at(&["app", "t", "exchange", "m1", "send"]));
    let refusal = refused.unwrap_err();
    assert_eq!(refusal.not_before, Some(millis(500)));
    assert_eq!((refusal.depth, refusal.cause), (3, RefusalCause::Pause));
    for free in [
        &["app", "t", "exchange", "m2", "send"][..],
        &["app", "t", "exchange"],
        &["app", "t", "sharepoint", "m1"],
    ] {
        limiter.admit(millis(0), &at(free)).unwrap();
    }
    limiter
        .admit(millis(500), &at(&["app", "t", "exchange", "m1", "send"]))
        .unwrap();
    // A shorter pause does not end a longer one.
    limiter.pause(&path(&["app"]), millis(900));
    limiter.pause(&path(&["app"]), millis(800));
    assert!(limiter.admit(millis(850), &at(&["app"])).is_err());
}

#[test]
fn a_refusal_of_the_service_pauses_one_node_and_longer_each_time_without_a_word() {
    let mut limiter = Limiter::new(LimitTable::new());
    let charge = mailbox(1);
    let mut now = millis(0);
    for expected in [1, 2, 4, 8] {
        limiter.admit(now, &charge).unwrap();
        let throttled = Feedback {
            throttled: true,
            ..Feedback::default()
        };
        limiter.release(now, &charge, throttled);
        let until = limiter.admit(now, &charge).unwrap_err().not_before.unwrap();
        assert_eq!((until - now).as_secs(), expected);
        limiter.admit(now, &mailbox(2)).unwrap();
        now = until;
    }
    limiter.admit(now, &charge).unwrap();
    limiter.release(now, &charge, Feedback::default());
    limiter.admit(now, &charge).unwrap();
    let named = Feedback {
        pause: Some(millis(70)),
        ..Feedback::default()
    };
    limiter.release(now, &charge, named);
    let refusal = limiter.admit(now, &charge).unwrap_err();
    assert_eq!(refusal.not_before, Some(now + millis(70)));
}

#[test]
fn a_charge_may_pause_higher_up() {
    let mut limiter = Limiter::new(LimitTable::new());
    let charge = Charge::at(["app", "t", "sharepoint", "d1"]).pausing_at(3);
    limiter.admit(millis(0), &charge).unwrap();
    let named = Feedback {
        pause: Some(millis(70)),
        ..Feedback::default()
    };
    limiter.release(millis(0), &charge, named);
    let other = Charge::at(["app", "t", "sharepoint", "d2"]);
    assert!(limiter.admit(millis(1), &other).is_err());
    assert!(
        limiter
            .admit(millis(1), &Charge::at(["app", "t", "exchange"]))
            .is_ok()
    );
}

#[test]
fn billed_units_replace_the_estimate() {
    let limits = Limits::none().with_window(Unit::Units, 10, millis(1_000));
    let mut limiter = Limiter::new(LimitTable::new().with(["a"], limits));
    let charge = Charge::at(["a"]).with_units(6);
    limiter.admit(millis(0), &charge).unwrap();
    assert!(limiter.admit(millis(1), &charge).is_err());
    let billed = |units| Feedback {
        units: Some(units),
        ..Feedback::default()
    };
    limiter.release(millis(1), &charge, billed(1));
    limiter.admit(millis(1), &charge).unwrap();
    limiter.release(millis(1), &charge, billed(9));
    assert!(
        limiter
            .admit(millis(1), &Charge::at(["a"]).with_units(1))
            .is_err()
    );
}

#[test]
fn a_batch_takes_the_places_of_its_parts_but_never_more_than_there_are() {
    let limits = Limits::none()
        .with_concurrency(4)
        .with_window(Unit::Requests, 30, millis(1_000));
    let mut limiter = Limiter::new(LimitTable::new().with(["a"], limits));
    let batch = |parts| Charge::at(["a"]).with_requests(parts);
    limiter.admit(millis(0), &batch(3)).unwrap();
    assert!(limiter.admit(millis(1), &batch(2)).is_err());
    limiter.admit(millis(1), &batch(1)).unwrap();
    limiter.release(millis(1), &batch(3), Feedback::default());
    limiter.release(millis(1), &batch(1), Feedback::default());
    limiter.admit(millis(2), &batch(20)).unwrap();
    assert!(limiter.admit(millis(3), &batch(1)).is_err());
    limiter.release(millis(3), &batch(20), Feedback::default());
    let refusal = limiter.admit(millis(4), &batch(7)).unwrap_err();
    assert_eq!(refusal.cause, RefusalCause::Window, "24 of 30 are used");
}

#[test]
fn what_is_read_does_not_count_as_sent() {
    let limits = Limits::none()
        .with_window(Unit::SentBytes, 10, millis(1_000))
        .with_window(Unit::ReceivedBytes, 100, millis(1_000));
    let mut limiter = Limiter::new(LimitTable::new().with(["a"], limits));
    let get = Charge::at(["a"]);
    let put = Charge::at(["a"]).with_sent_bytes(9);
    let read = Feedback {
        further_bytes: 90,
        ..Feedback::default()
    };
    limiter.admit(millis(0), &get).unwrap();
    limiter.release(millis(0), &get, read);
    limiter.admit(millis(1), &put).unwrap();
    assert!(limiter.admit(millis(1), &put).is_err());
    assert!(limiter.admit(millis(1), &get.with_bytes(11)).is_err());
}

#[test]
fn a_small_request_does_not_overtake_a_large_one_at_the_same_node() {
    let limits = Limits::none().with_window(Unit::Units, 10, millis(640));
    let mut limiter = Limiter::new(LimitTable::new().with(["a", "*"], limits));
    let ask = |node: &str, units| Charge::at(["a", node]).with_units(units);
    limiter.admit(millis(0), &ask("m1", 6)).unwrap();
    let large = limiter.enqueue(ask("m1", 8));
    let small = limiter.enqueue(ask("m1", 1));
    let other = limiter.enqueue(ask("m2", 1));
    let tickets = |admitted: Vec<(super::Ticket, Charge)>| -> Vec<super::Ticket> {
        admitted.into_iter().map(|(ticket, _)| ticket).collect()
    };
    let (admitted, wake) = limiter.poll(millis(1));
    assert_eq!(tickets(admitted), [other], "who waits elsewhere goes past");
    let (admitted, _) = limiter.poll(wake.unwrap());
    assert_eq!(tickets(admitted), [large, small]);
    // One who leaves makes room for those behind.
    let large = limiter.enqueue(ask("m1", 9));
    let small = limiter.enqueue(ask("m1", 1));
    assert!(limiter.poll(wake.unwrap()).0.is_empty());
    assert!(limiter.cancel(large) && !limiter.cancel(large));
    assert_eq!(tickets(limiter.poll(wake.unwrap()).0), [small]);
}

/// A service with the tiers of SharePoint, small.
fn tiers() -> (Limiter, Charge) {
    let limits = Limits::none()
        .with_rungs(Unit::Units, [10, 20, 30], millis(1_000))
        .with_rungs(Unit::Units, [100, 200, 300], Duration::from_secs(86_400));
    let limiter = Limiter::new(LimitTable::new().with(["t", "files"], limits));
    let charge = Charge::at(["t", "files", "d"]).with_units(1).pausing_at(2);
    (limiter, charge)
}

/// Sends as much as goes in one instant and answers it all with `heard`.
fn burst(limiter: &mut Limiter, now: Duration, charge: &Charge, heard: Feedback) -> u64 {
    let mut sent = 0;
    while limiter.admit(now, charge).is_ok() {
        limiter.release(now, charge, heard);
        sent += 1;
    }
    sent
}

#[test]
fn a_service_that_keeps_silent_has_a_higher_limit() {
    let (mut limiter, charge) = tiers();
    let silent = Feedback::default();
    // Each rung is used up without a word before the next one is tried.
    assert_eq!(burst(&mut limiter, millis(0), &charge, silent), 30);
    let (mut limiter, charge) = tiers();
    let said = Feedback {
        limit: Some(10),
        remaining: Some(2),
        reset: Some(millis(400)),
        ..Feedback::default()
    };
    limiter.admit(millis(0), &charge).unwrap();
    limiter.release(millis(0), &charge, said);
    assert_eq!(burst(&mut limiter, millis(1), &charge, silent), 2);
    // What others used leaves when the service says, and the limit stays what it said.
    assert_eq!(burst(&mut limiter, millis(401), &charge, silent), 7);
    assert_eq!(burst(&mut limiter, millis(1_600), &charge, silent), 10);
    // The day's amount follows from the rung.
    let mut sent = 20;
    for second in 3..30 {
        sent += burst(&mut limiter, millis(second * 1_000 + 600), &charge, silent);
    }
    assert_eq!(sent, 100);
}

#[test]
fn a_service_that_names_a_higher_limit_is_believed() {
    let (mut limiter, charge) = tiers();
    let said = Feedback {
        limit: Some(30),
        remaining: Some(29),
        ..Feedback::default()
    };
    limiter.admit(millis(0), &charge).unwrap();
    limiter.release(millis(0), &charge, said);
    assert_eq!(
        burst(&mut limiter, millis(0), &charge, Feedback::default()),
        29
    );
}

#[test]
fn backups_leave_a_share_of_the_day_to_restores() {
    let day = Limits::none().with_window(Unit::Units, 100, Duration::from_secs(86_400));
    let mut limiter = Limiter::new(LimitTable::new().with(["a"], day));
    let charge = Charge::at(["a"]).with_units(1);
    let backup = charge.clone().leaving(15);
    assert_eq!(
        burst(&mut limiter, millis(0), &backup, Feedback::default()),
        85
    );
    assert_eq!(
        burst(&mut limiter, millis(0), &charge, Feedback::default()),
        15
    );
}

#[test]
fn who_waited_together_comes_back_slowly() {
    let limits = Limits::none().with_window(Unit::Requests, 1_200, Duration::from_secs(60));
    let mut limiter = Limiter::new(LimitTable::new().with(["t", "files"], limits));
    let charge = Charge::at(["t", "files", "d"]).pausing_at(2);
    limiter.admit(millis(0), &charge).unwrap();
    let refused = Feedback {
        pause: Some(millis(10_000)),
        throttled: true,
        ..Feedback::default()
    };
    limiter.release(millis(0), &charge, refused);
    let sent = |limiter: &mut Limiter, now| burst(limiter, now, &charge, Feedback::default());
    assert_eq!(sent(&mut limiter, millis(9_999)), 0);
    // 20 a second are 100 in five seconds: a quarter of that, a half, and then all that is left.
    assert_eq!(sent(&mut limiter, millis(10_000)), 25);
    assert_eq!(sent(&mut limiter, millis(15_000)), 50);
    assert_eq!(sent(&mut limiter, millis(20_000)), 1_200 - 76);
}

#[test]
fn too_many_at_once_costs_one_place_until_two_minutes_are_clean() {
    let four = Limits::none().with_concurrency(4);
    let mut limiter = Limiter::new(LimitTable::new().with(["a", "*"], four));
    let charge = mailbox_of("a", 1);
    let crowded = Feedback {
        crowded: true,
        ..Feedback::default()
    };
    let mut at_once = |now: Duration, then: Feedback| {
        let mut sent = 0;
        while limiter.admit(now, &charge).is_ok() {
            sent += 1;
        }
        for _ in 1..sent {
            limiter.release(now, &charge, Feedback::default());
        }
        limiter.release(now, &charge, then);
        sent
    };
    let minute = |number: u64| Duration::from_secs(60 * number);
    assert_eq!(at_once(minute(0), crowded), 4);
    assert_eq!(at_once(minute(1), crowded), 3);
    assert_eq!(at_once(minute(2), crowded), 2);
    assert_eq!(at_once(minute(3), crowded), 1);
    assert_eq!(at_once(minute(4), Feedback::default()), 1, "never none");
    assert_eq!(at_once(minute(5), Feedback::default()), 2);
    assert_eq!(at_once(minute(10), Feedback::default()), 4);
}

#[test]
fn several_that_are_crowded_within_their_limits_share_one() {
    let four = Limits::none().with_concurrency(4);
    let mut limiter = Limiter::new(LimitTable::new().with(["a", "*"], four));
    let crowded = Feedback {
        crowded: true,
        ..Feedback::default()
    };
    let under_way = |limiter: &mut Limiter, now| {
        let mut sent = Vec::new();
        for number in 10..40 {
            let charge = mailbox_of("a", number);
            while limiter.admit(now, &charge).is_ok() {
                sent.push(charge.clone());
            }
        }
        for charge in &sent {
            limiter.release(now, charge, Feedback::default());
        }
        sent.len()
    };
    for (number, expected) in [(1, 120), (1, 120), (2, 120), (3, 4)] {
        let charge = mailbox_of("a", number);
        limiter.admit(millis(0), &charge).unwrap();
        limiter.release(millis(0), &charge, crowded);
        assert_eq!(under_way(&mut limiter, millis(0)), expected, "{number}");
    }
    let day = Duration::from_secs(86_400);
    assert_eq!(under_way(&mut limiter, day - millis(1)), 4);
    assert_eq!(under_way(&mut limiter, day), 120, "doubted after a day");
}

#[test]
fn what_holds_for_all_can_be_set_at_any_time() {
    let mut limiter = Limiter::new(LimitTable::new());
    let line = Limits::none().with_window(Unit::Bytes, 100, millis(640));
    limiter.set_overall(line);
    let charge = |name: &str| Charge::at([name]);
    limiter.admit(millis(0), &charge("a")).unwrap();
    let read = Feedback {
        further_bytes: 150,
        ..Feedback::default()
    };
    limiter.release(millis(0), &charge("a"), read);
    let refusal = limiter.admit(millis(0), &charge("b")).unwrap_err();
    assert_eq!(refusal.cause, RefusalCause::Window);
    limiter
        .admit(refusal.not_before.unwrap(), &charge("b"))
        .unwrap();
    limiter.release(millis(0), &charge("b"), read);
    limiter.set_overall(Limits::none());
    limiter.admit(millis(0), &charge("b")).unwrap();
}

#[test]
fn what_is_divided_ends_where_a_resource_begins_and_can_be_taken_back() {
    let mut limiter = Limiter::new(table(4, 8, millis(640)));
    limiter.set_share(4, 1);
    let sent = |limiter: &mut Limiter| {
        let admitted = (0..20).take_while(|_| limiter.admit(millis(0), &mailbox(1)).is_ok());
        admitted.count()
    };
    // A quarter of the sixteen requests of the app, and all four places of the mailbox.
    assert_eq!(sent(&mut limiter), 4);
    limiter.set_share(1, 1);
    assert_eq!(sent(&mut limiter), 0, "the places are still taken");
    for _ in 0..4 {
        limiter.release(millis(0), &mailbox(1), Feedback::default());
    }
    assert_eq!(sent(&mut limiter), 4);
    let mut limiter = Limiter::new(table(4, 8, millis(640)));
    limiter.set_share(4, 2);
    assert_eq!(sent(&mut limiter), 1, "a quarter of the places");
}

#[test]
fn what_the_service_says_is_left_is_left_to_all_who_share() {
    let units = Limits::none().with_window(Unit::Units, 100, millis(64_000));
    let mut limiter = Limiter::new(LimitTable::new().with(["a"], units));
    limiter.set_share(2, 1);
    let charge = Charge::at(["a"]).with_units(1);
    limiter.admit(millis(0), &charge).unwrap();
    let heard = Feedback {
        limit: Some(200),
        remaining: Some(40),
        reset: Some(millis(64_000)),
        ..Feedback::default()
    };
    limiter.release(millis(0), &charge, heard);
    let more = (0..200).take_while(|_| limiter.admit(millis(0), &charge).is_ok());
    assert_eq!(more.count(), 20);
}

fn mailbox_of(above: &str, number: u32) -> Charge {
    Charge::at([above.to_owned(), format!("m{number}")])
}

#[test]
fn nodes_that_hold_nothing_are_dropped() {
    let mut limiter = Limiter::new(table(4, 4, millis(10)));
    for number in 0..100_000_u64 {
        let charge = Charge::at(["x".to_owned(), number.to_string()]);
        limiter.admit(millis(number), &charge).unwrap();
        limiter.release(millis(number), &charge, Feedback::default());
        assert!(limiter.nodes() < 3_000);
    }
}

#[test]
fn a_limit_of_nothing_admits_nothing() {
    let closed = Limits::none().with_window(Unit::Requests, 0, millis(10));
    let mut limiter = Limiter::new(LimitTable::new().with(["a"], closed));
    assert!(limiter.admit(millis(0), &Charge::at(["a"])).is_err());
    let none = Limits::none().with_concurrency(0);
    let mut limiter = Limiter::new(LimitTable::new().with(["a"], none));
    let refusal = limiter.admit(millis(0), &Charge::at(["a"])).unwrap_err();
    assert_eq!(refusal.cause, RefusalCause::Concurrency);
}

proptest! {
    #[test]
    fn nothing_goes_beyond_a_limit_in_any_span(
        steps in proptest::collection::vec((0u64..40, 0u8..3, 0u64..8, any::<bool>()), 1..200),
        concurrency in 1u32..5, amount in 1u64..8, period in 1u64..300
    ) {
        let period = millis(period);
        let mut limiter = Limiter::new(table(concurrency, amount, period));
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        let mut under_way: VecDeque<Charge> = VecDeque::new();
        for (pass, number, units, end) in steps {
            now += millis(pass);
            if end && let Some(charge) = under_way.pop_front() {
                limiter.release(now, &charge, Feedback::default());
            }
            let charge = mailbox(number).with_units(units);
            let before = limiter.clone();
            match limiter.admit(now, &charge) {
                Ok(()) => {
                    sent.push((now, charge.clone()));
                    under_way.push_back(charge);
                }
                Err(refusal) => {
                    prop_assert_eq!(&limiter, &before, "a refusal changes nothing");
                    if let Some(time) = refusal.not_before {
                        prop_assert!(time > now);
                        let mut earlier = before.clone();
                        let just_before = time.saturating_sub(Duration::from_nanos(1));
                        prop_assert!(earlier.admit(just_before, &charge).is_err());
                        // With nothing under way, the time that was named is the time.
                        let mut free = before;
                        for held in &under_way {
                            free.release(now, held, Feedback::default());
                        }
                        prop_assert!(free.admit(time, &charge).is_ok());
                    }
                }
            }
            for number in 0..3 {
                let busy = under_way.iter().filter(|held| held.path() == mailbox(number).path());
                prop_assert!(busy.count() <= concurrency as usize);
            }
        }
        for (from, _) in &sent {
            let within: Vec<_> = sent
                .iter()
                .filter(|(time, _)| time >= from && *time < *from + period)
                .collect();
            prop_assert!(within.len() as u64 <= amount * 2);
            for number in 0..3 {
                let own = within.iter().filter(|(_, charge)| charge.path() == mailbox(number).path());
                prop_assert!(own.clone().count() as u64 <= amount);
                let units: u64 = own.clone().map(|(_, charge)| charge.amount(Unit::Units)).sum();
                let largest = own.map(|(_, charge)| charge.amount(Unit::Units)).max();
                // A charge beyond the whole window goes through alone.
                prop_assert!(units <= (amount * 3).max(largest.unwrap_or(0)));
            }
        }
    }

    #[test]
    fn those_who_share_a_limit_do_not_exceed_it_together(
        steps in proptest::collection::vec((0u64..40, 0usize..5, any::<bool>()), 1..200),
        sharers in 1usize..5, concurrency in 5u32..9, amount in 5u64..12, period in 1u64..300
    ) {
        let period = millis(period);
        let mut limiters = vec![Limiter::new(table(concurrency, amount, period)); sharers];
        for limiter in &mut limiters {
            limiter.set_share(u32::try_from(sharers).unwrap(), 2);
        }
        let (mut now, mut sent) = (Duration::ZERO, Vec::new());
        let mut under_way: VecDeque<usize> = VecDeque::new();
        for (pass, who, end) in steps {
            now += millis(pass);
            if end && let Some(who) = under_way.pop_front() {
                limiters[who].release(now, &mailbox(0), Feedback::default());
            }
            let who = who % sharers;
            if limiters[who].admit(now, &mailbox(0)).is_ok() {
                sent.push(now);
                under_way.push_back(who);
            }
            prop_assert!(under_way.len() <= concurrency as usize);
        }
        for from in &sent {
            let within = sent.iter().filter(|time| *time >= from && **time < *from + period);
            prop_assert!(within.count() as u64 <= amount);
        }
    }

    #[test]
    fn who_waits_at_one_node_goes_in_order_and_nobody_is_forgotten(
        numbers in proptest::collection::vec(0u8..3, 1..60), concurrency in 1u32..3
    ) {
        let mut limiter = Limiter::new(table(concurrency, 3, millis(50)));
        let tickets: Vec<_> = numbers
            .iter()
            .map(|number| (*number, limiter.enqueue(mailbox(*number))))
            .collect();
        let (mut now, mut order) = (Duration::ZERO, Vec::new());
        for _ in 0..1_000 {
            let (admitted, wake) = limiter.poll(now);
            for (ticket, charge) in &admitted {
                order.push(*ticket);
                limiter.release(now, charge, Feedback::default());
            }
            match wake {
                Some(time) => now = time,
                None if admitted.is_empty() => break,
                None => {}
            }
        }
        prop_assert_eq!(limiter.waiting(), 0);
        prop_assert_eq!(order.len(), tickets.len());
        for wanted in 0..3 {
            let own = |ticket: &&super::Ticket| {
                tickets.iter().any(|(number, known)| *number == wanted && known == *ticket)
            };
            prop_assert!(order.iter().filter(own).is_sorted());
        }
    }
}
