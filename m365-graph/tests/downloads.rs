//! Downloads: the redirect, broken connections, expired addresses, damaged content.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Mutex;

use bytes::Bytes;
use common::{Reply, client, cut, header, lines, scripted, text, with};
use http::Request;
use m365_auth::RetryPolicy;
use m365_graph::{DriveItem, Entity, ErrorKind, GraphClient, GraphOptions, QuickXorHash, Result};
use proptest::prelude::*;
use serde_json::json;

const ADDRESS: &str = "https://content.contoso.example/file?tempauth=canary";

fn item(content: &[u8]) -> Entity<DriveItem> {
    let mut hash = QuickXorHash::new();
    hash.update(content);
    let hashes = json!({"quickXorHash": hash.finish_base64()});
    Entity::from_raw(json!({
        "id": "i", "name": "a.bin", "size": content.len(), "file": {"hashes": hashes}
    }))
    .unwrap()
}

fn redirect() -> Reply {
    with(302, &[("location", ADDRESS)], b"")
}

async fn read(client: &GraphClient, item: &Entity<DriveItem>) -> Result<Bytes> {
    client
        .drive("d")
        .download(item)
        .await?
        .collect(1 << 24)
        .await
}

#[tokio::test]
async fn content_comes_from_the_address_behind_the_redirect_without_a_token() {
    let (client, seen) = scripted(vec![redirect(), text(200, "hello")]);
    assert_eq!(read(&client, &item(b"hello")).await.unwrap(), "hello");
    assert_eq!(
        lines(&seen),
        [
            "GET /v1.0/drives/d/items/i/content",
            "GET /file?tempauth=canary"
        ]
    );
    assert!(header(&seen, 0, "authorization").is_some());
    assert_eq!(header(&seen, 1, "authorization"), None);
    assert_eq!(header(&seen, 1, "prefer"), None);
}

#[tokio::test]
async fn a_cut_connection_goes_on_from_the_next_byte() {
    let etag = ("etag", "\"v1\"");
    let (client, seen) = scripted(vec![
        redirect(),
        cut(with(200, &[etag, ("content-length", "10")], b"0123")),
        cut(with(206, &[etag, ("content-range", "bytes 4-9/10")], b"45")),
        with(206, &[etag, ("content-range", "bytes 6-9/10")], b"6789"),
    ]);
    assert_eq!(
        read(&client, &item(b"0123456789")).await.unwrap(),
        "0123456789"
    );
    assert_eq!(header(&seen, 2, "range").unwrap(), "bytes=4-");
    assert_eq!(header(&seen, 3, "range").unwrap(), "bytes=6-");
    assert_eq!(header(&seen, 3, "if-match").unwrap(), "\"v1\"");
}

#[tokio::test]
async fn a_quiet_early_end_is_taken_up_again() {
    let range = [("content-range", "bytes 2-4/5")];
    let (client, _) = scripted(vec![redirect(), text(200, "he"), with(206, &range, b"llo")]);
    assert_eq!(read(&client, &item(b"hello")).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_service_that_knows_no_ranges_begins_anew() {
    let (client, _) = scripted(vec![redirect(), cut(text(200, "hel")), text(200, "hello")]);
    assert_eq!(read(&client, &item(b"hello")).await.unwrap(), "hello");
}

#[tokio::test]
async fn an_expired_address_is_asked_for_anew() {
    for status in [401, 403, 404, 410] {
        let range = [("content-range", "bytes 3-4/5")];
        let (client, seen) = scripted(vec![
            redirect(),
            cut(text(200, "hel")),
            text(status, ""),
            redirect(),
            with(206, &range, b"lo"),
        ]);
        assert_eq!(read(&client, &item(b"hello")).await.unwrap(), "hello");
        assert_eq!(lines(&seen)[3], "GET /v1.0/drives/d/items/i/content");
        assert_eq!(header(&seen, 4, "range").unwrap(), "bytes=3-");
    }
}

#[tokio::test]
async fn a_refusal_of_fresh_addresses_is_final() {
    let (client, seen) = scripted(vec![redirect(), text(403, ""), redirect(), text(403, "")]);
    assert_eq!(
        read(&client, &item(b"hello")).await.unwrap_err().kind(),
        ErrorKind::Forbidden
    );
    assert_eq!(lines(&seen).len(), 4);
}

#[tokio::test]
async fn damaged_content_is_never_a_success() {
    let (client, _) = scripted(vec![redirect(), text(200, "hellO")]);
    assert_eq!(
        read(&client, &item(b"hello")).await.unwrap_err().kind(),
        ErrorKind::Integrity
    );
    let (client, _) = scripted(vec![redirect(), text(200, "hello world")]);
    assert_eq!(
        read(&client, &item(b"hello")).await.unwrap_err().kind(),
        ErrorKind::Integrity
    );
    let longer = with(200, &[("content-length", "4")], b"hell");
    let (client, _) = scripted(vec![redirect(), longer]);
    assert_eq!(
        read(&client, &item(b"hello")).await.unwrap_err().kind(),
        ErrorKind::Integrity
    );
}

#[tokio::test]
async fn a_file_changed_in_between_is_noticed() {
    let (client, _) = scripted(vec![
        redirect(),
        cut(with(200, &[("etag", "\"v1\"")], b"hel")),
        with(
            206,
            &[("etag", "\"v2\""), ("content-range", "bytes 3-4/5")],
            b"lo",
        ),
    ]);
    let error = read(&client, &item(b"hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    let (client, _) = scripted(vec![redirect(), cut(text(200, "hel")), text(412, "")]);
    let error = read(&client, &item(b"hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
}

#[tokio::test]
async fn a_connection_that_gives_nothing_is_given_up() {
    let mut replies = vec![redirect()];
    replies.extend((0..4).map(|_| cut(text(200, ""))));
    let (client, seen) = scripted(replies);
    let error = read(&client, &item(b"hello")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert_eq!(lines(&seen).len(), 5);
}

#[tokio::test]
async fn malware_is_blocked() {
    let body = r#"{"error":{"code":"malwareDetected","message":"x"}}"#;
    let (client, _) = scripted(vec![text(403, body)]);
    let error = client.drive("d").download(&item(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
}

#[tokio::test]
async fn an_address_on_plain_http_is_refused() {
    let (client, _) = scripted(vec![with(
        302,
        &[("location", "http://content.example/")],
        b"",
    )]);
    let error = client.drive("d").download(&item(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
}

#[tokio::test]
async fn empty_files_and_files_without_hash_are_read() {
    let (client, _) = scripted(vec![
        redirect(),
        text(200, ""),
        redirect(),
        text(200, "hello"),
    ]);
    assert_eq!(read(&client, &item(b"")).await.unwrap(), "");
    let bare = Entity::from_raw(json!({"id": "i", "file": {}})).unwrap();
    assert_eq!(read(&client, &bare).await.unwrap(), "hello");
}

/// Serves `content` by range, each time only up to the next of `cuts`.
fn cutting(content: Vec<u8>, cuts: Vec<usize>) -> impl Fn(&Request<Bytes>) -> Reply {
    let cuts = Mutex::new(cuts);
    move |request| {
        if request.uri().host() == Some("graph.contoso.example") {
            return redirect();
        }
        let range = request
            .headers()
            .get("range")
            .map(|value| value.to_str().unwrap());
        let begin: usize = range.map_or(0, |range| {
            range
                .trim_start_matches("bytes=")
                .trim_end_matches('-')
                .parse()
                .unwrap()
        });
        let length = format!("bytes {begin}-{}/{}", content.len() - 1, content.len());
        let status = if begin == 0 { 200 } else { 206 };
        let headers = [("content-range", length.as_str())];
        match cuts.lock().unwrap().pop() {
            Some(count) if begin + count < content.len() => {
                cut(with(status, &headers, &content[begin..begin + count]))
            }
            _ => with(status, &headers, &content[begin..]),
        }
    }
}

proptest! {
    #[test]
    fn wherever_it_is_cut_the_content_arrives_whole(
        content in prop::collection::vec(any::<u8>(), 1..600),
        cuts in prop::collection::vec(1usize..90, 0..20),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let options = GraphOptions { retry: RetryPolicy::none(), ..GraphOptions::default() };
        let (client, _) = client(options, cutting(content.clone(), cuts));
        let read = runtime.block_on(read(&client, &item(&content))).unwrap();
        prop_assert_eq!(&read[..], &content[..]);
    }
}
