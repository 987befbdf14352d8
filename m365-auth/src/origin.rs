//! Origin policy: where a bearer token may go, by exact scheme, host and port.

use std::fmt;

use url::{Host, Url};

use crate::error::{Error, ErrorKind, Result};

/// Holds the origins that may see a bearer token.
///
/// *Shape*: an origin is allowed when scheme, host and port equal those of a listed URL. Nothing is
/// matched by suffix or pattern; a trailing dot makes another host; userinfo is refused always.
/// The scheme is https; http is accepted for loopback addresses only.
#[derive(Clone, PartialEq, Eq)]
pub struct OriginPolicy {
    origins: Vec<Origin>,
}

#[derive(Clone, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: Host<String>,
    port: u16,
}

impl OriginPolicy {
    /// Allows the origins of `urls` and no other.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for a URL that is neither https nor http on loopback,
    /// or that carries userinfo.
    pub fn new<'a>(urls: impl IntoIterator<Item = &'a Url>) -> Result<Self> {
        let mut origins = Vec::new();
        for url in urls {
            let origin = Origin::of(url).ok_or_else(|| {
                let text = crate::redact::url(url);
                let cause = "must be https, or http on a loopback address, without userinfo";
                Error::new(
                    ErrorKind::Configuration,
                    format!("the address {text} {cause}"),
                )
            })?;
            origins.push(origin);
        }
        Ok(Self { origins })
    }

    /// Tells whether nobody on the way reads what is sent to any of the origins.
    pub(crate) fn is_secure(&self) -> bool {
        self.origins.iter().all(|origin| origin.secure)
    }

    /// Tells whether a token may go to `url`.
    pub fn allows(&self, url: &Url) -> bool {
        Origin::of(url).is_some_and(|origin| self.origins.contains(&origin))
    }

    /// Checks that a token may go to `url`.
    ///
    /// *Errors*: [`ErrorKind::OriginRefused`].
    pub fn check(&self, url: &Url) -> Result<()> {
        if self.allows(url) {
            return Ok(());
        }
        Err(refused(
            url,
            "is not one of the origins allowed to see a token",
        ))
    }

    /// Checks that a request without a token may go to `url`, such as a pre-authenticated download.
    ///
    /// Any https address passes; http passes on loopback when the policy itself lists one.
    ///
    /// *Errors*: [`ErrorKind::OriginRefused`].
    pub fn check_preauthenticated(&self, url: &Url) -> Result<()> {
        match Origin::of(url) {
            Some(origin) if origin.secure || self.origins.iter().any(|o| !o.secure) => Ok(()),
            _ => Err(refused(
                url,
                "is neither https nor a known loopback address",
            )),
        }
    }
}

impl Origin {
    /// Returns the origin of a URL whose traffic cannot be read on the way.
    fn of(url: &Url) -> Option<Self> {
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        let host = url.host()?.to_owned();
        let secure = match url.scheme() {
            "https" => true,
            "http" if is_loopback(&host) => false,
            _ => return None,
        };
        let port = url.port_or_known_default()?;
        Some(Self { secure, host, port })
    }
}

fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn refused(url: &Url, cause: &str) -> Error {
    let text = crate::redact::url(url);
    Error::new(
        ErrorKind::OriginRefused,
        format!("the address {text} {cause}"),
    )
}

impl fmt::Debug for OriginPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for origin in &self.origins {
            let scheme = if origin.secure { "https" } else { "http" };
            list.entry(&format_args!("{scheme}://{}:{}", origin.host, origin.port));
        }
        list.finish()
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::OriginPolicy;

    fn policy() -> OriginPolicy {
        let graph = Url::parse("https://graph.microsoft.com/v1.0").unwrap();
        let local = Url::parse("http://127.0.0.1:8080").unwrap();
        let six = Url::parse("https://[2001:db8::1]:8443").unwrap();
        OriginPolicy::new([&graph, &local, &six]).unwrap()
    }

    #[test]
    fn exact_origins_pass() {
        for url in [
            "https://graph.microsoft.com/v1.0/users",
            "https://GRAPH.Microsoft.com:443/anything",
            "http://127.0.0.1:8080/x",
            "https://[2001:DB8:0::1]:8443/",
        ] {
            assert!(policy().allows(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[test]
    fn look_alikes_are_refused() {
        for url in [
            "http://graph.microsoft.com/",
            "https://graph.microsoft.com:444/",
            "https://graph.microsoft.com./",
            "https://graph.microsoft.com.evil.example/",
            "https://graph.microsoft.com@evil.example/",
            "https://user@graph.microsoft.com/",
            "https://:pass@graph.microsoft.com/",
            "https://evil.example/?https://graph.microsoft.com/",
            "https://evil.example\\@graph.microsoft.com/",
            "ftp://graph.microsoft.com/",
            "https://[2001:db8::2]:8443/",
            "http://127.0.0.1:8081/",
            "http://127.0.0.2:8080/",
            "https://127.0.0.1:8080/",
            "data:text/plain,graph.microsoft.com",
        ] {
            assert!(!policy().allows(&Url::parse(url).unwrap()), "{url}");
        }
    }

    #[test]
    fn plain_http_is_for_loopback_only() {
        let url = Url::parse("http://graph.microsoft.com").unwrap();
        assert!(OriginPolicy::new([&url]).is_err());
    }

    #[test]
    fn a_policy_without_loopback_refuses_plain_preauthenticated_addresses() {
        let graph = Url::parse("https://graph.microsoft.com").unwrap();
        let strict = OriginPolicy::new([&graph]).unwrap();
        let local = Url::parse("http://localhost:9/file").unwrap();
        let other = Url::parse("https://contoso.sharepoint.example/file?t=1").unwrap();
        assert!(strict.check_preauthenticated(&local).is_err());
        assert!(strict.check_preauthenticated(&other).is_ok());
        assert!(policy().check_preauthenticated(&local).is_ok());
    }
}
