//! Config of how a set is operated: who shares its work, when it is due, how much it may hold, and
//! what of it is alarming.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::SecretSource;

/// Where workers learn who does what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Coordinator {
    /// The address of a PostgreSQL database; without one, a file of this machine.
    pub(crate) postgres: Option<SecretSource>,
    /// A certificate authority to trust for it, in PEM.
    pub(crate) authority: Option<PathBuf>,
    /// For how long a worker that is not heard of keeps what it has claimed.
    pub(crate) claim_seconds: u32,
    /// For how long a database that cannot be reached is tried.
    pub(crate) patience_seconds: u32,
}

impl Default for Coordinator {
    fn default() -> Self {
        Self {
            postgres: None,
            authority: None,
            claim_seconds: 60,
            patience_seconds: 60,
        }
    }
}

impl Coordinator {
    /// Lets relative paths start at `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        if let Some(source) = &mut self.postgres {
            source.resolve(folder);
        }
        if let Some(path) = &mut self.authority {
            *path = folder.join(&*path);
        }
    }

    /// Returns for how long a claim is held without a heartbeat.
    pub(crate) fn term(&self) -> Duration {
        Duration::from_secs(u64::from(self.claim_seconds))
    }
}

/// When a backup is due.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Schedule {
    /// Hours from the start of one backup to the start of the next.
    pub(crate) every_hours: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { every_hours: 24 }
    }
}
