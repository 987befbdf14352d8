//! Uploads: one request or a session, and what may go wrong in between.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::{Reply, body, header, json, lines, scripted, scripted_with, text};
use futures_util::stream;
use m365_auth::{Body, RetryPolicy};
use m365_graph::{
    DriveItem, Entity, ErrorKind, GraphOptions, OnConflict, QuickXorHash, Result, UploadOptions,
};
use serde_json::json;

const UNIT: usize = 327_680;

fn session() -> Reply {
    json(
        200,
        &json!({"uploadUrl": "https://content.contoso.example/up?t=canary"}),
    )
}

fn expects(ranges: &[&str]) -> Reply {
    json(202, &json!({"nextExpectedRanges": ranges}))
}

fn done() -> Reply {
    json(201, &json!({"id": "new", "name": "a.bin"}))
}

fn streamed(content: &[u8]) -> Body {
    let pieces: Vec<_> = content
        .chunks(100_000)
        .map(|p| Ok(Bytes::copy_from_slice(p)))
        .collect();
    Body::from_stream(stream::iter(pieces), None)
}

fn dated(size: usize) -> UploadOptions {
    UploadOptions {
        size: size as u64,
        modified: Some("2020-01-02T03:04:05Z".to_owned()),
        ..UploadOptions::default()
    }
}

/// Uploads with fragments of one unit.
async fn upload(
    replies: Vec<Reply>,
    content: Body,
    size: usize,
) -> (Result<Entity<DriveItem>>, common::Seen) {
    upload_as(dated(size), replies, content).await
}

async fn upload_as(
    wish: UploadOptions,
    replies: Vec<Reply>,
    content: Body,
) -> (Result<Entity<DriveItem>>, common::Seen) {
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        upload_fragment_bytes: UNIT,
        ..GraphOptions::default()
    };
    let (client, seen) = scripted_with(options, replies);
    let drive = client.drive("d");
    (drive.upload("p", "a.bin", wish, content).await, seen)
}

#[tokio::test]
async fn an_empty_file_is_one_request_and_its_times_another() {
    let (result, seen) = upload(vec![done(), done()], Body::empty(), 0).await;
    result.unwrap();
    assert_eq!(
        lines(&seen),
        [
            "PUT /v1.0/drives/d/items/p:/a.bin:/content?@microsoft.graph.conflictBehavior=fail",
            "PATCH /v1.0/drives/d/items/new",
        ]
    );
    let times = json!({"fileSystemInfo": {"lastModifiedDateTime": "2020-01-02T03:04:05Z"}});
    assert_eq!(body(&seen, 1), times);
}

#[tokio::test]
async fn a_small_file_without_times_is_one_request() {
    let (client, seen) = scripted(vec![done()]);
    let options = UploadOptions {
        size: 5,
        conflict: OnConflict::Replace,
        ..UploadOptions::default()
    };
    client
        .drive("d")
        .upload("p", "a", options, streamed(b"hello"))
        .await
        .unwrap();
    assert_eq!(seen.lock().unwrap()[0].body(), "hello");
}

#[tokio::test]
async fn fragments_are_whole_units_in_order_without_a_token() {
    let content = vec![1; 2 * UNIT + 5];
    let replies = vec![
        session(),
        expects(&["327680-"]),
        expects(&["655360-"]),
        done(),
    ];
    let (result, seen) = upload(replies, streamed(&content), content.len()).await;
    assert_eq!(result.unwrap().id, "new");
    assert_eq!(
        lines(&seen)[0],
        "POST /v1.0/drives/d/items/p:/a.bin:/createUploadSession"
    );
    let item = body(&seen, 0)["item"].clone();
    assert_eq!(
        item["fileSystemInfo"]["lastModifiedDateTime"],
        "2020-01-02T03:04:05Z"
    );
    assert_eq!(item["@microsoft.graph.conflictBehavior"], "fail");
    assert_eq!(
        header(&seen, 1, "content-range").unwrap(),
        "bytes 0-327679/655365"
    );
    assert_eq!(
        header(&seen, 2, "content-range").unwrap(),
        "bytes 327680-655359/655365"
    );
    assert_eq!(
        header(&seen, 3, "content-range").unwrap(),
        "bytes 655360-655364/655365"
    );
    for number in 1..4 {
        assert_eq!(header(&seen, number, "authorization"), None);
    }
}

#[tokio::test]
async fn a_broken_fragment_goes_on_where_the_service_says() {
    let content = vec![1; UNIT + 5];
    let replies = vec![
        session(),
        Reply::Broken,
        expects(&["100-"]),
        expects(&["327680-"]),
        text(500, ""),
        expects(&["327682-"]),
        done(),
    ];
    let (result, seen) = upload(replies, streamed(&content), content.len()).await;
    result.unwrap();
    let lines = lines(&seen);
    assert!(lines[2].starts_with("GET /up") && lines[5].starts_with("GET /up"));
    assert_eq!(
        header(&seen, 3, "content-range").unwrap(),
        "bytes 100-327679/327685"
    );
    assert_eq!(
        header(&seen, 6, "content-range").unwrap(),
        "bytes 327682-327684/327685"
    );
}

#[tokio::test]
async fn what_was_received_before_is_not_sent_again() {
    let content = vec![1; UNIT + 5];
    let range = text(416, r#"{"error":{"code":"invalidRange"}}"#);
    let replies = vec![session(), range, expects(&["327680-"]), done()];
    let (result, _) = upload(replies, streamed(&content), content.len()).await;
    result.unwrap();
}

#[tokio::test]
async fn a_lost_last_answer_is_found_out() {
    let content = vec![1; 9];
    let mut hash = QuickXorHash::new();
    hash.update(&content);
    let hashes = json!({"quickXorHash": hash.finish_base64()});
    let found = json!({"id": "made", "size": 9, "file": {"hashes": hashes}});
    let replies = vec![session(), Reply::Broken, text(404, ""), json(200, &found)];
    let (result, seen) = upload(replies, streamed(&content), 9).await;
    assert_eq!(result.unwrap().id, "made");
    assert_eq!(lines(&seen)[3], "GET /v1.0/drives/d/items/p:/a.bin");
}

#[tokio::test]
async fn a_lost_session_begins_anew_when_the_body_allows() {
    let content = vec![1; 9];
    let (result, _) = upload(
        vec![session(), text(404, ""), session(), done()],
        content.clone().into(),
        9,
    )
    .await;
    assert_eq!(result.unwrap().id, "new");
    let (result, _) = upload(vec![session(), text(404, "")], streamed(&content), 9).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Transport);
}

/// What a service refuses an upload with, and what that means.
const REFUSALS: [(u16, &str, ErrorKind); 8] = [
    (409, "nameAlreadyExists", ErrorKind::Conflict),
    (409, "", ErrorKind::Conflict),
    (507, "quotaLimitReached", ErrorKind::QuotaExceeded),
    (507, "", ErrorKind::QuotaExceeded),
    (412, "resourceModified", ErrorKind::PreconditionFailed),
    (423, "resourceLocked", ErrorKind::Blocked),
    (403, "accessDenied", ErrorKind::Forbidden),
    (413, "", ErrorKind::TooLarge),
];

fn refusal(status: u16, code: &str) -> Reply {
    match code {
        "" => text(status, ""),
        code => json(status, &json!({"error": {"code": code}})),
    }
}

#[tokio::test]
async fn refusals_end_the_session() {
    for (status, code, kind) in REFUSALS {
        // With the last fragment, and with one before.
        for (size, more) in [(9, 0), (UNIT + 9, 1)] {
            let mut replies = vec![session()];
            replies.extend((0..more).map(|_| expects(&["327680-"])));
            replies.extend([refusal(status, code), text(204, "")]);
            let (result, seen) = upload(replies, streamed(&vec![1; size]), size).await;
            assert_eq!(result.unwrap_err().kind(), kind, "{status} {code}");
            assert_eq!(lines(&seen)[2 + more], "DELETE /up?t=canary");
        }
    }
}

#[tokio::test]
async fn a_session_that_is_refused_leaves_nothing_to_cancel() {
    for (status, code, kind) in REFUSALS {
        let (result, seen) = upload(vec![refusal(status, code)], streamed(&[1; 9]), 9).await;
        assert_eq!(result.unwrap_err().kind(), kind, "{status} {code}");
        assert_eq!(lines(&seen).len(), 1);
    }
}

#[tokio::test]
async fn an_error_of_the_cancellation_does_not_hide_the_first() {
    let replies = vec![session(), refusal(507, "quotaLimitReached"), Reply::Broken];
    let (result, _) = upload(replies, streamed(&[1; 9]), 9).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::QuotaExceeded);
}

#[tokio::test]
async fn a_session_that_ended_in_between_begins_anew_with_the_first_byte() {
    let content = vec![1; UNIT + 9];
    for gone in [404, 410] {
        let replies = vec![
            session(),
            expects(&["327680-"]),
            text(gone, ""),
            session(),
            expects(&["327680-"]),
            done(),
        ];
        let (result, seen) = upload(replies, content.clone().into(), content.len()).await;
        assert_eq!(result.unwrap().id, "new");
        let first = header(&seen, 4, "content-range").unwrap();
        assert_eq!(first, "bytes 0-327679/327689");
    }
    // Three sessions are as many as one file gets.
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.extend([session(), text(404, "")]);
    }
    let (result, _) = upload(replies, vec![1; 9].into(), 9).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Transport);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_busy_is_waited_for_as_the_policy_says() {
    let options = GraphOptions {
        retry: RetryPolicy::standard(),
        upload_fragment_bytes: UNIT,
        ..GraphOptions::default()
    };
    let busy = common::with(503, &[("retry-after", "40")], b"");
    let replies = vec![
        session(),
        text(500, ""),
        expects(&["0-"]),
        text(502, "<html>"),
        expects(&["0-"]),
        busy,
        done(),
    ];
    let (client, seen) = scripted_with(options, replies);
    let begin = tokio::time::Instant::now();
    let content = streamed(&[1; 9]);
    let drive = client.drive("d");
    let made = drive.upload("p", "a.bin", dated(9), content).await;
    assert_eq!(made.unwrap().id, "new");
    assert_eq!(lines(&seen).len(), 7);
    let waited = begin.elapsed().as_secs();
    assert!(waited >= 40, "waited {waited} s");
}

#[tokio::test]
async fn a_body_of_another_length_makes_no_file() {
    let (result, _) = upload(vec![], vec![1; 8].into(), 9).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidRequest);
    for length in [8, 10] {
        let replies = vec![session(), text(204, "")];
        let (result, seen) = upload(replies, streamed(&vec![1; length]), 9).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert!(lines(&seen)[1].starts_with("DELETE "));
    }
}

#[tokio::test]
async fn a_service_that_takes_nothing_is_given_up() {
    let mut replies = vec![session()];
    replies.extend((0..5).map(|_| expects(&["0-"])));
    replies.push(text(204, ""));
    let (result, seen) = upload(replies, streamed(&[1; 9]), 9).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Transport);
    assert_eq!(lines(&seen).len(), 7);
}

/// Uploads by a session whose commit is a request of its own.
async fn deferred(
    replies: Vec<Reply>,
    content: Body,
    size: usize,
) -> (Result<Entity<DriveItem>>, common::Seen) {
    let wish = UploadOptions {
        size: size as u64,
        defer_commit: true,
        ..UploadOptions::default()
    };
    upload_as(wish, replies, content).await
}

#[tokio::test]
async fn a_deferred_file_is_made_by_a_request_without_a_body() {
    let content = vec![1; UNIT + 5];
    let replies = vec![session(), expects(&["327680-"]), expects(&[]), done()];
    let (result, seen) = deferred(replies, streamed(&content), content.len()).await;
    assert_eq!(result.unwrap().id, "new");
    assert_eq!(body(&seen, 0)["deferCommit"], true);
    assert_eq!(lines(&seen)[3], "POST /up?t=canary");
    assert!(seen.lock().unwrap()[3].body().is_empty());
    assert_eq!(header(&seen, 3, "authorization"), None);
}

#[tokio::test]
async fn a_deferred_file_whose_answer_was_lost_is_found_and_a_refused_one_is_not_made() {
    let content = vec![1; 9];
    let mut hash = QuickXorHash::new();
    hash.update(&content);
    let hashes = json!({"quickXorHash": hash.finish_base64()});
    let found = json!({"id": "made", "size": 9, "file": {"hashes": hashes}});
    let replies = vec![session(), expects(&[]), Reply::Broken, json(200, &found)];
    let (result, _) = deferred(replies, streamed(&content), 9).await;
    assert_eq!(result.unwrap().id, "made");
    let replies = vec![session(), expects(&[]), text(409, ""), text(204, "")];
    let (result, seen) = deferred(replies, streamed(&content), 9).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(lines(&seen)[3].starts_with("DELETE "));
}
