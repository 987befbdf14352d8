//! What the tests of this crate share: a scripted service, and a client that speaks to it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use m365_auth::{
    AccessToken, Audience, Cloud, Environment, RetryPolicy, Secret, ServiceTransport,
    TokenProvider, Transport,
};
use m365_graph::{GraphClient, GraphOptions};
use serde_json::Value;

/// A clock that stands, and random bytes that are all alike.
#[derive(Debug)]
pub struct Still;

impl Environment for Still {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_770)
    }

    fn fill(&self, bytes: &mut [u8]) -> m365_auth::Result<()> {
        bytes.fill(0);
        Ok(())
    }
}

/// One token for everybody.
#[derive(Debug)]
pub struct OneToken;

#[async_trait]
impl TokenProvider for OneToken {
    async fn token(&self, _: &Audience) -> m365_auth::Result<AccessToken> {
        Ok(AccessToken::new(
            Secret::new("canary-token"),
            Still.now() + Duration::from_secs(600),
        ))
    }

    async fn invalidate(&self, _: &Audience, _: &AccessToken) {}
}

/// One answer of the service.
pub enum Reply {
    /// A whole answer.
    Whole(Response<Bytes>),
    /// An answer that breaks off after its bytes.
    Cut(Response<Bytes>),
    /// No answer: the connection breaks.
    Broken,
}

pub fn json(status: u16, body: &Value) -> Reply {
    text(status, &body.to_string())
}

pub fn text(status: u16, body: &str) -> Reply {
    with(status, &[], body.as_bytes())
}

pub fn with(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    Reply::Whole(response.body(Bytes::copy_from_slice(body)).unwrap())
}

pub fn cut(reply: Reply) -> Reply {
    match reply {
        Reply::Whole(response) | Reply::Cut(response) => Reply::Cut(response),
        Reply::Broken => Reply::Broken,
    }
}

/// What a service saw.
pub type Seen = Arc<Mutex<Vec<Request<Bytes>>>>;

/// A client of a service that answers by `respond`.
pub fn client<F>(options: GraphOptions, respond: F) -> (GraphClient, Seen)
where
    F: Fn(&Request<Bytes>) -> Reply + Send + Sync + 'static,
{
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let transport = ServiceTransport::new(move |request: Request<Bytes>| {
        let reply = respond(&request);
        kept.lock().unwrap().push(request);
        async move {
            let broken = || io::Error::from(io::ErrorKind::ConnectionReset);
            let (response, end) = match reply {
                Reply::Whole(response) => (response, None),
                Reply::Cut(response) => (response, Some(Err(broken()))),
                Reply::Broken => return Err(broken()),
            };
            Ok(response.map(|body| stream::iter([Ok(body)]).chain(stream::iter(end))))
        }
    });
    (client_over(Arc::new(transport), options), seen)
}

/// A client that speaks through a transport of the test's own.
pub fn client_over(transport: Arc<dyn Transport>, options: GraphOptions) -> GraphClient {
    let cloud = Cloud::from_record(
        "test",
        "https://login.contoso.example",
        "https://graph.contoso.example",
        "https://ews.contoso.example/EWS/Exchange.asmx",
    );
    let options = GraphOptions {
        environment: Arc::new(Still),
        ..options
    };
    GraphClient::new(transport, Arc::new(OneToken), &cloud.unwrap(), options).unwrap()
}

/// A client that gives up at once, of a service that answers from a list.
pub fn scripted(replies: Vec<Reply>) -> (GraphClient, Seen) {
    let options = GraphOptions {
        retry: RetryPolicy::none(),
        ..GraphOptions::default()
    };
    scripted_with(options, replies)
}

pub fn scripted_with(options: GraphOptions, replies: Vec<Reply>) -> (GraphClient, Seen) {
    let replies = Mutex::new(VecDeque::from(replies));
    client(options, move |request| {
        let next = replies.lock().unwrap().pop_front();
        next.unwrap_or_else(|| panic!("nobody expects {} {}", request.method(), request.uri()))
    })
}

pub fn lines(seen: &Seen) -> Vec<String> {
    let seen = seen.lock().unwrap();
    let line = |request: &Request<Bytes>| {
        let path = request.uri().path_and_query().unwrap();
        format!("{} {path}", request.method())
    };
    seen.iter().map(line).collect()
}

pub fn header(seen: &Seen, number: usize, name: &str) -> Option<String> {
    let seen = seen.lock().unwrap();
    Some(
        seen[number]
            .headers()
            .get(name)?
            .to_str()
            .unwrap()
            .to_owned(),
    )
}

pub fn body(seen: &Seen, number: usize) -> Value {
    serde_json::from_slice(seen.lock().unwrap()[number].body()).unwrap()
}
