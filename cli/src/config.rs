//! Config: one backup set per TOML file, read strictly, with errors that name the line.

mod diagnose;
mod ews;
mod network;
mod operation;
mod shape;
mod tenant;

use std::fs;
use std::path::{Path, PathBuf};

use backup_engine::BandwidthProfile;
use backup_store::backend::BackendPlace;
use serde::{Deserialize, Deserializer};

use crate::failure::{Failure, Result};
use crate::pins::path_beside;
use shape::WordOr;

pub(crate) use diagnose::nearest;
pub(crate) use ews::EwsSignIn;
pub(crate) use network::{Network, ProxyChoice};
pub(crate) use operation::{Alarm, Coordinator, Limits, Quota, Schedule};
pub(crate) use tenant::{App, CredentialChoice, Machine, Person, Tenant};

/// The example that `init --write-config` writes; a test reads it back.
pub(crate) const EXAMPLE: &str = include_str!("config/example.toml");

/// One backup set: what is backed up, from which tenant, to which store.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    pub(crate) name: String,
    #[serde(default, deserialize_with = "place")]
    pub(crate) store: Option<BackendPlace>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) passphrase: Option<SecretSource>,
    pub(crate) tenant: Tenant,
    /// Whether `find` keeps a plaintext cache of names and addresses on this machine.
    #[serde(default)]
    pub(crate) browse_cache: bool,
    #[serde(default)]
    pub(crate) network: Network,
    #[serde(default)]
    pub(crate) selection: Selection,
    #[serde(default)]
    pub(crate) parallelism: Parallelism,
    #[serde(default)]
    pub(crate) sync_check: SyncCheck,
    #[serde(default)]
    pub(crate) retention: Retention,
    #[serde(default)]
    pub(crate) coordinator: Coordinator,
    #[serde(default)]
    pub(crate) schedule: Schedule,
    #[serde(default)]
    pub(crate) quota: Quota,
    #[serde(default)]
    pub(crate) alarm: Alarm,
    /// Where the pins are: beside the config.
    #[serde(skip)]
    pub(crate) pins: PathBuf,
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

/// Where a secret is read from; never the secret itself.
///
/// *Shape*: a table with exactly one key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "WordOr<WrittenSource>")]
pub(crate) enum SecretSource {
    File(PathBuf),
    Command(String),
    Env(String),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum WrittenSource {
    File(PathBuf),
    Command(String),
    Env(String),
}

impl TryFrom<WordOr<WrittenSource>> for SecretSource {
    type Error = &'static str;

    fn try_from(source: WordOr<WrittenSource>) -> Result<Self, Self::Error> {
        match source {
            // Whoever wrote the secret itself here must not find it in a log too.
            WordOr::Word(_) => Err("a secret is never written here: give { file = … } or \
                                    { command = … } or { env = … }"),
            WordOr::Table(WrittenSource::File(path)) => Ok(Self::File(path)),
            WordOr::Table(WrittenSource::Command(command)) => Ok(Self::Command(command)),
            WordOr::Table(WrittenSource::Env(name)) => Ok(Self::Env(name)),
        }
    }
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
    /// Requests at once over all of them.
    pub(crate) max_parallel: Option<usize>,
    /// How much of the line is taken, from which time of the day on.
    pub(crate) bandwidth: Vec<BandwidthSpan>,
}

/// From a time of the day on, in UTC, as `08:30`, so many bytes a second; none is no limit.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct BandwidthSpan {
    pub(crate) from: String,
    pub(crate) bytes_per_second: Option<u64>,
}

impl BandwidthSpan {
    /// Reads the time as a minute of the day.
    fn minute(&self) -> Option<u16> {
        let (hour, minute) = self.from.split_once(':')?;
        let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
        (hour < 24 && minute < 60).then_some(hour * 60 + minute)
    }
}

impl Parallelism {
    /// Returns the bandwidth by the time of the day.
    pub(crate) fn bandwidth(&self) -> BandwidthProfile {
        let spans = self.bandwidth.iter();
        let spans = spans.filter_map(|span| Some((span.minute()?, span.bytes_per_second)));
        spans.fold(BandwidthProfile::free(), |profile, (minute, rate)| {
            profile.from(minute, rate)
        })
    }
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
            resources: 256,
            requests_per_resource: 4,
            max_parallel: None,
            bandwidth: Vec::new(),
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
        config.pins = path_beside(path);
        let folder = path.parent().unwrap_or(Path::new(""));
        if let Some(BackendPlace::Directory(place)) = &mut config.store {
            *place = folder.join(&*place);
        }
        if let Some(place) = &mut config.state {
            *place = folder.join(&*place);
        }
        if let Some(source) = &mut config.passphrase {
            source.resolve(folder);
        }
        config.tenant.resolve(folder);
        config.network.resolve(folder);
        config.coordinator.resolve(folder);
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
        let parallelism = &self.parallelism;
        if !(1..=RESOURCES_MAX).contains(&parallelism.resources)
            || !(1..=REQUESTS_MAX).contains(&parallelism.requests_per_resource)
            || parallelism.max_parallel == Some(0)
        {
            return wrong(
                "has a `parallelism` that is out of range",
                "take 1 to 4096 resources, and 1 to 16 requests for each",
            );
        }
        if let Some(span) = parallelism
            .bandwidth
            .iter()
            .find(|span| span.minute().is_none())
        {
            return wrong(
                &format!(
                    "has a `bandwidth` from \"{}\", which is no time of the day",
                    span.from
                ),
                "write it as \"08:30\"; it is in UTC",
            );
        }
        if !CLAIM_SECONDS.contains(&self.coordinator.claim_seconds) {
            return wrong(
                "has a `coordinator.claim-seconds` that is out of range",
                "take 2 to 3600 seconds",
            );
        }
        if self.schedule.every_hours == 0 {
            return wrong(
                "has a `schedule.every-hours` of 0",
                "take 1 or more hours, or leave it out",
            );
        }
        if !self.quota.stored.is_sound() || !self.quota.logical.is_sound() {
            return wrong(
                "has a `quota` that cannot be meant",
                "take GiB from 0 on, and soft-gib no greater than hard-gib",
            );
        }
        Ok(())
    }
}

impl SecretSource {
    /// Lets a relative path start at `folder`.
    fn resolve(&mut self, folder: &Path) {
        if let Self::File(file) = self {
            *file = folder.join(&*file);
        }
    }
}

fn place<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<BackendPlace>, D::Error> {
    let text = String::deserialize(deserializer)?;
    BackendPlace::parse(&text)
        .map(Some)
        .map_err(serde::de::Error::custom)
}

/// Shorter, and a busy machine loses what it works on; longer, and what a dead one left waits.
const CLAIM_SECONDS: std::ops::RangeInclusive<u32> = 2..=3600;

/// More mailboxes at once bring nothing: the tenant's own limits come first.
const RESOURCES_MAX: usize = 4_096;

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
mod tests;
