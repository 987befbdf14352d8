//! Token client: an application asks the identity platform for tokens in its own name.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use super::endpoint::Endpoint;
use super::pending::PendingClaims;
use super::{AccessToken, Audience, TokenProvider};
use crate::challenge::Claims;
use crate::cloud::Cloud;
use crate::credential::Credential;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::transport::Transport;

/// Asks the token endpoint of one tenant for tokens of one application.
///
/// Every call is one request; [`CachedTokenProvider`](super::CachedTokenProvider) keeps the tokens.
pub struct TokenClient {
    endpoint: Endpoint,
    pending: PendingClaims,
}

impl TokenClient {
    /// Prepares sign-in by a secret, a certificate or a federated token; nothing is sent yet.
    ///
    /// `tenant` is the tenant's id or one of its domains.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] when tenant, client id or secret is empty, the
    /// credential is none, the tenant is one of the common endpoints, or the authority is neither
    /// https nor on loopback.
    pub fn new(
        transport: Arc<dyn Transport>,
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        credential: Credential,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        let configuration = |message: String| Error::new(ErrorKind::Configuration, message);
        if ["common", "organizations", "consumers"].contains(&tenant) {
            let message = format!("the tenant is {tenant}, but client credentials need its id");
            return Err(configuration(message));
        }
        if credential.is_public() {
            let message = "an application without a credential gets no tokens of its own";
            return Err(configuration(message.to_owned()));
        }
        Ok(Self {
            endpoint: Endpoint::new(transport, cloud, tenant, client_id, credential, environment)?,
            pending: PendingClaims::default(),
        })
    }

    /// Prepares sign-in by client secret, as [`new`](Self::new).
    ///
    /// *Errors*: as [`new`](Self::new).
    pub fn client_secret(
        transport: Arc<dyn Transport>,
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        secret: Secret,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        let credential = Credential::secret(secret);
        Self::new(transport, cloud, tenant, client_id, credential, environment)
    }

    /// Tells the identity platform that claims challenges are answered, as
    /// [`AuthorizedTransport`](crate::AuthorizedTransport) does: tokens then live up to 28 hours
    /// and are revoked by a challenge instead of their end.
    #[must_use]
    pub fn with_continuous_access_evaluation(mut self) -> Self {
        self.endpoint.answers_challenges = true;
        self
    }
}

#[async_trait]
impl TokenProvider for TokenClient {
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        let claims = self.pending.of(audience);
        let scope = audience.default_scope();
        let grant = self.endpoint.by_credential(scope, claims.as_ref()).await?;
        self.pending.met(audience, claims.as_ref());
        Ok(grant.access)
    }

    async fn invalidate(&self, _audience: &Audience, _rejected: &AccessToken) {
        // Nothing is kept here, so there is nothing to forget.
    }

    async fn challenge(&self, audience: &Audience, _rejected: &AccessToken, claims: &Claims) {
        self.pending.add(audience, claims);
    }
}

impl fmt::Debug for TokenClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenClient").field(&self.endpoint).finish()
    }
}
