//! Sign-in of a person: by a browser on this machine, by a code that is pasted, or on another
//! device.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth2::{PkceCodeChallenge, PkceCodeVerifier, RedirectUrl};
use url::Url;

use super::callback::CallbackAnswer;
use super::endpoint::{Endpoint, Grant};
use super::{AccessToken, Audience};
use crate::challenge::Claims;
use crate::cloud::Cloud;
use crate::credential::Credential;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::transport::Transport;

/// Lets a person sign in to an application.
///
/// *Shape*: [`begin`](Self::begin) gives the address to open; the browser ends at the redirect
/// address with a code; [`finish`](Self::finish) redeems it. Or [`begin_device`](Self::begin_device)
/// and [`wait_for_device`](Self::wait_for_device), where no browser is at hand.
#[derive(Debug, Clone)]
pub struct SignIn {
    pub(super) endpoint: Arc<Endpoint>,
}

/// What may be said to the sign-in page.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct AuthorizationOptions {
    /// The account that is expected, such as `adele@contoso.example`.
    pub login_hint: Option<String>,
    /// What the page must ask in any case: `login`, `consent`, `select_account` or `none`.
    pub prompt: Option<String>,
    /// The claims that an earlier refusal demanded.
    pub claims: Option<Claims>,
}

/// Holds a sign-in that has begun in a browser.
pub struct Authorization {
    url: Url,
    pub(super) redirect: RedirectUrl,
    pub(super) state: Secret,
    verifier: Secret,
    scope: String,
}

/// Holds what a sign-in gave.
#[derive(Debug, Clone)]
pub struct SignedIn {
    pub(super) access: AccessToken,
    pub(super) refresh: Option<Secret>,
    pub(super) scopes: Vec<String>,
}

impl SignIn {
    /// Prepares sign-in to an application; nothing is sent yet.
    ///
    /// `tenant` is the tenant's id, one of its domains, or `organizations`. The credential is
    /// [`Credential::public`] for a program on a person's own machine.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] when tenant, client id or secret is empty, or the
    /// authority is neither https nor on loopback.
    pub fn new(
        transport: Arc<dyn Transport>,
        cloud: &Cloud,
        tenant: &str,
        client_id: &str,
        credential: Credential,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        let endpoint = Endpoint::new(transport, cloud, tenant, client_id, credential, environment)?;
        Ok(Self {
            endpoint: Arc::new(endpoint),
        })
    }

    /// Tells the identity platform that claims challenges are answered; to be called before the
    /// value is cloned.
    #[must_use]
    pub fn with_continuous_access_evaluation(mut self) -> Self {
        if let Some(endpoint) = Arc::get_mut(&mut self.endpoint) {
            endpoint.answers_challenges = true;
        }
        self
    }

    /// Returns the redirect address of the paste flow: an empty page whose address holds the code.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for an authority that cannot hold a path.
    pub fn paste_redirect(&self) -> Result<String> {
        let root = self.endpoint.root();
        super::endpoint::below(root, "common", &["oauth2", "nativeclient"]).map(String::from)
    }

    /// Begins a sign-in in a browser.
    ///
    /// `redirect` is one of the application's redirect addresses, such as
    /// [`LoopbackRedirect::uri`](super::LoopbackRedirect::uri) or
    /// [`paste_redirect`](Self::paste_redirect). `scopes` are of one service; `offline_access` is
    /// added.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for a redirect address that is not a URL;
    /// [`ErrorKind::Environment`].
    pub fn begin(
        &self,
        redirect: &str,
        scopes: &[String],
        options: &AuthorizationOptions,
    ) -> Result<Authorization> {
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(|cause| {
            Error::new(
                ErrorKind::Configuration,
                "the redirect address is not a url",
            )
            .with_source(cause)
        })?;
        let (state, verifier) = (self.random()?, self.random()?);
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&PkceCodeVerifier::new(
            verifier.expose().to_owned(),
        ));
        let scope = with_offline_access(scopes).join(" ");
        let mut url = self.endpoint.address(&["oauth2", "v2.0", "authorize"])?;
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("client_id", &self.endpoint.client_id)
                .append_pair("response_type", "code")
                .append_pair("response_mode", "query")
                .append_pair("redirect_uri", redirect.as_str())
                .append_pair("scope", &scope)
                .append_pair("state", state.expose())
                .append_pair("code_challenge", challenge.as_str())
                .append_pair("code_challenge_method", "S256");
            for (name, value) in [
                ("login_hint", options.login_hint.clone()),
                ("prompt", options.prompt.clone()),
                ("claims", self.claims(options.claims.as_ref())),
            ] {
                if let Some(value) = value {
                    query.append_pair(name, &value);
                }
            }
        }
        Ok(Authorization {
            url,
            redirect,
            state,
            verifier,
            scope,
        })
    }

    /// Ends a sign-in in a browser: redeems the code.
    ///
    /// *Errors*: [`ErrorKind::InteractionNeeded`] for a code that is used up or too old; those of
    /// the transport.
    ///
    /// *Cancel safety*: a code can be redeemed once; after a dropped future sign in anew.
    pub async fn finish(
        &self,
        authorization: Authorization,
        answer: &CallbackAnswer,
    ) -> Result<SignedIn> {
        let grant = self
            .endpoint
            .by_code(
                answer.code(),
                &authorization.verifier,
                &authorization.redirect,
                &authorization.scope,
            )
            .await?;
        Ok(grant.into())
    }

    /// Asks for a token of another service, or a fresh one, by a refresh token.
    ///
    /// The answer usually holds a new refresh token, which replaces the old one.
    ///
    /// *Errors*: [`ErrorKind::InteractionNeeded`] when a person must sign in again; those of the
    /// transport.
    pub async fn refresh(
        &self,
        refresh: &Secret,
        audience: &Audience,
        claims: Option<&Claims>,
    ) -> Result<SignedIn> {
        let scopes = with_offline_access(&[audience.default_scope()]);
        let grant = self.endpoint.by_refresh(refresh, &scopes, claims).await?;
        Ok(grant.into())
    }

    fn claims(&self, claims: Option<&Claims>) -> Option<String> {
        Claims::request(claims, self.endpoint.answers_challenges)
    }

    /// Returns 256 random bits as text that needs no escape in a URL.
    fn random(&self) -> Result<Secret> {
        let mut bytes = zeroize::Zeroizing::new([0; 32]);
        self.endpoint.environment.fill(&mut *bytes)?;
        Ok(Secret::new(URL_SAFE_NO_PAD.encode(*bytes)))
    }
}

impl Authorization {
    /// Returns the address that the person opens in a browser.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("url", &crate::redact::url(&self.url))
            .finish_non_exhaustive()
    }
}

impl SignedIn {
    /// Returns the token for the service that was asked for.
    pub fn access(&self) -> &AccessToken {
        &self.access
    }

    /// Returns the refresh token, which gets tokens for every service of the tenant.
    pub fn refresh(&self) -> Option<&Secret> {
        self.refresh.as_ref()
    }

    /// Returns the scopes that were granted, as the identity platform lists them.
    pub fn scopes(&self) -> &[String] {
        &self.scopes
    }
}

impl From<Grant> for SignedIn {
    fn from(grant: Grant) -> Self {
        Self {
            access: grant.access,
            refresh: grant.refresh,
            scopes: grant.scopes,
        }
    }
}

/// Returns the scopes with the one that makes the platform give a refresh token.
pub(super) fn with_offline_access(scopes: &[String]) -> Vec<String> {
    let mut scopes = scopes.to_vec();
    if !scopes.iter().any(|scope| scope == OFFLINE_ACCESS) {
        scopes.push(OFFLINE_ACCESS.to_owned());
    }
    scopes
}

const OFFLINE_ACCESS: &str = "offline_access";
