//! Managed identity: tokens from the machine or the platform on which the program runs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use http::{HeaderValue, Request};
use serde::{Deserialize, Deserializer};
use url::Url;

use super::{AccessToken, Audience, IdentityError, TokenProvider};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::transport::{Body, Transport, trace};

/// Says where the platform gives tokens; the caller knows it, for example from the environment.
#[derive(Clone)]
#[non_exhaustive]
pub enum ManagedIdentityEndpoint {
    /// A virtual machine (IMDS), at its fixed address.
    VirtualMachine,
    /// A service that speaks like a virtual machine at another address.
    LikeVirtualMachine(Url),
    /// App Service, Functions, Container Apps.
    AppService {
        /// What stands in `IDENTITY_ENDPOINT`.
        url: Url,
        /// What stands in `IDENTITY_HEADER`.
        header: Secret,
    },
}

/// Names which of the machine's identities is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManagedIdentityName {
    /// The one that belongs to the machine itself.
    #[default]
    SystemAssigned,
    /// The one whose application has this id.
    ClientId(String),
    /// The one whose principal has this id.
    ObjectId(String),
    /// The one that is this resource of Azure.
    ResourceId(String),
}

/// Asks the platform for tokens; no secret is stored anywhere.
///
/// Every call is one request; [`CachedTokenProvider`](super::CachedTokenProvider) keeps the tokens.
/// The transport must not go through a proxy: the address is the machine's own.
pub struct ManagedIdentity {
    transport: Arc<dyn Transport>,
    endpoint: ManagedIdentityEndpoint,
    name: ManagedIdentityName,
    environment: Arc<dyn Environment>,
}

/// *Source*: the page on tokens of virtual machines (03ffb81, 2025-02): numbers come as strings.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    #[serde(default, deserialize_with = "number")]
    expires_in: Option<u64>,
    #[serde(default, deserialize_with = "number")]
    expires_on: Option<u64>,
}

impl ManagedIdentity {
    /// Joins a transport without proxy, the platform's address, and the identity that is meant.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for an address with userinfo, or one that is neither
    /// https, nor on loopback, nor link-local.
    pub fn new(
        transport: Arc<dyn Transport>,
        endpoint: ManagedIdentityEndpoint,
        name: ManagedIdentityName,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        let url = match &endpoint {
            ManagedIdentityEndpoint::VirtualMachine => None,
            ManagedIdentityEndpoint::LikeVirtualMachine(url)
            | ManagedIdentityEndpoint::AppService { url, .. } => Some(url),
        };
        if url.is_some_and(|url| !is_near(url)) {
            let message = "the address of the managed identity is not one of this machine";
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(Self {
            transport,
            endpoint,
            name,
            environment,
        })
    }

    fn request(&self, audience: &Audience) -> Result<Request<Body>> {
        let (address, version, header, value) = match &self.endpoint {
            ManagedIdentityEndpoint::VirtualMachine => {
                (MACHINE_ADDRESS, MACHINE_VERSION, "metadata", "true")
            }
            ManagedIdentityEndpoint::LikeVirtualMachine(url) => {
                (url.as_str(), MACHINE_VERSION, "metadata", "true")
            }
            ManagedIdentityEndpoint::AppService { url, header } => (
                url.as_str(),
                SERVICE_VERSION,
                "x-identity-header",
                header.expose(),
            ),
        };
        let unusable = || {
            Error::new(
                ErrorKind::Configuration,
                "the managed identity cannot be asked",
            )
        };
        let mut url = Url::parse(address).map_err(|_| unusable())?;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("api-version", version)
                .append_pair("resource", audience.as_str());
            match &self.name {
                ManagedIdentityName::SystemAssigned => {}
                ManagedIdentityName::ClientId(id) => drop(query.append_pair("client_id", id)),
                ManagedIdentityName::ObjectId(id) => {
                    let name = self.own_name("object_id", "principal_id");
                    query.append_pair(name, id);
                }
                ManagedIdentityName::ResourceId(id) => {
                    let name = self.own_name("msi_res_id", "mi_res_id");
                    query.append_pair(name, id);
                }
            }
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| unusable())?;
        value.set_sensitive(true);
        Request::get(url.as_str())
            .header(header, value)
            .body(Body::empty())
            .map_err(|_| unusable())
    }

    /// Picks a parameter's name: the two kinds of endpoint differ.
    fn own_name(&self, machine: &'static str, service: &'static str) -> &'static str {
        match self.endpoint {
            ManagedIdentityEndpoint::AppService { .. } => service,
            _ => machine,
        }
    }
}

#[async_trait]
impl TokenProvider for ManagedIdentity {
    /// *Errors*: [`ErrorKind::CredentialRefused`] when there is no such identity;
    /// [`ErrorKind::Service`] and [`ErrorKind::Throttled`] for what passes.
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        let asked_at = self.environment.now();
        let request = self.request(audience)?;
        let (head, body) = trace::send(&*self.transport, request).await?.into_parts();
        let bytes = body.collect(MAX_ANSWER_BYTES).await?;
        if !head.status.is_success() {
            return Err(refused(head.status, &bytes));
        }
        // The cause may repeat the token: not passed on.
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| {
            let message = "the answer of the managed identity is not a token";
            Error::new(ErrorKind::Malformed, message)
        })?;
        let lifetime = answer.expires_in.map(Duration::from_secs);
        let end = answer
            .expires_on
            .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        Ok(AccessToken::new(
            Secret::new(answer.access_token),
            expiry(asked_at, lifetime, end),
        ))
    }

    async fn invalidate(&self, _audience: &Audience, _rejected: &AccessToken) {
        // The platform keeps tokens itself, and has no way to be told.
    }
}

fn expiry(asked_at: SystemTime, lifetime: Option<Duration>, end: Option<SystemTime>) -> SystemTime {
    let latest = asked_at + LONGEST_LIFETIME;
    match (lifetime, end) {
        (Some(lifetime), _) => asked_at + lifetime.min(LONGEST_LIFETIME),
        (None, Some(end)) => end.min(latest),
        (None, None) => asked_at + UNSTATED_LIFETIME,
    }
}

fn refused(status: http::StatusCode, body: &[u8]) -> Error {
    // 404 and 410 are how a virtual machine says that its service is being updated.
    let (kind, cause) = match status.as_u16() {
        429 => (ErrorKind::Throttled, "it asks to come back later"),
        404 | 410 => (ErrorKind::Service, "it is not ready"),
        500..=599 => (ErrorKind::Service, "it failed"),
        300..=399 => (ErrorKind::Malformed, "it answered with a redirect"),
        _ => (
            ErrorKind::CredentialRefused,
            "there is no such identity here",
        ),
    };
    let message = format!("no token of the managed identity: {cause} (status {status})");
    let error = Error::new(kind, message);
    let error = match kind {
        ErrorKind::CredentialRefused => {
            error.with_next_step("assign the identity to this machine, and check its id")
        }
        ErrorKind::Malformed => error.with_next_step("reach the address without a proxy"),
        _ => error.with_next_step("wait a minute and try again"),
    };
    match serde_json::from_slice::<IdentityError>(body) {
        Ok(answer) => error.with_source(answer),
        Err(_) => error,
    }
}

/// Reads a number that may be written as a string.
fn number<'de, D: Deserializer<'de>>(input: D) -> std::result::Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    Ok(match Option::<Written>::deserialize(input)? {
        Some(Written::Number(number)) => Some(number),
        Some(Written::Text(text)) => text.trim().parse().ok(),
        None => None,
    })
}

/// Tells whether an address may be trusted with the machine's own identity.
fn is_near(url: &Url) -> bool {
    if !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(url::Host::Ipv4(address))) => {
            address.is_loopback() || address.is_link_local()
        }
        ("http", Some(url::Host::Ipv6(address))) => address.is_loopback(),
        ("http", Some(url::Host::Domain(name))) => name == "localhost",
        _ => false,
    }
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedIdentity")
            .field("endpoint", &self.endpoint)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ManagedIdentityEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VirtualMachine => "VirtualMachine",
            Self::LikeVirtualMachine(_) => "LikeVirtualMachine(..)",
            Self::AppService { .. } => "AppService(..)",
        })
    }
}

const MACHINE_ADDRESS: &str = "http://169.254.169.254/metadata/identity/oauth2/token";
const MACHINE_VERSION: &str = "2018-02-01";
const SERVICE_VERSION: &str = "2019-08-01";
/// The longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// What is assumed when the platform does not say how long a token lives.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(600);
/// Longer lifetimes are cut to this; documented are 24 hours.
const LONGEST_LIFETIME: Duration = Duration::from_secs(48 * 3_600);
