//! The command line: every command, option and word of help, and nothing that acts on them.

mod auth;
mod backup;
mod browse;
mod care;
mod global;
mod history;
mod key;
mod restore;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use auth::{AuthArgs, AuthCommand, How, LoginArgs};
pub(crate) use backup::{BackupArgs, InitArgs, PartArgs, SyncCheckArgs, WorkerArgs};
pub(crate) use browse::{FindArgs, LsArgs, SnapshotFilter, SnapshotsArgs};
pub(crate) use care::{
    CheckArgs, CopyArgs, PruneArgs, PruneHow, RepairArgs, RetentionArgs, RetentionCommand,
    StatsArgs,
};
pub(crate) use global::GlobalArgs;
pub(crate) use history::{DiffArgs, PinArgs, PinCommand, PinnedArgs, ReportArgs, RunsArgs};
pub(crate) use key::{AddKeyArgs, ChangeKeyArgs, KeepArgs, KeyArgs, KeyCommand, RemoveKeyArgs};
pub(crate) use restore::{Conflict, RestoreArgs};

/// What the program is told on its command line.
#[derive(Debug, Parser)]
#[command(
    name = "m365-backup",
    version,
    about = "Back up and restore Microsoft 365: mailboxes and drives, incremental, deduplicated, encrypted.",
    after_help = AFTER_HELP,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    disable_help_flag = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One thing the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show all of it on a simulated tenant, without any account
    #[cfg(feature = "demo")]
    Demo(crate::demo::DemoArgs),
    /// Create an encrypted store, or write an example config
    Init(InitArgs),
    /// Back up what changed since the last run
    Backup(BackupArgs),
    /// Do a part of a backup, together with other workers
    Worker(WorkerArgs),
    /// Compare the whole tenant with the catalog, and repair what differs
    SyncCheck(SyncCheckArgs),
    /// List what was run, and how it ended
    Runs(RunsArgs),
    /// Say what a run covered, and what is not protected
    Report(ReportArgs),
    /// List the snapshots in a store
    Snapshots(SnapshotsArgs),
    /// List what is in a snapshot
    Ls(LsArgs),
    /// Show what changed between two snapshots
    Diff(DiffArgs),
    /// Search names, subjects, senders and recipients
    Find(FindArgs),
    /// Restore a mailbox or drive, or part of one
    Restore(RestoreArgs),
    /// Check that everything in a store can be read
    Check(CheckArgs),
    /// Bring back what is damaged, where somebody still has it
    Repair(RepairArgs),
    /// Show which snapshots are kept and why, or forget the others
    Retention(RetentionArgs),
    /// Keep snapshots, or everything of a person, whatever retention says
    Pin(PinArgs),
    /// Remove what nothing needs
    Prune(PruneArgs),
    /// Measure what a store holds and takes
    Stats(StatsArgs),
    /// Copy snapshots into another store, or bring a replica up to date
    Copy(CopyArgs),
    /// List, add, change and remove the keys that open a store
    Key(KeyArgs),
    /// Sign in, test the way to the services, find missing permissions
    Auth(AuthArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  m365-backup completions bash > /etc/bash_completion.d/m365-backup"
    )]
    Completions {
        /// Shell to write the script for
        shell: Shell,
    },
}

impl Command {
    /// Tells whether a first Ctrl-C lets the command come to a clean end by itself.
    pub(crate) fn stops_gracefully(&self) -> bool {
        matches!(
            self,
            Self::Backup(_) | Self::Worker(_) | Self::SyncCheck(_) | Self::Restore(_)
        )
    }
}

const AFTER_HELP: &str = "\
Passphrase, first found: --passphrase-file, --passphrase-command, M365_BACKUP_PASSPHRASE,
  M365_BACKUP_PASSPHRASE_FILE, the config, a prompt. Never an argument.

Exit codes:
  0    complete
  1    failed
  2    wrong usage, or a config that cannot be read
  3    complete, but some items are quarantined and will be tried again
  4    partial: some mailboxes or drives failed
  10   no store there
  12   wrong passphrase, key file or recovery code
  20   login refused
  21   throttled beyond limits
  22   permission missing
  130  interrupted; what was committed is kept

Examples:
  m365-backup demo
  m365-backup init --config contoso.toml
  m365-backup backup --config contoso.toml
  m365-backup find --store /srv/backup/contoso invoice";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
