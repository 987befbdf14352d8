//! Config: one backup set per TOML file, read strictly, with errors that name the line.

mod diagnose;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use crate::failure::{Failure, Result};

pub(crate) use diagnose::nearest;

/// The example that `init --write-config` writes; a test reads it back.
pub(crate) const EXAMPLE: &str = include_str!("config/example.toml");

/// One backup set: what is backed up, from which tenant, to which store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) store: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) passphrase: Option<SecretSource>,
    pub(crate) tenant: Tenant,
    #[serde(default)]
    pub(crate) selection: Selection,
    #[serde(default)]
    pub(crate) parallelism: Parallelism,
    #[serde(default)]
    pub(crate) sync_check: SyncCheck,
    #[serde(default)]
    pub(crate) retention: Retention,
}

/// Which snapshots are kept; without any rule all are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Retention {
    pub(crate) keep_last: u32,
    pub(crate) keep_within_days: u32,
    pub(crate) hourly: u32,
    pub(crate) daily: u32,
    pub(crate) weekly: u32,
    pub(crate) monthly: u32,
    pub(crate) yearly: u32,
    /// Snapshots that are kept whatever the rules say, by id or its first digits.
    pub(crate) pins: Vec<String>,
    /// Owners, or resources, of whom every snapshot is kept.
    pub(crate) hold: Vec<String>,
}

/// Which tenant, and as whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: SecretSource,
    #[serde(default)]
    pub(crate) cloud: CloudChoice,
}

/// Where a secret is read from; never the secret itself.
///
/// *Shape*: a table with exactly one key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) enum SecretSource {
    File(PathBuf),
    Command(String),
    Env(String),
}

/// A cloud by name, or by the addresses of its servers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum CloudChoice {
    Named(String),
    Custom(Box<CustomCloud>),
}

/// The servers of a cloud that has no name here; a simulated one, for instance.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct CustomCloud {
    pub(crate) login: Url,
    pub(crate) graph: Url,
    pub(crate) ews: Url,
}

/// Whose data, and what of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Selection {
    pub(crate) users: Users,
    pub(crate) exclude: Vec<String>,
    pub(crate) services: Vec<String>,
}

/// Everyone, or the named ones.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Users {
    Word(String),
    Chosen(Vec<String>),
}

/// How much at once.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Parallelism {
    pub(crate) resources: usize,
    pub(crate) requests_per_resource: usize,
}

/// How often the Data Synchronization Check is made.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct SyncCheck {
    /// Days from one check to the next; 0 disables it.
    pub(crate) interval_days: u32,
}

impl Default for SyncCheck {
    fn default() -> Self {
        Self { interval_days: 60 }
    }
}

impl Default for CloudChoice {
    fn default() -> Self {
        Self::Named("global".to_owned())
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            users: Users::Word("all".to_owned()),
            exclude: Vec::new(),
            services: vec!["outlook".to_owned(), "onedrive".to_owned()],
        }
    }
}

impl Default for Parallelism {
    fn default() -> Self {
        Self {
            resources: 8,
            requests_per_resource: 4,
        }
    }
}

impl Config {
    /// Reads the config in `path`; relative paths in it start at its folder.
    ///
    /// *Errors*: a usage failure that names the file, the line and what was expected there.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
        let mut config = Self::parse(&text, &path.display().to_string())?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for place in [&mut config.store, &mut config.state].into_iter().flatten() {
            *place = folder.join(&*place);
        }
        for source in [
            config.passphrase.as_mut(),
            Some(&mut config.tenant.client_secret),
        ] {
            if let Some(SecretSource::File(file)) = source {
                *file = folder.join(&*file);
            }
        }
        Ok(config)
    }

    /// Understands the text of a config; `name` is what errors call it.
    pub(crate) fn parse(text: &str, name: &str) -> Result<Self> {
        let config: Self =
            toml::from_str(text).map_err(|error| diagnose::explain(text, name, &error))?;
        config.validate(name)?;
        Ok(config)
    }

    fn validate(&self, name: &str) -> Result<()> {
        let wrong = |what: &str, next: &str| {
            Err(Failure::usage(format!("the config {name} {what}")).next(next))
        };
        if self.name.trim().is_empty() {
            return wrong("has an empty `name`", "give the backup set a name");
        }
        if matches!(&self.selection.users, Users::Word(word) if word != "all") {
            return wrong(
                "has a `selection.users` that is neither \"all\" nor a list",
                "write users = \"all\", or users = [\"ada@contoso.example\"]",
            );
        }
        let Parallelism {
            resources,
            requests_per_resource,
        } = self.parallelism;
        if !(1..=RESOURCES_MAX).contains(&resources)
            || !(1..=REQUESTS_MAX).contains(&requests_per_resource)
        {
            return wrong(
                "has a `parallelism` that is out of range",
                "take 1 to 256 resources, and 1 to 16 requests for each",
            );
        }
        Ok(())
    }
}

/// More mailboxes at once bring nothing: the tenant's own limits come first.
const RESOURCES_MAX: usize = 256;

/// The service allows four requests at once for a mailbox; drives take more.
const REQUESTS_MAX: usize = 16;

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    let failure = Failure::usage(format!("cannot read the config {}", path.display()));
    let next = if error.kind() == std::io::ErrorKind::NotFound {
        "check the path, or write one with: m365-backup init --write-config FILE"
    } else {
        "give the account that runs this program access to it"
    };
    failure.because(error).next(next)
}

#[cfg(test)]
mod tests {
    use super::{CloudChoice, Config, EXAMPLE, SecretSource, Users};

    fn check(text: &str, expected: &str) {
        let failure = Config::parse(text, "set.toml").unwrap_err();
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn the_example_is_a_config() {
        let config = Config::parse(EXAMPLE, "example").unwrap();
        assert_eq!(config.name, "contoso");
        assert_eq!(config.selection.users, Users::Word("all".to_owned()));
        let source = SecretSource::Env("M365_BACKUP_CLIENT_SECRET".to_owned());
        assert_eq!(config.tenant.client_secret, source);
    }

    #[test]
    fn every_commented_line_of_the_example_is_valid_too() {
        for line in EXAMPLE.lines() {
            let Some(setting) = line.strip_prefix("# ").filter(|text| text.contains(" = ")) else {
                continue;
            };
            toml::from_str::<toml::Table>(setting)
                .unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn a_custom_cloud_is_three_addresses() {
        let text = EXAMPLE.replace(
            "# cloud = \"global\"",
            "cloud = { login = 'http://127.0.0.1:1', graph = 'http://127.0.0.1:2', \
             ews = 'http://127.0.0.1:3/EWS/Exchange.asmx' }",
        );
        let config = Config::parse(&text, "set.toml").unwrap();
        assert!(matches!(config.tenant.cloud, CloudChoice::Custom(_)));
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
        check(
            "name = 'a'\nstroe = '/x'\n[tenant]\nid = 'a'\nclient-id = 'b'\n\
             client-secret = { env = 'C' }\n",
            "the config set.toml cannot be understood\n  cause: line 2: unknown field `stroe`\n  \
             next:  did you mean `store`?",
        );
    }

    #[test]
    fn a_missing_key_is_named() {
        check(
            "name = 'a'\n[tenant]\nid = 'a'\nclient-id = 'b'\n",
            "the config set.toml cannot be understood\n  cause: line 2: missing field \
             `client-secret`\n  next:  compare with the example: m365-backup init --write-config \
             FILE",
        );
    }

    #[test]
    fn users_are_all_or_a_list() {
        let text = EXAMPLE.replace("users = \"all\"", "users = \"everyone\"");
        check(
            &text,
            "the config set.toml has a `selection.users` that is neither \"all\" nor a list\n  \
             next:  write users = \"all\", or users = [\"ada@contoso.example\"]",
        );
    }
}
