#![doc = include_str!("../README.md")]

pub mod authorized;
#[cfg(feature = "azure")]
pub mod azure;
pub mod challenge;
pub mod cloud;
pub mod consent;
pub mod credential;
pub mod environment;
pub mod error;
pub mod limiter;
pub mod origin;
pub mod ready;
pub mod redact;
pub mod redirect;
pub mod retry;
pub mod secret;
pub mod token;
pub mod transport;

pub use authorized::AuthorizedTransport;
pub use challenge::{Challenge, Claims};
pub use cloud::Cloud;
pub use consent::{Consent, ConsentRequest};
pub use credential::{
    AssertionSource, BasicCredential, CallbackAssertion, Certificate, Credential, ExpiryLevel,
    ExpiryWarning, FileAssertion,
};
pub use environment::{Environment, SystemEnvironment};
pub use error::{Error, ErrorKind, Result};
pub use limiter::{
    Charge, LimitTable, LimitedTransport, Limiter, LimiterMode, Limits, SharedLimiter, Unit,
};
pub use origin::OriginPolicy;
pub use ready::{Class, Lane, PageSize, QueueLimits, ReadyQueue, Scheduler, Slot};
pub use redirect::{RedirectPlan, plan_redirect};
pub use retry::{RetryPolicy, retry_after};
pub use secret::Secret;
pub use token::{
    AccessToken, Audience, Authorization, AuthorizationOptions, CachedTokenProvider,
    CallbackAnswer, DeviceAuthorization, DevicePoll, DeviceSchedule, IdentityError,
    KeptTokenProvider, LoopbackRedirect, ManagedIdentity, ManagedIdentityEndpoint,
    ManagedIdentityName, MemoryTokenStore, SealedTokenFile, SignIn, SignedIn, TokenClient,
    TokenContents, TokenProvider, TokenStore, UserTokenProvider,
};
pub use transport::{
    Body, CountingTransport, Recording, RecordingTransport, ReplayTransport, ServiceTransport,
    Traffic, Transport, Vendor, decorated_user_agent,
};
#[cfg(feature = "reqwest")]
pub use transport::{Proxy, ReqwestTransport, TransportOptions};
