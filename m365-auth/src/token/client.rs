//! Token client: asks the identity platform for tokens by client credentials.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use oauth2::basic::{
    BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenResponse,
};
use oauth2::{
    AsyncHttpClient, AuthType, ClientId, ClientSecret, HttpRequest, HttpResponse,
    RequestTokenError, Scope, StandardRevocableToken, TokenResponse, TokenUrl,
};
use url::Url;

use super::{AccessToken, Audience, IdentityError, TokenProvider};
use crate::cloud::Cloud;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::origin::OriginPolicy;
use crate::secret::Secret;
use crate::transport::{Body, Transport, trace};

type Client = oauth2::Client<
    IdentityError,
    BasicTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// Asks the token endpoint of one tenant for tokens of one application.
///
/// Every call is one request; [`CachedTokenProvider`](super::CachedTokenProvider) keeps the tokens.
pub struct TokenClient {
    transport: Arc<dyn Transport>,
    environment: Arc<dyn Environment>,
    endpoint: Url,
    tenant: String,
    client_id: String,
    secret: Secret,
}

impl TokenClient {
    /// Prepares sign-in by client secret; nothing is sent yet.
    ///
    /// `tenant` is the tenant's id or one of its domains.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] when tenant, client id or secret is empty, the tenant
    /// is one of the common endpoints, or the authority is neither https nor on loopback.
    pub fn client_secret(
        transport: Arc<dyn Transport>,
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        secret: Secret,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        for (name, value) in [
            ("tenant", tenant),
            ("client id", client_id),
            ("client secret", secret.expose()),
        ] {
            if value.trim().is_empty() {
                let message = format!("the {name} is empty");
                return Err(Error::new(ErrorKind::Configuration, message));
            }
        }
        if ["common", "organizations", "consumers"].contains(&tenant) {
            let message = format!("the tenant is {tenant}, but client credentials need its id");
            return Err(Error::new(ErrorKind::Configuration, message));
        }
        Ok(Self {
            transport,
            environment,
            endpoint: endpoint(cloud, tenant)?,
            tenant: tenant.to_owned(),
            client_id: client_id.to_owned(),
            secret,
        })
    }

    fn explain(&self, exchange: &Exchange, error: Failure) -> Error {
        let head = exchange.head();
        let error = match error {
            RequestTokenError::Request(error) => return error,
            RequestTokenError::ServerResponse(answer) => {
                let (kind, words) = answer.classify();
                let cause = match words {
                    Some(words) => words.to_owned(),
                    None => answer
                        .summary(self.secret.expose())
                        .unwrap_or_else(|| answer.error().to_owned()),
                };
                let kind = by_status(head.status).unwrap_or(kind);
                let mut error = Error::new(kind, format!("{}: {cause}", self.subject()))
                    .with_service_code(answer.code());
                if let Some(id) = answer.trace_id().or(answer.correlation_id()) {
                    error = error.with_request_id(id);
                }
                error.with_source(answer)
            }
            // The texts of the other variants may repeat what the service sent: not passed on.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                let kind = by_status(head.status).unwrap_or(ErrorKind::Malformed);
                let cause = format!("the answer with status {} is not a token", head.status);
                Error::new(kind, format!("{}: {cause}", self.subject()))
            }
        };
        match head.retry_after {
            Some(wait) => error.with_retry_after(wait),
            None => error,
        }
    }

    fn subject(&self) -> String {
        format!(
            "no token for application {} in tenant {}",
            self.client_id, self.tenant
        )
    }
}

fn endpoint(cloud: &Cloud, tenant: &str) -> Result<Url> {
    OriginPolicy::new([&cloud.authority])?;
    let mut url = cloud.authority.clone();
    url.path_segments_mut()
        .map_err(|()| Error::new(ErrorKind::Configuration, "the authority cannot hold a path"))?
        .pop_if_empty()
        .extend([tenant, "oauth2", "v2.0", "token"]);
    Ok(url)
}

/// Returns the kind that a status settles, whatever the body says.
fn by_status(status: StatusCode) -> Option<ErrorKind> {
    match status {
        StatusCode::TOO_MANY_REQUESTS => Some(ErrorKind::Throttled),
        status if status.is_server_error() => Some(ErrorKind::Service),
        _ => None,
    }
}

#[async_trait]
impl TokenProvider for TokenClient {
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        let asked_at = self.environment.now();
        let exchange = Exchange::new(Arc::clone(&self.transport));
        let client = Client::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.secret.expose().to_owned()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(self.endpoint.clone()));
        let answer = client
            .exchange_client_credentials()
            .add_scope(Scope::new(audience.default_scope()))
            .request_async(&exchange)
            .await
            .map_err(|error| self.explain(&exchange, error))?;
        let lifetime = answer
            .expires_in()
            .unwrap_or(UNSTATED_LIFETIME)
            .min(LONGEST_LIFETIME);
        let secret = Secret::new(answer.access_token().secret().clone());
        Ok(AccessToken::new(secret, asked_at + lifetime))
    }

    async fn invalidate(&self, _audience: &Audience, _rejected: &AccessToken) {
        // Nothing is kept here, so there is nothing to forget.
    }
}

impl fmt::Debug for TokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenClient")
            .field("endpoint", &crate::redact::url(&self.endpoint))
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

type Failure = RequestTokenError<Error, IdentityError>;

/// Carries one token request through our transport, and remembers the head of its answer.
struct Exchange {
    transport: Arc<dyn Transport>,
    head: Mutex<Head>,
}

#[derive(Clone, Copy, Default)]
struct Head {
    status: StatusCode,
    retry_after: Option<Duration>,
}

impl Exchange {
    fn new(transport: Arc<dyn Transport>) -> Self {
        Self {
            transport,
            head: Mutex::default(),
        }
    }

    fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn perform(&self, request: HttpRequest) -> Result<HttpResponse> {
        let request: Request<Body> = request.map(Body::from);
        let (mut parts, body) = trace::send(&*self.transport, request).await?.into_parts();
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = Head {
            status: parts.status,
            retry_after: retry_after(&parts.headers),
        };
        if parts.status.is_redirection() {
            let message = "the token endpoint answered with a redirect, which is not followed";
            return Err(Error::new(ErrorKind::Malformed, message));
        }
        let bytes = body.collect(MAX_ANSWER_BYTES).await?;
        // Some proxies leave the type out or change it; the body decides.
        parts.headers.insert(
            HeaderName::from_static("content-type"),
            HeaderValue::from_static("application/json"),
        );
        Ok(Response::from_parts(parts, bytes.to_vec()))
    }
}

impl<'c> AsyncHttpClient<'c> for Exchange {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.perform(request))
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// The longest answer of a token endpoint that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// What is assumed when the endpoint does not say how long a token lives.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(600);
/// Longer lifetimes are cut to this; the longest documented one is 28 hours.
const LONGEST_LIFETIME: Duration = Duration::from_secs(48 * 3_600);
