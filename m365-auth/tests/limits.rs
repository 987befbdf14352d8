//! The limiter before a transport, on paused time.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use common::answer;
use futures_util::future::join_all;
use futures_util::stream;
use http::{Request, Response};
use m365_auth::{
    Body, Charge, ErrorKind, LimitTable, LimitedTransport, LimiterMode, Limits, ServiceTransport,
    SharedLimiter, Transport, Unit,
};
use tokio::time::Instant;

/// What a slow service saw: when requests came, and how many were under way at most.
#[derive(Default)]
struct Seen {
    times: Mutex<Vec<Instant>>,
    under_way: AtomicU32,
    most: AtomicU32,
}

fn service(
    respond: impl Fn(usize) -> Response<Bytes> + Send + Sync + 'static,
) -> (Arc<dyn Transport>, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let (kept, respond) = (Arc::clone(&seen), Arc::new(respond));
    let transport = ServiceTransport::new(move |_: Request<Bytes>| {
        let (seen, respond) = (Arc::clone(&kept), Arc::clone(&respond));
        async move {
            let number = {
                let mut times = seen.times.lock().unwrap();
                times.push(Instant::now());
                times.len()
            };
            let busy = seen.under_way.fetch_add(1, Ordering::Relaxed) + 1;
            seen.most.fetch_max(busy, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(100)).await;
            seen.under_way.fetch_sub(1, Ordering::Relaxed);
            Ok(respond(number).map(|body| stream::iter([Ok(body)])))
        }
    });
    (Arc::new(transport), seen)
}

fn limited(
    mode: LimiterMode,
    table: LimitTable,
    respond: impl Fn(usize) -> Response<Bytes> + Send + Sync + 'static,
) -> (Arc<LimitedTransport>, SharedLimiter, Arc<Seen>) {
    let (inner, seen) = service(respond);
    let limiter = SharedLimiter::new(table);
    let others = Charge::at(["app"]);
    let transport = LimitedTransport::new(inner, limiter.clone(), mode, others);
    (Arc::new(transport), limiter, seen)
}

fn request(mailbox: u32) -> Request<Body> {
    let mut request = Request::get("https://graph.example/")
        .body(Body::empty())
        .unwrap();
    let charge = Charge::at(["app".to_owned(), format!("m{mailbox}")]);
    request.extensions_mut().insert(charge);
    request
}

/// Sends and reads the whole answer.
async fn fetch(transport: &LimitedTransport, mailbox: u32) -> m365_auth::Result<u16> {
    let response = transport.send(request(mailbox)).await?;
    let status = response.status().as_u16();
    response.into_body().collect(100).await?;
    Ok(status)
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_all_get_through_within_the_limits() {
    let minute = Duration::from_secs(60);
    let table = LimitTable::new()
        .with(["app"], Limits::none().with_concurrency(6))
        .with(
            ["app", "*"],
            Limits::none()
                .with_concurrency(4)
                .with_window(Unit::Requests, 10, minute),
        );
    let (transport, _, seen) = limited(LimiterMode::Wait, table, |_| answer(200, "x"));
    let started = Instant::now();
    let all = (0..60).map(|number| fetch(&transport, number % 3));
    let statuses = join_all(all).await;
    assert!(statuses.into_iter().all(|status| status.unwrap() == 200));
    assert_eq!(seen.most.load(Ordering::Relaxed), 6);
    assert_eq!(seen.times.lock().unwrap().len(), 60);
    // 20 to each mailbox: ten at once, ten when the first ten have left the window.
    let took = started.elapsed();
    assert!(
        took >= minute && took < minute + Duration::from_secs(5),
        "{took:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_was_not_sent_and_names_the_time() {
    let window = Limits::none().with_window(Unit::Requests, 1, Duration::from_secs(64));
    let table = LimitTable::new().with(["app", "m1"], window);
    let (transport, _, seen) = limited(LimiterMode::Refuse, table, |_| answer(200, ""));
    fetch(&transport, 1).await.unwrap();
    let error = fetch(&transport, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAdmitted);
    assert!(error.is_retryable());
    let wait = error.retry_after().unwrap();
    assert!(
        wait > Duration::from_secs(60) && wait <= Duration::from_secs(65),
        "{wait:?}"
    );
    assert_eq!(seen.times.lock().unwrap().len(), 1);
    fetch(&transport, 2).await.unwrap();
    tokio::time::sleep(wait).await;
    fetch(&transport, 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_throttled_mailbox_pauses_alone() {
    let throttled = |number: usize| {
        let mut response = answer(if number == 1 { 429 } else { 200 }, "");
        let wait = http::HeaderValue::from_static("17");
        response.headers_mut().insert("retry-after", wait);
        response
    };
    let (transport, limiter, _) = limited(LimiterMode::Wait, LimitTable::new(), throttled);
    let started = Instant::now();
    assert_eq!(fetch(&transport, 1).await.unwrap(), 429);
    fetch(&transport, 2).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 0);
    fetch(&transport, 1).await.unwrap();
    assert_eq!(started.elapsed().as_secs(), 17);
    // A pause from outside holds for everybody below.
    limiter.pause(&["app".to_owned()], Duration::from_secs(30));
    join_all((1..4).map(|mailbox| fetch(&transport, mailbox))).await;
    assert_eq!(started.elapsed().as_secs(), 47);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_under_way_until_its_answer_is_read_or_dropped() {
    let one = LimitTable::new().with(["app", "*"], Limits::none().with_concurrency(1));
    let (transport, limiter, _) = limited(LimiterMode::Refuse, one, |_| answer(200, "x"));
    let open = transport.send(request(1)).await.unwrap();
    let busy = transport.send(request(1)).await.unwrap_err();
    assert_eq!(
        (busy.kind(), busy.retry_after()),
        (ErrorKind::NotAdmitted, None)
    );
    drop(open);
    let open = transport.send(request(1)).await.unwrap();
    open.into_body().collect(10).await.unwrap();
    fetch(&transport, 1).await.unwrap();
    // Those who leave while they wait take no place with them.
    let held = limiter.try_acquire(&Charge::at(["app", "m1"])).unwrap();
    for _ in 0..3 {
        let charge = Charge::at(["app", "m1"]);
        let waiting = tokio::time::timeout(Duration::from_secs(1), limiter.acquire(&charge)).await;
        assert!(waiting.is_err());
    }
    let charge = Charge::at(["app", "m1"]);
    let (permit, ()) = tokio::join!(limiter.acquire(&charge), async { drop(held) });
    drop(permit);
    fetch(&transport, 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bytes_count_as_they_come_and_bills_replace_estimates() {
    let hour = Duration::from_secs(3_600);
    let limits = Limits::none()
        .with_window(Unit::Bytes, 100, hour)
        .with_window(Unit::Units, 10, hour);
    let table = LimitTable::new().with(["app", "*"], limits);
    let (transport, _, _) = limited(LimiterMode::Refuse, table, |number| {
        let mut response = answer(200, &"x".repeat(60));
        let billed = http::HeaderValue::from(if number < 3 { 1 } else { 11 });
        response.headers_mut().insert("x-ms-resource-unit", billed);
        response
    });
    fetch(&transport, 1).await.unwrap();
    fetch(&transport, 1).await.unwrap();
    let with = |bytes: u64, units: u64, mailbox: &str| {
        let mut request = request(1);
        let charge = Charge::at(["app", mailbox])
            .with_bytes(bytes)
            .with_units(units);
        request.extensions_mut().insert(charge);
        request
    };
    let error = transport.send(with(1, 0, "m1")).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotAdmitted,
        "120 of 100 bytes are used"
    );
    drop(transport.send(with(0, 2, "m2")).await.unwrap());
    let error = transport.send(with(0, 1, "m2")).await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::NotAdmitted,
        "11 of 10 units were billed"
    );
}
