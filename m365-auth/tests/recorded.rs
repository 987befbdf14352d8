//! Recordings: taken from the simulated tenant, written, read, and replayed to the same code.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{Clock, answer, service};
use http::Request;
use m365_auth::{
    AuthorizedTransport, Body, CachedTokenProvider, Cloud, CountingTransport, Environment, Error,
    ErrorKind, OriginPolicy, Recording, RecordingTransport, ReplayTransport, ServiceTransport,
    TokenClient, Transport,
};
use m365_simulator::{Tenant, TenantSpec};
use serde_json::Value;
use url::Url;

fn door(
    transport: Arc<dyn Transport>,
    cloud: &Cloud,
    app: &str,
    secret: &str,
) -> AuthorizedTransport {
    let clock = Arc::new(Clock::default());
    let client = TokenClient::client_secret(
        Arc::clone(&transport),
        cloud,
        "contoso.example",
        app,
        secret.into(),
        clock.clone(),
    );
    let tokens = CachedTokenProvider::new(Arc::new(client.unwrap()), clock);
    let policy = OriginPolicy::new([&cloud.graph]).unwrap();
    AuthorizedTransport::new(transport, Arc::new(tokens), cloud.graph_audience(), policy)
}

/// Reads all pages of users, following the links, and returns how many there are.
async fn count_users(door: &AuthorizedTransport, graph: &Url) -> Result<usize, Error> {
    let mut next = Some(
        graph
            .join("v1.0/users?$top=2&$select=id,displayName")
            .unwrap(),
    );
    let mut count = 0;
    while let Some(url) = next {
        let request = Request::get(url.as_str()).body(Body::empty()).unwrap();
        let response = door.send(request).await?;
        assert_eq!(response.status(), 200);
        let bytes = response.into_body().collect(1 << 20).await?;
        let page: Value = serde_json::from_slice(&bytes).unwrap();
        count += page["value"].as_array().unwrap().len();
        next = page["@odata.nextLink"]
            .as_str()
            .map(|link| Url::parse(link).unwrap());
    }
    Ok(count)
}

#[tokio::test]
async fn what_was_recorded_replays_to_the_same_code() {
    let tenant = Tenant::generate(TenantSpec {
        users: 5,
        messages_per_user: 1,
        files_per_user: 0,
        logical_bytes: 10_000,
        ..TenantSpec::default()
    })
    .unwrap();
    let clock = Clock::default();
    tenant.set_clock(move || clock.now());
    let app = tenant.app();
    let service = tenant.clone();
    // The tenant under the names of the worldwide cloud, as it would be recorded in real life.
    let inner = ServiceTransport::new(move |request: Request<bytes::Bytes>| {
        let tenant = service.clone();
        async move {
            let (mut head, body) = request.into_parts();
            let text = head.uri.to_string();
            let text = text
                .replace("graph.microsoft.com", "graph.contoso.example")
                .replace("login.microsoftonline.com", "login.contoso.example");
            head.uri = text.parse().unwrap();
            let body = String::from_utf8(body.to_vec()).unwrap();
            let body = body.replace("graph.microsoft.com", "graph.contoso.example");
            let answer = tenant
                .handle(Request::from_parts(head, body.into()))
                .await?;
            let (head, body) = answer.into_parts();
            let body = String::from_utf8(body.collect().await?.to_vec()).unwrap();
            let body = body.replace("graph.contoso.example", "graph.microsoft.com");
            let body = futures_util::stream::iter([Ok(bytes::Bytes::from(body))]);
            let mut response = http::Response::from_parts(head, body);
            response.headers_mut().remove("content-length");
            Ok(response)
        }
    });
    let cloud = Cloud::global();
    let counter = Arc::new(CountingTransport::new(Arc::new(inner)));
    let recorder = Arc::new(RecordingTransport::with_fields(counter.clone(), ["mail"]));
    let online = door(recorder.clone(), &cloud, &app.client_id, &app.client_secret);
    let users = count_users(&online, &cloud.graph).await.unwrap();
    assert_eq!(users, 5);
    assert_eq!(counter.traffic().requests, 4, "a token and three pages");
    assert_eq!(counter.traffic().accepted, 4);
    assert!(counter.traffic().bytes_received > 500);

    let text = recorder.recording().to_text();
    for user in tenant.users() {
        assert!(!text.contains(&user.id) && !text.contains(&user.display_name));
    }
    for secret in [&app.client_secret, &app.client_id, &app.tenant_id] {
        assert!(!text.contains(secret.as_str()));
    }
    let recording = Recording::parse(&text).unwrap();
    assert_eq!(recording, recorder.recording());
    let replay = Arc::new(ReplayTransport::new(&recording));
    let offline = door(replay.clone(), &cloud, "another app", "another secret");
    assert_eq!(count_users(&offline, &cloud.graph).await.unwrap(), 5);
    assert_eq!(replay.left(), 0);
    let error = count_users(&offline, &cloud.graph).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotRecorded);
}

#[tokio::test]
async fn fixtures_written_by_hand_answer_in_order() {
    let text = "\
# a throttled request, a broken one, and an answer
> GET https://graph.microsoft.com/v1.0/users/adele
< 429
< retry-after: 7
> GET https://graph.microsoft.com/v1.0/users/adele
! transport
> GET https://graph.microsoft.com/v1.0/users/adele
< 200
< content-type: application/json
<
< {
<   \"id\": \"1\"
< }
";
    let replay = ReplayTransport::new(&Recording::parse(text).unwrap());
    let ask = || {
        let url = "https://graph.microsoft.com/v1.0/users/adele";
        replay.send(Request::get(url).body(Body::empty()).unwrap())
    };
    let first = ask().await.unwrap();
    assert_eq!(
        (first.status().as_u16(), &first.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::Transport);
    let body = ask().await.unwrap().into_body().collect(100).await.unwrap();
    assert_eq!(body, "{\n  \"id\": \"1\"\n}");
    assert_eq!(ask().await.unwrap_err().kind(), ErrorKind::NotRecorded);
}

#[tokio::test]
async fn long_and_dropped_answers_are_left_out_but_counted() {
    let (inner, _) = service(|request| match request.uri().path() {
        "/long" => answer(200, &"x".repeat(5 << 20)),
        _ => answer(200, r#"{"size":7,"note":"private","count":3}"#),
    });
    let recorder = RecordingTransport::new(inner);
    let ask = async |path: &str| {
        let url = format!("https://graph.microsoft.com{path}");
        let request = Request::get(url).body(Body::empty()).unwrap();
        recorder.send(request).await.unwrap()
    };
    let long = ask("/long")
        .await
        .into_body()
        .collect(10 << 20)
        .await
        .unwrap();
    assert_eq!(long.len(), 5 << 20);
    drop(ask("/short").await);
    ask("/short").await.into_body().collect(100).await.unwrap();
    let text = recorder.recording().to_text();
    assert!(text.contains("< :body: omitted 5242880"), "{text}");
    assert!(
        text.contains(r#""size":7"#) && !text.contains("private"),
        "{text}"
    );
    assert!(!text.contains(":3"), "a number of an unknown field: {text}");
    assert_eq!(recorder.recording().exchanges().len(), 3);
}
