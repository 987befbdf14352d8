//! Where this platform keeps the state of programs.

use std::path::PathBuf;

/// Returns the folder for state that may be lost without harm, if the platform names one.
///
/// *Source*: XDG Base Directory 0.8 (`XDG_STATE_HOME`, else `~/.local/state`); on macOS
/// `~/Library/Application Support`; on Windows `%LOCALAPPDATA%`.
#[allow(clippy::disallowed_methods, reason = "the cli reads the environment")]
pub(crate) fn state_folder() -> Option<PathBuf> {
    let named = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = || std::env::home_dir().filter(|path| path.is_absolute());
    let base = if cfg!(windows) {
        named("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home().map(|home| home.join("Library/Application Support"))
    } else {
        named("XDG_STATE_HOME").or_else(|| home().map(|home| home.join(".local/state")))
    };
    base.map(|base| base.join("m365-backup"))
}
