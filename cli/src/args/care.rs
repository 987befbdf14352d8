//! Arguments of the commands that look after a store: check, stats, copy.

use std::path::PathBuf;

use clap::Args;

use super::SnapshotFilter;

/// Arguments of `check`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup check --store /srv/backup/contoso
  m365-backup check --store /srv/backup/contoso --sample 2
  m365-backup check --store /srv/backup/contoso --all-data")]
pub(crate) struct CheckArgs {
    /// Read and verify every stored byte too, not only the structure
    #[arg(long, group = "depth")]
    pub(crate) all_data: bool,

    /// Read this share of the stored data, those parts first that were left alone longest
    #[arg(long, value_name = "PERCENT", group = "depth")]
    pub(crate) sample: Option<f64>,

    /// Read every content as a restore does; takes longer than --all-data
    #[arg(long, group = "depth")]
    pub(crate) contents: bool,
}

/// Arguments of `stats`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup stats --store /srv/backup/contoso
  m365-backup stats --store /srv/backup/contoso --snapshots --exclusive")]
pub(crate) struct StatsArgs {
    /// Show every snapshot, not only the mailboxes and drives
    #[arg(long)]
    pub(crate) snapshots: bool,

    /// Also measure what forgetting a snapshot, and nothing else, would release; takes longer
    #[arg(long, requires = "snapshots")]
    pub(crate) exclusive: bool,
}

/// Arguments of `copy`.
#[derive(Debug, Args)]
#[command(
    after_help = "A replica (made with init --replica-of) is filled with the sealed objects of the store as they
are; into any other store the chosen snapshots are copied, and sealed anew under its keys.

Examples:
  m365-backup copy --store /srv/backup/contoso --to /mnt/replica
  m365-backup copy --store /srv/backup/contoso --to /mnt/leaver --to-passphrase-file leaver.pass \\
    --owner ada@contoso.example"
)]
pub(crate) struct CopyArgs {
    /// Store to copy into
    #[arg(long, value_name = "PATH")]
    pub(crate) to: PathBuf,

    /// Read the passphrase of that store from the first line of FILE; a replica needs none
    #[arg(long, value_name = "FILE")]
    pub(crate) to_passphrase_file: Option<PathBuf>,

    /// Copy this snapshot only, by id or its first digits; may be given several times
    #[arg(long = "snapshot", value_name = "ID")]
    pub(crate) snapshots: Vec<String>,

    #[command(flatten)]
    pub(crate) filter: SnapshotFilter,

    /// Delete nothing from a replica, whatever was deleted from the store
    #[arg(long)]
    pub(crate) keep_deleted: bool,
}
