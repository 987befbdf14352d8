//! Options that every command takes.

use std::ffi::OsString;
use std::path::PathBuf;

use backup_store::backend::BackendPlace;
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args};

/// Options that every command takes; each may stand before or after the command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Config of the backup set
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "M365_BACKUP_CONFIG",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,

    /// Store to use, in place of the one in the config: a path, s3://…, azure://… or gs://…
    #[arg(
        long,
        global = true,
        value_name = "PLACE",
        env = "M365_BACKUP_STORE",
        hide_env_values = true,
        value_parser = place()
    )]
    pub(crate) store: Option<BackendPlace>,

    /// Read the passphrase from the first line of FILE
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,

    /// Read the passphrase from the first line that COMMAND prints
    #[arg(
        long,
        global = true,
        value_name = "COMMAND",
        conflicts_with = "passphrase_file"
    )]
    pub(crate) passphrase_command: Option<String>,

    /// Open the store with this key file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with_all = ["passphrase_file", "passphrase_command", "recovery_code"]
    )]
    pub(crate) key_file: Option<PathBuf>,

    /// Open the store with a recovery code: asked for, or read from the first line of FILE
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "",
        conflicts_with_all = ["passphrase_file", "passphrase_command"]
    )]
    pub(crate) recovery_code: Option<PathBuf>,

    /// Print JSON, one object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print results and errors only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Say more: -v information, -vv details, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// Do not show progress
    #[arg(long, global = true)]
    pub(crate) no_progress: bool,

    /// Append a detailed log to FILE; it holds no secrets
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,

    /// Print this help
    #[arg(short, long, global = true, action = ArgAction::HelpShort)]
    pub(crate) help: Option<bool>,
}

/// Reads where a store lies; a path need not be text.
pub(super) fn place() -> impl TypedValueParser<Value = BackendPlace> {
    OsStringValueParser::new().try_map(|text: OsString| match text.to_str() {
        Some(text) => BackendPlace::parse(text),
        None => Ok(BackendPlace::Directory(text.into())),
    })
}
