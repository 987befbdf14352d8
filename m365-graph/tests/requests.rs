//! What goes out: addresses, headers, bodies; and when it goes out again.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Reply, body, header, json, lines, scripted, scripted_with, text, with};
use m365_auth::RetryPolicy;
use m365_graph::{DeltaNext, ErrorKind, GraphOptions, NewAttachment};
use serde_json::json;

const LINK: &str = "https://graph.contoso.example/v1.0/users/x/delta?$deltatoken=a%2Bb";

fn empty_page() -> Reply {
    json(200, &json!({"value": [], "@odata.deltaLink": LINK}))
}

#[tokio::test]
async fn every_call_asks_for_immutable_ids_and_names_itself() {
    let (client, seen) = scripted(vec![empty_page(), json(200, &json!({"id": "d"}))]);
    client.mail("u").messages_delta("f", None).await.unwrap();
    client.user_drive("u").await.unwrap();
    assert_eq!(
        header(&seen, 0, "prefer").unwrap(),
        "IdType=\"ImmutableId\", odata.maxpagesize=200"
    );
    assert_eq!(
        header(&seen, 1, "prefer").unwrap(),
        "IdType=\"ImmutableId\""
    );
    assert_eq!(
        header(&seen, 1, "authorization").unwrap(),
        "Bearer canary-token"
    );
    assert!(
        header(&seen, 1, "user-agent")
            .unwrap()
            .starts_with("NONISV|")
    );
    assert_eq!(
        header(&seen, 1, "client-request-id").unwrap(),
        "00000000-0000-4000-8000-000000000000"
    );
}

#[tokio::test]
async fn ids_are_opaque_segments_of_the_path() {
    let (client, seen) = scripted(vec![
        json(200, &json!({"id": "1"})),
        json(200, &json!({"id": "1"})),
        json(200, &json!({"id": "1"})),
    ]);
    client
        .mail("a b@c.example")
        .message("AA/+k==?#%")
        .await
        .unwrap();
    client.drive("b!1").item("../../users").await.unwrap();
    client
        .drive("b!1")
        .child("01", "50 % #1?.txt")
        .await
        .unwrap();
    assert_eq!(
        lines(&seen),
        [
            "GET /v1.0/users/a%20b%40c.example/messages/AA%2F%2Bk==%3F%23%25",
            "GET /v1.0/drives/b%211/items/..%2F..%2Fusers",
            "GET /v1.0/drives/b%211/items/01:/50%20%25%20%231%3F.txt",
        ]
    );
    let error = client.drive("b!1").item("..").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn links_are_sent_back_as_they_came() {
    let (client, seen) = scripted(vec![empty_page(), empty_page()]);
    let mail = client.mail("u");
    let page = mail.messages_delta("f", None).await.unwrap();
    let DeltaNext::End(link) = page.next else {
        panic!("not the end")
    };
    let kept = link.as_str().to_owned();
    let link = client.parse_delta_link(&kept).unwrap();
    mail.messages_delta("f", Some(&link)).await.unwrap();
    assert_eq!(lines(&seen)[1], "GET /v1.0/users/x/delta?$deltatoken=a%2Bb");
    assert_eq!(link.as_str(), LINK);
}

#[tokio::test]
async fn links_to_elsewhere_are_refused_when_received_and_when_read_back() {
    let evil = json!({"value": [], "@odata.nextLink": "https://evil.example/v1.0/users"});
    let (client, _) = scripted(vec![json(200, &evil), json(200, &evil)]);
    let error = client.users_page(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
    let error = client.mail("u").folders_delta(None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
    let error = client
        .parse_delta_link("https://graph.contoso.example:444/x")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OriginRefused);
    assert_eq!(
        client.parse_delta_link("nonsense").unwrap_err().kind(),
        ErrorKind::Malformed
    );
}

/// Retries as usual, only quicker.
fn quick() -> GraphOptions {
    let millisecond = Duration::from_millis(1);
    let retry = RetryPolicy::standard().with_delays(millisecond, millisecond);
    GraphOptions {
        retry,
        ..GraphOptions::default()
    }
}

#[tokio::test]
async fn a_throttled_call_is_sent_again() {
    let refused = |wait| with(429, &[("retry-after", wait)], b"");
    let (client, seen) = scripted_with(
        quick(),
        vec![
            refused("0"),
            refused("soon"),
            json(200, &json!({"id": "1"})),
        ],
    );
    client.user("u").await.unwrap();
    assert_eq!(lines(&seen).len(), 3);
}

#[tokio::test]
async fn a_wait_longer_than_the_policy_allows_is_handed_on() {
    let (client, seen) = scripted_with(quick(), vec![with(429, &[("retry-after", "86000")], b"")]);
    let error = client.user("u").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(86_000)));
    assert_eq!(lines(&seen).len(), 1);
}

#[tokio::test]
async fn a_wait_may_be_told_as_a_date() {
    let date = [("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")];
    let (client, _) = scripted(vec![with(503, &date, b"")]);
    let error = client.user("u").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_broken_answer_is_asked_for_again() {
    let (client, seen) = scripted_with(
        quick(),
        vec![
            Reply::Broken,
            text(200, "{\"id\": \"1"),
            text(502, ""),
            text(200, "{\"id\": \"1\"}"),
        ],
    );
    assert_eq!(client.user("u").await.unwrap().id, "1");
    assert_eq!(lines(&seen).len(), 4);
}

#[tokio::test]
async fn without_a_policy_the_hint_is_data() {
    let (client, seen) = scripted(vec![with(
        429,
        &[("retry-after", "9"), ("request-id", "r-1")],
        br#"{"error":{"code":"ApplicationThrottled"}}"#,
    )]);
    let error = client.user("u").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(9)));
    assert_eq!(error.request_id(), Some("r-1"));
    assert_eq!(
        error.to_string(),
        "the user: the service asks to wait (ApplicationThrottled, status 429)"
    );
    assert_eq!(lines(&seen).len(), 1);
}

#[tokio::test]
async fn a_creation_is_repeated_only_after_a_refusal() {
    let made = json(201, &json!({"id": "1"}));
    let refused = with(429, &[("retry-after", "0")], b"");
    let (client, seen) = scripted_with(quick(), vec![refused, made]);
    client
        .mail("u")
        .create_message("f", &json!({"subject": "x"}))
        .await
        .unwrap();
    assert_eq!(lines(&seen).len(), 2);
    for doubtful in [Reply::Broken, text(500, ""), text(201, "{\"id\"")] {
        let (client, seen) = scripted_with(quick(), vec![doubtful]);
        let error = client
            .mail("u")
            .create_message("f", &json!({}))
            .await
            .unwrap_err();
        assert!(error.is_retryable());
        assert_eq!(lines(&seen).len(), 1);
    }
}

#[tokio::test]
async fn attempts_end() {
    let options = GraphOptions {
        retry: quick().retry.with_max_attempts(3),
        ..quick()
    };
    let (client, seen) = scripted_with(
        options,
        vec![text(500, ""), text(500, "<html>"), text(504, "")],
    );
    let error = client.user("u").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Service);
    assert_eq!(lines(&seen).len(), 3);
}

#[tokio::test]
async fn an_answer_beyond_the_cap_is_not_kept() {
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        max_json_bytes: 10,
        ..GraphOptions::default()
    };
    let (client, _) = scripted_with(options, vec![text(200, "{\"id\": \"123456789\"}")]);
    assert_eq!(
        client.user("u").await.unwrap_err().kind(),
        ErrorKind::TooLarge
    );
}

#[tokio::test]
async fn a_redirect_where_none_belongs_is_no_answer() {
    let elsewhere = [("location", "https://evil.example/")];
    let (client, seen) = scripted(vec![with(302, &elsewhere, b"")]);
    assert_eq!(
        client.user("u").await.unwrap_err().kind(),
        ErrorKind::Malformed
    );
    assert_eq!(lines(&seen).len(), 1);
}

#[tokio::test]
async fn a_reset_cursor_says_so() {
    for reply in [
        text(410, r#"{"error":{"code":"resyncChangesApplyDifferences"}}"#),
        text(410, ""),
        text(400, r#"{"error":{"code":"SyncStateNotFound"}}"#),
    ] {
        let (client, _) = scripted(vec![reply]);
        let link = client.parse_delta_link(LINK).unwrap();
        let error = client
            .mail("u")
            .messages_delta("f", Some(&link))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CursorReset);
        assert!(!error.is_retryable());
    }
}

#[tokio::test]
async fn folders_and_messages_are_written_as_documented() {
    let (client, seen) = scripted(vec![
        json(201, &json!({"id": "f"})),
        json(201, &json!({"id": "m"})),
        json(200, &json!({"id": "m"})),
        text(204, ""),
    ]);
    let mail = client.mail("u");
    mail.create_folder("msgfolderroot", "Old", true)
        .await
        .unwrap();
    mail.create_message("f", &json!({"subject": "x"}))
        .await
        .unwrap();
    mail.update_message("m", &json!({"isRead": true}))
        .await
        .unwrap();
    mail.delete_message("m").await.unwrap();
    assert_eq!(
        lines(&seen),
        [
            "POST /v1.0/users/u/mailFolders/msgfolderroot/childFolders",
            "POST /v1.0/users/u/mailFolders/f/messages",
            "PATCH /v1.0/users/u/messages/m",
            "DELETE /v1.0/users/u/messages/m",
        ]
    );
    assert_eq!(
        body(&seen, 0),
        json!({"displayName": "Old", "isHidden": true})
    );
    assert_eq!(
        header(&seen, 0, "content-type").unwrap(),
        "application/json"
    );
}

#[tokio::test]
async fn a_small_attachment_takes_one_request() {
    let (client, seen) = scripted(vec![json(201, &json!({"id": "a"}))]);
    let attachment = NewAttachment::new("a.txt", "hello").with_content_id("cid-1", true);
    client
        .mail("u")
        .add_attachment("m", &attachment)
        .await
        .unwrap();
    let sent = body(&seen, 0);
    assert_eq!(sent["@odata.type"], "#microsoft.graph.fileAttachment");
    assert_eq!(sent["contentBytes"], "aGVsbG8=");
    assert_eq!(
        (&sent["contentId"], &sent["isInline"]),
        (&json!("cid-1"), &json!(true))
    );
}

#[tokio::test]
async fn a_large_attachment_goes_in_pieces_without_a_token() {
    let session = json!({"uploadUrl": "https://outlook.contoso.example/s?authtoken=canary"});
    let (client, seen) = scripted(vec![
        json(201, &session),
        text(200, "{}"),
        with(201, &[], b""),
    ]);
    let content = vec![7u8; 5_000_000];
    let attachment = NewAttachment::new("a.bin", content);
    client
        .mail("u")
        .add_attachment("m", &attachment)
        .await
        .unwrap();
    assert_eq!(body(&seen, 0)["AttachmentItem"]["size"], 5_000_000);
    assert_eq!(
        header(&seen, 1, "content-range").unwrap(),
        "bytes 0-3932159/5000000"
    );
    assert_eq!(
        header(&seen, 2, "content-range").unwrap(),
        "bytes 3932160-4999999/5000000"
    );
    assert_eq!(header(&seen, 1, "authorization"), None);
}

#[tokio::test]
async fn an_attachment_too_small_for_a_session_goes_in_one_request() {
    let refusal = json!({"error": {"code": "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize"}});
    let (client, seen) = scripted(vec![json(400, &refusal), json(201, &json!({"id": "a"}))]);
    let attachment = NewAttachment::new("a.bin", vec![7u8; 3_000_000]);
    client
        .mail("u")
        .add_attachment("m", &attachment)
        .await
        .unwrap();
    assert_eq!(lines(&seen)[1], "POST /v1.0/users/u/messages/m/attachments");
}

#[tokio::test]
async fn nothing_prints_a_token_or_a_link() {
    let next = "https://graph.contoso.example/v1.0/users?$skiptoken=canary";
    let page = json!({"value": [], "@odata.nextLink": next});
    let (client, _) = scripted(vec![json(200, &page)]);
    let page = client.users_page(None).await.unwrap();
    let link = client.parse_delta_link(next).unwrap();
    let (mail, drive) = (client.mail("canary"), client.drive("canary"));
    let attachment = NewAttachment::new("canary", "canary");
    let shown = format!("{client:?} {page:?} {link:?} {mail:?} {drive:?} {attachment:?}");
    assert!(!shown.contains("canary"), "{shown}");
}
