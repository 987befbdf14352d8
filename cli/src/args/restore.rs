//! Arguments of `restore`.

use clap::{Args, ValueEnum};

use super::SnapshotFilter;

/// Says what happens to an item that is at the destination already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Conflict {
    /// Leave the one that is there
    Skip,
    /// Write the stored one beside it
    Copy,
    /// Write the stored one, verify it, then remove the one that is there
    Replace,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is written before the plan is shown and agreed to.

Examples:
  m365-backup restore -c contoso.toml latest --owner ada@contoso.example --service outlook --dry-run
  m365-backup restore -c contoso.toml 3f9a --path Inbox/Projects --into-folder 'Restored today'
  m365-backup restore -c contoso.toml latest --owner ada@contoso.example --to bob@contoso.example"
)]
pub(crate) struct RestoreArgs {
    /// Snapshot id, or its first digits, or `latest` together with --owner
    pub(crate) snapshot: String,

    #[command(flatten)]
    pub(crate) filter: SnapshotFilter,

    /// Restore what is below this folder only, or this one file or message
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<String>,

    /// Restore to this user, in place of the owner
    #[arg(long, value_name = "OWNER")]
    pub(crate) to: Option<String>,

    /// Restore into this folder, which is created when it is not there
    #[arg(long, value_name = "NAME")]
    pub(crate) into_folder: Option<String>,

    /// What to do where an item is already: leave it, write beside it, or replace it
    #[arg(long, value_enum, value_name = "RULE", default_value = "skip")]
    pub(crate) conflict: Conflict,

    /// Show the plan and write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Do not ask before writing
    #[arg(short, long)]
    pub(crate) yes: bool,
}
