//! Arguments of the commands that tell what runs did and what changed: runs, report, diff, pin.

use clap::{Args, Subcommand};

/// Arguments of `runs`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup runs --config contoso.toml
  m365-backup runs --store /srv/backup/contoso --last 5 --json")]
pub(crate) struct RunsArgs {
    /// Only so many, the newest
    #[arg(long, value_name = "COUNT")]
    pub(crate) last: Option<usize>,
}

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(
    after_help = "Everything that was seen and is not protected, by reason code:
  skipped        left out for a known reason
  quarantined    could not be stored; tried again in every run
  failed         a mailbox or drive that could not be read to its end
  nothing-there  selected, but without a mailbox or drive
  not-selected   in the store, but no longer part of the set

Examples:
  m365-backup report --config contoso.toml
  m365-backup report --config contoso.toml 3f9a12 --items --json"
)]
pub(crate) struct ReportArgs {
    /// Run to report on, by id or its first digits; the newest without
    pub(crate) run: Option<String>,

    /// Name every item, not only how many there are
    #[arg(long)]
    pub(crate) items: bool,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup diff --store /srv/backup/contoso 3f9a12
  m365-backup diff --config contoso.toml 3f9a12 77c0de --json")]
pub(crate) struct DiffArgs {
    /// Snapshot, by id or its first digits; alone, it is compared with the one before it
    pub(crate) snapshot: String,

    /// Later snapshot of the same mailbox or drive
    pub(crate) later: Option<String>,
}

/// Arguments of `pin`.
#[derive(Debug, Args)]
#[command(
    after_help = "Pins are kept in a file beside the config (contoso.toml: contoso.pins.toml), to be shared and
backed up like it; retention and prune go by them whenever the config is named.

Examples:
  m365-backup pin add --config contoso.toml 3f9a12 --reason 'before the migration'
  m365-backup pin add --config contoso.toml --owner ada@contoso.example --reason 'case 17'
  m365-backup pin list --config contoso.toml
  m365-backup pin remove --config contoso.toml 3f9a12"
)]
pub(crate) struct PinArgs {
    #[command(subcommand)]
    pub(crate) command: PinCommand,
}

/// What can be done with pins.
#[derive(Debug, Subcommand)]
pub(crate) enum PinCommand {
    /// Keep a snapshot, or everything of a person (a legal hold), whatever retention says
    Add {
        #[command(flatten)]
        what: PinnedArgs,

        /// Why
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Let go of what was pinned; nothing is deleted by that
    Remove {
        #[command(flatten)]
        what: PinnedArgs,
    },
    /// List what is pinned, and why
    List,
}

/// What is pinned: one snapshot, or everything of an owner.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct PinnedArgs {
    /// Snapshot, by id or its first digits
    pub(crate) snapshot: Option<String>,

    /// Everything that belongs to this user
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,
}
