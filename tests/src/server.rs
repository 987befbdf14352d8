//! Server: one request in, one answer out, for the five services of a tenant.
//!
//! [`Tenant::handle`] finds the service by the host of the request and calls its `route` function
//! with a `Call`: the request with decoded path segments and query options. A route
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
//! origin to `content.rs`, EWS to `ews.rs`. Answers are built with the functions of `answer.rs`:
//! `json(200, &value)`, `bytes(...)`, or `Err(Refusal::new(404, "itemNotFound", "…"))`, which
//! becomes the error body of the service. Counting, faults, request ids and dates are added
//! outside; names of routes for the counters are derived from the path (`route_name.rs`), so a new
//! keyword must be listed there.

pub(crate) mod answer;
mod batch;
pub(crate) mod call;
mod collections;
#[cfg(feature = "serve")]
mod connect;
pub(crate) mod content;
mod directory;
pub(crate) mod drives;
pub(crate) mod ews;
mod exchange;
mod graph;
mod limits;
mod login;
mod loopback;
pub(crate) mod mail;
mod permissions;
pub(crate) mod route_name;
mod sharepoint;
mod subscriptions;
mod teams;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(feature = "serve")]
pub mod tls;

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};

use crate::fault::{self, Fault};
use crate::tenant::Tenant;
use crate::tenant::ids;
use crate::tenant::urls::Door;

pub use answer::ByteStream;
pub use loopback::Server;

use answer::{Answer, Refusal};
use call::Call;

/// One operation with the permissions of which one opens it: for apps, then for persons.
pub type Right = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

/// Lists the operations of Graph whose permissions are checked.
pub fn permission_table() -> impl Iterator<Item = Right> {
    permissions::table()
}

impl Tenant {
    /// Answers one request, whose URI or `Host` header names the service.
    ///
    /// *Errors*: only what a network would do: a connection that breaks by fault plan, or a host
    /// that does not exist (kind `NotFound`).
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
        let mut call = Call::new(self.clone(), door, request);
        let fault = self.strike(&call);
        if fault == Some(Fault::IgnoredRange) {
            call.headers.remove(header::RANGE);
        }
        let _place = Place::take(&call);
        if let Some(Fault::Slow(wait)) = &fault {
            tokio::time::sleep(*wait).await;
        }
        let answer = served(&call, fault.as_ref())?;
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

/// Requests to one mailbox that may be under way at once.
/// *Source*: Microsoft Graph, service-specific throttling limits.
const MAILBOX_CONCURRENCY: u32 = 4;

/// The place that a request takes among those to its mailbox; given back when it is dropped.
struct Place {
    tenant: Tenant,
    user: Option<String>,
}

impl Place {
    fn take(call: &Call) -> Self {
        let user = is_mail(call).then(|| call.segment(1).to_string());
        let place = Self {
            tenant: call.tenant.clone(),
            user,
        };
        place.count(|under_way| under_way.saturating_add(1));
        place
    }

    /// Tells whether more requests to the mailbox of `call` are under way than the service allows.
    fn is_over(call: &Call) -> bool {
        let state = call.tenant.lock();
        let user = state.user(call.segment(1)).filter(|_| is_mail(call));
        user.and_then(|user| user.mailbox.as_ref())
            .is_some_and(|mailbox| mailbox.in_flight > MAILBOX_CONCURRENCY)
    }

    fn count(&self, next: impl FnOnce(u32) -> u32) {
        let Some(user) = &self.user else { return };
        let mut state = self.tenant.lock();
        if let Some(mailbox) = state.user_mut(user).and_then(|user| user.mailbox.as_mut()) {
            mailbox.in_flight = next(mailbox.in_flight);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.count(|under_way| under_way.saturating_sub(1));
    }
}

fn is_mail(call: &Call) -> bool {
    let below_user = ["users", "mailfolders", "messages"];
    let keys = call.keys();
    call.door == Door::Graph
        && keys.len() > 2
        && keys[0] == below_user[0]
        && below_user[1..].contains(&keys[2])
}

/// Answers a call at once, as fault plan and limits allow; a part of a batch comes here as well.
fn respond(call: &Call) -> io::Result<Answer> {
    let fault = call.tenant.strike(call);
    let _place = Place::take(call);
    served(call, fault.as_ref())
}

fn served(call: &Call, fault: Option<&Fault>) -> io::Result<Answer> {
    let answer = match fault.and_then(|fault| fault::instead(call, fault)) {
        Some(answer) => answer?,
        None => fault::afterwards(fault, answer(call))?,
    };
    call.tenant.lock().counters.add(call.door, &call.route);
    Ok(answer)
}

/// Lets the service at the door answer; a refusal becomes an answer in the service's style.
fn answer(call: &Call) -> Answer {
    if Place::is_over(call) {
        let text = "Application is over its MailboxConcurrency limit.";
        return Refusal::new(429, "ApplicationThrottled", text)
            .with_header("retry-after", "1")
            .into_answer(call);
    }
    let signals = match limits::admit(call) {
        Ok(signals) => signals,
        Err(refusal) => return refusal.into_answer(call),
    };
    let outcome = match call.door {
        Door::Login => login::route(call),
        Door::Graph => graph::route(call),
        Door::Ews => ews::route(call),
        Door::Content if call.keys().first() == Some(&"mailupload") => {
            mail::attachments::session(call)
        }
        Door::Content if call.keys().first() == Some(&"api") => exchange::import(call),
        Door::Content => content::route(call),
        Door::SharePoint => sharepoint::route(call),
    };
    let mut answer = outcome.unwrap_or_else(|refusal| refusal.into_answer(call));
    signals.put_on(&mut answer);
    answer
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
