//! Metadata: a tenant of any size whose answers are made on demand and hold no content, so that what
//! is measured is the engine: pages read, decided about, journalled, put into trees and totals.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use backup_engine::source::{Feed, Fetched, Found, Owner, OwnerPage, Page, SeenItem};
use backup_engine::{Error, ErrorKind, OutlookSource, Result, Selection, Source};
use backup_store::Gatherer;
use backup_store::catalog::{Container, Cursor, RepresentationKind, Resource, Service};
use bytes::Bytes;
use futures_util::stream;
use http::{Response, StatusCode};
use m365_auth::{Charge, ServiceTransport, SharedLimiter, Transport};

/// What a tenant holds: for each user, how many messages lie in the inbox.
#[derive(Debug)]
pub(crate) struct Sizes(pub(crate) Vec<u64>);

/// What answering has cost, which is not the engine's.
#[derive(Debug, Default)]
pub(crate) struct Answering {
    pub(crate) requests: AtomicU64,
    pub(crate) nanoseconds: AtomicU64,
}

pub(crate) const HOST: &str = "https://graph.example/";
const USERS_A_PAGE: usize = 200;
const MESSAGES_A_PAGE: u64 = 200;

thread_local! {
    /// Opened once: to open it for every answer costs more than the answer.
    static SPENT: Option<File> = File::open("/proc/thread-self/schedstat").ok();
}

/// Returns the CPU time of this thread in nanoseconds; 0 where the system does not say.
pub(crate) fn cpu_nanoseconds() -> u64 {
    let mut text = [0; 64];
    let read = |mut file: &File| {
        file.rewind().ok()?;
        file.read(&mut text).ok()
    };
    let length = SPENT.with(|file| file.as_ref().and_then(read)).unwrap_or(0);
    let digits = text[..length]
        .iter()
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0'))
}

/// A transport to the tenant, with a latency.
pub(crate) fn transport(
    sizes: &Arc<Sizes>,
    answering: &Arc<Answering>,
    latency: Duration,
) -> Arc<dyn Transport> {
    let (sizes, answering) = (Arc::clone(sizes), Arc::clone(answering));
    Arc::new(ServiceTransport::new(
        move |request: http::Request<Bytes>| {
            let (sizes, answering) = (Arc::clone(&sizes), Arc::clone(&answering));
            async move {
                tokio::time::sleep(latency).await;
                let before = cpu_nanoseconds();
                let (status, body) = answer(&sizes, request.uri());
                let spent = cpu_nanoseconds().saturating_sub(before);
                answering.nanoseconds.fetch_add(spent, Ordering::Relaxed);
                answering.requests.fetch_add(1, Ordering::Relaxed);
                let body = stream::iter([Ok(Bytes::from(body))]);
                let mut response = Response::new(body);
                *response.status_mut() = status;
                Ok::<_, std::io::Error>(response)
            }
        },
    ))
}

fn answer(sizes: &Sizes, uri: &http::Uri) -> (StatusCode, String) {
    let path: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
    let mark = |name: &str| -> Option<u64> {
        let query = uri.query()?;
        let found = query.split('&').find_map(|pair| pair.strip_prefix(name))?;
        found.parse().ok()
    };
    let below = path.get(1..).unwrap_or_default();
    let body = match below {
        ["oauth2", ..] => {
            r#"{"token_type":"Bearer","expires_in":86399,"access_token":"generated"}"#.to_owned()
        }
        ["users"] => users(sizes, mark("skip=").unwrap_or(0)),
        ["users", _, "mailboxSettings"] => r#"{"userPurpose":"user"}"#.to_owned(),
        ["users", user, "mailFolders", "delta"] => folders(sizes, user, mark("seen=").is_some()),
        ["users", user, "mailFolders", "inbox"] => folder(sizes, user),
        ["users", user, "mailFolders", _, "messages", "delta"] => {
            messages(sizes, user, mark("from=").unwrap_or(0))
        }
        _ => {
            let refusal = r#"{"error":{"code":"ErrorItemNotFound","message":"not there"}}"#;
            return (StatusCode::NOT_FOUND, refusal.to_owned());
        }
    };
    (StatusCode::OK, body)
}

fn number(user: &str) -> usize {
    user.trim_start_matches("user-").parse().unwrap_or(0)
}

fn users(sizes: &Sizes, skip: u64) -> String {
    let skip = usize::try_from(skip).unwrap_or(0);
    let end = sizes.0.len().min(skip + USERS_A_PAGE);
    let user = |number: usize| {
        let name = format!(r#""userPrincipalName":"user{number}@contoso.example""#);
        format!(r#"{{"id":"user-{number}",{name},"displayName":"User {number}"}}"#)
    };
    let value: Vec<String> = (skip..end).map(user).collect();
    let next = match end < sizes.0.len() {
        true => format!(r#""@odata.nextLink":"{HOST}v1.0/users?skip={end}","#),
        false => String::new(),
    };
    format!(r#"{{{next}"value":[{}]}}"#, value.join(","))
}

fn folder(sizes: &Sizes, user: &str) -> String {
    let items = sizes.0.get(number(user)).copied().unwrap_or(0);
    format!(r#"{{"id":"inbox-of-{user}","displayName":"Inbox","totalItemCount":{items}}}"#)
}

fn folders(sizes: &Sizes, user: &str, seen: bool) -> String {
    let value = if seen {
        String::new()
    } else {
        folder(sizes, user)
    };
    format!(
        r#"{{"value":[{value}],"@odata.deltaLink":"{HOST}v1.0/users/{user}/mailFolders/delta?seen=1"}}"#
    )
}

fn messages(sizes: &Sizes, user: &str, from: u64) -> String {
    let items = sizes.0.get(number(user)).copied().unwrap_or(0);
    let end = items.min(from + MESSAGES_A_PAGE);
    let mut out = String::with_capacity(2_000 * 200);
    let link = if end < items { "next" } else { "delta" };
    let path = format!("v1.0/users/{user}/mailFolders/inbox-of-{user}/messages/delta?from={end}");
    let _ = write!(out, r#"{{"@odata.{link}Link":"{HOST}{path}","value":["#);
    for item in from..end {
        if item > from {
            out.push(',');
        }
        message(&mut out, user, item);
    }
    out.push_str("]}");
    out
}

/// A message as the service shows it in a page, with ids of the lengths that it uses.
fn message(out: &mut String, user: &str, item: u64) {
    let id = format!(
        "AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0A{user}-{item:0>16}{:A>80}",
        ""
    );
    let (minute, second) = (item / 60 % 60, item % 60);
    let time = format!(
        "2026-10-{:0>2}T{:0>2}:{minute:0>2}:{second:0>2}Z",
        1 + item / 86_400 % 28,
        item / 3_600 % 24
    );
    let person = |number: u64| {
        format!(
            r#"{{"emailAddress":{{"name":"Person {number}","address":"person{number}@fabrikam.example"}}}}"#
        )
    };
    let from = person(item % 97);
    let (to, cc) = (person(item % 89), person(item % 83));
    let key = format!("CQAAABYAAAB{item:0>20}");
    let mut put = |text: std::fmt::Arguments<'_>| {
        let _ = out.write_fmt(text);
    };
    put(format_args!(
        r#"{{"@odata.etag":"W/\"{key}\"","id":"{id}","changeKey":"{key}","#
    ));
    put(format_args!(
        r#""createdDateTime":"{time}","lastModifiedDateTime":"{time}","#
    ));
    put(format_args!(
        r#""receivedDateTime":"{time}","sentDateTime":"{time}","categories":[],"#
    ));
    put(format_args!(
        r#""internetMessageId":"<{item:0>24}.{user}@mail.contoso.example>","#
    ));
    put(format_args!(
        r#""subject":"About matter {item} of {user}","importance":"normal","#
    ));
    put(format_args!(
        r#""parentFolderId":"inbox-of-{user}","hasAttachments":false,"#
    ));
    put(format_args!(r#""conversationId":"AAQkAD{item:0>40}","#));
    put(format_args!(r#""conversationIndex":"AQHb{item:0>24}","#));
    put(format_args!(
        r#""isDeliveryReceiptRequested":null,"isReadReceiptRequested":false,"#
    ));
    put(format_args!(
        r#""isRead":true,"isDraft":false,"inferenceClassification":"focused","#
    ));
    put(format_args!(
        r#""sender":{from},"from":{from},"toRecipients":[{to},{cc}],"#
    ));
    put(format_args!(
        r#""ccRecipients":[{cc}],"bccRecipients":[],"replyTo":[],"#
    ));
    put(format_args!(r#""flag":{{"flagStatus":"notFlagged"}}}}"#));
}

/// A mail source whose content is left out: each message costs its request and its time all the same.
#[derive(Debug)]
pub(crate) struct WithoutContent {
    pub(crate) mail: OutlookSource,
    pub(crate) limiter: SharedLimiter,
    pub(crate) latency: Duration,
    pub(crate) answering: Arc<Answering>,
}

#[async_trait]
impl Source for WithoutContent {
    fn service(&self) -> Service {
        self.mail.service()
    }

    fn charge(&self, service_id: &str) -> Charge {
        self.mail.charge(service_id)
    }

    fn charge_of_owners(&self) -> Charge {
        self.mail.charge_of_owners()
    }

    async fn owners(&self, selection: &Selection, from: Option<&Cursor>) -> Result<OwnerPage> {
        self.mail.owners(selection, from).await
    }

    async fn resource(&self, owner: &Owner) -> Result<Found> {
        self.mail.resource(owner).await
    }

    fn feeds(&self, resource: &Resource, containers: &[&Container]) -> Vec<Feed> {
        self.mail.feeds(resource, containers)
    }

    fn well_known(&self) -> &'static [&'static str] {
        self.mail.well_known()
    }

    async fn find_well_known(&self, resource: &Resource, name: &str) -> Result<Option<String>> {
        self.mail.find_well_known(resource, name).await
    }

    async fn page(
        &self,
        resource: &Resource,
        feed: &Feed,
        cursor: Option<&Cursor>,
    ) -> Result<Page> {
        self.mail.page(resource, feed, cursor).await
    }

    fn content_form(&self) -> RepresentationKind {
        self.mail.content_form()
    }

    async fn fetch(
        &self,
        resource: &Resource,
        items: &[SeenItem],
        _into: &Gatherer,
    ) -> Vec<Result<Fetched>> {
        let charge = self.mail.charge(&resource.service_id);
        let Ok(_permit) = self.limiter.try_acquire(&charge) else {
            let refused = |_| Err(Error::new(ErrorKind::NotAdmitted, "a limit"));
            return items.iter().map(refused).collect();
        };
        tokio::time::sleep(self.latency).await;
        self.answering.requests.fetch_add(1, Ordering::Relaxed);
        let nothing = |_| {
            Ok(Fetched::Stored {
                representations: Vec::new(),
                newer: None,
            })
        };
        items.iter().map(nothing).collect()
    }

    async fn locate(&self, resource: &Resource, item_id: &str) -> Result<Option<SeenItem>> {
        self.mail.locate(resource, item_id).await
    }

    async fn has_container(&self, resource: &Resource, container_id: &str) -> Result<bool> {
        self.mail.has_container(resource, container_id).await
    }
}
