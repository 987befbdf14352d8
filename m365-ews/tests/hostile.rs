//! Answers that are not what they should be: each becomes a typed error, in bounded memory.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use m365_auth::{
    AccessToken, Audience, BasicCredential, Cloud, RetryPolicy, Secret, ServiceTransport,
    TokenProvider, Transport,
};
use m365_ews::{ErrorKind, EwsClient, EwsOptions, GetItem, ItemId, Parent};
use proptest::prelude::*;
use proptest::test_runner::Config;

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

/// Two clients of a server: by token, and by password.
fn clients(transport: Arc<dyn Transport>) -> (EwsClient, EwsClient) {
    let cloud = Cloud::from_record(
        "test",
        "https://login.contoso.example",
        "https://graph.contoso.example",
        ENDPOINT,
    )
    .unwrap();
    let mut options = EwsOptions::default();
    options.retry = RetryPolicy::none();
    options.limits.document = 1 << 20;
    let password = BasicCredential::new("svc", &"canary".into()).unwrap();
    let by_password =
        EwsClient::with_password(Arc::clone(&transport), password, &cloud, options.clone());
    let by_token = EwsClient::new(transport, Arc::new(OneToken), &cloud, options);
    (by_token.unwrap(), by_password.unwrap())
}

const ENDPOINT: &str = "https://ews.contoso.example/EWS/Exchange.asmx";

/// Calls a service that answers with a status and pieces of a body; returns the error, and how many
/// pieces were read.
async fn refused(status: u16, kind: &str, pieces: Vec<io::Result<Bytes>>) -> (ErrorKind, usize) {
    let read = Arc::new(AtomicUsize::new(0));
    let (counted, kind) = (Arc::clone(&read), kind.to_owned());
    let pieces = Mutex::new(Some(pieces));
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
    let (client, _) = clients(Arc::new(transport));
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

/// Addresses to which a hostile server would like to be followed.
fn elsewhere() -> impl Strategy<Value = String> {
    let before = prop_oneof![
        Just("https://"),
        Just("http://"),
        Just("//"),
        Just("/"),
        Just("https://ews.contoso.example@"),
        Just(""),
    ];
    let host = prop_oneof![
        Just("ews.contoso.example".to_owned()),
        Just("evil.example".to_owned()),
        Just("ews.contoso.example.evil.example".to_owned()),
        Just("autodiscover.contoso.example".to_owned()),
        Just("ews.contoso.example:444".to_owned()),
        "[a-z.]{1,16}",
    ];
    let path = prop_oneof![
        Just("/EWS/Exchange.asmx"),
        Just("/autodiscover/autodiscover.xml"),
        Just("")
    ];
    (before, host, path).prop_map(|(before, host, path)| format!("{before}{host}{path}"))
}

/// Answers with a status and an address, wherever a server has room for one.
fn luring(status: u16, link: &str) -> Response<Bytes> {
    let mut answer = Response::builder()
        .status(status)
        .header("content-type", XML)
        .header("set-cookie", format!("X-BackEndCookie={link}; path=/EWS"))
        .header("www-authenticate", "NTLM, Negotiate, Basic realm=\"x\"");
    for name in [
        "location",
        "x-ms-location",
        "x-backendhttpstatus",
        "x-targetserver",
        "refresh",
    ] {
        answer = answer.header(name, link);
    }
    let body = format!(
        "{ENVELOPE}<Autodiscover><Account><Action>redirectUrl</Action><RedirectUrl>{link}</RedirectUrl>\
         <EwsUrl>{link}</EwsUrl></Account></Autodiscover></s:Body></s:Envelope>"
    );
    answer.body(Bytes::from(body)).unwrap()
}

#[test]
fn every_call_goes_to_the_endpoint_whatever_an_answer_names() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let statuses = prop_oneof![
        Just(200u16),
        Just(301),
        Just(302),
        Just(307),
        Just(308),
        Just(401),
        Just(449),
        Just(451),
        Just(500),
        Just(503),
    ];
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(1_000)
    };
    let calls = AtomicUsize::new(0);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let law = |(status, link): (u16, String)| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let transport = ServiceTransport::new(move |request: Request<Bytes>| {
            kept.lock().unwrap().push(request.into_parts().0);
            let answer = luring(status, &link).map(|body| stream::iter([Ok::<_, io::Error>(body)]));
            async move { Ok(answer) }
        });
        let (by_token, by_password) = clients(Arc::new(transport));
        for client in [by_token, by_password] {
            let client = client.impersonating("ada@contoso.example");
            let first = runtime.block_on(client.folders_in(&Parent::PublicFoldersRoot));
            let again = runtime.block_on(client.call(&GetItem::new([ItemId::new("x")])));
            for error in [first.err(), again.err()] {
                let error = format!("{:?}", error.unwrap());
                prop_assert!(
                    !error.contains("canary") && !error.contains("Y2FuYXJ5"),
                    "{error}"
                );
            }
        }
        let seen = seen.lock().unwrap();
        prop_assert!(seen.len() >= 4, "{} calls", seen.len());
        calls.fetch_add(seen.len(), Ordering::Relaxed);
        for head in seen.iter() {
            prop_assert_eq!(head.uri.to_string(), ENDPOINT);
            let headers = &head.headers;
            prop_assert!(headers.contains_key("authorization"));
            prop_assert!(
                !headers.contains_key("cookie"),
                "what was set is not sent back"
            );
        }
        Ok(())
    };
    if let Err(found) = runner.run(&(statuses, elsewhere()), law) {
        panic!("{found}");
    }
    let calls = calls.into_inner();
    println!("1,000 stories, {calls} calls, all of them to the endpoint");
}

#[test]
fn a_password_is_for_https_endpoints_alone() {
    let transport = ServiceTransport::new(|_: Request<Bytes>| async {
        Ok(Response::new(stream::iter([Ok::<_, io::Error>(
            Bytes::new(),
        )])))
    });
    let plain = "http://127.0.0.1:8080";
    let cloud = Cloud::from_record("test", plain, plain, plain).unwrap();
    let password = BasicCredential::new("svc", &"canary".into()).unwrap();
    let options = EwsOptions::default();
    let refused = EwsClient::with_password(Arc::new(transport), password, &cloud, options);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Credential);
}

#[tokio::test]
async fn a_refused_sign_in_names_what_the_server_takes() {
    let transport = ServiceTransport::new(|_: Request<Bytes>| async {
        let answer = luring(401, "https://evil.example/");
        Ok(answer.map(|body| stream::iter([Ok::<_, io::Error>(body)])))
    });
    let (_, client) = clients(Arc::new(transport));
    let error = client.folders_in(&Parent::PublicFoldersRoot).await;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the sign-in was refused; the server offers Basic, Negotiate, NTLM (status 401)"
    );
}
