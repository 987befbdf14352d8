//! Arguments of `key`: who can open the store.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `key`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup key list --store /srv/backup/contoso
  m365-backup key add --recovery-kit kit.txt --store /srv/backup/contoso
  m365-backup key change --store /srv/backup/contoso
  m365-backup key remove 3f9a --store /srv/backup/contoso")]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// List who can open the store
    List,
    /// Let another passphrase, a key file or a recovery code open the store
    Add(AddKeyArgs),
    /// Replace the secret that you open the store with by a new passphrase
    Change(ChangeKeyArgs),
    /// Remove keys: what is written from then on is closed to them
    #[command(after_help = REMOVE_HELP)]
    Remove(RemoveKeyArgs),
    /// Change the root key, for everyone who stays
    #[command(after_help = REMOVE_HELP)]
    Rotate(KeepArgs),
}

const REMOVE_HELP: &str = "\
Whoever stays must be named by the secret: yours is the one that opens the store, the others are
given with --keep-passphrase-file, --keep-key-file and --keep-recovery-code-file. A key whose
secret is not at hand can only be removed, and added again by its owner's help.
What was written before stays readable to those who stay.";

/// Arguments of `key add`; without any, a new passphrase is asked for.
#[derive(Debug, Args)]
pub(crate) struct AddKeyArgs {
    /// What the key is called in lists
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) label: String,

    /// Take the new passphrase from the first line of FILE
    #[arg(long, value_name = "FILE", group = "new")]
    pub(crate) new_passphrase_file: Option<PathBuf>,

    /// Make a key file and write it to FILE, readable by you alone
    #[arg(long, value_name = "FILE", group = "new")]
    pub(crate) new_key_file: Option<PathBuf>,

    /// Make a recovery code and write a page with it to FILE: print it, then delete the file
    #[arg(long, value_name = "FILE", group = "new")]
    pub(crate) recovery_kit: Option<PathBuf>,
}

/// Arguments of `key change`.
#[derive(Debug, Args)]
pub(crate) struct ChangeKeyArgs {
    /// Take the new passphrase from the first line of FILE, in place of asking
    #[arg(long, value_name = "FILE")]
    pub(crate) new_passphrase_file: Option<PathBuf>,
}

/// Arguments of `key remove`.
#[derive(Debug, Args)]
pub(crate) struct RemoveKeyArgs {
    /// Recipient, by its id or its first digits, as `key list` shows it
    #[arg(required = true, value_name = "RECIPIENT")]
    pub(crate) recipients: Vec<String>,

    #[command(flatten)]
    pub(crate) keep: KeepArgs,
}

/// Names those who stay when the root key changes.
#[derive(Debug, Args)]
pub(crate) struct KeepArgs {
    /// Keep the passphrase in the first line of FILE; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) keep_passphrase_file: Vec<PathBuf>,

    /// Keep this key file; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) keep_key_file: Vec<PathBuf>,

    /// Keep the recovery code in the first line of FILE; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) keep_recovery_code_file: Vec<PathBuf>,
}
