//! The adapters of the Azure SDK's credential trait, there and back again.

#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(feature = "azure")]

mod common;

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use common::Counted;
use m365_auth::azure::{FromAzure, ToAzure};
use m365_auth::{Audience, Environment, TokenProvider};

#[tokio::test]
async fn a_token_survives_both_adapters() {
    let inner = Counted::new();
    let there = ToAzure::new(inner.clone());
    let back = FromAzure::new(Arc::new(there.clone()));
    let audience = Audience::new("https://graph.microsoft.com");
    let token = back.token(&audience).await.unwrap();
    assert_eq!(token.secret().expose(), "token-1");
    let left = token
        .expires_at()
        .duration_since(inner.clock.now())
        .unwrap();
    assert_eq!(left.as_secs(), 3_600);
    for scopes in [
        &[][..],
        &["https://a/.default", "https://b/.default"],
        &["User.Read"],
    ] {
        assert!(there.get_token(scopes, None).await.is_err(), "{scopes:?}");
    }
    inner.failing.store(1, std::sync::atomic::Ordering::Relaxed);
    assert!(back.token(&audience).await.is_err());
    assert!(!format!("{there:?} {back:?}").contains("token-1"));
}
