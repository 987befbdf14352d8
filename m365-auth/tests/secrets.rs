//! No public type shows a secret that it holds.

#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "reqwest")]

mod common;

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use common::{Clock, answer, service};
use m365_auth::{
    AccessToken, Audience, AuthorizedTransport, CachedTokenProvider, Cloud, OriginPolicy, Proxy,
    Secret, TokenClient, TokenProvider, TransportOptions,
};

#[tokio::test]
async fn nothing_prints_the_canary() {
    let secret = Secret::new("canary");
    let token = AccessToken::new(secret.clone(), UNIX_EPOCH);
    let clock = Arc::new(Clock::default());
    let body = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"canary"}"#;
    let (transport, _) = service(move |_| answer(200, body));
    let cloud = Cloud::global();
    let client = TokenClient::client_secret(
        Arc::clone(&transport),
        &cloud,
        "t",
        "a",
        secret.clone(),
        clock.clone(),
    );
    let client = Arc::new(client.unwrap());
    let cached = Arc::new(CachedTokenProvider::new(client.clone(), clock));
    let held = cached.token(&cloud.graph_audience()).await.unwrap();
    assert_eq!(held.secret().expose(), "canary");
    let policy = OriginPolicy::new([&cloud.graph]).unwrap();
    let door = AuthorizedTransport::new(
        transport,
        cached.clone(),
        Audience::new("https://graph.microsoft.com"),
        policy,
    );
    let proxy = Proxy::Server {
        url: "http://user:canary@proxy.example".to_owned(),
        credentials: Some(("user".to_owned(), secret.clone())),
        bypass: Vec::new(),
    };
    let mut options = TransportOptions::default();
    options.proxy = proxy.clone();
    let shown = format!(
        "{secret:?} {token:?} {client:?} {cached:?} {door:?} {proxy:?} {options:?} {held:?}"
    );
    assert!(!shown.contains("canary"), "{shown}");
}
