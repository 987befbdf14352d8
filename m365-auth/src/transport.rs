//! The transport seam: one HTTP request in, one streamed response out.

mod body;
#[cfg(feature = "reqwest")]
mod reqwest;
mod service;
pub(crate) mod trace;

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

#[cfg(feature = "reqwest")]
pub use self::reqwest::{Proxy, ReqwestTransport, TransportOptions};
pub use body::Body;
pub use service::ServiceTransport;

/// Sends one HTTP request and returns its response with a streamed body.
///
/// An implementation adds nothing and hides nothing: it attaches no token, follows no redirect,
/// retries nothing. What stands above decides.
///
/// *Errors*: [`Connect`](crate::ErrorKind::Connect) when nothing was sent,
/// [`Transport`](crate::ErrorKind::Transport) otherwise. A status of any kind is not an error here.
///
/// *Cancel safety*: dropping the future abandons the request; the service may have seen it.
#[async_trait]
pub trait Transport: fmt::Debug + Send + Sync {
    /// Sends `request` and waits for the head of its response.
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>>;
}
