//! Urls: the five addresses under which a tenant answers.

use std::io;

use http::uri::Authority;
use url::Url;

/// The five addresses of a tenant; every absolute URL in its answers begins with one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Urls {
    /// The identity platform, without the tenant.
    pub login: Url,
    /// Microsoft Graph, without the version.
    pub graph: Url,
    /// The whole endpoint of Exchange Web Services.
    pub ews: Url,
    /// The second origin, which serves content and takes uploads, and refuses `Authorization`.
    pub content: Url,
    /// The SharePoint host of the tenant, below which its sites lie.
    pub sharepoint: Url,
}

/// Which of the five services a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Login,
    Graph,
    Ews,
    Content,
    SharePoint,
}

impl Urls {
    /// Returns the addresses of a tenant that is called in process; nothing resolves them.
    pub(crate) fn in_process() -> Self {
        Self::from_texts([
            "https://login.contoso.example/",
            "https://graph.contoso.example/",
            "https://outlook.contoso.example/EWS/Exchange.asmx",
            "https://content.contoso.example/",
            "https://contoso.sharepoint.example/",
        ])
        .unwrap_or_else(|_| unreachable!("the addresses above are well formed"))
    }

    /// Returns the names that the worldwide cloud has, for programs that can be pointed nowhere else.
    pub(crate) fn global() -> Self {
        Self::from_texts([
            "https://login.microsoftonline.com/",
            "https://graph.microsoft.com/",
            "https://outlook.office365.com/EWS/Exchange.asmx",
            "https://contoso-my.sharepoint.com/",
            "https://contoso.sharepoint.com/",
        ])
        .unwrap_or_else(|_| unreachable!("the addresses above are well formed"))
    }

    /// Returns the same addresses, but for the one service whose host the request names otherwise.
    ///
    /// *Source*: what clients behind a proxy need: absolute addresses follow `Host` and `X-Forwarded-Proto`.
    pub(crate) fn followed(&self, door: Door, authority: &Authority, scheme: &str) -> Self {
        let mut urls = self.clone();
        let url = match door {
            Door::Login => &mut urls.login,
            Door::Graph => &mut urls.graph,
            Door::Ews => &mut urls.ews,
            Door::Content => &mut urls.content,
            Door::SharePoint => &mut urls.sharepoint,
        };
        let text = format!("{scheme}://{authority}{}", url.path());
        // A name that is no address cannot be spoken of; the own one stays.
        if let Ok(named) = Url::parse(&text) {
            *url = named;
        }
        urls
    }

    /// Returns the addresses of five loopback ports, in the order of the fields.
    ///
    /// *Errors*: of kind `InvalidInput`, when an address is not a URL.
    pub(crate) fn from_texts(texts: [&str; 5]) -> io::Result<Self> {
        let parse = |text: &str| {
            Url::parse(text).map_err(|cause| io::Error::new(io::ErrorKind::InvalidInput, cause))
        };
        Ok(Self {
            login: parse(texts[0])?,
            graph: parse(texts[1])?,
            ews: parse(texts[2])?,
            content: parse(texts[3])?,
            sharepoint: parse(texts[4])?,
        })
    }

    /// Finds the service that answers at `host` and `port` of a request.
    pub(crate) fn door(&self, host: &str, port: Option<u16>) -> Option<Door> {
        let answers = |url: &Url| {
            url.host_str()
                .is_some_and(|own| own.eq_ignore_ascii_case(host))
                && port.or_else(|| default_port(url)) == url.port_or_known_default()
        };
        [
            (&self.login, Door::Login),
            (&self.graph, Door::Graph),
            (&self.ews, Door::Ews),
            (&self.content, Door::Content),
            (&self.sharepoint, Door::SharePoint),
        ]
        .into_iter()
        .find_map(|(url, door)| answers(url).then_some(door))
    }
}

fn default_port(url: &Url) -> Option<u16> {
    match url.scheme() {
        "http" => Some(80),
        _ => Some(443),
    }
}
