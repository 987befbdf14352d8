//! Bad input: whatever arrives in place of an answer, on every way by which this client reads one,
//! ends in an error of the right kind, and in bounded memory.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{Reply, client, client_over, cut, json, text, with};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use m365_auth::{Body, RetryPolicy, ServiceTransport};
use m365_graph::{
    DriveItem, Entity, ErrorKind, GraphClient, GraphOptions, NewAttachment, Result, UploadOptions,
};
use serde_json::{Value, json as value};

/// One way by which an answer is read: what comes before it, and what is called.
struct Way {
    name: &'static str,
    before: fn() -> Vec<Reply>,
    call: for<'c> fn(&'c GraphClient) -> BoxFuture<'c, Result<()>>,
}

fn nothing() -> Vec<Reply> {
    Vec::new()
}

fn session() -> Vec<Reply> {
    let address = value!({"uploadUrl": "https://content.contoso.example/up"});
    vec![json(200, &address)]
}

fn options(size: u64) -> UploadOptions {
    UploadOptions {
        size,
        modified: Some("2026-01-02T03:04:05Z".into()),
        ..UploadOptions::default()
    }
}

async fn upload(client: &GraphClient, options: UploadOptions) -> Result<()> {
    let body = Body::from(vec![7; usize::try_from(options.size).unwrap()]);
    let drive = client.drive("d");
    drive.upload("p", "n", options, body).await.map(drop)
}

/// The ways that read JSON.
const OF_JSON: &[Way] = &[
    Way {
        name: "a page",
        before: nothing,
        call: |client| Box::pin(async { client.users_page(None).await.map(drop) }),
    },
    Way {
        name: "a page of changes",
        before: nothing,
        call: |client| Box::pin(async { client.drive("d").delta(None).await.map(drop) }),
    },
    Way {
        name: "a page of a feed",
        before: nothing,
        call: |client| Box::pin(async { client.groups_feed()?.page(None).await.map(drop) }),
    },
    Way {
        name: "an object",
        before: nothing,
        call: |client| Box::pin(async { client.user("u").await.map(drop) }),
    },
    Way {
        name: "a batch",
        before: nothing,
        call: |client| {
            Box::pin(async {
                let mut batch = client.batch();
                let part = batch.user("u")?;
                batch.send().await?.take(&part).map(drop)
            })
        },
    },
    Way {
        name: "a small upload",
        before: nothing,
        call: |client| {
            let small = UploadOptions {
                size: 5,
                ..UploadOptions::default()
            };
            Box::pin(upload(client, small))
        },
    },
    Way {
        name: "an upload session",
        before: nothing,
        call: |client| Box::pin(upload(client, options(5))),
    },
    Way {
        name: "a fragment",
        before: session,
        call: |client| Box::pin(upload(client, options(5))),
    },
    Way {
        name: "a commit",
        before: || {
            let mut replies = session();
            replies.push(json(202, &value!({"nextExpectedRanges": []})));
            replies
        },
        call: |client| {
            let deferred = UploadOptions {
                defer_commit: true,
                ..options(5)
            };
            Box::pin(upload(client, deferred))
        },
    },
    Way {
        name: "a session of an attachment",
        before: nothing,
        call: |client| {
            Box::pin(async {
                let large = NewAttachment::new("n", vec![7; 3_200_000]);
                client.mail("u").add_attachment("m", &large).await
            })
        },
    },
];

/// The ways that read content.
const OF_CONTENT: &[Way] = &[
    Way {
        name: "MIME",
        before: nothing,
        call: |client| {
            Box::pin(async {
                let mime = client.mail("u").mime("m").await?;
                mime.collect(1 << 20).await.map(drop).map_err(Into::into)
            })
        },
    },
    Way {
        name: "the address of a file",
        before: nothing,
        call: |client| Box::pin(download(client)),
    },
    Way {
        name: "the content of a file",
        before: || {
            let to = [("location", "https://content.contoso.example/file")];
            vec![with(302, &to, b"")]
        },
        call: |client| Box::pin(download(client)),
    },
];

async fn download(client: &GraphClient) -> Result<()> {
    let item = value!({"id": "1", "size": 5, "file": {}});
    let item = Entity::<DriveItem>::from_raw(item)?;
    let drive = client.drive("d");
    drive
        .download(&item)
        .await?
        .collect(1 << 20)
        .await
        .map(drop)
}

fn impatient() -> GraphOptions {
    GraphOptions {
        retry: RetryPolicy::none(),
        max_json_bytes: 4 << 20,
        ..GraphOptions::default()
    }
}

/// Goes a way whose last answer, and every one after it, is `bad`.
async fn go(way: &Way, bad: fn() -> Reply) -> Result<()> {
    let before = Mutex::new(VecDeque::from((way.before)()));
    let (client, _) = client(impatient(), move |_| {
        let next = before.lock().unwrap().pop_front();
        next.unwrap_or_else(bad)
    });
    (way.call)(&client).await
}

const PAGE_OF_HTML: &[u8] = b"<!DOCTYPE html><html><body>Sign in to the network</body></html>";

fn html(status: u16) -> Reply {
    with(status, &[("content-type", "text/html")], PAGE_OF_HTML)
}

#[tokio::test]
async fn what_is_no_answer_in_json_has_its_kind_on_every_way() {
    type Bad = (&'static str, fn() -> Reply, ErrorKind);
    let bad: &[Bad] = &[
        (
            "JSON cut short",
            || text(200, "{\"value\": [{\"id"),
            ErrorKind::Transport,
        ),
        (
            "a broken connection",
            || Reply::Broken,
            ErrorKind::Transport,
        ),
        (
            "a body that breaks off",
            || cut(text(200, "{\"value\":")),
            ErrorKind::Transport,
        ),
        ("a page of HTML", || html(200), ErrorKind::Malformed),
        ("a gateway's page of HTML", || html(502), ErrorKind::Service),
        ("nothing, with 500", || text(500, ""), ErrorKind::Service),
        ("nothing, with 503", || text(503, ""), ErrorKind::Service),
        ("nothing, with 504", || text(504, ""), ErrorKind::Service),
        ("a refusal of HTML", || html(403), ErrorKind::Forbidden),
        (
            "another kind of JSON",
            || text(200, "[1]"),
            ErrorKind::Malformed,
        ),
        ("a text", || text(200, "\"no\""), ErrorKind::Malformed),
        (
            "no letters",
            || with(200, &[], b"\xff\xfe{\x00}"),
            ErrorKind::Malformed,
        ),
        (
            "two answers",
            || text(200, "{\"id\":\"1\"} {\"id\":\"2\"}"),
            ErrorKind::Malformed,
        ),
        (
            "brackets without end",
            || text(200, &"[".repeat(200_000)),
            ErrorKind::Malformed,
        ),
        ("nothing", || text(200, ""), ErrorKind::Malformed),
    ];
    for way in OF_JSON {
        for (what, bad, kind) in bad {
            let error = go(way, *bad).await.unwrap_err();
            assert_eq!(
                error.kind(),
                *kind,
                "{what} in place of {}: {error}",
                way.name
            );
            let passes = matches!(kind, ErrorKind::Transport | ErrorKind::Service);
            assert_eq!(error.is_retryable(), passes, "{what}");
            let told = format!("{error} {error:?}");
            assert!(
                !told.contains("Sign in"),
                "the words of an answer stay out of errors"
            );
        }
    }
}

#[tokio::test]
async fn what_is_no_content_is_never_taken_for_it() {
    for way in OF_CONTENT {
        let end = |error: m365_graph::Error| error.kind();
        let of_html = go(way, || html(200)).await.map_err(end);
        let wanted = match way.name {
            "MIME" => ErrorKind::Malformed,
            _ => ErrorKind::Integrity,
        };
        assert_eq!(of_html, Err(wanted), "{}", way.name);
        for status in [500, 502, 503, 504] {
            let bad: fn() -> Reply = match status {
                500 => || text(500, ""),
                502 => || html(502),
                503 => || text(503, "<html>"),
                _ => || text(504, ""),
            };
            let found = go(way, bad).await.map_err(end);
            assert_eq!(found, Err(ErrorKind::Service), "{} {status}", way.name);
        }
        let broken = go(way, || Reply::Broken).await.map_err(end);
        assert_eq!(broken, Err(ErrorKind::Transport), "{}", way.name);
        let broken = go(way, || cut(text(200, "ab"))).await.map_err(end);
        assert_eq!(broken, Err(ErrorKind::Transport), "{}", way.name);
    }
}

#[tokio::test]
async fn json_is_json_whatever_the_header_says() {
    let user = value!({"id": "1"}).to_string();
    for kind in [
        "text/html",
        "text/plain",
        "application/octet-stream",
        "nonsense",
    ] {
        let body = user.clone();
        let headers = [("content-type", kind)];
        let (client, _) = client(impatient(), move |_| with(200, &headers, body.as_bytes()));
        assert_eq!(client.user("u").await.unwrap().id, "1", "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_truncated_page_is_asked_for_again_where_the_policy_says_so() {
    for way in OF_JSON {
        // What makes something is not sent twice after an answer that may have been a success.
        let makes = matches!(way.name, "a small upload" | "a commit");
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&sent);
        let before = Mutex::new(VecDeque::from((way.before)()));
        let options = GraphOptions {
            retry: RetryPolicy::standard().with_max_attempts(3),
            ..impatient()
        };
        let (client, _) = client(options, move |request: &Request<Bytes>| {
            if let Some(reply) = before.lock().unwrap().pop_front() {
                return reply;
            }
            let first = counted.fetch_add(1, Ordering::Relaxed) == 0;
            assert!(first || !makes || request.method() != "PUT", "sent twice");
            text(200, "{\"value\": [{\"id")
        });
        let error = (way.call)(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Transport, "{}", way.name);
        let sent = sent.load(Ordering::Relaxed);
        assert!(makes || sent >= 3, "{}: sent {sent} times", way.name);
    }
}

/// The most memory that this process ever had resident, in KiB, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

const GIBIBYTE: usize = 1 << 30;
const PIECE: usize = 64 << 10;

/// A client whose service answers with a gibibyte and no header at all, after what comes before;
/// counts how much of it was pulled.
fn flooded(way: &Way, status: u16) -> (GraphClient, Arc<AtomicUsize>) {
    let pulled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&pulled);
    let before = Arc::new(Mutex::new(VecDeque::from((way.before)())));
    let transport = ServiceTransport::new(move |_: Request<Bytes>| {
        let next = before.lock().unwrap().pop_front();
        let counted = Arc::clone(&counted);
        let piece = Bytes::from(vec![b' '; PIECE]);
        async move {
            Ok::<_, std::io::Error>(match next {
                Some(Reply::Whole(whole)) => whole.map(|body| stream::iter([Ok(body)]).boxed()),
                _ => {
                    let flood = stream::iter(0..GIBIBYTE / PIECE).map(move |_| {
                        counted.fetch_add(PIECE, Ordering::Relaxed);
                        Ok(piece.clone())
                    });
                    let mut answer = Response::new(flood.boxed());
                    *answer.status_mut() = status.try_into().unwrap();
                    answer
                }
            })
        }
    });
    (client_over(Arc::new(transport), impatient()), pulled)
}

#[tokio::test]
async fn a_gibibyte_without_a_header_is_cut_off_on_every_way() {
    let before = peak_kib();
    let (mut ways, mut pulled_all) = (0, 0);
    for way in OF_JSON.iter().chain(OF_CONTENT) {
        for status in [200, 500, 404] {
            let (client, pulled) = flooded(way, status);
            let error = (way.call)(&client).await.unwrap_err();
            let kind = error.kind();
            let wanted = match status {
                200 => matches!(kind, ErrorKind::TooLarge | ErrorKind::Integrity),
                500 => kind == ErrorKind::Service,
                _ => matches!(kind, ErrorKind::NotFound | ErrorKind::Transport),
            };
            assert!(wanted, "{} with {status}: {error}", way.name);
            // JSON is cut at 4 MiB; a session that fails is cancelled, with an answer again.
            let pulled = pulled.load(Ordering::Relaxed);
            assert!(
                pulled <= 9 << 20,
                "{} with {status}: {pulled} bytes",
                way.name
            );
            pulled_all += pulled;
            ways += 1;
        }
    }
    let (Some(before), Some(after)) = (before, peak_kib()) else {
        println!("{ways} ways cut off; this system does not tell of memory");
        return;
    };
    let grown = after - before;
    println!("{ways} ways, {pulled_all} bytes pulled: the peak grew by {grown} KiB");
    assert!(grown <= 48 << 10, "{grown} KiB");
}

#[tokio::test]
async fn a_gibibyte_of_mime_is_streamed_in_bounded_memory() {
    let before = peak_kib();
    let (client, _) = flooded(&OF_CONTENT[0], 200);
    let mut body = client.mail("u").mime("m").await.unwrap();
    let mut seen = 0;
    while let Some(chunk) = body.chunk().await {
        seen += chunk.unwrap().len();
    }
    assert_eq!(seen, GIBIBYTE);
    if let (Some(before), Some(after)) = (before, peak_kib()) {
        let grown = after - before;
        println!("a gibibyte of MIME: the peak grew by {grown} KiB");
        assert!(grown <= 48 << 10, "{grown} KiB");
    }
}

#[tokio::test]
async fn an_item_that_is_no_item_costs_its_page_and_an_odd_member_does_not() {
    let page = |item: Value| {
        let page = value!({"value": [{"id": "1"}, item], "@odata.deltaLink": LINK});
        client(impatient(), move |_| json(200, &page)).0
    };
    for odd in [
        value!(1),
        value!([]),
        value!({}),
        value!({"id": 7}),
        Value::Null,
    ] {
        let error = page(odd.clone()).drive("d").delta(None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Malformed, "{odd}");
    }
    let odd = value!({"id": "2", "size": "much", "file": 7, "name": null, "parentReference": []});
    let page = page(odd.clone()).drive("d").delta(None).await.unwrap();
    let m365_graph::Change::Upserted(item) = &page.changes[1] else {
        panic!("not there");
    };
    assert_eq!((item.size, item.raw()), (None, &odd));
}

const LINK: &str = "https://graph.contoso.example/v1.0/drives/d/root/delta?token=1";
