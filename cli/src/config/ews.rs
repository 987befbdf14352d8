//! Config of Exchange Web Services: at which address, and how one signs in there.

use m365_auth::Cloud;
use serde::Deserialize;
use url::Url;

use super::SecretSource;
use super::tenant::CUSTOM;

/// How one signs in to Exchange Web Services.
#[derive(Debug)]
pub(crate) enum EwsSignIn {
    /// As to everything else.
    Token,
    /// With an account of a server on premises.
    Password {
        user: String,
        password: SecretSource,
    },
}

/// Exchange Web Services elsewhere than in the cloud, as it is written.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Ews {
    endpoint: Option<Url>,
    sign_in: EwsSignIn,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    endpoint: Option<Url>,
    authentication: Option<String>,
    user: Option<String>,
    password: Option<SecretSource>,
}

impl TryFrom<Written> for Ews {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let way = written.authentication.as_deref().unwrap_or("oauth");
        let sign_in = match (way, written.user, written.password) {
            ("oauth", None, None) => EwsSignIn::Token,
            ("basic", Some(user), Some(password)) => EwsSignIn::Password { user, password },
            ("oauth", ..) => {
                return Err(
                    "ews has `user` or `password` without `authentication = \"basic\"`: \
                            add it, or leave them out"
                        .to_owned(),
                );
            }
            ("basic", ..) => {
                return Err(
                    "ews authentication \"basic\" needs both `user` and `password`".to_owned(),
                );
            }
            ("ntlm" | "negotiate" | "kerberos", ..) => {
                return Err(format!(
                    "ews authentication \"{way}\" is not supported: turn on hybrid modern \
                     authentication at the server and take \"oauth\", or let it take \"basic\" \
                     over TLS from this machine"
                ));
            }
            _ => {
                return Err(format!(
                    "unknown ews authentication \"{way}\": choose \"oauth\" or \"basic\""
                ));
            }
        };
        Ok(Self {
            endpoint: written.endpoint,
            sign_in,
        })
    }
}

impl Ews {
    /// Puts the address into the cloud, and returns how one signs in there.
    pub(super) fn put_into(self, cloud: &mut Cloud) -> Result<EwsSignIn, String> {
        let is_own = self.endpoint.is_some() || cloud.name == CUSTOM;
        if let Some(endpoint) = self.endpoint {
            let (name, login, graph) = (&cloud.name, &cloud.authority, &cloud.graph);
            Cloud::from_urls(name, login.clone(), graph.clone(), endpoint.clone())
                .map_err(|error| error.to_string())?;
            cloud.ews = endpoint;
        }
        if let EwsSignIn::Password { .. } = self.sign_in {
            if !is_own {
                return Err(
                    "Exchange Online takes no passwords: name the address of a server on \
                            premises in ews `endpoint`, or take \"oauth\""
                        .to_owned(),
                );
            }
            if cloud.ews.scheme() != "https" {
                return Err(
                    "ews authentication \"basic\" sends the password with every call: its \
                            address must be https"
                        .to_owned(),
                );
            }
        }
        Ok(self.sign_in)
    }
}
