//! The door to the network: which requests leave, with a token or without.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use common::{Counted, Seen, answer, service};
use futures_util::stream;
use http::Request;
use m365_auth::{
    Audience, AuthorizedTransport, Body, CachedTokenProvider, ErrorKind, OriginPolicy,
};
use proptest::prelude::*;
use url::Url;

fn door(
    tokens: Arc<Counted>,
    respond: impl Fn(&Request<Bytes>) -> http::Response<Bytes> + Send + Sync + 'static,
) -> (AuthorizedTransport, Seen) {
    let (transport, seen) = service(respond);
    let graph = Url::parse("https://graph.contoso.example").unwrap();
    let policy = OriginPolicy::new([&graph]).unwrap();
    let cached = CachedTokenProvider::new(tokens.clone(), tokens.clock.clone());
    let audience = Audience::new("https://graph.contoso.example");
    (
        AuthorizedTransport::new(transport, Arc::new(cached), audience, policy),
        seen,
    )
}

fn get(url: &str) -> Request<Body> {
    Request::get(url).body(Body::empty()).unwrap()
}

fn authorization(request: &Request<Bytes>) -> Option<&str> {
    request
        .headers()
        .get("authorization")
        .map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn another_origin_is_refused_before_a_token_is_asked_for() {
    let tokens = Counted::new();
    let (door, seen) = door(tokens.clone(), |_| answer(200, ""));
    let error = door
        .send(get("https://evil.example/v1.0/users"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
    assert_eq!(tokens.count(), 0);
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_request_sent_again() {
    let tokens = Counted::new();
    let (door, seen) = door(tokens.clone(), |request| {
        let good = authorization(request) == Some("Bearer token-2");
        answer(if good { 200 } else { 401 }, "")
    });
    let request = Request::post("https://graph.contoso.example/v1.0/x").body("hello".into());
    let response = door.send(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|request| request.body() == "hello"));
}

#[tokio::test]
async fn a_second_refusal_is_handed_on() {
    let tokens = Counted::new();
    let (door, seen) = door(tokens.clone(), |_| answer(401, "no"));
    let response = door
        .send(get("https://graph.contoso.example/v1.0/x"))
        .await
        .unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!((seen.lock().unwrap().len(), tokens.count()), (2, 2));
}

#[tokio::test]
async fn a_streamed_body_is_not_sent_twice() {
    let tokens = Counted::new();
    let (door, seen) = door(tokens.clone(), |_| answer(401, ""));
    let body = Body::from_stream(stream::iter([Ok(Bytes::from_static(b"once"))]), None);
    let request = Request::put("https://graph.contoso.example/v1.0/x")
        .body(body)
        .unwrap();
    assert_eq!(door.send(request).await.unwrap().status(), 401);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_preauthenticated_request_carries_no_token_anywhere() {
    let tokens = Counted::new();
    let (door, seen) = door(tokens.clone(), |_| answer(200, ""));
    let request = Request::get("https://content.contoso.example/file?tempauth=x")
        .header("authorization", "Bearer canary")
        .header("cookie", "canary")
        .body(Body::empty())
        .unwrap();
    door.send_preauthenticated(request).await.unwrap();
    assert!(!format!("{:?}", seen.lock().unwrap()[0].headers()).contains("canary"));
    assert_eq!(tokens.count(), 0);
    let error = door
        .send_preauthenticated(get("http://content.contoso.example/"))
        .await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::OriginRefused);
}

#[tokio::test]
async fn a_redirect_is_handed_on_not_followed() {
    let tokens = Counted::new();
    let calls = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&calls);
    let (door, _) = door(tokens, move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut response = answer(302, "");
        let target = http::HeaderValue::from_static("https://evil.example/");
        response.headers_mut().insert("location", target);
        response
    });
    let response = door
        .send(get("https://graph.contoso.example/v1.0/x"))
        .await
        .unwrap();
    assert_eq!(
        (response.status().as_u16(), calls.load(Ordering::Relaxed)),
        (302, 1)
    );
}

/// Addresses made to confuse: the pieces of a good one, put together wrongly.
fn confusing_urls() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        Just("https"),
        Just("http"),
        Just("HTTPS"),
        Just("ftp"),
        Just("file"),
        Just("ws"),
    ];
    let user = prop_oneof![
        Just(""),
        Just("user@"),
        Just("graph.contoso.example@"),
        Just(":p@"),
        Just("a:b@"),
        Just("graph.contoso.example:443@"),
        Just("graph.contoso.example%2F@"),
    ];
    let host = prop_oneof![
        Just("graph.contoso.example".to_owned()),
        Just("GRAPH.CONTOSO.EXAMPLE".to_owned()),
        Just("graph.contoso.example.".to_owned()),
        Just("graph.contoso.example.evil.example".to_owned()),
        Just("graph.contoso.example\\@evil.example".to_owned()),
        Just("evil.example#@graph.contoso.example".to_owned()),
        Just("evil.example?@graph.contoso.example".to_owned()),
        Just("evil.example/graph.contoso.example".to_owned()),
        Just("[2001:db8::1]".to_owned()),
        Just("[::ffff:127.0.0.1]".to_owned()),
        Just("127.0.0.1".to_owned()),
        Just("localhost".to_owned()),
        Just("gr%61ph.contoso.example".to_owned()),
        Just("graph\u{3002}contoso.example".to_owned()),
        "[a-z.]{1,20}",
    ];
    let port = prop_oneof![
        Just(""),
        Just(":443"),
        Just(":444"),
        Just(":80"),
        Just(":"),
        Just(":0443")
    ];
    let path = prop_oneof![
        Just(""),
        Just("/v1.0/users"),
        Just("/..//evil.example"),
        Just("\\evil.example"),
        Just("//evil.example"),
        Just("?x=https://graph.contoso.example"),
        Just("#frag"),
    ];
    (scheme, user, host, port, path)
        .prop_map(|(scheme, user, host, port, path)| format!("{scheme}://{user}{host}{port}{path}"))
}

/// Tells whether an address is of the one allowed origin, by its spelling after parsing.
fn is_graph(url: &Url) -> bool {
    url.as_str().starts_with("https://graph.contoso.example/")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100_000))]
    #[test]
    fn the_policy_allows_one_origin_and_nothing_like_it(url in confusing_urls()) {
        let graph = Url::parse("https://graph.contoso.example").unwrap();
        let policy = OriginPolicy::new([&graph]).unwrap();
        if let Ok(url) = Url::parse(&url) {
            prop_assert_eq!(policy.allows(&url), is_graph(&url), "{}", url);
            let bare = policy.check_preauthenticated(&url).is_ok();
            let clean = url.username().is_empty() && url.password().is_none();
            prop_assert_eq!(bare, url.scheme() == "https" && clean, "{}", url);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn no_token_leaves_the_allowed_origins(
        links in proptest::collection::vec(
            prop_oneof![3 => confusing_urls(), 1 => "\\PC{0,60}"], 1..6
        ),
        status in prop_oneof![Just(301u16), Just(302), Just(303), Just(307), Just(308), Just(200)]
    ) {
        // The service answers everything with a redirect to the next hostile link.
        let tokens = Counted::new();
        let targets = links.clone();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let (door, seen) = door(tokens.clone(), move |_| {
            let place = count.fetch_add(1, Ordering::Relaxed);
            let mut response = answer(status, "");
            let target = http::HeaderValue::from_str(&targets[place % targets.len()]);
            if let Ok(target) = target {
                response.headers_mut().insert("location", target);
            }
            response
        });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let _ = door.send_following(get("https://graph.contoso.example/v1.0/users")).await;
            let post = Request::post("https://graph.contoso.example/v1.0/x").body("x".into());
            let _ = door.send_following(post.unwrap()).await;
            for link in &links {
                let build = |method: &str| {
                    Request::builder()
                        .method(method)
                        .uri(link.as_str())
                        .header("authorization", "Bearer token-of-the-caller")
                        .body(Body::from("piece"))
                        .ok()
                };
                // A link to the next page, a download, a fragment of an upload.
                if let Some(request) = build("GET") {
                    let _ = door.send(request).await;
                }
                for method in ["GET", "PUT"] {
                    if let Some(request) = build(method) {
                        let _ = door.send_preauthenticated(request).await;
                    }
                }
            }
        });
        let seen = seen.lock().unwrap();
        prop_assert!(!seen.is_empty());
        for request in seen.iter() {
            // What a client on the network would make of the address that was sent.
            let target = Url::parse(&request.uri().to_string()).unwrap();
            prop_assert_eq!(target.scheme(), "https");
            prop_assert!(target.username().is_empty() && target.password().is_none());
            let shown = format!("{:?}", request.headers().values().map(|v| v.to_str().unwrap())
                .collect::<Vec<_>>());
            prop_assert!(!shown.contains("of-the-caller"));
            if shown.contains("token") {
                prop_assert!(is_graph(&target), "{}", target);
                prop_assert_eq!(request.uri().host(), Some("graph.contoso.example"));
            }
        }
    }
}
