//! Where tokens go: addresses made to confuse, for each kind of service, judged by the pure policy
//! and sent through the door.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Seen, answer, service};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use m365_auth::{
    AccessToken, Audience, AuthorizedTransport, BasicCredential, Body, Cloud, OriginPolicy,
    RedirectPlan, Result, Secret, TokenProvider, Transport, plan_redirect,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use url::Url;

/// The kinds of service, with a host of each; the last takes a name and a password.
const KINDS: [(&str, &str); 4] = [
    ("Graph", "graph.contoso.example"),
    ("EWS", "outlook.contoso.example"),
    ("SharePoint", "contoso.sharepoint.example"),
    ("EWS by password", "mail.contoso.example"),
];

/// Addresses that come from pieces of the good ones, put together wrongly.
fn confusing(host: &'static str) -> impl Strategy<Value = String> {
    let scheme = prop_oneof![
        4 => Just("https"),
        1 => Just("HTTPS"),
        1 => Just("http"),
        1 => Just("ftp"),
        1 => Just("file"),
        1 => Just("wss"),
        1 => Just("view-source:https"),
    ];
    let user = prop_oneof![
        4 => Just(String::new()),
        1 => Just("user@".to_owned()),
        1 => Just(format!("{host}@")),
        1 => Just(":p@".to_owned()),
        1 => Just("a:b@".to_owned()),
        1 => Just(format!("{host}:443@")),
        1 => Just(format!("{host}%2F@")),
    ];
    let name = prop_oneof![
        3 => Just(host.to_owned()),
        1 => Just(host.to_uppercase()),
        1 => Just(format!("{host}.")),
        1 => Just(format!("{host}.evil.example")),
        1 => Just(format!("evil-{host}")),
        1 => Just(format!("x.{host}")),
        1 => Just(format!("{host}\\@evil.example")),
        1 => Just(format!("evil.example#@{host}")),
        1 => Just(format!("evil.example?@{host}")),
        1 => Just(format!("evil.example/{host}")),
        1 => Just(host.replacen('.', "\u{3002}", 1)),
        1 => Just(host.replacen('a', "%61", 1)),
        1 => Just(host.replacen('o', "\u{43e}", 1)),
        1 => Just(host.replacen('.', "\t.", 1)),
        2 => (0..KINDS.len()).prop_map(|kind| KINDS[kind].1.to_owned()),
        1 => Just("[2001:db8::1]".to_owned()),
        1 => Just("[::ffff:127.0.0.1]".to_owned()),
        1 => Just("127.0.0.1".to_owned()),
        1 => Just("2130706433".to_owned()),
        1 => Just("localhost".to_owned()),
        1 => "[a-z.]{1,20}",
    ];
    let port = prop_oneof![
        4 => Just(""),
        1 => Just(":443"),
        1 => Just(":444"),
        1 => Just(":80"),
        1 => Just(":"),
        1 => Just(":0443"),
    ];
    let path = prop_oneof![
        Just(String::new()),
        Just("/v1.0/users?$skiptoken=1".to_owned()),
        Just("/_api/web".to_owned()),
        Just("/..//evil.example".to_owned()),
        Just("\\evil.example".to_owned()),
        Just("//evil.example".to_owned()),
        Just(format!("?x=https://{host}")),
        Just("#frag".to_owned()),
    ];
    (scheme, user, name, port, path)
        .prop_map(|(scheme, user, name, port, path)| format!("{scheme}://{user}{name}{port}{path}"))
}

/// Tells whether an address is of the one allowed origin, by its spelling after parsing.
fn is_of(host: &str, url: &Url) -> bool {
    url.as_str().starts_with(&format!("https://{host}/"))
}

/// Runs a law over many cases, each with a random kind of service in its own thread of values.
fn for_each_case<T: std::fmt::Debug>(
    cases: u32,
    strategy: impl Strategy<Value = T>,
    law: impl Fn(T) -> std::result::Result<(), TestCaseError>,
) {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    if let Err(found) = TestRunner::new(config).run(&strategy, law) {
        panic!("{found}");
    }
}

#[test]
fn the_policy_allows_one_origin_and_nothing_like_it() {
    let mut total = 0;
    for (kind, host) in KINDS {
        let own = Url::parse(&format!("https://{host}/a/b?c")).unwrap();
        let policy = OriginPolicy::new([&own]).unwrap();
        let cloud = Cloud::global().with_sharepoint_domain("sharepoint.example");
        let (judged, allowed) = (Cell::new(0), Cell::new(0));
        for_each_case(CASES, confusing(host), |text| {
            judged.set(judged.get() + 1);
            // An address may also stand in a redirect, relative to where the answer came from.
            let follow = |method| {
                let mut headers = HeaderMap::new();
                let Ok(location) = HeaderValue::from_str(&text) else {
                    return None;
                };
                headers.insert("location", location);
                let status = StatusCode::TEMPORARY_REDIRECT;
                plan_redirect(&policy, &method, &own, status, &headers).ok()
            };
            for method in [Method::GET, Method::POST] {
                match follow(method.clone()) {
                    Some(RedirectPlan::WithToken(url)) => prop_assert!(is_of(host, &url), "{url}"),
                    Some(RedirectPlan::Bare(url)) => {
                        prop_assert!(method == Method::GET && url.scheme() == "https", "{url}");
                    }
                    _ => {}
                }
            }
            let Ok(url) = Url::parse(&text) else {
                return Ok(());
            };
            prop_assert_eq!(policy.allows(&url), is_of(host, &url), "{}", url);
            allowed.set(allowed.get() + u32::from(policy.allows(&url)));
            let bare = policy.check_preauthenticated(&url).is_ok();
            let clean = url.username().is_empty() && url.password().is_none();
            prop_assert_eq!(bare, url.scheme() == "https" && clean, "{}", url);
            if let Ok(audience) = cloud.sharepoint_audience(&url) {
                let name = url.host_str().unwrap_or_default();
                prop_assert!(clean && url.scheme() == "https", "{}", url);
                let known = ["sharepoint.example", "sharepoint.com"];
                prop_assert!(
                    known.iter().any(|domain| name.ends_with(domain)),
                    "{} for {}",
                    audience,
                    url
                );
            }
            Ok(())
        });
        println!(
            "{kind}: {} addresses judged, {} allowed",
            judged.get(),
            allowed.get()
        );
        assert!(allowed.get() > CASES / 100, "good ones are among them");
        total += judged.get();
    }
    println!("{total} addresses judged by the pure policy");
    assert!(total >= 100_000);
}

/// Cases of the pure policy for each kind of service.
const CASES: u32 = 30_000;
/// Cases end to end for each kind of service.
const STORIES: u32 = 1_000;

/// Gives every audience a token that names it.
#[derive(Debug)]
struct Named;

#[async_trait]
impl TokenProvider for Named {
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        let expires = UNIX_EPOCH + Duration::from_secs(1 << 40);
        Ok(AccessToken::new(
            Secret::new(format!("token-for-{audience}")),
            expires,
        ))
    }

    async fn invalidate(&self, _: &Audience, _: &AccessToken) {}
}

/// A door for each kind of service, over one network.
fn doors(transport: &Arc<dyn Transport>) -> Vec<AuthorizedTransport> {
    let door = |(kind, host): &(&str, &str)| {
        let origin = Url::parse(&format!("https://{host}")).unwrap();
        let policy = OriginPolicy::new([&origin]).unwrap();
        let transport = Arc::clone(transport);
        if *kind == "EWS by password" {
            let credential = BasicCredential::new("svc", &"token-password".into()).unwrap();
            return AuthorizedTransport::with_password(transport, credential, policy).unwrap();
        }
        let audience = Audience::new(format!("https://{host}"));
        AuthorizedTransport::new(transport, Arc::new(Named), audience, policy)
    };
    KINDS.iter().map(door).collect()
}

/// Answers everything with the next hostile link, wherever an answer may hold one.
fn luring(links: &[String], status: u16) -> (Arc<dyn Transport>, Seen) {
    let (links, count) = (links.to_vec(), AtomicUsize::new(0));
    service(move |_: &Request<Bytes>| -> Response<Bytes> {
        let place = count.fetch_add(1, Ordering::Relaxed);
        let mut response = answer(status, "");
        if let Ok(target) = HeaderValue::from_str(&links[place % links.len()]) {
            for name in ["location", "x-ms-location", "content-location", "link"] {
                response.headers_mut().insert(name, target.clone());
            }
        }
        response
    })
}

/// Does with a link what clients do: follows it, downloads from it, uploads to it.
async fn use_link(door: &AuthorizedTransport, host: &str, link: &str) {
    let request = |method: &str, uri: &str| {
        Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", "Bearer token-of-the-caller")
            .header("x-anchormailbox", "ada@contoso.example")
            .body(Body::from("piece"))
    };
    // The refusals are what is meant to happen; what was sent is looked at afterwards.
    for method in ["GET", "POST"] {
        let own = request(method, &format!("https://{host}/EWS/Exchange.asmx")).unwrap();
        let _ = door.send_following(own).await;
    }
    for method in ["GET", "PUT"] {
        for uri in [Some(link), link.split('#').next()].into_iter().flatten() {
            if let Ok(request) = request(method, uri) {
                let _ = door.send(request).await;
            }
            if let Ok(request) = request(method, uri) {
                let _ = door.send_preauthenticated(request).await;
            }
        }
    }
}

#[test]
fn no_token_leaves_the_allowed_origins() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for (place, (kind, host)) in KINDS.into_iter().enumerate() {
        let (with, without, stories) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let links =
            proptest::collection::vec(prop_oneof![3 => confusing(host), 1 => "\\PC{0,60}"], 1..6);
        let statuses = prop_oneof![
            Just(200u16),
            Just(301),
            Just(302),
            Just(303),
            Just(307),
            Just(308),
            Just(401),
            Just(451),
        ];
        for_each_case(STORIES, (links, statuses), |(links, status)| {
            let (transport, seen) = luring(&links, status);
            let doors = doors(&transport);
            runtime.block_on(async {
                for link in &links {
                    use_link(&doors[place], host, link).await;
                }
            });
            stories.set(stories.get() + 1);
            let seen = seen.lock().unwrap();
            prop_assert!(!seen.is_empty());
            for request in seen.iter() {
                // What a client on the network would make of the address that was sent.
                let target = Url::parse(&request.uri().to_string()).unwrap();
                prop_assert_eq!(target.scheme(), "https");
                prop_assert!(target.username().is_empty() && target.password().is_none());
                let shown: Vec<&str> = request
                    .headers()
                    .values()
                    .map(|value| value.to_str().unwrap())
                    .collect();
                let shown = shown.join(" ");
                prop_assert!(!shown.contains("of-the-caller"));
                if request.headers().contains_key("authorization") {
                    let own = match kind {
                        // The name and the password of this test, encoded.
                        "EWS by password" => "Basic c3ZjOnRva2VuLXBhc3N3b3Jk".to_owned(),
                        _ => format!("Bearer token-for-https://{host}"),
                    };
                    prop_assert!(shown.contains(&own), "{}", shown);
                    prop_assert!(is_of(host, &target), "{}", target);
                    prop_assert_eq!(request.uri().host(), Some(host));
                    with.set(with.get() + 1);
                } else {
                    without.set(without.get() + 1);
                }
            }
            Ok(())
        });
        let (stories, with, without) = (stories.get(), with.get(), without.get());
        println!("{kind}: {stories} stories, {with} requests with a token, {without} without");
        assert!(with > STORIES && without > 0);
    }
}
