//! Exit codes: a contract with scripts, listed in `--help` and the README.

use std::process::ExitCode;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All of it was done.
    Complete,
    /// It could not be done.
    Failed,
    /// The command line or the config cannot be understood.
    Usage,
    /// All of it was done, but some items are quarantined.
    Quarantined,
    /// Some resources failed, the others are done.
    Partial,
    /// There is no store where one was expected.
    NoStore,
    /// The store refuses the passphrase.
    WrongPassphrase,
    /// The identity platform or the service refuses the app's credential.
    LoginRefused,
    /// The service throttled beyond the limits of patience.
    Throttled,
    /// The app lacks a permission.
    PermissionMissing,
    /// A person stopped the program.
    Interrupted,
}

impl Exit {
    /// Returns the number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Complete => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Quarantined => 3,
            Self::Partial => 4,
            Self::NoStore => 10,
            Self::WrongPassphrase => 12,
            Self::LoginRefused => 20,
            Self::Throttled => 21,
            Self::PermissionMissing => 22,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
