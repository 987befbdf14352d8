//! Kept tokens: access tokens that outlive a program, so that frequent short runs ask for few.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{AccessToken, Audience, TokenProvider, TokenStore};
use crate::challenge::Claims;
use crate::environment::Environment;
use crate::error::Result;
use crate::secret::Secret;

/// Keeps the tokens of another provider in a [`TokenStore`].
///
/// It stands below [`CachedTokenProvider`](super::CachedTokenProvider), which renews in time; what
/// is nearer to its end than six minutes is not taken from the store.
pub struct KeptTokenProvider {
    inner: Arc<dyn TokenProvider>,
    store: Arc<dyn TokenStore>,
    prefix: String,
    environment: Arc<dyn Environment>,
}

/// What lies in the store; borrowed when written, so that no copy of the token stays behind.
#[derive(Serialize, Deserialize)]
struct Kept<T> {
    token: T,
    expires_at: u64,
}

impl KeptTokenProvider {
    /// Wraps `inner`; `owner` tells its tokens from those of others in the same store, and names
    /// tenant, application and person.
    pub fn new(
        inner: Arc<dyn TokenProvider>,
        store: Arc<dyn TokenStore>,
        owner: &str,
        environment: Arc<dyn Environment>,
    ) -> Self {
        Self {
            inner,
            store,
            prefix: format!("access {owner} "),
            environment,
        }
    }

    fn name(&self, audience: &Audience) -> String {
        format!("{}{audience}", self.prefix)
    }

    async fn kept(&self, audience: &Audience) -> Result<Option<AccessToken>> {
        let Some(text) = self.store.load(&self.name(audience)).await? else {
            return Ok(None);
        };
        // What cannot be read was written by another version: a new token replaces it.
        let Ok(kept) = serde_json::from_str::<Kept<String>>(text.expose()) else {
            return Ok(None);
        };
        let expires_at = UNIX_EPOCH + Duration::from_secs(kept.expires_at.min(END_OF_TIME));
        let token = AccessToken::new(Secret::new(kept.token), expires_at);
        Ok((self.environment.now() + SPARE < expires_at).then_some(token))
    }

    async fn forget(&self, audience: &Audience, rejected: &AccessToken) {
        let kept = self.kept(audience).await;
        let stale = matches!(&kept, Ok(Some(kept)) if kept.secret() == rejected.secret());
        if stale && let Err(error) = self.store.remove(&self.name(audience)).await {
            // The next renewal meets the same trouble and reports it.
            tracing::warn!(kind = ?error.kind(), "a refused token could not be forgotten");
        }
    }
}

#[async_trait]
impl TokenProvider for KeptTokenProvider {
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        if let Some(token) = self.kept(audience).await? {
            return Ok(token);
        }
        let token = self.inner.token(audience).await?;
        let kept = Kept {
            token: token.secret().expose(),
            expires_at: seconds(token.expires_at()),
        };
        if let Ok(text) = serde_json::to_string(&kept) {
            let text = Secret::new(text);
            self.store.save(&self.name(audience), &text).await?;
        }
        Ok(token)
    }

    async fn invalidate(&self, audience: &Audience, rejected: &AccessToken) {
        self.forget(audience, rejected).await;
        self.inner.invalidate(audience, rejected).await;
    }

    async fn challenge(&self, audience: &Audience, rejected: &AccessToken, claims: &Claims) {
        self.forget(audience, rejected).await;
        self.inner.challenge(audience, rejected, claims).await;
    }
}

impl fmt::Debug for KeptTokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The owner's name is the tenant's affair: not for logs.
        f.debug_struct("KeptTokenProvider")
            .field("inner", &self.inner)
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// What a kept token must have left: more than the span in which it would be renewed.
const SPARE: Duration = Duration::from_secs(360);
/// The last second that is believed, in the year 9999.
const END_OF_TIME: u64 = 253_402_300_799;
