//! Arguments of `auth`: signing in, and finding out why it does not work.

use clap::{Args, Subcommand, ValueEnum};

/// Arguments of `auth`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup auth test --config contoso.toml
  m365-backup auth doctor --config contoso.toml
  m365-backup auth login --config contoso.toml --how browser")]
pub(crate) struct AuthArgs {
    #[command(subcommand)]
    pub(crate) command: AuthCommand,
}

/// One thing `auth` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    /// Sign a person in, and keep the sign-in encrypted on this machine
    Login(LoginArgs),
    /// Try everything on the way to the services, and one request of each
    Test(AuthTestArgs),
    /// Name the permissions that are missing, and what needs them; warn of what ends soon
    Doctor,
}

/// Arguments of `auth login`.
#[derive(Debug, Args)]
pub(crate) struct LoginArgs {
    /// How the person signs in
    #[arg(long, value_enum, default_value_t = How::Device)]
    pub(crate) how: How,

    /// Sign in to the app that restores
    #[arg(long)]
    pub(crate) restore: bool,

    /// Forget the sign-in that is kept
    #[arg(long, conflicts_with = "how")]
    pub(crate) forget: bool,
}

/// Arguments of `auth test`.
#[derive(Debug, Args)]
pub(crate) struct AuthTestArgs {
    /// Test the app that restores
    #[arg(long)]
    pub(crate) restore: bool,
}

/// How a person signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum How {
    /// By a code that is typed on any other device
    Device,
    /// In a browser on this machine
    Browser,
    /// In a browser anywhere, whose last address is pasted here
    Paste,
}
