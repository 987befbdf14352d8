//! Where this platform keeps the state of programs, and what it says of this process.

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

/// Returns the most memory this process has ever held, in bytes; only Linux tells.
pub(crate) fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    peak_in(&status)
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::peak_in;

    #[test]
    fn the_peak_is_read_from_the_status_text() {
        assert_eq!(
            peak_in("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(peak_in("Name:\tx\n"), None);
    }
}
