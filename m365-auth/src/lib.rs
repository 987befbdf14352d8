#![doc = include_str!("../README.md")]

pub mod authorized;
pub mod challenge;
pub mod cloud;
pub mod consent;
pub mod credential;
pub mod environment;
pub mod error;
pub mod origin;
pub mod redact;
pub mod retry;
pub mod secret;
pub mod token;
pub mod transport;

pub use authorized::AuthorizedTransport;
pub use challenge::{Challenge, Claims};
pub use cloud::Cloud;
pub use consent::{Consent, ConsentRequest};
pub use credential::{
    AssertionSource, CallbackAssertion, Certificate, Credential, ExpiryLevel, ExpiryWarning,
    FileAssertion,
};
pub use environment::{Environment, SystemEnvironment};
pub use error::{Error, ErrorKind, Result};
pub use origin::OriginPolicy;
pub use retry::RetryPolicy;
pub use secret::Secret;
pub use token::{
    AccessToken, Audience, Authorization, AuthorizationOptions, CachedTokenProvider,
    CallbackAnswer, DeviceAuthorization, DevicePoll, DeviceSchedule, IdentityError,
    KeptTokenProvider, LoopbackRedirect, ManagedIdentity, ManagedIdentityEndpoint,
    ManagedIdentityName, MemoryTokenStore, SealedTokenFile, SignIn, SignedIn, TokenClient,
    TokenContents, TokenProvider, TokenStore, UserTokenProvider,
};
pub use transport::{Body, ServiceTransport, Transport};
#[cfg(feature = "reqwest")]
pub use transport::{Proxy, ReqwestTransport, TransportOptions};
