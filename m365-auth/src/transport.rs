//! The transport seam: one HTTP request in, one streamed response out.

mod body;
mod counting;
pub mod recording;
mod replay;
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
pub use counting::{CountingTransport, Traffic};
pub use recording::{Recording, RecordingTransport};
pub use replay::ReplayTransport;
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

/// Returns a `User-Agent` as Microsoft asks programs to decorate theirs: such traffic is served
/// before other traffic under load.
///
/// *Source*: the SharePoint page on avoiding throttling (9ceb30b, 2026-07): `ISV|Company|App/Version`
/// and `NONISV|Company|App/Version`.
pub fn decorated_user_agent(vendor: Vendor<'_>, app: &str, version: &str) -> String {
    // Bars part the fields, and only visible ASCII may stand in a header.
    let clean = |text: &str| -> String {
        text.chars()
            .filter(|c| c.is_ascii_graphic() && *c != '|' && *c != '/')
            .collect()
    };
    let (kind, company) = match vendor {
        Vendor::Isv(company) => ("ISV", company),
        Vendor::Own(company) => ("NONISV", company),
    };
    let (company, app, version) = (clean(company), clean(app), clean(version));
    format!("{kind}|{company}|{app}/{version}")
}

/// Says whose program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Vendor<'a> {
    /// A vendor of software, by its name.
    Isv(&'a str),
    /// An organization that wrote the program for itself, by its name.
    Own(&'a str),
}

#[cfg(test)]
mod tests {
    use super::{Vendor, decorated_user_agent};

    #[test]
    fn decorations_hold_what_the_service_reads() {
        let agent = decorated_user_agent(Vendor::Isv("Con|to\r\nso"), "Keep It", "1.0/x");
        assert_eq!(agent, "ISV|Contoso|KeepIt/1.0x");
        let own = decorated_user_agent(Vendor::Own("Contoso"), "k", "1");
        assert_eq!(own, "NONISV|Contoso|k/1");
    }
}
