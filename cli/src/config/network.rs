//! Config of the network: through which proxy, and whose certificates are trusted.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::SecretSource;
use super::shape::WordOr;

/// How the services are reached.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Network {
    pub(crate) proxy: ProxyChoice,
    /// Further root certificates, a PEM file of one or more.
    pub(crate) ca_file: Option<PathBuf>,
}

/// The proxy: the system's, none, or the one described.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "WordOr<ProxyServer>")]
pub(crate) enum ProxyChoice {
    #[default]
    System,
    Direct,
    Server(Box<ProxyServer>),
}

/// One proxy for every request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProxyServer {
    /// Its address: http, https, socks5 or socks5h.
    pub(crate) url: url::Url,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<SecretSource>,
    /// Hosts that are reached without it.
    #[serde(default)]
    pub(crate) bypass: Vec<String>,
}

impl TryFrom<WordOr<ProxyServer>> for ProxyChoice {
    type Error = String;

    fn try_from(choice: WordOr<ProxyServer>) -> Result<Self, String> {
        let server = match choice {
            WordOr::Word(word) => {
                return match word.as_str() {
                    "system" => Ok(Self::System),
                    "none" => Ok(Self::Direct),
                    // Not repeated: it may be an address with a password.
                    _ => Err("unknown proxy: write \"system\" or \"none\" or { url = … }".into()),
                };
            }
            WordOr::Table(server) => server,
        };
        if !["http", "https", "socks5", "socks5h"].contains(&server.url.scheme()) {
            return Err(
                "the address of the proxy is none of http, https, socks5 and socks5h".into(),
            );
        }
        if !server.url.username().is_empty() || server.url.password().is_some() {
            return Err(
                "the address of the proxy holds a name or a password: set `user` and \
                        `password` instead"
                    .into(),
            );
        }
        if server.user.is_some() != server.password.is_some() {
            return Err("the proxy has one of `user` and `password` without the other".into());
        }
        Ok(Self::Server(Box::new(server)))
    }
}

impl Network {
    /// Lets relative paths start at `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(file) = &mut self.ca_file {
            *file = folder.join(&*file);
        }
        if let ProxyChoice::Server(server) = &mut self.proxy
            && let Some(password) = &mut server.password
        {
            password.resolve(folder);
        }
    }
}
