//! Server: one request in, one answer out, for the four services of a tenant.
//!
//! [`Tenant::handle`] finds the service by the host of the request and calls its `route` function
//! with a [`Call`](call::Call): the request with decoded path segments and query options. A route
//! function matches on `call.keys()` (lower-case segments without the version, `()` and
//! `microsoft.graph.`) and takes ids from `call.segment(n)`, which keep their letter case:
//!
//! ```text
//! match call.keys().as_slice() {
//!     ["drives", _, "root", "delta"] => { call.check(Method::GET, &["Files.Read.All"])?; … }
//!     _ => Err(Refusal::no_such_segment(call)),
//! }
//! ```
//!
//! Adding routes: Graph paths below `/drives` and `/users/{id}/drive` go to `drives.rs`, the second
//! origin to `content.rs`, EWS to `ews.rs`. Answers are built with [`answer`]: `json(200, &value)`,
//! `bytes(...)`, or `Err(Refusal::new(404, "itemNotFound", "…"))`, which becomes the service's error
//! body. Counting, faults, request ids and dates are added outside; names of routes for
//! the counters are derived from the path (see [`route_name`]), so that a new
//! keyword must be listed there.

pub(crate) mod answer;
pub(crate) mod call;
pub(crate) mod content;
mod directory;
pub(crate) mod drives;
pub(crate) mod ews;
mod graph;
mod login;
mod loopback;
mod mail;
pub(crate) mod route_name;

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};

use crate::tenant::Tenant;
use crate::tenant::ids;
use crate::tenant::urls::Door;

pub use answer::ByteStream;
pub use loopback::Server;

use answer::Answer;
use call::Call;

impl Tenant {
    /// Answers one request, whose URI or `Host` header names the service.
    ///
    /// *Errors*: only what a network would do: a connection that breaks by fault plan, or a host that
    /// does not exist (kind `NotFound`).
    ///
    /// *Cancel safety*: what a request changes, it changes before the future completes.
    pub async fn handle(&self, request: Request<Bytes>) -> io::Result<Response<ByteStream>> {
        let door = door_of(self, &request)?;
        self.handle_at(door, request).await
    }

    pub(crate) async fn handle_at(
        &self,
        door: Door,
        request: Request<Bytes>,
    ) -> io::Result<Response<ByteStream>> {
        let call = Call::new(self.clone(), door, request);
        let answer = answer(&call);
        self.lock().counters.add(door, &call.route);
        Ok(self.stamp(&call, answer))
    }

    /// Adds the headers that every answer has.
    fn stamp(&self, call: &Call, mut answer: Answer) -> Answer {
        let headers = answer.headers_mut();
        let mut put = |name: &'static str, text: &str| {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        };
        put("request-id", &call.request_id);
        if let Some(id) = call.header("client-request-id") {
            put("client-request-id", id);
        }
        put("date", &answer::http_date((self.lock().clock)()));
        if call.door == Door::Graph && !call.prefer.is_empty() {
            put("preference-applied", &call.prefer.applied());
        }
        answer
    }
}

/// Lets the service at the door answer; a refusal becomes an answer in the service's style.
fn answer(call: &Call) -> Answer {
    let outcome = match call.door {
        Door::Login => login::route(call),
        Door::Graph => graph::route(call),
        Door::Ews => ews::route(call),
        Door::Content if call.keys().first() == Some(&"mailupload") => {
            mail::attachments::session(call)
        }
        Door::Content => content::route(call),
    };
    outcome.unwrap_or_else(|refusal| refusal.into_answer(call))
}

fn door_of(tenant: &Tenant, request: &Request<Bytes>) -> io::Result<Door> {
    let from_header = || {
        let text = request.headers().get(header::HOST)?.to_str().ok()?;
        text.parse::<http::uri::Authority>().ok()
    };
    let authority = request.uri().authority().cloned().or_else(from_header);
    authority
        .and_then(|found| tenant.urls().door(found.host(), found.port_u16()))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such host in this tenant"))
}

/// Returns the id of the next request.
pub(crate) fn next_request_id(tenant: &Tenant) -> String {
    let mut state = tenant.lock();
    state.requests += 1;
    ids::guid(state.seed, "request", state.requests)
}

/// Turns a number from our own tables into a status.
pub(crate) fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
