//! Hostile answers: whatever a link, a redirect or a session points to, the token goes to the
//! service alone; whatever is sent without end, memory stays bounded.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use common::{Reply, client, client_over, json, with};
use futures_util::stream;
use http::{Request, Response};
use m365_auth::{Body, RetryPolicy, ServiceTransport};
use m365_graph::{
    DeltaNext, DriveItem, Entity, ErrorKind, GraphClient, GraphOptions, UploadOptions,
};
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::json as value;

const HOST: &str = "graph.contoso.example";

fn hostile() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        Just("https://"),
        Just("http://"),
        Just("HTTPS:\\\\"),
        Just("//"),
        Just("ftp://"),
        Just(""),
        Just("https:///"),
        Just("https:"),
    ];
    let before = prop_oneof![
        Just(""),
        Just("graph.contoso.example@"),
        Just("graph.contoso.example:443@"),
        Just("a:b@"),
        Just("graph.contoso.example%2F@"),
        Just("evil.example#@"),
    ];
    let host = prop_oneof![
        Just("graph.contoso.example".to_owned()),
        Just("GRAPH.contoso.EXAMPLE".to_owned()),
        Just("graph.contoso.example.".to_owned()),
        Just("graph.contoso.example.evil.example".to_owned()),
        Just("evil.example".to_owned()),
        Just("graph\u{3002}contoso.example".to_owned()),
        Just("graph.contoso.example\\@evil.example".to_owned()),
        Just("127.0.0.1".to_owned()),
        Just("[::1]".to_owned()),
        "[a-z0-9.-]{1,20}",
    ];
    let port = prop_oneof![
        Just(""),
        Just(":443"),
        Just(":8443"),
        Just(":80"),
        Just(":")
    ];
    let path = prop_oneof![
        Just("/v1.0/users?$skiptoken=1".to_owned()),
        Just("".to_owned()),
        Just("/x?y=https://graph.contoso.example/".to_owned()),
        "\\PC{0,20}",
    ];
    (scheme, before, host, port, path).prop_map(|(scheme, before, host, port, path)| {
        format!("{scheme}{before}{host}{port}{path}")
    })
}

/// Answers everything with the link, wherever an answer can hold one.
fn lure(request: &Request<Bytes>, link: &str) -> Reply {
    let path = request.uri().path();
    let elsewhere = request.uri().host() != Some(HOST);
    let away = || with(302, &[("location", link)], b"");
    match path {
        _ if elsewhere => away(),
        "/v1.0/users" => json(200, &value!({"value": [], "@odata.nextLink": link})),
        path if path.ends_with("/delta") => {
            json(200, &value!({"value": [], "@odata.deltaLink": link}))
        }
        path if path.ends_with("/createUploadSession") => json(
            200,
            &value!({"uploadUrl": link, "nextExpectedRanges": ["0-"]}),
        ),
        _ => away(),
    }
}

/// Does everything that could follow a link; that it fails is no matter, but it must end.
async fn follow_all(client: &GraphClient) {
    if let Ok(page) = client.users_page(None).await
        && let Some(link) = page.next
    {
        let _ = client.users_page(Some(&link)).await;
    }
    let drive = client.drive("d");
    if let Ok(page) = drive.delta(None).await
        && let DeltaNext::End(link) | DeltaNext::More(link) = page.next
    {
        let _ = drive.delta(Some(&link)).await;
    }
    let _ = client.user("redirected").await;
    let item = value!({"id": "1", "size": 3, "file": {}});
    let item = Entity::<DriveItem>::from_raw(item).unwrap();
    if let Ok(download) = drive.download(&item).await {
        drop(download);
    }
    let options = UploadOptions {
        size: 1,
        modified: Some("2026-01-02T03:04:05Z".to_owned()),
        ..UploadOptions::default()
    };
    let _ = drive.upload("p", "n", options, Body::from("x")).await;
}

fn impatient() -> GraphOptions {
    GraphOptions {
        retry: RetryPolicy::none(),
        ..GraphOptions::default()
    }
}

proptest! {
    #![proptest_config(Config::with_cases(1_000))]

    #[test]
    fn the_token_goes_to_the_service_alone(link in hostile()) {
        // A header cannot hold every text; then the link is in bodies only.
        let in_header: String = link.chars().filter(|letter| (' '..='~').contains(letter)).collect();
        for link in [&link, &in_header] {
            if http::HeaderValue::from_str(link).is_err() {
                continue;
            }
            let lured = link.clone();
            let (client, seen) = client(impatient(), move |request| lure(request, &lured));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(follow_all(&client));
            let seen = seen.lock().unwrap();
            prop_assert!(seen.len() >= 5, "nothing was tried");
            for request in seen.iter().filter(|request| request.headers().contains_key("authorization")) {
                let uri = request.uri();
                prop_assert_eq!(uri.scheme_str(), Some("https"), "{}", uri);
                prop_assert_eq!(uri.host(), Some(HOST), "{}", uri);
                prop_assert!(matches!(uri.port_u16(), None | Some(443)), "{}", uri);
            }
        }
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_at_the_limit() {
    const PIECE: usize = 64 << 10;
    let pulled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pulled);
    let transport = ServiceTransport::new(move |_: Request<Bytes>| {
        let counted = Arc::clone(&counted);
        let pieces = stream::repeat_with(move || {
            counted.fetch_add(PIECE, Ordering::Relaxed);
            Ok::<_, std::io::Error>(Bytes::from(vec![b' '; PIECE]))
        });
        async move { Ok(Response::new(pieces)) }
    });
    let options = GraphOptions {
        max_json_bytes: 1 << 20,
        ..impatient()
    };
    let client = client_over(Arc::new(transport), options);
    let error = client.user("u").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(pulled.load(Ordering::Relaxed) <= (1 << 20) + 2 * PIECE);
}
