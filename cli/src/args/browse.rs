//! Arguments of the commands that look into a store: snapshots, ls, find.

use clap::Args;

/// Chooses snapshots by whose they are.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SnapshotFilter {
    /// Only what belongs to this user
    #[arg(long, value_name = "OWNER")]
    pub(crate) owner: Option<String>,

    /// Only this service (outlook, onedrive)
    #[arg(long, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

/// Arguments of `snapshots`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup snapshots --store /srv/backup/contoso
  m365-backup snapshots --store /srv/backup/contoso --owner ada@contoso.example --latest")]
pub(crate) struct SnapshotsArgs {
    #[command(flatten)]
    pub(crate) filter: SnapshotFilter,

    /// Only the newest snapshot of each mailbox and drive
    #[arg(long)]
    pub(crate) latest: bool,
}

/// Arguments of `ls`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup ls --store /srv/backup/contoso latest --owner ada@contoso.example
  m365-backup ls --store /srv/backup/contoso 3f9a Inbox/Projects")]
pub(crate) struct LsArgs {
    /// Snapshot id, or its first digits, or `latest`
    #[arg(default_value = "latest")]
    pub(crate) snapshot: String,

    /// List what is below this folder only
    pub(crate) path: Option<String>,

    #[command(flatten)]
    pub(crate) filter: SnapshotFilter,

    /// List folders only
    #[arg(long)]
    pub(crate) folders: bool,
}

/// Arguments of `find`.
#[derive(Debug, Args)]
#[command(
    after_help = "Words are looked for in names, subjects, senders, recipients and folders, in any case;
all must occur. * and ? stand for any text and any character. With a search cache
(--build-cache once, or browse-cache = true in the config) the answer comes from this machine;
it holds names, subjects and addresses in plaintext, and is kept up to date by every search.

Examples:
  m365-backup find --store /srv/backup/contoso invoice october
  m365-backup find --store /srv/backup/contoso '*.xlsx' --owner ada@contoso.example
  m365-backup find --store /srv/backup/contoso report --after 2026-01-01 --all-snapshots"
)]
pub(crate) struct FindArgs {
    /// Words that must all occur
    #[arg(required_unless_present_any = [
        "name", "from", "to", "path", "kind", "after", "before", "build_cache",
    ])]
    pub(crate) words: Vec<String>,

    /// Only where this is in the subject or the file name
    #[arg(long, visible_alias = "subject", value_name = "TEXT")]
    pub(crate) name: Option<String>,

    /// Only mail from a sender with this in the address
    #[arg(long, value_name = "TEXT")]
    pub(crate) from: Option<String>,

    /// Only mail to a recipient with this in the address
    #[arg(long, value_name = "TEXT")]
    pub(crate) to: Option<String>,

    /// Only what lies in this folder or below it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) path: Option<String>,

    /// Only items of this kind (message, file)
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<String>,

    #[command(flatten)]
    pub(crate) filter: SnapshotFilter,

    /// Search this snapshot only, by id or its first digits
    #[arg(long, value_name = "ID", conflicts_with = "all_snapshots")]
    pub(crate) snapshot: Option<String>,

    /// Search older snapshots too; what they share is shown once
    #[arg(long)]
    pub(crate) all_snapshots: bool,

    /// Only items created on this day (UTC) or later
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) after: Option<String>,

    /// Only items created before this day (UTC)
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(crate) before: Option<String>,

    /// Stop after this many
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,

    /// Keep a search cache on this machine from now on: in plaintext, readable by you alone
    #[arg(long, conflicts_with = "no_cache")]
    pub(crate) build_cache: bool,

    /// Read the store, even if there is a search cache
    #[arg(long)]
    pub(crate) no_cache: bool,
}
