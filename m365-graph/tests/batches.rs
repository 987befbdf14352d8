//! Batches: what travels together, what goes again alone, what waits for what.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{body, json, lines, scripted_with, with};
use m365_auth::RetryPolicy;
use m365_graph::{ErrorKind, GraphOptions, ThrottleObserver, ThrottleSignals};
use serde_json::{Value, json as value};

fn patient() -> GraphOptions {
    GraphOptions {
        retry: RetryPolicy::standard(),
        ..GraphOptions::default()
    }
}

fn answers(list: Value) -> common::Reply {
    json(200, &value!({"responses": list}))
}

fn user(id: &str) -> Value {
    value!({"id": id, "status": 200, "body": {"id": format!("user {id}")}})
}

#[tokio::test(start_paused = true)]
async fn a_throttled_part_goes_again_alone_after_its_own_time() {
    let throttled = value!({"id": "1", "status": 429, "headers": {"Retry-After": "7"},
        "body": {"error": {"code": "TooManyRequests"}}});
    let (client, seen) = scripted_with(
        patient(),
        vec![
            answers(value!([throttled, user("0")])),
            answers(value!([user("1")])),
        ],
    );
    let mut batch = client.batch();
    let (first, second) = (batch.user("a").unwrap(), batch.user("b").unwrap());
    assert_eq!(batch.len(), 2);
    let begun = tokio::time::Instant::now();
    let mut found = batch.send().await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(7));
    assert_eq!(found.take(&first).unwrap().id, "user 0");
    assert_eq!(found.take(&second).unwrap().id, "user 1");
    assert_eq!(
        found.take(&second).unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
    assert_eq!(lines(&seen), ["POST /v1.0/$batch", "POST /v1.0/$batch"]);
    let again = &body(&seen, 1)["requests"];
    assert_eq!(again.as_array().unwrap().len(), 1);
    assert_eq!(again[0]["url"], "/users/b");
    assert_eq!(again[0]["headers"]["Prefer"], "IdType=\"ImmutableId\"");
}

#[tokio::test(start_paused = true)]
async fn what_creates_is_not_repeated_after_a_doubtful_failure() {
    let failed = |id: &str| value!({"id": id, "status": 503, "body": {}});
    let (client, seen) = scripted_with(
        patient(),
        vec![
            answers(value!([failed("0"), failed("1")])),
            answers(value!([user("1")])),
        ],
    );
    let mut batch = client.batch();
    let moved = batch.move_message("u", "m", "inbox").unwrap();
    let read = batch.user("b").unwrap();
    let mut found = batch.send().await.unwrap();
    assert_eq!(found.take(&moved).unwrap_err().kind(), ErrorKind::Service);
    assert!(found.take(&read).is_ok());
    assert_eq!(body(&seen, 1)["requests"].as_array().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_chain_goes_on_where_it_was_throttled() {
    let throttled = value!({"id": "1", "status": 429, "headers": {"Retry-After": "1"}});
    let blocked = value!({"id": "2", "status": 424});
    let (client, seen) = scripted_with(
        patient(),
        vec![
            answers(value!([blocked, throttled, user("0")])),
            answers(value!([user("1"), user("2")])),
        ],
    );
    let mut batch = client.batch();
    let parts = ["a", "b", "c"].map(|name| batch.user(name).unwrap());
    batch.after(&parts[1], &parts[0]).unwrap();
    batch.after(&parts[2], &parts[1]).unwrap();
    assert!(batch.after(&parts[0], &parts[1]).is_err());
    let mut found = batch.send().await.unwrap();
    for part in &parts {
        assert!(found.take(part).is_ok());
    }
    assert_eq!(body(&seen, 0)["requests"][2]["dependsOn"], value!(["1"]));
    let again = &body(&seen, 1)["requests"];
    assert_eq!(
        again[0].get("dependsOn"),
        None,
        "what it waited for has succeeded"
    );
    assert_eq!(again[1]["dependsOn"], value!(["1"]));
}

#[tokio::test]
async fn what_waits_for_a_failure_fails_with_its_own_kind() {
    let missing = value!({"id": "0", "status": 404, "body": {"error": {"code": "itemNotFound"}}});
    let (client, _) = scripted_with(
        patient(),
        vec![answers(value!([missing, {"id": "1", "status": 424}]))],
    );
    let mut batch = client.batch();
    let (first, second) = (
        batch.drive_item("d", "1").unwrap(),
        batch.delete_drive_item("d", "2").unwrap(),
    );
    batch.after(&second, &first).unwrap();
    let mut found = batch.send().await.unwrap();
    assert_eq!(found.take(&first).unwrap_err().code(), Some("itemNotFound"));
    assert_eq!(
        found.take_raw(&second).unwrap_err().kind(),
        ErrorKind::DependencyFailed
    );
}

#[tokio::test]
async fn mixed_orders_are_refused_before_anything_is_sent() {
    let (client, seen) = scripted_with(patient(), vec![]);
    let mut batch = client.batch();
    let parts = ["a", "b", "c"].map(|name| batch.user(name).unwrap());
    batch.after(&parts[2], &parts[0]).unwrap();
    assert_eq!(
        batch.send().await.unwrap_err().kind(),
        ErrorKind::InvalidRequest
    );
    assert!(lines(&seen).is_empty());
}

#[tokio::test]
async fn more_than_twenty_travel_in_several() {
    let page =
        |from: usize, to: usize| answers((from..to).map(|id| user(&id.to_string())).collect());
    let (client, seen) = scripted_with(patient(), vec![page(0, 20), page(20, 23)]);
    let mut batch = client.batch();
    let parts: Vec<_> = (0..23)
        .map(|id| batch.user(&format!("u{id}")).unwrap())
        .collect();
    let mut found = batch.send().await.unwrap();
    for (number, part) in parts.iter().enumerate() {
        assert_eq!(found.take(part).unwrap().id, format!("user {number}"));
    }
    assert_eq!(body(&seen, 1)["requests"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_failed_envelope_fails_every_part_and_a_missing_answer_its_own() {
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        ..GraphOptions::default()
    };
    let (client, _) = scripted_with(
        options,
        vec![
            json(400, &value!({"error": {"code": "BadRequest"}})),
            answers(value!([user("0")])),
        ],
    );
    let mut batch = client.batch();
    let parts = ["a", "b"].map(|name| batch.user(name).unwrap());
    let mut found = batch.send().await.unwrap();
    for part in &parts {
        assert_eq!(found.take(part).unwrap_err().code(), Some("BadRequest"));
    }
    let mut batch = client.batch();
    let parts = ["a", "b"].map(|name| batch.user(name).unwrap());
    let mut found = batch.send().await.unwrap();
    assert!(found.take(&parts[0]).is_ok());
    assert_eq!(
        found.take(&parts[1]).unwrap_err().kind(),
        ErrorKind::Transport
    );
}

#[derive(Debug, Default)]
struct Notes(Mutex<Vec<(&'static str, ThrottleSignals)>>);

impl ThrottleObserver for Notes {
    fn observed(&self, operation: &'static str, signals: &ThrottleSignals) {
        self.0.lock().unwrap().push((operation, signals.clone()));
    }
}

#[tokio::test]
async fn signals_of_answers_and_of_parts_are_passed_on() {
    let notes = Arc::new(Notes::default());
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        throttle_observer: Some(notes.clone()),
        ..GraphOptions::default()
    };
    let quiet = with(200, &[], br#"{"id": "x"}"#);
    let loud = with(200, &[("RateLimit-Remaining", "120")], br#"{"id": "x"}"#);
    let part = value!({"id": "0", "status": 429, "headers": {"Retry-After": "3"}});
    let (client, _) = scripted_with(options, vec![quiet, loud, answers(value!([part]))]);
    client.user("a").await.unwrap();
    client.drive("d").item("i").await.unwrap();
    let mut batch = client.batch();
    batch.user("a").unwrap();
    batch.send().await.unwrap();
    let seen = notes.0.lock().unwrap();
    let told: Vec<_> = seen
        .iter()
        .map(|(operation, signals)| (*operation, signals.remaining, signals.retry_after))
        .collect();
    let three = Some(Duration::from_secs(3));
    assert_eq!(
        told,
        [
            ("the drive item", Some(120), None),
            ("the user", None, three)
        ]
    );
}
