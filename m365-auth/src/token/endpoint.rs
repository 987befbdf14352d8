//! Token endpoint: the one place where forms go to the identity platform and answers come back.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use oauth2::basic::{
    BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenResponse,
};
use oauth2::{
    AuthType, AuthorizationCode, ClientId, EndpointNotSet, EndpointSet, PkceCodeVerifier,
    RedirectUrl, RefreshToken, RequestTokenError, Scope, StandardRevocableToken, TokenResponse,
    TokenUrl,
};
use url::Url;
use zeroize::Zeroizing;

use super::exchange::Exchange;
use super::{AccessToken, IdentityError};
use crate::challenge::Claims;
use crate::cloud::Cloud;
use crate::credential::{Credential, Field, Purpose};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::origin::OriginPolicy;
use crate::secret::Secret;
use crate::transport::Transport;

type Client = oauth2::Client<
    IdentityError,
    BasicTokenResponse,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Why a request to the endpoint gave no token.
pub(super) type Failure = RequestTokenError<Error, IdentityError>;

/// What the endpoint gave.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) access: AccessToken,
    pub(super) refresh: Option<Secret>,
    pub(super) scopes: Vec<String>,
}

/// The endpoints of one tenant, as one application uses them.
pub(super) struct Endpoint {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) credential: Credential,
    pub(super) client_id: String,
    pub(super) tenant: String,
    pub(super) answers_challenges: bool,
    root: Url,
}

impl Endpoint {
    /// Checks what can be checked without asking anyone.
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        credential: Credential,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        for (name, value) in [("tenant", tenant), ("client id", client_id)] {
            if value.trim().is_empty() {
                let message = format!("the {name} is empty");
                return Err(Error::new(ErrorKind::Configuration, message));
            }
        }
        credential.check()?;
        OriginPolicy::new([&cloud.authority])?;
        Ok(Self {
            transport,
            environment,
            credential,
            client_id: client_id.to_owned(),
            tenant: tenant.to_owned(),
            answers_challenges: false,
            root: cloud.authority.clone(),
        })
    }

    /// Returns the address of one of the tenant's endpoints.
    pub(super) fn address(&self, path: &[&str]) -> Result<Url> {
        below(&self.root, &self.tenant, path)
    }

    /// Returns the root of the identity platform.
    pub(super) fn root(&self) -> &Url {
        &self.root
    }

    /// Returns the fields that every request holds beside those of its grant.
    pub(super) async fn common(&self, claims: Option<&Claims>) -> Result<Vec<Field>> {
        let endpoint = self.token_address()?;
        let mut fields = self
            .credential
            .fields(Purpose {
                client_id: &self.client_id,
                endpoint: endpoint.as_str(),
                environment: &*self.environment,
            })
            .await?;
        if let Some(text) = Claims::request(claims, self.answers_challenges) {
            fields.push(("claims", Zeroizing::new(text)));
        }
        Ok(fields)
    }

    pub(super) fn token_address(&self) -> Result<Url> {
        self.address(&["oauth2", "v2.0", "token"])
    }

    /// Asks by client credentials.
    pub(super) async fn by_credential(
        &self,
        scope: String,
        claims: Option<&Claims>,
    ) -> Result<Grant> {
        let (client, exchange, fields) = self.prepare(claims).await?;
        let mut request = client
            .exchange_client_credentials()
            .add_scope(Scope::new(scope));
        for (name, value) in &fields {
            request = request.add_extra_param(*name, value.as_str());
        }
        let asked_at = self.environment.now();
        let answer = request.request_async(&exchange).await;
        self.granted(answer, asked_at, &exchange)
    }

    /// Redeems the code of a sign-in.
    pub(super) async fn by_code(
        &self,
        code: &Secret,
        verifier: &Secret,
        redirect: &RedirectUrl,
        scope: &str,
    ) -> Result<Grant> {
        let (client, exchange, fields) = self.prepare(None).await?;
        let mut request = client
            .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()))
            .set_redirect_uri(std::borrow::Cow::Borrowed(redirect))
            .add_extra_param("scope", scope);
        for (name, value) in &fields {
            request = request.add_extra_param(*name, value.as_str());
        }
        let asked_at = self.environment.now();
        let answer = request.request_async(&exchange).await;
        self.granted(answer, asked_at, &exchange)
    }

    /// Asks by a refresh token.
    pub(super) async fn by_refresh(
        &self,
        refresh: &Secret,
        scopes: &[String],
        claims: Option<&Claims>,
    ) -> Result<Grant> {
        let (client, exchange, fields) = self.prepare(claims).await?;
        let refresh = RefreshToken::new(refresh.expose().to_owned());
        let mut request = client
            .exchange_refresh_token(&refresh)
            .add_scopes(scopes.iter().cloned().map(Scope::new));
        for (name, value) in &fields {
            request = request.add_extra_param(*name, value.as_str());
        }
        let asked_at = self.environment.now();
        let answer = request.request_async(&exchange).await;
        self.granted(answer, asked_at, &exchange)
    }

    async fn prepare(&self, claims: Option<&Claims>) -> Result<(Client, Exchange, Vec<Field>)> {
        let fields = self.common(claims).await?;
        let client = oauth2::Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_type(AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(self.token_address()?));
        Ok((client, Exchange::new(Arc::clone(&self.transport)), fields))
    }

    /// Takes the token out of an answer, or says why there is none.
    pub(super) fn granted(
        &self,
        answer: std::result::Result<BasicTokenResponse, Failure>,
        asked_at: SystemTime,
        exchange: &Exchange,
    ) -> Result<Grant> {
        let answer = answer.map_err(|failure| self.explain(failure, exchange))?;
        let lifetime = answer
            .expires_in()
            .unwrap_or(UNSTATED_LIFETIME)
            .min(LONGEST_LIFETIME);
        let secret = Secret::new(answer.access_token().secret().clone());
        let scopes = answer.scopes().into_iter().flatten();
        Ok(Grant {
            access: AccessToken::new(secret, asked_at + lifetime),
            refresh: answer
                .refresh_token()
                .map(|token| Secret::new(token.secret().clone())),
            scopes: scopes.map(|scope| scope.to_string()).collect(),
        })
    }

    /// Says in words why the endpoint gave no token.
    pub(super) fn explain(&self, failure: Failure, exchange: &Exchange) -> Error {
        let head = exchange.head();
        let error = match failure {
            RequestTokenError::Request(error) => return error,
            RequestTokenError::ServerResponse(answer) => self.refused(answer, exchange),
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

    /// Says in words why the identity platform refused.
    fn refused(&self, answer: IdentityError, exchange: &Exchange) -> Error {
        let head = exchange.head();
        let (kind, words) = answer.classify();
        let mut cause = match words {
            Some(words) => words.to_owned(),
            None => answer
                .summary(|text| exchange.is_repeated_in(text))
                .unwrap_or_else(|| answer.short_error()),
        };
        if answer.error_codes().contains(&ASSERTION_OUTSIDE_ITS_TIME)
            && let Some(skew) = head.skew(self.environment.now())
        {
            cause = format!("{cause}; {skew}");
        }
        let kind = by_status(head.status).unwrap_or(kind);
        let mut error = Error::new(kind, format!("{}: {cause}", self.subject()))
            .with_service_code(answer.code());
        if let Some(id) = answer.trace_id().or(answer.correlation_id()) {
            error = error.with_request_id(id);
        }
        if let Some(step) = answer.next_step() {
            error = error.with_next_step(step);
        }
        error.with_source(answer)
    }

    fn subject(&self) -> String {
        format!(
            "no token for application {} in tenant {}",
            self.client_id, self.tenant
        )
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("root", &crate::redact::url(&self.root))
            .field("client_id", &self.client_id)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

/// Returns the address of an endpoint of `tenant` below the root of an identity platform.
pub(crate) fn below(root: &Url, tenant: &str, path: &[&str]) -> Result<Url> {
    let mut url = root.clone();
    url.path_segments_mut()
        .map_err(|()| Error::new(ErrorKind::Configuration, "the authority cannot hold a path"))?
        .pop_if_empty()
        .push(tenant)
        .extend(path);
    Ok(url)
}

/// Returns the kind that a status settles, whatever the body says.
fn by_status(status: http::StatusCode) -> Option<ErrorKind> {
    match status {
        http::StatusCode::TOO_MANY_REQUESTS => Some(ErrorKind::Throttled),
        status if status.is_server_error() => Some(ErrorKind::Service),
        _ => None,
    }
}

/// AADSTS700024.
const ASSERTION_OUTSIDE_ITS_TIME: u64 = 700_024;
/// What is assumed when the endpoint does not say how long a token lives.
const UNSTATED_LIFETIME: Duration = Duration::from_secs(600);
/// Longer lifetimes are cut to this; the longest documented one is 28 hours.
const LONGEST_LIFETIME: Duration = Duration::from_secs(48 * 3_600);
