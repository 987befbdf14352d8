#![doc = include_str!("../README.md")]

pub mod authorized;
pub mod cloud;
pub mod environment;
pub mod error;
pub mod origin;
pub mod redact;
pub mod retry;
pub mod secret;
pub mod token;
pub mod transport;

pub use authorized::AuthorizedTransport;
pub use cloud::Cloud;
pub use environment::{Environment, SystemEnvironment};
pub use error::{Error, ErrorKind, Result};
pub use origin::OriginPolicy;
pub use retry::RetryPolicy;
pub use secret::Secret;
pub use token::{
    AccessToken, Audience, CachedTokenProvider, IdentityError, TokenClient, TokenProvider,
};
pub use transport::{Body, ServiceTransport, Transport};
#[cfg(feature = "reqwest")]
pub use transport::{Proxy, ReqwestTransport, TransportOptions};
