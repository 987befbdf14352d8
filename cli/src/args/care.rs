//! Arguments of the commands that look after a store: check, stats, copy, repair, prune, retention.

use std::path::PathBuf;

use backup_store::backend::BackendPlace;
use clap::{Args, Subcommand};

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
    #[arg(long, value_name = "PLACE", value_parser = super::global::place())]
    pub(crate) to: BackendPlace,

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

/// Arguments of `repair`.
#[derive(Debug, Args)]
#[command(
    after_help = "All data is read first, and nothing is overwritten: what comes back is stored again, and
snapshots that lost something are published again with those items in quarantine.

Examples:
  m365-backup repair --store /srv/backup/contoso --dry-run
  m365-backup repair --store /srv/backup/contoso --from /mnt/replica"
)]
pub(crate) struct RepairArgs {
    /// Replica to take from what is damaged here; may be given several times, the best first
    #[arg(long, value_name = "PLACE", value_parser = super::global::place())]
    pub(crate) from: Vec<BackendPlace>,

    /// Take the store as it is, though this machine has seen newer snapshots in it: it was put back
    /// from an older copy on purpose
    #[arg(long)]
    pub(crate) accept_older: bool,

    /// Show what would be repaired, and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Repair without a question
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// Arguments of `prune`.
#[derive(Debug, Args)]
#[command(
    after_help = "Runs beside backups and other prunes, on any machine. What a backup at work may still need is
deleted by a later call, after that backup has come to a checkpoint or its end.

Examples:
  m365-backup prune --store /srv/backup/contoso --dry-run
  m365-backup prune --config contoso.toml --forget 3f9a12"
)]
pub(crate) struct PruneArgs {
    /// Forget this snapshot, by id or its first digits; may be given several times
    #[arg(long, value_name = "ID")]
    pub(crate) forget: Vec<String>,

    /// Forget although no config names the set, whose pins are then not known
    #[arg(long)]
    pub(crate) ignore_pins: bool,

    #[command(flatten)]
    pub(crate) how: PruneHow,
}

/// Says how snapshots are forgotten and space is freed.
#[derive(Debug, Args)]
pub(crate) struct PruneHow {
    /// Show what would be forgotten and deleted, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Forget and delete without a question
    #[arg(short, long)]
    pub(crate) yes: bool,

    /// Write packs anew of which less than this share is needed; 0 writes none
    #[arg(long, value_name = "PERCENT", default_value_t = 70,
        value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) repack_below: u8,

    /// Do not wait for writers at work: they begin again, and lose work, never data
    #[arg(long)]
    pub(crate) fence: bool,

    /// Declare that no other prune is at work, for storage that cannot tell
    #[arg(long)]
    pub(crate) sole_pruner: bool,
}

/// Arguments of `retention`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup retention plan --config contoso.toml
  m365-backup retention apply --config contoso.toml")]
pub(crate) struct RetentionArgs {
    #[command(subcommand)]
    pub(crate) command: RetentionCommand,
}

/// What can be done with the retention policy of a set.
#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show which snapshots are kept, and why; change nothing
    Plan,
    /// Forget the snapshots that the policy does not keep, and free their space
    Apply(PruneHow),
}
