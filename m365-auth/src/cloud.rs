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
pub struct Cloud {
    /// The name used in configuration, such as `global`.
    pub name: String,
    /// The root under which the tenant's token endpoint stands.
    pub authority: Url,
    /// The root of Microsoft Graph, without the version.
    pub graph: Url,
    /// The full EWS endpoint.
    pub ews: Url,
}

impl Cloud {
    /// The worldwide cloud, GCC included.
    pub fn global() -> Self {
        Self::known(
            "global",
            "https://login.microsoftonline.com",
            "https://graph.microsoft.com",
            "https://outlook.office365.com/EWS/Exchange.asmx",
        )
    }

    /// US Government L4 (GCC High).
    pub fn us_gov_l4() -> Self {
        Self::known(
            "us-gov-l4",
            "https://login.microsoftonline.us",
            "https://graph.microsoft.us",
            "https://outlook.office365.us/EWS/Exchange.asmx",
        )
    }

    /// US Government L5 (DoD).
    pub fn us_gov_l5() -> Self {
        Self::known(
            "us-gov-l5",
            "https://login.microsoftonline.us",
            "https://dod-graph.microsoft.us",
            "https://outlook-dod.office365.us/EWS/Exchange.asmx",
        )
    }

    /// China, operated by 21Vianet.
    pub fn china() -> Self {
        Self::known(
            "china",
            "https://login.partner.microsoftonline.cn",
            "https://microsoftgraph.chinacloudapi.cn",
            "https://partner.outlook.cn/EWS/Exchange.asmx",
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
        let cloud = Self {
            name: name.to_owned(),
            authority: parse("authority", authority)?,
            graph: parse("graph", graph)?,
            ews: parse("ews", ews)?,
        };
        OriginPolicy::new([&cloud.authority, &cloud.graph, &cloud.ews])?;
        Ok(cloud)
    }

    /// Returns the audience of tokens for Microsoft Graph.
    pub fn graph_audience(&self) -> Audience {
        Audience::new(self.graph.origin().ascii_serialization())
    }

    /// Returns the audience of tokens for EWS.
    pub fn ews_audience(&self) -> Audience {
        Audience::new(self.ews.origin().ascii_serialization())
    }

    #[allow(
        clippy::expect_used,
        reason = "literals of this file, parsed by a test"
    )]
    fn known(name: &str, authority: &str, graph: &str, ews: &str) -> Self {
        Self::from_record(name, authority, graph, ews).expect("literals of this file are urls")
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
    fn a_plain_http_cloud_is_refused() {
        let http = "http://graph.contoso.example";
        let https = "https://login.contoso.example";
        assert!(Cloud::from_record("x", https, http, https).is_err());
    }
}
