//! Token cache: one renewal at a time per audience, early, and without losing a token that still
//! works.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt, Shared};

use super::{AccessToken, Audience, TokenProvider};
use crate::challenge::Claims;
use crate::environment::Environment;
use crate::error::{Error, Result};

type Outcome = std::result::Result<AccessToken, Arc<Error>>;
type Flight = Shared<BoxFuture<'static, Outcome>>;

/// Keeps the tokens of another provider until they are nearly used up.
///
/// However many ask at once, the inner provider is asked once. A token is renewed five minutes (or
/// a fifth of its lifetime, if that is shorter) before its end; when an early renewal fails, the
/// old token is used on and the renewal tried again half a minute later.
pub struct CachedTokenProvider(Arc<Cache>);

struct Cache {
    inner: Arc<dyn TokenProvider>,
    environment: Arc<dyn Environment>,
    entries: Mutex<HashMap<Audience, Entry>>,
}

#[derive(Default)]
struct Entry {
    held: Option<Held>,
    flight: Option<Flight>,
}

#[derive(Clone)]
struct Held {
    token: AccessToken,
    renew_at: SystemTime,
}

impl CachedTokenProvider {
    /// Wraps `inner`; `environment` tells the time.
    pub fn new(inner: Arc<dyn TokenProvider>, environment: Arc<dyn Environment>) -> Self {
        Self(Arc::new(Cache {
            inner,
            environment,
            entries: Mutex::new(HashMap::new()),
        }))
    }
}

impl Cache {
    fn with_entry<T>(&self, audience: &Audience, act: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        act(entries.entry(audience.clone()).or_default())
    }

    /// Returns the token held, or the renewal to wait for.
    fn find(self: &Arc<Self>, audience: &Audience) -> std::result::Result<AccessToken, Flight> {
        let now = self.environment.now();
        self.with_entry(audience, |entry| {
            if let Some(held) = &entry.held
                && now < held.renew_at.min(held.token.expires_at())
            {
                return Ok(held.token.clone());
            }
            Err(entry
                .flight
                .get_or_insert_with(|| self.fly(audience))
                .clone())
        })
    }

    /// Prepares a renewal; it takes its outcome in itself, so that none is lost when the callers
    /// who wait for it go away.
    fn fly(self: &Arc<Self>, audience: &Audience) -> Flight {
        let (inner, audience) = (Arc::clone(&self.inner), audience.clone());
        let cache = Arc::downgrade(self);
        async move {
            let outcome = inner.token(&audience).await.map_err(Arc::new);
            if let Some(cache) = cache.upgrade() {
                cache.land(&audience, &outcome);
            }
            outcome
        }
        .boxed()
        .shared()
    }

    /// Forgets a token; `false` when another one has taken its place.
    fn forget(&self, audience: &Audience, rejected: &AccessToken) -> bool {
        self.with_entry(audience, |entry| {
            let same = entry
                .held
                .as_ref()
                .is_none_or(|held| held.token.secret() == rejected.secret());
            if same {
                entry.held = None;
            }
            same
        })
    }

    fn land(&self, audience: &Audience, outcome: &Outcome) {
        let now = self.environment.now();
        // The flight is dropped outside the lock: it is this very future.
        let _flight = self.with_entry(audience, |entry| {
            match outcome {
                Ok(token) => {
                    let renew_at = renewal(now, token.expires_at());
                    entry.held = Some(Held {
                        token: token.clone(),
                        renew_at,
                    });
                }
                Err(_) => {
                    if let Some(held) = &mut entry.held {
                        held.renew_at = now + AFTER_FAILURE;
                    }
                }
            }
            entry.flight.take()
        });
    }
}

fn renewal(now: SystemTime, expires_at: SystemTime) -> SystemTime {
    let lifetime = expires_at.duration_since(now).unwrap_or_default();
    expires_at - (lifetime / 5).min(EARLY)
}

#[async_trait]
impl TokenProvider for CachedTokenProvider {
    /// *Cancel safety*: a renewal goes on for the others who wait for it; if nobody is left, the
    /// next call takes it up again.
    async fn token(&self, audience: &Audience) -> Result<AccessToken> {
        let flight = match self.0.find(audience) {
            Ok(token) => return Ok(token),
            Err(flight) => flight,
        };
        let error = match flight.await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        let now = self.0.environment.now();
        match self.0.with_entry(audience, |entry| entry.held.clone()) {
            Some(held) if now + SPARE < held.token.expires_at() => Ok(held.token),
            _ => Err(Error::shared(&error)),
        }
    }

    async fn invalidate(&self, audience: &Audience, rejected: &AccessToken) {
        self.0.forget(audience, rejected);
        self.0.inner.invalidate(audience, rejected).await;
    }

    async fn challenge(&self, audience: &Audience, rejected: &AccessToken, claims: &Claims) {
        // Many callers may have been refused with one token; if another is held by now, it was
        // asked for after the first of them had told the claims.
        if self.0.forget(audience, rejected) {
            self.0.inner.challenge(audience, rejected, claims).await;
        }
    }
}

impl fmt::Debug for CachedTokenProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedTokenProvider")
            .field("inner", &self.0.inner)
            .finish_non_exhaustive()
    }
}

/// How long before its end a token of usual lifetime is renewed.
const EARLY: Duration = Duration::from_secs(300);
/// How long to use a token on after its renewal failed.
const AFTER_FAILURE: Duration = Duration::from_secs(30);
/// A token that ends sooner than this is not handed out after a failed renewal.
const SPARE: Duration = Duration::from_secs(5);
