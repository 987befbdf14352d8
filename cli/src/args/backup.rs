//! Arguments of the commands that write to a store: init, backup.

use std::path::PathBuf;

use backup_store::backend::BackendPlace;
use clap::Args;

/// Arguments of `init`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup init --write-config contoso.toml
  m365-backup init --config contoso.toml
  m365-backup init --store /srv/backup/contoso --generate-passphrase contoso.passphrase \\
    --recovery-kit kit.txt
  m365-backup init --store /mnt/replica --replica-of /srv/backup/contoso")]
pub(crate) struct InitArgs {
    /// Write a commented example config to FILE, and create nothing else
    #[arg(long, value_name = "FILE")]
    pub(crate) write_config: Option<PathBuf>,

    /// Make up a strong passphrase and write it to FILE, readable by you alone
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["passphrase_file", "passphrase_command", "write_config"]
    )]
    pub(crate) generate_passphrase: Option<PathBuf>,

    /// Write a recovery kit to FILE, readable by you alone: print it, then delete the file
    #[arg(long, value_name = "FILE", conflicts_with = "write_config")]
    pub(crate) recovery_kit: Option<PathBuf>,

    /// Make the new place a replica of the store at PLACE, which opens with the same keys
    #[arg(
        long,
        value_name = "PLACE",
        value_parser = super::global::place(),
        conflicts_with_all = ["write_config", "generate_passphrase", "recovery_kit"]
    )]
    pub(crate) replica_of: Option<BackendPlace>,
}

/// Arguments of `sync-check`.
#[derive(Debug, Args)]
#[command(
    after_help = "Every id and change key of what is selected is listed and compared with the catalog, without
the cursors that backups go by. A backup does this by itself when it is due: every 60 days,
or as `sync-check.interval-days` in the config says.

Examples:
  m365-backup sync-check --config contoso.toml --dry-run
  m365-backup sync-check --config contoso.toml"
)]
pub(crate) struct SyncCheckArgs {
    #[command(flatten)]
    pub(crate) part: PartArgs,

    /// Report what differs, and repair nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Says which part of a set is meant; all of it without a word.
#[derive(Debug, Default, Args)]
pub(crate) struct PartArgs {
    /// Back up this user only; may be given several times
    #[arg(long = "user", value_name = "OWNER")]
    pub(crate) users: Vec<String>,

    /// Back up this service only (outlook, onedrive); may be given several times
    #[arg(long = "service", value_name = "SERVICE")]
    pub(crate) services: Vec<String>,
}

impl PartArgs {
    /// Tells whether all of the set is meant.
    pub(crate) fn is_all(&self) -> bool {
        self.users.is_empty() && self.services.is_empty()
    }
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup backup --config contoso.toml
  m365-backup backup --config contoso.toml --due
  m365-backup backup --config contoso.toml --user ada@contoso.example --service outlook")]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) part: PartArgs,

    /// Do nothing, and end with 0, unless the schedule of the set asks for a backup now
    #[arg(long, conflicts_with_all = ["users", "services"])]
    pub(crate) due: bool,
}

/// Arguments of `worker`.
#[derive(Debug, Args)]
#[command(
    after_help = "Start as many workers as you like, on as many machines as you like: they share one run of the
set, each mailbox or drive is one worker's at a time, and what a dead worker left is done by
the others. On one machine they meet in a file; on several, name a PostgreSQL database in the
config as `coordinator.postgres`.

Examples:
  m365-backup worker --config contoso.toml
  m365-backup worker --config contoso.toml --watch"
)]
pub(crate) struct WorkerArgs {
    /// When the set is done, wait until the schedule asks for the next run
    #[arg(long)]
    pub(crate) watch: bool,
}
