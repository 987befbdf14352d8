//! Tokens of a person who signed in: by a refresh token that is kept, and replaced whenever the
//! identity platform gives a new one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::pending::PendingClaims;
use super::{AccessToken, Audience, SignIn, SignedIn, TokenProvider, TokenStore};
use crate::challenge::Claims;
use crate::error::{Error, ErrorKind, Result};

/// Gives tokens of one person for any service of the tenant.
///
/// Every call is one request; [`CachedTokenProvider`](super::CachedTokenProvider) keeps the tokens.
/// The refresh token lies in a [`TokenStore`] and is read anew every time, so that several programs
/// may share it.
pub struct UserTokenProvider {
    sign_in: SignIn,
    store: Arc<dyn TokenStore>,
    key: String,
    pending: PendingClaims,
    /// One renewal at a time: each may replace the refresh token.
    turn: Mutex<()>,
}

impl UserTokenProvider {
    /// Joins an application and the store where the refresh token of `account` lies.
    pub fn new(sign_in: SignIn, store: Arc<dyn TokenStore>, account: &str) -> Self {
        let endpoint = &sign_in.endpoint;
        let (root, tenant) = (endpoint.root().as_str(), &endpoint.tenant);
        let key = format!("refresh {root} {tenant} {} {account}", endpoint.client_id);
        Self {
            sign_in,
            store,
            key,
            pending: PendingClaims::default(),
            turn: Mutex::new(()),
        }
    }

    /// Keeps the refresh token of a sign-in, in the place of an older one.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] when the sign-in gave none; those of the store.
    pub async fn adopt(&self, signed_in: &SignedIn) -> Result<()> {
        let refresh = signed_in.refresh().ok_or_else(|| {
            let message = "the sign-in gave no refresh token";
            Error::new(ErrorKind::Configuration, message)
                .with_next_step("allow the scope offline_access for the application")
        })?;
        let _turn = self.turn.lock().await;
        self.store.save(&self.key, refresh).await
    }

    /// Forgets the refresh token: the person is signed out of this program.
    ///
    /// *Errors*: those of the store.
    pub async fn forget(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.store.remove(&self.key).await
    }
}

#[async_trait]
impl TokenProvider for UserTokenProvider {
    /// *Errors*: [`ErrorKind::InteractionNeeded`] when nobody has signed in, or must again; those
    /// of the store.
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        let _turn = self.turn.lock().await;
        let refresh = self.store.load(&self.key).await?.ok_or_else(|| {
            Error::new(ErrorKind::InteractionNeeded, "nobody has signed in yet")
                .with_next_step("sign in, in a browser")
        })?;
        let claims = self.pending.of(audience);
        let answer = self
            .sign_in
            .refresh(&refresh, audience, claims.as_ref())
            .await?;
        // Kept before the token is used: a lost refresh token costs a person's time.
        if let Some(renewed) = answer.refresh().filter(|renewed| **renewed != refresh) {
            self.store.save(&self.key, renewed).await?;
        }
        self.pending.met(audience, claims.as_ref());
        Ok(answer.access)
    }

    async fn invalidate(&self, _audience: &Audience, _rejected: &AccessToken) {
        // Access tokens are not kept here, so there is nothing to forget.
    }

    async fn challenge(&self, audience: &Audience, _rejected: &AccessToken, claims: &Claims) {
        self.pending.add(audience, claims);
    }
}

impl fmt::Debug for UserTokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserTokenProvider")
            .field("sign_in", &self.sign_in)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
