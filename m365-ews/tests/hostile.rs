//! Answers that are not what they should be: each becomes a typed error, in bounded memory.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use m365_auth::{
    AccessToken, Audience, Cloud, RetryPolicy, Secret, ServiceTransport, TokenProvider,
};
use m365_ews::{ErrorKind, EwsClient, EwsOptions, GetItem, ItemId};

#[derive(Debug)]
struct OneToken;

#[async_trait]
impl TokenProvider for OneToken {
    async fn token(&self, _: &Audience) -> m365_auth::Result<AccessToken> {
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 40);
        Ok(AccessToken::new(Secret::new("canary-token"), expires))
    }

    async fn invalidate(&self, _: &Audience, _: &AccessToken) {}
}

/// Calls a service that answers with a status and pieces of a body; returns the error, and how many
/// pieces were read.
async fn refused(status: u16, kind: &str, pieces: Vec<io::Result<Bytes>>) -> (ErrorKind, usize) {
    let read = Arc::new(AtomicUsize::new(0));
    let (counted, kind) = (Arc::clone(&read), kind.to_owned());
    let pieces = std::sync::Mutex::new(Some(pieces));
    let transport = ServiceTransport::new(move |_: Request<Bytes>| {
        let counted = Arc::clone(&counted);
        let pieces = pieces.lock().unwrap().take().unwrap_or_default();
        let body = stream::iter(pieces.into_iter().inspect(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        }));
        let answer = Response::builder()
            .status(status)
            .header("content-type", &kind)
            .body(body);
        async move { Ok(answer.unwrap()) }
    });
    let cloud = Cloud::from_record(
        "test",
        "https://login.contoso.example",
        "https://graph.contoso.example",
        "https://ews.contoso.example/EWS/Exchange.asmx",
    )
    .unwrap();
    let mut options = EwsOptions::default();
    options.retry = RetryPolicy::none();
    options.limits.document = 1 << 20;
    let client = EwsClient::new(Arc::new(transport), Arc::new(OneToken), &cloud, options).unwrap();
    let error = client
        .call(&GetItem::new([ItemId::new("x")]))
        .await
        .unwrap_err();
    assert!(!error.to_string().contains("canary"), "{error}");
    (error.kind(), read.load(Ordering::Relaxed))
}

async fn kind_of(status: u16, kind: &str, body: &str) -> ErrorKind {
    let body = Bytes::copy_from_slice(body.as_bytes());
    refused(status, kind, vec![Ok(body)]).await.0
}

const XML: &str = "text/xml; charset=utf-8";
const ENVELOPE: &str = "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body>";

#[tokio::test]
async fn pages_for_people_are_no_answers() {
    let page = "<!DOCTYPE html><html><body><h1>Sign in</h1><p>Envelope</body></html>";
    assert_eq!(kind_of(200, "text/html", page).await, ErrorKind::Malformed);
    assert_eq!(kind_of(500, "text/html", page).await, ErrorKind::Service);
    assert_eq!(kind_of(502, "text/html", page).await, ErrorKind::Service);
    assert_eq!(kind_of(503, "text/html", "").await, ErrorKind::Throttled);
    assert_eq!(kind_of(500, "text/html", "").await, ErrorKind::Service);
    assert_eq!(
        kind_of(200, "application/json", "{}").await,
        ErrorKind::Malformed
    );
    assert_eq!(kind_of(200, XML, "").await, ErrorKind::Malformed);
}

#[tokio::test]
async fn a_document_that_grows_when_it_is_read_is_refused_unread() {
    let laughs = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\">\
        <!ENTITY lol2 \"&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;\">\
        <!ENTITY lol3 \"&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;&lol2;\">]>";
    let document = format!("{laughs}{ENVELOPE}&lol3;</s:Body></s:Envelope>");
    assert_eq!(kind_of(200, XML, &document).await, ErrorKind::Malformed);
    let outside = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\">";
    let document = format!("{outside}{ENVELOPE}</s:Body></s:Envelope>");
    assert_eq!(kind_of(200, XML, &document).await, ErrorKind::Malformed);
    let deep = format!("{ENVELOPE}{}", "<a>".repeat(100_000));
    assert_eq!(kind_of(200, XML, &deep).await, ErrorKind::TooLarge);
}

#[tokio::test]
async fn an_answer_that_ends_in_the_middle_is_no_answer() {
    for cut in ["", "<s:Fault>", "<a b=\"", "<![CDATA[", "&am", "<!--"] {
        let document = format!("{ENVELOPE}{cut}");
        let kind = kind_of(200, XML, &document).await;
        assert_eq!(kind, ErrorKind::Malformed, "{cut}");
    }
    let broken = vec![
        Ok(Bytes::from_static(ENVELOPE.as_bytes())),
        Err(io::Error::from(io::ErrorKind::ConnectionReset)),
    ];
    assert_eq!(refused(200, XML, broken).await.0, ErrorKind::Transport);
}

#[tokio::test]
async fn a_body_without_end_is_read_to_the_limit_only() {
    let piece = Bytes::from(vec![b' '; 64 << 10]);
    let pieces = (0..16_384).map(|_| Ok(piece.clone())).collect();
    let (kind, read) = refused(200, XML, pieces).await;
    assert_eq!(kind, ErrorKind::TooLarge);
    assert!(read <= 18, "{read} pieces of a gigabyte");
}
