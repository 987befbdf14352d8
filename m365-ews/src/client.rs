//! The client: one call, sent, tried again when that can help, taken apart.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue, Request, Response};
use m365_auth::{AuthorizedTransport, BasicCredential, Body, Cloud, OriginPolicy, RetryPolicy};
use m365_auth::{TokenProvider, Transport};
use url::Url;

use crate::envelope;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::charge;
use crate::operation::Operation;
use crate::types::{Folder, Parent};
use crate::xml::Limits;
use crate::{FindFolder, Found};

/// Sets how a client behaves.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct EwsOptions {
    /// When a failed call is sent again; switch it off where a scheduler decides.
    pub retry: RetryPolicy,
    /// What the client calls itself; tenants may filter by it.
    pub user_agent: String,
    /// The schema version to ask for.
    pub version: String,
    /// What an answer may cost at most.
    pub limits: Limits,
    /// The app and the tenant, as the two topmost nodes of a limiter name them: each call carries
    /// a [`Charge`](m365_auth::Charge), as [`limits`](crate::limits) says.
    pub limited_as: [String; 2],
}

impl Default for EwsOptions {
    fn default() -> Self {
        Self {
            retry: RetryPolicy::standard(),
            user_agent: concat!("m365-ews/", env!("CARGO_PKG_VERSION")).to_owned(),
            version: "Exchange2013_SP1".to_owned(),
            limits: Limits::default(),
            limited_as: ["app".to_owned(), "tenant".to_owned()],
        }
    }
}

/// Calls Exchange Web Services; cheap to clone.
#[derive(Debug, Clone)]
pub struct EwsClient {
    transport: AuthorizedTransport,
    endpoint: Url,
    options: Arc<EwsOptions>,
    impersonated: Option<String>,
    spread: Arc<AtomicU64>,
}

impl EwsClient {
    /// Creates a client for the EWS endpoint of a cloud.
    ///
    /// *Errors*: when the endpoint is no address that a token may go to.
    pub fn new(
        transport: Arc<dyn Transport>,
        tokens: Arc<dyn TokenProvider>,
        cloud: &Cloud,
        options: EwsOptions,
    ) -> Result<Self> {
        let policy = OriginPolicy::new([&cloud.ews])?;
        let transport = AuthorizedTransport::new(transport, tokens, cloud.ews_audience(), policy);
        Ok(Self::over(transport, cloud, options))
    }

    /// Creates a client for a server on premises that takes a name and a password; Exchange Online
    /// takes none.
    ///
    /// *Errors*: when the endpoint is not https: a password is sent with every call.
    pub fn with_password(
        transport: Arc<dyn Transport>,
        credential: BasicCredential,
        cloud: &Cloud,
        options: EwsOptions,
    ) -> Result<Self> {
        let policy = OriginPolicy::new([&cloud.ews])?;
        let transport = AuthorizedTransport::with_password(transport, credential, policy)?;
        Ok(Self::over(transport, cloud, options))
    }

    fn over(transport: AuthorizedTransport, cloud: &Cloud, options: EwsOptions) -> Self {
        Self {
            transport,
            endpoint: cloud.ews.clone(),
            options: Arc::new(options),
            impersonated: None,
            spread: Arc::default(),
        }
    }

    /// Returns a client that acts as the mailbox `address`, which application permission requires.
    ///
    /// Calls are also routed to that mailbox's server (`X-AnchorMailbox`).
    #[must_use]
    pub fn impersonating(&self, address: impl Into<String>) -> Self {
        Self {
            impersonated: Some(address.into()),
            ..self.clone()
        }
    }

    /// Sends an operation and returns one outcome for each response message, in their order.
    ///
    /// *Errors*: what concerns the whole call; what concerns one part of it is in its outcome.
    ///
    /// *Cancel safety*: dropping the future abandons the call; the service may have seen it.
    pub async fn call<O: Operation>(&self, operation: &O) -> Result<Vec<Result<O::Answer>>> {
        let document = Bytes::from(envelope::request(
            operation,
            &self.options.version,
            self.impersonated.as_deref(),
        ));
        let mut attempt = 1;
        loop {
            let error = match self.once::<O>(document.clone()).await {
                Ok(outcomes) => match busy(outcomes) {
                    Ok(outcomes) => return Ok(outcomes),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let step = self.spread.fetch_add(1, Ordering::Relaxed) + 1;
            let random = step.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            // A hint of zero is what an overloaded server says when it has none to give.
            let hint = error.retry_after().filter(|hint| !hint.is_zero());
            let wait = if error.is_retryable() {
                self.options.retry.next_delay(attempt, hint, random)
            } else {
                None
            };
            let Some(wait) = wait else { return Err(error) };
            tracing::debug!(
                attempt,
                ?wait,
                code = error.code(),
                "ews call is sent again"
            );
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// Returns the folders directly in a folder, all pages of them.
    ///
    /// *Errors*: as [`call`](Self::call).
    pub async fn folders_in(&self, parent: &Parent) -> Result<Vec<Folder>> {
        let mut folders = Vec::new();
        let mut offset = 0;
        loop {
            let operation = FindFolder::new(parent.clone()).from_offset(offset);
            let Found { entries, paging } = self.one(&operation).await?;
            folders.extend(entries);
            match paging.next {
                Some(next) if next > offset => offset = next,
                _ => return Ok(folders),
            }
        }
    }

    /// Sends an operation that has a single response message.
    ///
    /// *Errors*: as [`call`](Self::call), and those of the message.
    pub async fn one<O: Operation>(&self, operation: &O) -> Result<O::Answer> {
        let first = self.call(operation).await?.into_iter().next();
        first.unwrap_or_else(|| Err(Error::malformed("the answer holds no response message")))
    }

    async fn once<O: Operation>(&self, document: Bytes) -> Result<Vec<Result<O::Answer>>> {
        let mailbox = self.impersonated.as_deref();
        let charge = charge(&self.options.limited_as, mailbox, O::NAME, document.len());
        let mut request = Request::post(self.endpoint.as_str())
            .extension(charge)
            .header("content-type", "text/xml; charset=utf-8")
            .header("accept", "text/xml")
            .header("user-agent", &self.options.user_agent);
        if let Some(address) = &self.impersonated {
            let value = HeaderValue::from_str(address).map_err(|cause| {
                Error::new(ErrorKind::InvalidRequest, "the address is no header value")
                    .with_source(cause)
            })?;
            request = request.header("x-anchormailbox", value);
        }
        let request = request.body(Body::from(document)).map_err(|cause| {
            Error::new(ErrorKind::InvalidRequest, "the request cannot be built").with_source(cause)
        })?;
        let response = self.transport.send(request).await?;
        let (status, id, wait) = head_of(&response);
        let offered = offered(response.headers());
        let document = response
            .into_body()
            .collect(self.options.limits.document)
            .await?;
        let is_soap = status == 200 || status == 500 && looks_like_xml(&document);
        if !is_soap {
            let error = refused(status, &document, &offered).with_retry_after(wait);
            return Err(error.with_request_id(id.as_deref()));
        }
        envelope::response::<O>(&document, self.options.limits).map_err(|error| {
            // What a 500 says that is no fault is the server's failure, not a misunderstanding.
            let error = match (status, error.kind()) {
                (500, ErrorKind::Malformed) => error.with_kind(ErrorKind::Service),
                _ => error,
            };
            error
                .with_status(status)
                .with_retry_after(wait)
                .with_request_id(id.as_deref())
        })
    }
}

/// Turns an answer in which everything was refused for now into one error.
fn busy<T>(outcomes: Vec<Result<T>>) -> Result<Vec<Result<T>>> {
    let all_busy = !outcomes.is_empty()
        && outcomes
            .iter()
            .all(|outcome| outcome.as_ref().is_err_and(Error::is_retryable));
    match all_busy {
        true => outcomes
            .into_iter()
            .next()
            .map_or(Ok(Vec::new()), |first| first.map(|_| Vec::new())),
        false => Ok(outcomes),
    }
}

fn head_of(response: &Response<Body>) -> (u16, Option<String>, Option<Duration>) {
    let text = |name| {
        response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let wait = text("retry-after").and_then(|text| text.trim().parse().ok());
    (
        response.status().as_u16(),
        text("request-id").map(str::to_owned),
        wait.map(Duration::from_secs),
    )
}

fn looks_like_xml(document: &[u8]) -> bool {
    let text = document.strip_prefix(b"\xef\xbb\xbf").unwrap_or(document);
    text.trim_ascii_start().starts_with(b"<") && memchr_envelope(text)
}

fn memchr_envelope(text: &[u8]) -> bool {
    text.windows(8)
        .take(4096)
        .any(|window| window == b"Envelope")
}

/// Returns the ways to sign in that a server offers, in its own words.
fn offered(headers: &HeaderMap) -> Vec<&'static str> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter();
    let texts: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let starts = |name: &str| {
        let said = |text: &&str| {
            text.get(..name.len())
                .is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        texts
            .iter()
            .any(|text| text.split(',').map(str::trim).any(|part| said(&part)))
    };
    WAYS.into_iter().filter(|name| starts(name)).collect()
}

/// Makes an error of an answer that is no SOAP.
fn refused(status: u16, document: &[u8], offered: &[&str]) -> Error {
    let body = String::from_utf8_lossy(&document[..document.len().min(4096)]).to_lowercase();
    let turned_off = ["disabled", "turned off", "not enabled", "blocked"]
        .iter()
        .any(|word| body.contains(word));
    let sign_in = match offered {
        [] => "the sign-in was refused".to_owned(),
        ways => format!(
            "the sign-in was refused; the server offers {}",
            ways.join(", ")
        ),
    };
    let (kind, message) = match status {
        401 => (ErrorKind::Unauthorized, sign_in.as_str()),
        403 if turned_off && (body.contains("ews") || body.contains("exchange web services")) => (
            ErrorKind::Disabled,
            "exchange web services are turned off for this tenant or this app; \
             an administrator must enable them and list the app",
        ),
        403 => (
            ErrorKind::Forbidden,
            "the app may not use exchange web services here",
        ),
        404 => (
            ErrorKind::NotFound,
            "there are no exchange web services at this address",
        ),
        413 => (
            ErrorKind::TooLarge,
            "the request is too large for the service",
        ),
        429 | 503 => (ErrorKind::Throttled, "the service asks to come back later"),
        500..=599 => (ErrorKind::Service, "the service failed"),
        _ => (ErrorKind::InvalidRequest, "the service refused the request"),
    };
    Error::new(kind, message).with_status(status)
}

/// Ways to sign in that servers are known to offer.
const WAYS: [&str; 5] = ["Basic", "Bearer", "Digest", "Negotiate", "NTLM"];
