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
    Audience, AuthorizedTransport, BasicCredential, Body, CachedTokenProvider, ErrorKind,
    OriginPolicy,
};
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

#[tokio::test]
async fn a_password_goes_to_https_alone_and_is_not_sent_again_when_refused() {
    let (transport, seen) = service(|_| answer(401, "no"));
    let credential = BasicCredential::new("svc", &"canary".into()).unwrap();
    for plain in ["http://127.0.0.1:8080", "http://localhost"] {
        let policy = OriginPolicy::new([&Url::parse(plain).unwrap()]).unwrap();
        let (transport, credential) = (Arc::clone(&transport), credential.clone());
        let error = AuthorizedTransport::with_password(transport, credential, policy).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(plain), "{error}");
    }
    let own = Url::parse("https://mail.contoso.example/EWS/Exchange.asmx").unwrap();
    let policy = OriginPolicy::new([&own]).unwrap();
    let door = AuthorizedTransport::with_password(transport, credential, policy).unwrap();
    let response = door.send(get(own.as_str())).await.unwrap();
    assert_eq!(response.status(), 401);
    let elsewhere = door.send(get("https://mail.contoso.example:444/")).await;
    assert_eq!(elsewhere.unwrap_err().kind(), ErrorKind::OriginRefused);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 1, "a refused password is refused again");
    assert_eq!(authorization(&seen[0]), Some("Basic c3ZjOmNhbmFyeQ=="));
}
