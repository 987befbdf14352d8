//! Clouds: where sign-in, Graph and Exchange live; a record, so that a new cloud needs no new code.

use url::Url;

use crate::error::{Error, ErrorKind, Result};
use crate::origin::OriginPolicy;
use crate::token::Audience;

/// Names the addresses of one Microsoft cloud.
///
/// *Source*: the national-cloud deployment pages of Microsoft Graph and of the identity platform
/// (2025-01); the Exchange addresses are the commonly used ones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cloud {
    /// The name used in configuration, such as `global`.
    pub name: String,
    /// The root under which the tenant's token endpoint stands.
    pub authority: Url,
    /// The root of Microsoft Graph, without the version.
    pub graph: Url,
    /// The full EWS endpoint.
    pub ews: Url,
    /// The domains below which the tenants' SharePoint hosts lie, such as `sharepoint.com`.
    pub sharepoint_domains: Vec<String>,
}

impl Cloud {
    /// The worldwide cloud, GCC included.
    pub fn global() -> Self {
        Self::known(
            "global",
            "https://login.microsoftonline.com",
            "https://graph.microsoft.com",
            "https://outlook.office365.com/EWS/Exchange.asmx",
            "sharepoint.com",
        )
    }

    /// US Government L4 (GCC High).
    pub fn us_gov_l4() -> Self {
        Self::known(
            "us-gov-l4",
            "https://login.microsoftonline.us",
            "https://graph.microsoft.us",
            "https://outlook.office365.us/EWS/Exchange.asmx",
            "sharepoint.us",
        )
    }

    /// US Government L5 (DoD).
    pub fn us_gov_l5() -> Self {
        Self::known(
            "us-gov-l5",
            "https://login.microsoftonline.us",
            "https://dod-graph.microsoft.us",
            "https://outlook-dod.office365.us/EWS/Exchange.asmx",
            "sharepoint-mil.us",
        )
    }

    /// China, operated by 21Vianet.
    pub fn china() -> Self {
        Self::known(
            "china",
            "https://login.partner.microsoftonline.cn",
            "https://microsoftgraph.chinacloudapi.cn",
            "https://partner.outlook.cn/EWS/Exchange.asmx",
            "sharepoint.cn",
        )
    }

    /// Returns the cloud of that name, if it is one of those above.
    pub fn by_name(name: &str) -> Option<Self> {
        [
            Self::global(),
            Self::us_gov_l4(),
            Self::us_gov_l5(),
            Self::china(),
        ]
        .into_iter()
        .find(|cloud| cloud.name.eq_ignore_ascii_case(name))
    }

    /// Builds a cloud from its addresses.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for an address that is not a URL, or that is neither
    /// https nor http on loopback.
    pub fn from_record(name: &str, authority: &str, graph: &str, ews: &str) -> Result<Self> {
        let parse = |what: &str, text: &str| {
            Url::parse(text).map_err(|cause| {
                let message = format!("the {what} address of cloud {name} is not a url");
                Error::new(ErrorKind::Configuration, message).with_source(cause)
            })
        };
        let (authority, graph) = (parse("authority", authority)?, parse("graph", graph)?);
        Self::from_urls(name, authority, graph, parse("ews", ews)?)
    }

    /// Builds a cloud from addresses that are URLs already; it has no SharePoint domain yet.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for an address that is neither https nor http on
    /// loopback.
    pub fn from_urls(name: &str, authority: Url, graph: Url, ews: Url) -> Result<Self> {
        OriginPolicy::new([&authority, &graph, &ews])?;
        Ok(Self {
            name: name.to_owned(),
            authority,
            graph,
            ews,
            sharepoint_domains: Vec::new(),
        })
    }

    /// Adds a domain below which SharePoint hosts lie.
    #[must_use]
    pub fn with_sharepoint_domain(mut self, domain: impl Into<String>) -> Self {
        self.sharepoint_domains.push(domain.into());
        self
    }

    /// Returns the audience of tokens for Microsoft Graph.
    pub fn graph_audience(&self) -> Audience {
        Audience::new(self.graph.origin().ascii_serialization())
    }

    /// Returns the audience of tokens for EWS.
    pub fn ews_audience(&self) -> Audience {
        Audience::new(self.ews.origin().ascii_serialization())
    }

    /// Returns the audience of tokens for the SharePoint host of `site`, a tenant's own.
    ///
    /// *Errors*: [`ErrorKind::OriginRefused`] for a host that is not one of this cloud's, or an
    /// address that is neither https nor http on loopback: a token for it would be a token for a
    /// stranger.
    pub fn sharepoint_audience(&self, site: &Url) -> Result<Audience> {
        OriginPolicy::new([site])
            .ok()
            .and(site.host_str())
            .filter(|host| {
                self.sharepoint_domains.iter().any(|domain| {
                    host.eq_ignore_ascii_case(domain)
                        || host
                            .strip_suffix(domain.as_str())
                            .is_some_and(|rest| rest.ends_with('.'))
                })
            })
            .map(|_| Audience::new(site.origin().ascii_serialization()))
            .ok_or_else(|| {
                let address = crate::redact::url(site);
                let message = format!(
                    "the address {address} is not a sharepoint host of cloud {}",
                    self.name
                );
                Error::new(ErrorKind::OriginRefused, message)
            })
    }

    #[allow(
        clippy::expect_used,
        reason = "literals of this file, parsed by a test"
    )]
    fn known(name: &str, authority: &str, graph: &str, ews: &str, sharepoint: &str) -> Self {
        Self::from_record(name, authority, graph, ews)
            .expect("literals of this file are urls")
            .with_sharepoint_domain(sharepoint)
    }
}

#[cfg(test)]
mod tests {
    use super::Cloud;

    #[test]
    fn every_known_cloud_is_found_by_name() {
        for cloud in [
            Cloud::global(),
            Cloud::us_gov_l4(),
            Cloud::us_gov_l5(),
            Cloud::china(),
        ] {
            assert_eq!(Cloud::by_name(&cloud.name.to_uppercase()), Some(cloud));
        }
        assert_eq!(Cloud::by_name("germany"), None);
    }

    #[test]
    fn audiences_are_origins() {
        let cloud = Cloud::global();
        assert_eq!(
            cloud.graph_audience().as_str(),
            "https://graph.microsoft.com"
        );
        assert_eq!(
            cloud.ews_audience().as_str(),
            "https://outlook.office365.com"
        );
    }

    #[test]
    fn sharepoint_tokens_are_for_hosts_of_the_cloud_only() {
        let audience = |text: &str| {
            let url = url::Url::parse(text).unwrap();
            Cloud::global()
                .sharepoint_audience(&url)
                .map(|audience| audience.to_string())
                .ok()
        };
        let good = "https://contoso.sharepoint.com";
        assert_eq!(
            audience(&format!("{good}/sites/a?x=1")).as_deref(),
            Some(good)
        );
        for bad in [
            "https://contoso.sharepoint.com.evil.example/",
            "https://evilsharepoint.com/",
            "http://contoso.sharepoint.com/",
            "https://user@contoso.sharepoint.com/",
            "https://contoso.sharepoint.us/",
        ] {
            assert_eq!(audience(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_plain_http_cloud_is_refused() {
        let http = "http://graph.contoso.example";
        let https = "https://login.contoso.example";
        assert!(Cloud::from_record("x", https, http, https).is_err());
    }
}
