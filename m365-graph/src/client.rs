//! The client: one door, one way to send a request, one way to read its answer.

mod call;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use m365_auth::{
    AuthorizedTransport, Body, Charge, Cloud, Environment, OriginPolicy, RetryPolicy,
    SystemEnvironment, TokenProvider, Transport,
};
use serde_json::Value;
use url::Url;

use crate::drive::{Drive, DriveClient};
use crate::entity::Entity;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Node;
use crate::mail::Mail;
use crate::page::{DeltaLink, PageLink};
use crate::signals::{ThrottleObserver, ThrottleSignals};

pub(crate) use call::{Answer, Call, Given, Read, Repeat, Segment, segment};

/// Sets how the client behaves.
#[derive(Debug, Clone)]
pub struct GraphOptions {
    /// How failed requests are sent again; [`RetryPolicy::none`] leaves that to the caller.
    pub retry: RetryPolicy,
    /// The `User-Agent`, in the form `NONISV|Company|Application/1.0` that Microsoft asks for.
    pub user_agent: String,
    /// How many messages a page should carry.
    pub message_page_size: u32,
    /// How many users, folders or drive items a page should carry.
    pub list_page_size: u32,
    /// The longest JSON answer that is read, in bytes.
    pub max_json_bytes: usize,
    /// The length of the pieces in which a file is uploaded, in bytes; a multiple of 327,680 and
    /// less than 60 MiB. Two pieces are held in memory at most.
    pub upload_fragment_bytes: usize,
    /// The clock and the source of random numbers.
    pub environment: Arc<dyn Environment>,
    /// The app and the tenant, as the two topmost nodes of a limiter name them: each request
    /// carries a [`Charge`], as [`limits`](crate::limits) says.
    pub limited_as: [String; 2],
    /// Who takes notice of what the services say of their limits.
    pub throttle_observer: Option<Arc<dyn ThrottleObserver>>,
}

impl GraphOptions {
    /// Passes on what an answer tells of limits.
    pub(crate) fn observe(&self, operation: &'static str, headers: &HeaderMap) {
        if let Some(observer) = &self.throttle_observer {
            let signals = ThrottleSignals::from_headers(headers, self.environment.now());
            if !signals.is_empty() {
                observer.observed(operation, &signals);
            }
        }
    }
}

impl Default for GraphOptions {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::standard(),
            user_agent: concat!("NONISV|m365-backup|m365-graph/", env!("CARGO_PKG_VERSION"))
                .to_owned(),
            message_page_size: 200,
            list_page_size: 200,
            max_json_bytes: 64 << 20,
            upload_fragment_bytes: 32 * UPLOAD_UNIT_BYTES,
            environment: Arc::new(SystemEnvironment),
            limited_as: ["app".to_owned(), "tenant".to_owned()],
            throttle_observer: None,
        }
    }
}

/// Speaks to Microsoft Graph for one application in one tenant.
///
/// Cheap to clone; clones share their connections.
#[derive(Clone)]
pub struct GraphClient(Arc<Inner>);

struct Inner {
    door: AuthorizedTransport,
    root: Url,
    dialect: Dialect,
    options: GraphOptions,
}

/// Says which service is spoken to, as far as each request shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Graph, whose mailboxes give ids that stay when they are asked for them.
    Graph,
    /// The REST of a SharePoint host, whose plainest JSON is asked for.
    SharePoint,
}

impl GraphClient {
    /// Prepares a client; nothing is sent yet. Tokens go to the Graph origin of `cloud` only.
    ///
    /// *Errors*: [`ErrorKind::InvalidRequest`] for options out of their limits;
    /// [`ErrorKind::Credential`] for a Graph address that is neither https nor on loopback.
    pub fn new(
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenProvider>,
        cloud: &Cloud,
        options: GraphOptions,
    ) -> Result<Self> {
        let policy = OriginPolicy::new([&cloud.graph])?;
        let door = AuthorizedTransport::new(transport, tokens, cloud.graph_audience(), policy);
        let mut root = cloud.graph.clone();
        root.set_query(None);
        root.set_fragment(None);
        let path = format!("{}/v1.0", root.path().trim_end_matches('/'));
        root.set_path(&path);
        Self::over(door, root, Dialect::Graph, options)
    }

    /// Prepares a client of whatever lies below `root`, behind a door of its own.
    pub(crate) fn over(
        door: AuthorizedTransport,
        root: Url,
        dialect: Dialect,
        options: GraphOptions,
    ) -> Result<Self> {
        let fragment = options.upload_fragment_bytes;
        if fragment == 0
            || !fragment.is_multiple_of(UPLOAD_UNIT_BYTES)
            || fragment >= UPLOAD_FRAGMENT_LIMIT_BYTES
        {
            let message = format!("the upload fragment of {fragment} bytes is out of its limits");
            return Err(Error::new(ErrorKind::InvalidRequest, message));
        }
        Ok(Self(Arc::new(Inner {
            door,
            root,
            dialect,
            options,
        })))
    }

    /// Returns the mail of a user, by id or principal name. Nothing is sent.
    pub fn mail(&self, user: &str) -> Mail {
        Mail::new(self.clone(), user)
    }

    /// Returns a drive by id. Nothing is sent.
    pub fn drive(&self, id: &str) -> DriveClient {
        DriveClient::new(self.clone(), id)
    }

    /// Charges one request to the directory, whatever it does: where such work is limited as one.
    pub fn directory_lane(&self) -> Charge {
        Node::directory().lane(&self.options().limited_as)
    }

    /// Reads the drive of a user.
    ///
    /// *Errors*: [`ErrorKind::NotFound`] when the user has none.
    pub async fn user_drive(&self, user: &str) -> Result<Entity<Drive>> {
        let call = self.get("the drive of the user", &[segment("users"), user.into()])?;
        self.entity(call.path(&[segment("drive")])?).await
    }

    /// Reads back a link to changes that was kept as text.
    ///
    /// *Errors*: [`ErrorKind::Malformed`] for a text that is no URL,
    /// [`ErrorKind::OriginRefused`] for one that points elsewhere.
    pub fn parse_delta_link(&self, text: &str) -> Result<DeltaLink> {
        self.check(text).map(DeltaLink::new)
    }

    /// Reads back a link to the next page of a list that was kept as text.
    ///
    /// *Errors*: as [`parse_delta_link`](Self::parse_delta_link).
    pub fn parse_page_link(&self, text: &str) -> Result<PageLink> {
        self.check(text).map(PageLink::new)
    }

    pub(crate) fn options(&self) -> &GraphOptions {
        &self.0.options
    }

    /// Checks a link of the service.
    pub(crate) fn check(&self, text: &str) -> Result<Url> {
        let url = Url::parse(text)
            .map_err(|_| Error::new(ErrorKind::Malformed, "a link is not a url"))?;
        self.0.door.check(&url)?;
        Ok(url)
    }

    /// Sends a call, reads one object.
    pub(crate) async fn entity<T: serde::de::DeserializeOwned>(
        &self,
        call: Call,
    ) -> Result<Entity<T>> {
        let about = call.about();
        Entity::from_raw(self.json(call).await?).map_err(|error| error.about(about))
    }

    /// Sends a call, reads JSON.
    pub(crate) async fn json(&self, call: Call) -> Result<Value> {
        Ok(self.execute(&call, Read::Json).await?.json)
    }

    /// Sends a call, hands on its body unread.
    pub(crate) async fn stream(&self, call: Call) -> Result<Answer> {
        self.execute(&call, Read::Stream).await
    }

    /// Sends a call, reads the text of its answer by `read`.
    pub(crate) async fn text<T>(
        &self,
        call: Call,
        read: impl Fn(&[u8]) -> Result<T> + Send + Sync,
    ) -> Result<T> {
        let mut attempt = 1;
        loop {
            let error = match call::text(self, &call).await.and_then(|text| read(&text)) {
                Ok(read) => return Ok(read),
                Err(error) => error,
            };
            self.wait_after(&call, attempt, error).await?;
            attempt += 1;
        }
    }

    /// Sends a call and reads its answer, again and again as the policy allows.
    pub(crate) async fn execute(&self, call: &Call, read: Read) -> Result<Answer> {
        let mut attempt = 1;
        loop {
            let error = match call::once(self, call, read).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.wait_after(call, attempt, error).await?;
            attempt += 1;
        }
    }

    /// Waits until a call may be sent again, or returns why it may not.
    async fn wait_after(&self, call: &Call, attempt: u32, error: Error) -> Result<()> {
        let repeatable = call.may_repeat(&error);
        let delay = if repeatable {
            self.delay(attempt, &error)
        } else {
            None
        };
        let Some(delay) = delay else {
            return Err(error);
        };
        tracing::debug!(
            attempt,
            kind = ?error.kind(),
            delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            "trying again"
        );
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Sends a call and reads its answer, once; the caller decides about another time.
    pub(crate) async fn execute_once(&self, call: &Call, read: Read) -> Result<Answer> {
        call::once(self, call, read).await
    }

    /// Returns the address of a call as parts of a batch are addressed.
    pub(crate) fn relative(&self, call: &Call) -> String {
        call.below(&self.0.root)
    }

    /// Asks the retry policy how long to wait after a failure that may pass.
    pub(crate) fn delay(&self, attempt: u32, error: &Error) -> Option<Duration> {
        if !error.is_retryable() {
            return None;
        }
        let mut random = [0; 8];
        // Without randomness the delay is only less spread.
        let random = match self.0.options.environment.fill(&mut random) {
            Ok(()) => u64::from_le_bytes(random),
            Err(_) => 0,
        };
        self.0
            .options
            .retry
            .next_delay(attempt, error.retry_after(), random)
    }
}

impl fmt::Debug for GraphClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GraphClient({})", m365_auth::redact::url(&self.0.root))
    }
}

/// Reads a body to its end, up to `limit` bytes, and forgets what is beyond.
pub(crate) async fn read_some(mut body: Body, limit: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < limit {
        match body.chunk().await {
            Some(Ok(chunk)) => {
                bytes.extend_from_slice(&chunk[..chunk.len().min(limit - bytes.len())]);
            }
            // What explains an error may be cut; the status is known already.
            Some(Err(_)) | None => break,
        }
    }
    bytes
}

/// Returns a header as text.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Fragments of an upload are multiples of this, in bytes (driveItem: createUploadSession, 2024).
pub(crate) const UPLOAD_UNIT_BYTES: usize = 327_680;
/// Fragments of an upload are smaller than this, in bytes (same page).
const UPLOAD_FRAGMENT_LIMIT_BYTES: usize = 60 << 20;
