//! Answers that no service should give: typed errors, in bounded memory.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{Clock, answer, service};
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use m365_auth::{
    Body, Cloud, Credential, Environment, ErrorKind, ManagedIdentity, ManagedIdentityEndpoint,
    ManagedIdentityName, ServiceTransport, SignIn, TokenClient, TokenProvider, Transport,
};

fn client(transport: Arc<dyn Transport>) -> TokenClient {
    let (cloud, clock) = (Cloud::global(), Arc::new(Clock::default()));
    TokenClient::client_secret(transport, &cloud, "t", "app", "s".into(), clock).unwrap()
}

/// Asks in every way that reads an answer of the identity platform, and returns the kinds.
async fn kinds(transport: Arc<dyn Transport>) -> [Option<ErrorKind>; 4] {
    let (cloud, clock) = (Cloud::global(), Arc::new(Clock::default()));
    let graph = cloud.graph_audience();
    let public = Credential::public();
    let sign_in = SignIn::new(transport.clone(), &cloud, "t", "app", public, clock.clone());
    let sign_in = sign_in.unwrap();
    let machine = ManagedIdentity::new(
        transport.clone(),
        ManagedIdentityEndpoint::VirtualMachine,
        ManagedIdentityName::SystemAssigned,
        clock,
    );
    let kind = |result: Result<(), m365_auth::Error>| result.err().map(|error| error.kind());
    [
        kind(client(transport).token(&graph).await.map(drop)),
        kind(machine.unwrap().token(&graph).await.map(drop)),
        kind(sign_in.refresh(&"r".into(), &graph, None).await.map(drop)),
        kind(sign_in.begin_device(&[]).await.map(drop)),
    ]
}

#[tokio::test]
async fn malformed_answers_are_malformed_in_every_flow() {
    for body in [
        "",
        "null",
        "[]",
        "\"token\"",
        "{}",
        "{\"access_token\":",
        r#"{"access_token":null,"token_type":"Bearer"}"#,
        r#"{"access_token":7,"token_type":"Bearer"}"#,
        r#"{"device_code":{},"access_token":[]}"#,
        "<html><body>Sign in to the hotel</body></html>",
        "\u{feff}{}",
        "{\"a\":\"\\ud800\"}",
    ] {
        for content_type in ["application/json", "text/html", "", "x; y=\"z"] {
            let (transport, _) = service(move |_| {
                let mut response = answer(200, body);
                let value = http::HeaderValue::from_static(content_type);
                response.headers_mut().insert("content-type", value);
                response
            });
            assert_eq!(
                kinds(transport).await,
                [Some(ErrorKind::Malformed); 4],
                "{body}"
            );
        }
    }
    let deep = "[".repeat(100_000);
    let (transport, _) = service(move |_| answer(200, &deep));
    assert_eq!(kinds(transport).await, [Some(ErrorKind::Malformed); 4]);
}

#[tokio::test]
async fn a_right_answer_of_a_wrong_type_is_taken() {
    let (transport, _) = service(|_| {
        let body = r#"{"access_token":"t","token_type":"Bearer","expires_in":60}"#;
        let mut response = answer(200, body);
        let value = http::HeaderValue::from_static("text/plain");
        response.headers_mut().insert("content-type", value);
        response
    });
    client(transport)
        .token(&Cloud::global().graph_audience())
        .await
        .unwrap();
}

#[tokio::test]
async fn statuses_speak_where_bodies_do_not() {
    for (status, body, expected) in [
        (500, "", ErrorKind::Service),
        (503, "<html>busy</html>", ErrorKind::Service),
        (504, "{\"error\":", ErrorKind::Service),
        (429, "", ErrorKind::Throttled),
        (429, "{\"error\":\"invalid_client\"}", ErrorKind::Throttled),
    ] {
        let (transport, _) = service(move |_| answer(status, body));
        assert_eq!(
            kinds(transport).await,
            [Some(expected); 4],
            "{status} {body}"
        );
    }
    let (transport, _) = service(|_| answer(302, ""));
    for kind in kinds(transport).await {
        assert!(matches!(
            kind,
            Some(ErrorKind::Malformed | ErrorKind::CredentialRefused)
        ));
    }
}

#[tokio::test]
async fn a_body_without_end_costs_no_memory() {
    let pulled = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&pulled);
    let transport = ServiceTransport::new(move |_: Request<Bytes>| {
        let counted = Arc::clone(&counted);
        let piece = Bytes::from(vec![b' '; 64 << 10]);
        // One gigabyte, without a header that says so.
        let body = stream::repeat(piece).take(16 << 10).map(move |piece| {
            counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
            io::Result::Ok(piece)
        });
        async move { Ok(Response::new(body)) }
    });
    assert_eq!(
        kinds(Arc::new(transport)).await,
        [Some(ErrorKind::TooLarge); 4]
    );
    let pulled = pulled.load(Ordering::Relaxed);
    assert!(
        pulled <= 4 * ((1 << 20) + (64 << 10)),
        "{pulled} bytes were read"
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_broken_connection() {
    let transport = ServiceTransport::new(|_: Request<Bytes>| async {
        let pieces = [
            Ok(Bytes::from_static(b"{")),
            Err(io::ErrorKind::ConnectionReset.into()),
        ];
        Ok(Response::new(stream::iter(pieces)))
    });
    assert_eq!(
        kinds(Arc::new(transport)).await,
        [Some(ErrorKind::Transport); 4]
    );
}

#[tokio::test]
async fn lifetimes_beyond_all_sense_are_cut_or_refused() {
    let clock = Clock::default();
    for (lifetime, expected) in [
        ("0", Some(0)),
        ("3600", Some(3_600)),
        ("18446744073709551615", Some(48 * 3_600)),
        ("-5", None),
        ("1e3", None),
    ] {
        let body =
            format!(r#"{{"access_token":"t","token_type":"Bearer","expires_in":{lifetime}}}"#);
        let (transport, _) = service(move |_| answer(200, &body));
        let token = client(transport)
            .token(&Cloud::global().graph_audience())
            .await;
        let left = token
            .ok()
            .map(|token| token.expires_at().duration_since(clock.now()).unwrap());
        assert_eq!(left, expected.map(Duration::from_secs), "{lifetime}");
    }
}

#[tokio::test]
async fn a_limit_holds_for_bodies_of_any_making() {
    let whole = Body::from(vec![0; 11]);
    assert_eq!(
        whole.collect(10).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
    let pieces = stream::iter((0..11).map(|_| Ok(Bytes::from_static(b"x"))));
    let streamed = Body::from_stream(pieces, Some(3));
    assert_eq!(
        streamed.collect(10).await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
}
