//! The token seam: what a client needs to know of tokens, and nothing of where they come from.

mod aadsts;
mod cached;
pub(crate) mod callback;
mod client;
mod contents;
mod device;
pub(crate) mod endpoint;
mod exchange;
mod identity_error;
mod kept;
mod loopback;
mod managed;
mod pending;
mod sealed_file;
mod sign_in;
mod store;
mod user;

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::challenge::Claims;
use crate::error::Result;
use crate::secret::Secret;

pub use cached::CachedTokenProvider;
pub use callback::CallbackAnswer;
pub use client::TokenClient;
pub use contents::TokenContents;
pub use device::{DeviceAuthorization, DevicePoll, DeviceSchedule};
pub use identity_error::IdentityError;
pub use kept::KeptTokenProvider;
pub use loopback::LoopbackRedirect;
pub use managed::{ManagedIdentity, ManagedIdentityEndpoint, ManagedIdentityName};
pub use sealed_file::SealedTokenFile;
pub use sign_in::{Authorization, AuthorizationOptions, SignIn, SignedIn};
pub use store::{MemoryTokenStore, TokenStore};
pub use user::UserTokenProvider;

/// Names whom a token is for, as the scope prefix of the identity platform.
///
/// *Shape*: an origin without a trailing slash, such as `https://graph.microsoft.com`; the client
/// credentials scope is this followed by `/.default`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audience(String);

impl Audience {
    /// Takes the origin of the service; a trailing slash is dropped.
    pub fn new(origin: impl Into<String>) -> Self {
        let mut origin = origin.into();
        while origin.ends_with('/') {
            origin.pop();
        }
        Self(origin)
    }

    /// Returns the origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the scope that asks for everything consented to for this audience.
    pub fn default_scope(&self) -> String {
        format!("{}/.default", self.0)
    }
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Holds one bearer token and the time until which it may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessToken {
    secret: Secret,
    expires_at: SystemTime,
}

impl AccessToken {
    /// Creates a token that may be used until `expires_at`.
    pub fn new(secret: Secret, expires_at: SystemTime) -> Self {
        Self { secret, expires_at }
    }

    /// Returns the token itself.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// Returns the time after which the service refuses the token.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

/// Gives bearer tokens; where they come from is its own affair.
#[async_trait]
pub trait TokenProvider: fmt::Debug + Send + Sync {
    /// Returns a token for `audience` that is valid now.
    async fn token(&self, audience: &Audience) -> Result<AccessToken>;

    /// Reports that the service refused `rejected` with 401, so that the next call gives another
    /// one.
    async fn invalidate(&self, audience: &Audience, rejected: &AccessToken);

    /// Reports that the service refused `rejected` and demands a token that meets `claims`; the
    /// next call gives one, or fails because a person must sign in.
    ///
    /// Providers that know nothing of claims forget the token.
    async fn challenge(&self, audience: &Audience, rejected: &AccessToken, claims: &Claims) {
        let _ = claims;
        self.invalidate(audience, rejected).await;
    }
}
