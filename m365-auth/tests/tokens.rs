//! Tokens: how they are asked for, kept, renewed and refused.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::{Clock, Counted, Seen, answer, service};
use futures_util::future::join_all;
use m365_auth::{
    Audience, CachedTokenProvider, Cloud, Environment, Error, ErrorKind, IdentityError, Secret,
    TokenClient, TokenProvider,
};

fn graph() -> Audience {
    Audience::new("https://graph.microsoft.com/")
}

fn client(status: u16, body: &'static str) -> (TokenClient, Seen) {
    let (transport, seen) = service(move |_| answer(status, body));
    let secret = Secret::new("s3cret+/=");
    let clock = Arc::new(Clock::default());
    let cloud = Cloud::global();
    let client =
        TokenClient::client_secret(transport, &cloud, "contoso.example", "app-1", secret, clock);
    (client.unwrap(), seen)
}

async fn refusal(status: u16, body: &'static str) -> Error {
    client(status, body).0.token(&graph()).await.unwrap_err()
}

#[tokio::test]
async fn the_token_request_is_the_documented_form() {
    let body =
        r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"t1"}"#;
    let (client, seen) = client(200, body);
    let token = client.token(&graph()).await.unwrap();
    assert_eq!(token.secret().expose(), "t1");
    assert_eq!(
        token.expires_at(),
        Clock::default().now() + Duration::from_secs(3_599)
    );
    let seen = seen.lock().unwrap();
    let request = &seen[0];
    assert_eq!(
        request.uri(),
        "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
    );
    let form: std::collections::BTreeMap<String, String> =
        url::form_urlencoded::parse(request.body())
            .into_owned()
            .collect();
    assert_eq!(form["grant_type"], "client_credentials");
    assert_eq!(form["client_id"], "app-1");
    assert_eq!(form["client_secret"], "s3cret+/=");
    assert_eq!(form["scope"], "https://graph.microsoft.com/.default");
    assert!(request.headers().get("authorization").is_none());
}

#[tokio::test]
async fn a_wrong_secret_is_told_from_an_expired_one() {
    let error = refusal(
        401,
        r#"{"error":"invalid_client","error_codes":[7000215],"trace_id":"t","suberror":"x",
            "error_description":"AADSTS7000215: Invalid client secret.\r\nTrace ID: t",
            "correlation_id":"c","claims":"y"}"#,
    )
    .await;
    assert_eq!(error.kind(), ErrorKind::CredentialRefused);
    assert_eq!(error.service_code(), Some("AADSTS7000215"));
    assert_eq!(error.request_id(), Some("t"));
    assert!(!error.is_retryable());
    assert_eq!(
        error.to_string(),
        "no token for application app-1 in tenant contoso.example: the client secret is wrong \
         (AADSTS7000215)"
    );
    let source = error
        .source()
        .unwrap()
        .downcast_ref::<IdentityError>()
        .unwrap();
    assert_eq!(source.error_codes(), [7_000_215]);
    assert_eq!(source.suberror(), Some("x"));
    assert_eq!(source.claims(), Some("y"));
    assert_eq!(source.correlation_id(), Some("c"));
    let error = refusal(401, r#"{"error":"invalid_client","error_codes":[7000222]}"#).await;
    assert!(error.to_string().contains("expired"));
}

#[tokio::test]
async fn statuses_decide_where_the_body_says_nothing() {
    assert_eq!(refusal(503, "").await.kind(), ErrorKind::Service);
    assert_eq!(refusal(502, "<html>").await.kind(), ErrorKind::Service);
    assert_eq!(refusal(429, "{}").await.kind(), ErrorKind::Throttled);
    assert_eq!(
        refusal(200, "{\"access_to").await.kind(),
        ErrorKind::Malformed
    );
    assert_eq!(refusal(200, "").await.kind(), ErrorKind::Malformed);
    assert_eq!(refusal(302, "").await.kind(), ErrorKind::Malformed);
}

#[tokio::test]
async fn no_error_repeats_the_secret_or_a_token() {
    for (status, body) in [
        (
            401,
            r#"{"error":"invalid_client","error_description":"you sent s3cret+/= to me"}"#,
        ),
        (
            200,
            r#"{"access_token":"canary","token_type":"Bearer","expires_in":"canary"}"#,
        ),
        (200, r#"{"token_type":"Bearer","canary":1"#),
    ] {
        let error = refusal(status, body).await;
        let mut text = format!("{error} {error:?}");
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(&format!("{cause} {cause:?}"));
            source = cause.source();
        }
        assert!(
            !text.contains("canary") && !text.contains("s3cret"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_once() {
    for (tenant, app, secret) in [
        ("", "a", "s"),
        ("t", " ", "s"),
        ("t", "a", ""),
        ("common", "a", "s"),
    ] {
        let (transport, _) = service(|_| answer(200, ""));
        let clock = Arc::new(Clock::default());
        let cloud = Cloud::global();
        let made = TokenClient::client_secret(transport, &cloud, tenant, app, secret.into(), clock);
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Configuration);
    }
}

#[tokio::test]
async fn many_callers_cause_one_request() {
    let inner = Counted::new();
    let cached = CachedTokenProvider::new(inner.clone(), inner.clock.clone());
    let tokens = join_all((0..50).map(|_| async { cached.token(&graph()).await.unwrap() })).await;
    assert!(
        tokens
            .iter()
            .all(|token| token.secret().expose() == "token-1")
    );
    assert_eq!(inner.count(), 1);
}

#[tokio::test]
async fn audiences_do_not_share_tokens() {
    let inner = Counted::new();
    let cached = CachedTokenProvider::new(inner.clone(), inner.clock.clone());
    let one = cached.token(&graph()).await.unwrap();
    let other = cached
        .token(&Audience::new("https://outlook.office365.com"))
        .await
        .unwrap();
    assert_ne!(one, other);
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end() {
    let inner = Counted::new();
    let cached = CachedTokenProvider::new(inner.clone(), inner.clock.clone());
    cached.token(&graph()).await.unwrap();
    inner.clock.advance(Duration::from_secs(3_299));
    assert_eq!(
        cached.token(&graph()).await.unwrap().secret().expose(),
        "token-1"
    );
    inner.clock.advance(Duration::from_secs(1));
    assert_eq!(
        cached.token(&graph()).await.unwrap().secret().expose(),
        "token-2"
    );
}

#[tokio::test]
async fn a_failed_early_renewal_costs_nothing_until_the_end() {
    let inner = Counted::new();
    let cached = CachedTokenProvider::new(inner.clone(), inner.clock.clone());
    cached.token(&graph()).await.unwrap();
    inner.failing.store(1, Ordering::Relaxed);
    inner.clock.advance(Duration::from_secs(3_400));
    for _ in 0..10 {
        assert_eq!(
            cached.token(&graph()).await.unwrap().secret().expose(),
            "token-1"
        );
    }
    assert_eq!(inner.count(), 2, "the next try waits half a minute");
    inner.clock.advance(Duration::from_secs(200));
    assert_eq!(
        cached.token(&graph()).await.unwrap_err().kind(),
        ErrorKind::Service
    );
}

#[tokio::test]
async fn only_the_refused_token_is_forgotten() {
    let inner = Counted::new();
    let cached = CachedTokenProvider::new(inner.clone(), inner.clock.clone());
    let first = cached.token(&graph()).await.unwrap();
    cached.invalidate(&graph(), &first).await;
    let second = cached.token(&graph()).await.unwrap();
    assert_ne!(first, second);
    // A late report of the first token must not cost the second one.
    cached.invalidate(&graph(), &first).await;
    assert_eq!(cached.token(&graph()).await.unwrap(), second);
    assert_eq!(inner.count(), 2);
}

#[tokio::test]
async fn a_caller_who_leaves_takes_nothing_along() {
    let inner = Counted::new();
    let cached = Arc::new(CachedTokenProvider::new(inner.clone(), inner.clock.clone()));
    let audience = graph();
    {
        let mut leaving = Box::pin(cached.token(&audience));
        assert!(futures_util::poll!(&mut leaving).is_pending());
    }
    assert_eq!(
        cached.token(&graph()).await.unwrap().secret().expose(),
        "token-1"
    );
    assert_eq!(inner.count(), 1);
}
