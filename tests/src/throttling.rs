//! Throttling: the published limits of the services, off until a test asks for them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use crate::tenant::Tenant;

/// How much of what a tenant's services take in how long; `None` is no limit.
///
/// *Source*: Microsoft Graph, service-specific throttling limits. Concurrency per mailbox is limited to
/// four always, whatever is set here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Requests per app and mailbox in ten minutes.
    pub mailbox_requests: Option<u64>,
    /// Bytes written per app and mailbox in five minutes.
    pub mailbox_upload_bytes: Option<u64>,
    /// Resource units of SharePoint and OneDrive per app in a minute.
    pub sharepoint_units_per_minute: Option<u64>,
    /// Resource units of SharePoint and OneDrive per app in a day.
    pub sharepoint_units_per_day: Option<u64>,
    /// Resource units of the directory per app in ten seconds.
    pub directory_units: Option<u64>,
    /// Writes to the directory per app in two and a half minutes.
    pub directory_writes: Option<u64>,
    /// Requests about one team in a second.
    pub team_requests: Option<u64>,
    /// Requests for messages of channels and chats in a second.
    pub team_messages: Option<u64>,
    /// Other reads of teams in a second.
    pub team_reads: Option<u64>,
    /// Requests to OneNote per app in a minute; refused without saying for how long.
    pub onenote_requests: Option<u64>,
}

impl Throttling {
    /// Returns the published limits for a tenant with that many licences.
    pub fn documented(licences: u64) -> Self {
        let (minute, day) = match licences {
            0..=1_000 => (1_250, 1_200_000),
            1_001..=5_000 => (2_500, 2_400_000),
            5_001..=15_000 => (3_750, 3_600_000),
            15_001..=50_000 => (5_000, 4_800_000),
            _ => (6_250, 6_000_000),
        };
        let directory = match licences {
            0..50 => 3_500,
            50..=500 => 5_000,
            _ => 8_000,
        };
        Self {
            mailbox_requests: Some(10_000),
            mailbox_upload_bytes: Some(150_000_000),
            sharepoint_units_per_minute: Some(minute),
            sharepoint_units_per_day: Some(day),
            directory_units: Some(directory),
            directory_writes: Some(3_000),
            team_requests: Some(4),
            team_messages: Some(20),
            team_reads: Some(30),
            onenote_requests: Some(240),
        }
    }
}

impl Tenant {
    /// Sets the limits and forgets what was used of earlier ones; [`Throttling::default`] ends all.
    pub fn set_throttling(&self, limits: Throttling) {
        self.lock().usage = Usage {
            limits,
            windows: BTreeMap::new(),
        };
    }
}

/// The limits with what was used of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Usage {
    pub(crate) limits: Throttling,
    windows: BTreeMap<(Gauge, String), Window>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Gauge {
    MailboxRequests,
    MailboxUpload,
    SharePointMinute,
    SharePointDay,
    Directory,
    DirectoryWrites,
    Team,
    TeamMessages,
    TeamReads,
    OneNote,
}

impl Gauge {
    fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::MailboxRequests => 600,
            Self::MailboxUpload => 300,
            Self::SharePointMinute => 60,
            Self::SharePointDay => 86_400,
            Self::Directory => 10,
            Self::DirectoryWrites => 150,
            Self::Team | Self::TeamMessages | Self::TeamReads => 1,
            Self::OneNote => 60,
        })
    }

    fn limit(self, limits: &Throttling) -> Option<u64> {
        match self {
            Self::MailboxRequests => limits.mailbox_requests,
            Self::MailboxUpload => limits.mailbox_upload_bytes,
            Self::SharePointMinute => limits.sharepoint_units_per_minute,
            Self::SharePointDay => limits.sharepoint_units_per_day,
            Self::Directory => limits.directory_units,
            Self::DirectoryWrites => limits.directory_writes,
            Self::Team => limits.team_requests,
            Self::TeamMessages => limits.team_messages,
            Self::TeamReads => limits.team_reads,
            Self::OneNote => limits.onenote_requests,
        }
    }
}

#[derive(Debug, Clone)]
struct Window {
    begun: SystemTime,
    used: u64,
}

/// How full a window is after a request, which counts whether it is served or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) limit: u64,
    pub(crate) used: u64,
    /// Seconds until the window ends, one at least.
    pub(crate) reset: u64,
}

impl Reading {
    /// Tells whether the request is too much.
    pub(crate) fn is_over(self) -> bool {
        self.used > self.limit
    }

    /// Tells whether 80 % are used, from where on the services speak of it.
    pub(crate) fn is_near(self) -> bool {
        self.used * 5 >= self.limit * 4
    }
}

impl Usage {
    /// Counts a cost; `None` where nothing limits it.
    pub(crate) fn spend(
        &mut self,
        gauge: Gauge,
        scope: &str,
        cost: u64,
        now: SystemTime,
    ) -> Option<Reading> {
        let limit = gauge.limit(&self.limits)?;
        let length = gauge.length();
        let window = self
            .windows
            .entry((gauge, scope.to_lowercase()))
            .or_insert(Window {
                begun: now,
                used: 0,
            });
        let age = |window: &Window| now.duration_since(window.begun).unwrap_or_default();
        if age(window) >= length {
            *window = Window {
                begun: now,
                used: 0,
            };
        }
        window.used = window.used.saturating_add(cost);
        Some(Reading {
            limit,
            used: window.used,
            reset: length.saturating_sub(age(window)).as_secs().max(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn windows_end_and_scopes_do_not_mix() {
        let mut usage = Usage {
            limits: Throttling {
                directory_units: Some(10),
                ..Throttling::default()
            },
            ..Usage::default()
        };
        let mut spend = |scope: &str, cost, second| {
            let now = UNIX_EPOCH + Duration::from_secs(second);
            usage
                .spend(Gauge::Directory, scope, cost, now)
                .expect("a limit")
        };
        assert!(!spend("a", 7, 0).is_near());
        assert!(spend("A", 1, 3).is_near());
        assert!(!spend("a", 2, 4).is_over(), "ten of ten are allowed");
        let over = spend("a", 1, 4);
        assert!(over.is_over());
        assert_eq!(over.reset, 6);
        assert!(!spend("b", 10, 4).is_over());
        assert_eq!(spend("a", 1, 10).used, 1, "a new window");
    }

    #[test]
    fn what_is_not_limited_is_not_measured() {
        let mut usage = Usage::default();
        assert_eq!(
            usage.spend(Gauge::SharePointDay, "", 1 << 40, UNIX_EPOCH),
            None
        );
    }
}
