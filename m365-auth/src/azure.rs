//! Adapters between this crate's tokens and the credential trait of the Azure SDK, both ways.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken as AzureToken, TokenCredential, TokenRequestOptions};
use azure_core::error::{Error as AzureError, ErrorKind as AzureKind};

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::token::{AccessToken, Audience, TokenProvider};

/// Gives the tokens of a credential of the Azure SDK, such as those of `azure_identity`.
#[derive(Debug, Clone)]
pub struct FromAzure(Arc<dyn TokenCredential>);

impl FromAzure {
    /// Wraps `credential`.
    pub fn new(credential: Arc<dyn TokenCredential>) -> Self {
        Self(credential)
    }
}

#[async_trait]
impl TokenProvider for FromAzure {
    /// *Errors*: [`ErrorKind::CredentialRefused`]; the texts of the other crate are its own affair
    /// and not passed on.
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        let scope = audience.default_scope();
        let token = self.0.get_token(&[&scope], None).await.map_err(|cause| {
            let kind = match cause.kind() {
                AzureKind::Io => ErrorKind::Transport,
                _ => ErrorKind::CredentialRefused,
            };
            Error::new(kind, "the credential of the azure sdk gave no token")
        })?;
        let secret = Secret::new(token.token.secret());
        Ok(AccessToken::new(secret, SystemTime::from(token.expires_on)))
    }

    async fn invalidate(&self, _audience: &Audience, _rejected: &AccessToken) {
        // The trait has no way to tell the credential.
    }
}

/// Gives the tokens of this crate to clients of the Azure SDK.
#[derive(Debug, Clone)]
pub struct ToAzure(Arc<dyn TokenProvider>);

impl ToAzure {
    /// Wraps `tokens`.
    pub fn new(tokens: Arc<dyn TokenProvider>) -> Self {
        Self(tokens)
    }
}

#[async_trait]
impl TokenCredential for ToAzure {
    async fn get_token(
        &self,
        scopes: &[&str],
        _options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AzureToken> {
        let refused = |text: &'static str| AzureError::with_message(AzureKind::Credential, text);
        let [scope] = scopes else {
            return Err(refused("tokens are for one service at a time"));
        };
        let audience = scope
            .strip_suffix("/.default")
            .ok_or_else(|| refused("the scope must end in /.default"))?;
        let token = self
            .0
            .token(&Audience::new(audience))
            .await
            .map_err(|error| AzureError::new(AzureKind::Credential, error))?;
        let secret = token.secret().expose().to_owned();
        Ok(AzureToken::new(secret, token.expires_at().into()))
    }
}
