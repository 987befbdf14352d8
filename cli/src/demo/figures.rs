//! Figures of the demo: ratios, and the memory that this process has needed.

/// Writes `part / whole` with two decimals, or a dash when there is no whole.
pub(super) fn ratio(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    let hundredths = (u128::from(part) * 100 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// Returns the most memory this process has ever held, in bytes; only Linux tells.
pub(super) fn peak_memory() -> Option<u64> {
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
    use super::{peak_in, ratio};

    #[test]
    fn the_peak_is_read_from_the_status_text() {
        assert_eq!(
            peak_in("Name:\tx\nVmHWM:\t   2048 kB\nVmRSS:\t 1 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(peak_in("Name:\tx\n"), None);
    }

    #[test]
    fn a_ratio_has_two_decimals_and_none_without_a_whole() {
        assert_eq!(ratio(105, 100), "1.05");
        assert_eq!(ratio(1, 0), "-");
    }
}
