//! The scheduler before a transport that refuses, on paused time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::answer;
use futures_util::future::join_all;
use futures_util::stream;
use http::Request;
use m365_auth::{
    Body, Charge, Class, Lane, LimitTable, LimitedTransport, LimiterMode, Limits, QueueLimits,
    Scheduler, ServiceTransport, SharedLimiter, Transport, Unit,
};
use tokio::time::Instant;

fn charge(mailbox: u32) -> Charge {
    Charge::at(["app".to_owned(), "mail".to_owned(), format!("m{mailbox}")])
}

/// What a slow service saw of each mailbox: requests in all, under way, and the most of them.
#[derive(Default)]
struct Seen {
    all: AtomicU64,
    busy: Mutex<HashMap<String, (u32, u32)>>,
    most: AtomicU32,
}

/// A service that takes 250 ms for each answer, behind a transport that refuses.
fn service(scheduler: &Scheduler) -> (Arc<LimitedTransport>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let kept = Arc::clone(&seen);
    let inner = ServiceTransport::new(move |request: Request<Bytes>| {
        let seen = Arc::clone(&kept);
        async move {
            seen.all.fetch_add(1, Ordering::Relaxed);
            let mailbox = request.uri().path().to_owned();
            let total: u32 = {
                let mut busy = seen.busy.lock().unwrap();
                let own = busy.entry(mailbox.clone()).or_default();
                own.0 += 1;
                own.1 = own.1.max(own.0);
                busy.values().map(|(now, _)| now).sum()
            };
            seen.most.fetch_max(total, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(250)).await;
            seen.busy.lock().unwrap().get_mut(&mailbox).unwrap().0 -= 1;
            Ok(answer(200, "x").map(|body| stream::iter([Ok(body)])))
        }
    });
    let limiter = scheduler.limiter().clone();
    let transport = LimitedTransport::new(
        Arc::new(inner),
        limiter,
        LimiterMode::Refuse,
        Charge::at(["app"]),
    );
    (Arc::new(transport), seen)
}

fn scheduler(table: LimitTable, units: usize) -> Scheduler {
    let mut limits = QueueLimits::default();
    limits.units = units;
    Scheduler::new(SharedLimiter::new(table), limits)
}

/// Does one unit of work; returns how often it was refused.
async fn unit(lane: &Lane, transport: &LimitedTransport, mailbox: u32) -> u32 {
    let mut refused = 0;
    loop {
        let slot = lane.slot(0, refused > 0).await;
        let mut request = Request::get(format!("https://graph.example/m{mailbox}"))
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(charge(mailbox));
        match transport.send(request).await {
            Ok(response) => {
                response.into_body().collect(10).await.unwrap();
                return refused;
            }
            Err(error) => {
                refused += 1;
                drop(slot);
                lane.hold(error.retry_after().unwrap_or(Duration::from_millis(1)));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_mailbox_has_its_four_and_the_longest_is_never_kept_waiting() {
    let four = Limits::none().with_concurrency(4);
    let scheduler = scheduler(LimitTable::new().with(["app", "mail", "*"], four), 80);
    let (transport, seen) = service(&scheduler);
    let work = (0..60_u32).map(|mailbox| {
        let amount: u64 = if mailbox == 59 { 800 } else { 100 };
        let (scheduler, transport) = (scheduler.clone(), transport.clone());
        async move {
            // Wider than the limit: the limiter decides.
            let lane = scheduler.lane(Class::First, charge(mailbox), 6);
            lane.set_remaining(Duration::from_secs(amount));
            let units = (0..amount).map(|_| unit(&lane, &transport, mailbox));
            join_all(units).await.into_iter().sum::<u32>()
        }
    });
    let started = Instant::now();
    let refused: u32 = join_all(work).await.into_iter().sum();
    let took = started.elapsed();
    assert_eq!(refused, 0, "what the queue lets go is not refused");
    assert_eq!(seen.most.load(Ordering::Relaxed), 80);
    let busy = seen.busy.lock().unwrap();
    assert!(busy.values().all(|(_, most)| *most <= 4));
    // 800 requests at four a time are 50 s, however many others there are.
    assert!(took >= Duration::from_secs(50), "{took:?}");
    assert!(took <= Duration::from_secs(52), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shared_window_is_used_up_and_never_beyond() {
    let minute = Duration::from_secs(60);
    let window = Limits::none().with_window(Unit::Requests, 600, minute);
    let scheduler = scheduler(LimitTable::new().with(["app", "mail"], window), 512);
    let (transport, seen) = service(&scheduler);
    let started = Instant::now();
    let work = (0..100_u32).map(|mailbox| {
        let (scheduler, transport) = (scheduler.clone(), transport.clone());
        async move {
            let lane = scheduler.lane(Class::First, charge(mailbox), 4);
            let units = (0..24).map(|_| unit(&lane, &transport, mailbox));
            join_all(units).await;
        }
    });
    join_all(work).await;
    assert_eq!(seen.all.load(Ordering::Relaxed), 2_400);
    let took = started.elapsed();
    assert!(
        took >= 3 * minute && took < 3 * minute + Duration::from_secs(10),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn those_who_leave_hold_nobody_up() {
    let minute = Duration::from_secs(60);
    let window = Limits::none().with_window(Unit::Requests, 10, minute);
    let scheduler = scheduler(LimitTable::new().with(["app", "mail"], window), 3);
    let (transport, seen) = service(&scheduler);
    let lane = scheduler.lane(Class::First, charge(1), 4);
    // Whoever looks after the time may be the one that leaves.
    let leave = (0..40_u64).map(|number| {
        let patience = Duration::from_millis(number * 3_000);
        tokio::time::timeout(patience, unit(&lane, &transport, 1))
    });
    let stay = (0..40).map(|_| unit(&lane, &transport, 1));
    let (left, _) = tokio::join!(join_all(leave), join_all(stay));
    let through = left.iter().filter(|result| result.is_ok()).count() as u64;
    assert!(seen.all.load(Ordering::Relaxed) >= 40 + through);
    assert_eq!(scheduler.load(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_held_lane_says_so_and_goes_on_by_itself() {
    let scheduler = scheduler(LimitTable::new(), 8);
    let (one, other) = (
        scheduler.lane(Class::First, charge(1), 1),
        scheduler.lane(Class::Restore, charge(2), 1),
    );
    one.pause(Duration::from_secs(7));
    assert!(one.is_held() && !other.is_held());
    let started = Instant::now();
    let (first, second) = tokio::join!(
        async {
            drop(one.slot(0, false).await);
            started.elapsed()
        },
        async {
            drop(other.slot(0, false).await);
            started.elapsed()
        }
    );
    assert_eq!(second, Duration::ZERO);
    assert!(first >= Duration::from_secs(7) && first < Duration::from_secs(8));
    assert!(!one.is_held());
}
