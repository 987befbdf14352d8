//! Pins: snapshots and people of whom everything is kept, in a file beside the config.
//!
//! Not in the store: its format knows no such object, and a prune of an older program would not
//! heed one. Not in the state folder: that may be lost without harm, a legal hold may not. The file
//! is shared and backed up as the config is.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use backup_engine::Pins;
use backup_store::SnapshotId;
use backup_store::catalog::SnapshotEntry;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::connect::OpenStore;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::snapshots;

/// The file of pins, as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PinFile {
    /// What is pinned, in the order of pinning.
    pub(crate) pin: Vec<Pin>,
}

/// One pin: either a snapshot or an owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    #[serde(default)]
    pub(crate) reason: String,
    /// When it was pinned, in RFC 3339.
    pub(crate) since: String,
}

impl Pin {
    /// Tells whether both pin the same, whatever the reason.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.snapshot == other.snapshot && self.owner == other.owner
    }

    /// Returns what is pinned.
    pub(crate) fn what(&self) -> &str {
        let what = self.snapshot.as_deref().or(self.owner.as_deref());
        what.unwrap_or_default()
    }
}

impl PinFile {
    /// Reads the pins that belong to a config; without a file there are none.
    ///
    /// *Errors*: a file that cannot be understood is a failure: what it holds must not be deleted.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Failure::file("read the pins in", path, &error)),
        };
        toml::from_str(&text).map_err(|error| {
            Failure::usage(format!(
                "the pins in {} cannot be understood",
                path.display()
            ))
            .cause(error.message().to_owned())
            .next("repair the file, or take it from a backup")
        })
    }

    /// Changes the pins that belong to a config; two who change them at once do not lose a pin.
    pub(crate) fn change(path: &Path, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let draft = path.with_extension("toml.new");
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message = format!("the pins in {} are being changed", path.display());
                Failure::new(Exit::Failed, message).next(format!(
                    "try again; if nobody is at it, delete {}",
                    draft.display()
                ))
            }
            _ => Failure::file("write the pins to", &draft, &error),
        };
        // Whoever has made the draft is the one who changes the file.
        let mut file = fs::File::create_new(&draft).map_err(failed)?;
        let changed = Self::read(path).and_then(|mut pins| {
            change(&mut pins)?;
            let text = toml::to_string(&pins).map_err(|error| {
                Failure::new(Exit::Failed, "the pins cannot be written").because(&error)
            })?;
            file.write_all(HEAD.as_bytes())
                .and_then(|()| file.write_all(text.as_bytes()))
                .and_then(|()| file.sync_all())
                .and_then(|()| fs::rename(&draft, path))
                .map_err(|error| Failure::file("write the pins to", path, &error))
        });
        if changed.is_err() && fs::remove_file(&draft).is_err() {
            tracing::warn!(draft = %draft.display(), "a draft is left behind");
        }
        changed
    }
}

/// Returns where the pins of a config are: `contoso.toml` has `contoso.pins.toml`.
pub(crate) fn path_beside(config: &Path) -> PathBuf {
    config.with_extension("pins.toml")
}

/// Returns what is pinned, by the config and by the file beside it.
///
/// *Errors*: a pinned snapshot that is not there.
pub(crate) async fn pinned(
    config: &Config,
    open: &OpenStore,
    entries: &[SnapshotEntry],
) -> Result<Pins> {
    let file = PinFile::read(&config.pins)?;
    let mut pins = Pins::default();
    let snapshots = file.pin.iter().filter_map(|pin| pin.snapshot.as_ref());
    for wanted in config.retention.pins.iter().chain(snapshots) {
        let id = snapshots::select_one(open, wanted).await?.id;
        pins.snapshots.insert(id);
    }
    let owners = file.pin.iter().filter_map(|pin| pin.owner.as_ref());
    let held: HashSet<String> = config
        .retention
        .hold
        .iter()
        .chain(owners)
        .map(|owner| owner.to_lowercase())
        .collect();
    for SnapshotEntry { snapshot, .. } in entries {
        let resource = &snapshot.resource;
        if held.contains(&resource.owner.to_lowercase())
            || held.contains(&resource.owner_id.to_lowercase())
            || held.contains(&resource.id.as_str().to_lowercase())
        {
            pins.resources.insert(resource.id.clone());
        }
    }
    Ok(pins)
}

/// Returns every snapshot that pins keep.
pub(crate) fn kept(pins: &Pins, entries: &[SnapshotEntry]) -> impl Iterator<Item = SnapshotId> {
    let held = entries
        .iter()
        .filter(|entry| pins.resources.contains(&entry.snapshot.resource.id))
        .map(|entry| entry.id);
    held.chain(pins.snapshots.iter().copied())
}

const HEAD: &str = "# Pins of a backup set: see m365-backup pin --help.\n\n";
