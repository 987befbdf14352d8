//! Config of how a set is operated: who shares its work, when it is due, how much it may hold, and
//! what of it is alarming.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_engine::audit::AlarmThresholds;
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

/// How much a set may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Quota {
    /// Of the store as a whole, as its objects take space.
    pub(crate) stored: Limits,
    /// Of what all snapshots in the store hold, each content once for a mailbox or drive.
    pub(crate) logical: Limits,
}

/// A limit that warns and one that refuses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Limits {
    /// Passing it is a warning.
    soft_gib: Option<f64>,
    /// Beyond it no backup starts.
    hard_gib: Option<f64>,
}

impl Limits {
    /// Returns the limit that warns, in bytes.
    pub(crate) fn soft(self) -> Option<u64> {
        self.soft_gib.map(bytes)
    }

    /// Returns the limit that refuses, in bytes.
    pub(crate) fn hard(self) -> Option<u64> {
        self.hard_gib.map(bytes)
    }

    /// Tells whether there is any limit.
    pub(crate) fn is_set(self) -> bool {
        self.soft_gib.or(self.hard_gib).is_some()
    }

    /// Tells whether the limits can be meant.
    pub(super) fn is_sound(self) -> bool {
        let sound = |limit: Option<f64>| limit.is_none_or(|gib| (0.0..=GIB_MAX).contains(&gib));
        let ordered = match (self.soft_gib, self.hard_gib) {
            (Some(soft), Some(hard)) => soft <= hard,
            _ => true,
        };
        sound(self.soft_gib) && sound(self.hard_gib) && ordered
    }
}

/// An exbibyte.
const GIB_MAX: f64 = 1_073_741_824.0;

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked when the config is read; a part of a byte is none"
)]
fn bytes(gib: f64) -> u64 {
    (gib * 1_073_741_824.0) as u64
}

/// How much change of a mailbox or drive is alarming.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Alarm {
    rewritten_percent: u8,
    removed_percent: u8,
    items_min: u64,
}

impl Default for Alarm {
    fn default() -> Self {
        let thresholds = AlarmThresholds::default();
        Self {
            rewritten_percent: thresholds.rewritten_percent,
            removed_percent: thresholds.removed_percent,
            items_min: thresholds.items_min,
        }
    }
}

impl Alarm {
    /// Returns the thresholds as the engine takes them.
    pub(crate) fn thresholds(&self) -> AlarmThresholds {
        AlarmThresholds {
            rewritten_percent: self.rewritten_percent,
            removed_percent: self.removed_percent,
            items_min: self.items_min,
        }
    }
}
