//! Data Synchronization Check: whether it is due, and what it found. What it does is in
//! `resource/sync.rs`.

use std::time::Duration;

use backup_store::Timestamp;

/// Says what a run does about the Data Synchronization Check.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SyncCheck {
    /// Nothing.
    #[default]
    Off,
    /// Lists everything without cursors, compares, and reports; changes nothing that it finds.
    Report,
    /// The same, and repairs what differs.
    Repair,
}

/// How often the Data Synchronization Check is made unless a set says otherwise.
pub const SYNC_CHECK_INTERVAL: Duration = Duration::from_secs(60 * 24 * 3600);

/// Returns when the next check is due: an interval after the last one, or after the first run.
///
/// *Shape*: `None` when there has been no run yet, or the check is disabled.
pub fn sync_check_due(
    last_check: Option<Timestamp>,
    first_run: Option<Timestamp>,
    interval: Option<Duration>,
) -> Option<Timestamp> {
    let since = last_check.or(first_run)?;
    let interval = i64::try_from(interval?.as_millis()).unwrap_or(i64::MAX);
    Some(Timestamp::from_millis(
        since.as_millis().saturating_add(interval),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_due_an_interval_after_the_last_or_after_the_first_run() {
        let at = |days: i64| Some(Timestamp::from_millis(days * 24 * 3_600_000));
        let interval = Some(SYNC_CHECK_INTERVAL);
        assert_eq!(sync_check_due(at(100), at(1), interval), at(160));
        assert_eq!(sync_check_due(None, at(1), interval), at(61));
        assert_eq!(sync_check_due(None, None, interval), None);
        assert_eq!(sync_check_due(at(100), at(1), None), None);
        let never = Some(Duration::MAX);
        let end = sync_check_due(at(1), None, never);
        assert_eq!(end, Some(Timestamp::from_millis(i64::MAX)));
    }
}
