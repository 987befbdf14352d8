//! Config of the tenant: which one, in which cloud, and as whom the program signs in.

use std::path::{Path, PathBuf};

use m365_auth::Cloud;
use serde::Deserialize;
use toml::value::Datetime;
use url::Url;

use super::SecretSource;
use super::ews::{Ews, EwsSignIn};
use super::shape::WordOr;

/// Which tenant, where it lives, and as whom it is read and written.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) cloud: Cloud,
    /// How one signs in to Exchange Web Services, where the config names a server of its own.
    pub(crate) ews: Option<EwsSignIn>,
    /// The tenant's own SharePoint host, where it is to be spoken to.
    pub(crate) sharepoint: Option<Url>,
    pub(crate) app: App,
    /// The app that restores, where it is another one.
    pub(crate) restore: Option<App>,
}

/// One app registration, or identity of the machine, and how it proves itself.
#[derive(Debug)]
pub(crate) struct App {
    /// The app's id; a managed identity that belongs to the machine has none.
    pub(crate) client_id: Option<String>,
    pub(crate) credential: CredentialChoice,
    pub(crate) person: Option<Person>,
}

/// By what an app proves that it is itself.
#[derive(Debug)]
pub(crate) enum CredentialChoice {
    Secret {
        source: SecretSource,
        /// The day on which it ends, as the portal shows it.
        expires: Option<Datetime>,
    },
    Certificate {
        certificate: PathBuf,
        key: Option<PathBuf>,
        password: Option<SecretSource>,
    },
    /// A file with the token of another platform that vouches for this program.
    Federated(PathBuf),
    Machine(Machine),
    /// None: a person signs in, to an app that keeps no secrets.
    Public,
}

/// Which platform gives the tokens of a managed identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Machine {
    VirtualMachine,
    AppService,
}

/// A person in whose name the app acts, after `auth login`.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) account: String,
    /// Where the sign-in is kept; in the state folder by default.
    pub(crate) token_file: Option<PathBuf>,
    /// What it is encrypted with; a key file beside it by default.
    pub(crate) token_key: Option<SecretSource>,
}

/// The table as it is written; the one for restores lies in it and has the same shape.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    id: Option<String>,
    cloud: Option<CloudChoice>,
    ews: Option<Ews>,
    sharepoint: Option<Url>,
    client_id: Option<String>,
    client_secret: Option<SecretSource>,
    client_secret_expires: Option<Datetime>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    client_certificate_password: Option<SecretSource>,
    federated_token_file: Option<PathBuf>,
    managed_identity: Option<Machine>,
    sign_in_as: Option<String>,
    token_file: Option<PathBuf>,
    token_key: Option<SecretSource>,
    restore: Option<Box<Self>>,
}

/// A cloud by name, or by the addresses of its servers.
#[derive(Debug, Deserialize)]
#[serde(try_from = "WordOr<CustomCloud>")]
struct CloudChoice(Cloud);

/// The servers of a cloud that has no name here; a simulated one, for instance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct CustomCloud {
    login: Url,
    graph: Url,
    ews: Url,
    /// Domains below which SharePoint hosts lie.
    #[serde(default)]
    sharepoint: Vec<String>,
}

impl TryFrom<WordOr<CustomCloud>> for CloudChoice {
    type Error = String;

    fn try_from(choice: WordOr<CustomCloud>) -> Result<Self, String> {
        let custom = match choice {
            WordOr::Word(name) => {
                return Cloud::by_name(&name).map(Self).ok_or_else(|| {
                    format!(
                        "unknown cloud \"{name}\": choose global, us-gov-l4, us-gov-l5 or china; \
                         or give login, graph and ews"
                    )
                });
            }
            WordOr::Table(custom) => custom,
        };
        let cloud = Cloud::from_urls(CUSTOM, custom.login, custom.graph, custom.ews)
            .map_err(|error| error.to_string())?;
        let domains = custom.sharepoint.into_iter();
        Ok(Self(domains.fold(cloud, Cloud::with_sharepoint_domain)))
    }
}

impl TryFrom<Written> for Tenant {
    type Error = String;

    fn try_from(mut written: Written) -> Result<Self, String> {
        let id = written.id.take().ok_or("missing field `id`")?;
        let mut cloud = written
            .cloud
            .take()
            .map_or_else(Cloud::global, |choice| choice.0);
        let ews = match written.ews.take() {
            Some(ews) => Some(ews.put_into(&mut cloud)?),
            None => (cloud.name == CUSTOM).then_some(EwsSignIn::Token),
        };
        let sharepoint = written.sharepoint.take();
        if let Some(site) = &sharepoint {
            cloud
                .sharepoint_audience(site)
                .map_err(|error| error.to_string())?;
        }
        let restore = written
            .restore
            .take()
            .map(|restore| restore.app_for_restores());
        Ok(Self {
            id,
            cloud,
            ews,
            sharepoint,
            restore: restore.transpose()?,
            app: written.app()?,
        })
    }
}

/// The name of a cloud that is described by its addresses.
pub(super) const CUSTOM: &str = "custom";

impl Written {
    fn app_for_restores(self) -> Result<App, String> {
        let elsewhere = [
            ("id", self.id.is_some()),
            ("cloud", self.cloud.is_some()),
            ("ews", self.ews.is_some()),
            ("sharepoint", self.sharepoint.is_some()),
            ("restore", self.restore.is_some()),
        ];
        match elsewhere.into_iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!(
                "`{key}` stands in [tenant] only, not in [tenant.restore]"
            )),
            None => self.app(),
        }
    }

    /// Refuses what contradicts itself.
    fn check(&self) -> Result<(), String> {
        let kinds = [
            ("client-secret", self.client_secret.is_some()),
            ("client-certificate", self.client_certificate.is_some()),
            ("federated-token-file", self.federated_token_file.is_some()),
            ("managed-identity", self.managed_identity.is_some()),
        ];
        let given: Vec<&str> = kinds
            .iter()
            .filter(|kind| kind.1)
            .map(|kind| kind.0)
            .collect();
        if let [one, other, ..] = given[..] {
            return Err(format!(
                "both `{one}` and `{other}` are given: leave one out"
            ));
        }
        for (key, is_given, needed, is_there) in [
            (
                "client-key",
                self.client_key.is_some(),
                "client-certificate",
                self.client_certificate.is_some(),
            ),
            (
                "client-certificate-password",
                self.client_certificate_password.is_some(),
                "client-certificate",
                self.client_certificate.is_some(),
            ),
            (
                "client-secret-expires",
                self.client_secret_expires.is_some(),
                "client-secret",
                self.client_secret.is_some(),
            ),
            (
                "token-file",
                self.token_file.is_some(),
                "sign-in-as",
                self.sign_in_as.is_some(),
            ),
            (
                "token-key",
                self.token_key.is_some(),
                "sign-in-as",
                self.sign_in_as.is_some(),
            ),
        ] {
            if is_given && !is_there {
                return Err(format!("`{key}` is given without `{needed}`"));
            }
        }
        if self.managed_identity.is_some() && self.sign_in_as.is_some() {
            return Err("a managed identity signs in by itself: leave `sign-in-as` out".into());
        }
        if self.client_id.is_none() && self.managed_identity.is_none() {
            return Err("missing field `client-id`".into());
        }
        Ok(())
    }

    fn app(self) -> Result<App, String> {
        self.check()?;
        let credential = if let Some(source) = self.client_secret {
            CredentialChoice::Secret {
                source,
                expires: self.client_secret_expires,
            }
        } else if let Some(certificate) = self.client_certificate {
            let (key, password) = (self.client_key, self.client_certificate_password);
            CredentialChoice::Certificate {
                certificate,
                key,
                password,
            }
        } else if let Some(file) = self.federated_token_file {
            CredentialChoice::Federated(file)
        } else if let Some(machine) = self.managed_identity {
            CredentialChoice::Machine(machine)
        } else if self.sign_in_as.is_some() {
            CredentialChoice::Public
        } else {
            return Err(
                "no credential is given: set `client-secret` or `client-certificate` or \
                        `federated-token-file` or `managed-identity` or `sign-in-as`"
                    .into(),
            );
        };
        let (token_file, token_key) = (self.token_file, self.token_key);
        let person = self.sign_in_as.map(|account| Person {
            account,
            token_file,
            token_key,
        });
        Ok(App {
            client_id: self.client_id,
            credential,
            person,
        })
    }
}

impl Tenant {
    /// Lets relative paths start at `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        for app in [Some(&mut self.app), self.restore.as_mut()]
            .into_iter()
            .flatten()
        {
            app.resolve(folder);
        }
        if let Some(EwsSignIn::Password { password, .. }) = &mut self.ews {
            password.resolve(folder);
        }
    }
}

impl App {
    fn resolve(&mut self, folder: &Path) {
        let join = |path: &mut PathBuf| *path = folder.join(&*path);
        match &mut self.credential {
            CredentialChoice::Secret { source, .. } => source.resolve(folder),
            CredentialChoice::Certificate {
                certificate,
                key,
                password,
            } => {
                join(certificate);
                key.iter_mut().for_each(join);
                password
                    .iter_mut()
                    .for_each(|source| source.resolve(folder));
            }
            CredentialChoice::Federated(file) => join(file),
            CredentialChoice::Machine(_) | CredentialChoice::Public => {}
        }
        if let Some(person) = &mut self.person {
            person.token_file.iter_mut().for_each(join);
            person
                .token_key
                .iter_mut()
                .for_each(|source| source.resolve(folder));
        }
    }
}
