//! Targets over what services answer: the bytes are the body of an answer to a real client.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use m365_auth::{AccessToken, Audience, Body, Cloud, RetryPolicy, Secret, ServiceTransport};
use m365_auth::{Environment, TokenClient, TokenProvider, Transport};
use m365_ews::{FindFolder, FindItem, GetItem, Limits, Operation, read_answer};
use m365_graph::{GraphClient, GraphOptions, ThrottleSignals, UploadOptions};

/// Bounds that a small input can reach.
const LIMITS: Limits = Limits {
    document: 1 << 20,
    depth: 32,
    text: 1 << 16,
    attributes: 16,
};

/// Reads an answer to FindFolder.
pub fn ews_find_folder(bytes: &[u8]) {
    ews::<FindFolder>(bytes);
}

/// Reads an answer to FindItem.
pub fn ews_find_item(bytes: &[u8]) {
    ews::<FindItem>(bytes);
}

/// Reads an answer to GetItem.
pub fn ews_get_item(bytes: &[u8]) {
    ews::<GetItem>(bytes);
}

fn ews<O: Operation>(bytes: &[u8]) {
    if let Err(error) = read_answer::<O>(bytes, LIMITS) {
        assert!(!error.to_string().is_empty(), "an error says something");
    }
}

/// Reads a page of users.
pub fn graph_page(bytes: &[u8]) {
    let _outcome = block_on(graph(200, bytes).users_page(None)).is_ok();
}

/// Reads a page of a message delta.
pub fn graph_delta(bytes: &[u8]) {
    let client = graph(200, bytes);
    let mail = client.mail("u");
    let _outcome = block_on(mail.messages_delta("inbox", None)).is_ok();
    let _outcome = block_on(mail.message_heads_delta("inbox", None)).is_ok();
}

/// Reads the answers to a batch.
pub fn graph_batch(bytes: &[u8]) {
    let mut batch = graph(200, bytes).batch();
    let first = batch.user("u").is_ok();
    let second = batch.message("u", "m").is_ok();
    assert!(first && second, "two parts");
    let _outcome = block_on(batch.send()).is_ok();
}

/// Reads the answers of an upload session: where it goes, and which ranges it expects.
pub fn graph_upload(bytes: &[u8]) {
    let options = UploadOptions {
        size: 3,
        ..UploadOptions::default()
    };
    let drive = graph(200, bytes).drive("d");
    let _outcome = block_on(drive.upload("p", "n", options, Body::from("abc"))).is_ok();
}

/// Reads headers, a line each, as throttling signals and as a wait.
pub fn graph_signals(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.insert(name, value);
        }
    }
    let signals = ThrottleSignals::from_headers(&headers, Fixed.now());
    let share = signals.used_share.unwrap_or_default();
    assert!(share.is_finite(), "a share is a number");
    let _wait = m365_auth::retry_after(&headers);
}

/// Reads an error body.
pub fn graph_error(bytes: &[u8]) {
    let error = block_on(graph(409, bytes).user("u"));
    assert!(error.is_err(), "a refusal is an error whatever it says");
}

/// Reads the answer of the token endpoint.
pub fn token_response(bytes: &[u8]) {
    if let Some(client) = token_client(200, bytes) {
        let _outcome = block_on(client.token(&Cloud::global().graph_audience())).is_ok();
    }
}

/// Returns a client of a token endpoint that answers everything with `bytes`.
pub(crate) fn token_client(status: u16, bytes: &[u8]) -> Option<TokenClient> {
    let transport = answering(status, bytes);
    let (cloud, secret) = (Cloud::global(), Secret::new("secret"));
    let tenant = "contoso.example";
    TokenClient::client_secret(transport, &cloud, tenant, "client", secret, Arc::new(Fixed)).ok()
}

/// A clock that stands still, and no randomness.
#[derive(Debug)]
pub(crate) struct Fixed;

impl Environment for Fixed {
    fn now(&self) -> std::time::SystemTime {
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000)
    }

    fn fill(&self, bytes: &mut [u8]) -> m365_auth::Result<()> {
        bytes.fill(7);
        Ok(())
    }
}

/// One token for everyone.
#[derive(Debug)]
struct OneToken;

#[async_trait::async_trait]
impl TokenProvider for OneToken {
    async fn token(&self, _audience: &Audience) -> m365_auth::Result<AccessToken> {
        let expires = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_900_000_000);
        Ok(AccessToken::new(Secret::new("token"), expires))
    }

    async fn invalidate(&self, _audience: &Audience, _rejected: &AccessToken) {}
}

pub(crate) fn answering(status: u16, body: &[u8]) -> Arc<dyn Transport> {
    let body = Bytes::copy_from_slice(body);
    Arc::new(ServiceTransport::new(move |_: Request<Bytes>| {
        let body = body.clone();
        async move {
            let mut response = Response::new(stream::iter([Ok(body)]));
            *response.status_mut() =
                http::StatusCode::from_u16(status).map_err(std::io::Error::other)?;
            Ok(response)
        }
    }))
}

fn graph(status: u16, body: &[u8]) -> GraphClient {
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        ..GraphOptions::default()
    };
    let client = GraphClient::new(
        answering(status, body),
        Arc::new(OneToken),
        &Cloud::global(),
        options,
    );
    #[allow(clippy::unwrap_used, reason = "the global cloud is a constant")]
    client.unwrap()
}

/// Runs a future that waits for nothing but itself.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    #[allow(
        clippy::unwrap_used,
        reason = "without a runtime there is nothing to fuzz"
    )]
    runtime.unwrap().block_on(future)
}
