//! Expiry: how near the end of a secret or certificate is, as a pure function of the time.

use std::time::{Duration, SystemTime};

/// Says how near the end of a credential is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ExpiryLevel {
    /// It ends within 60 days: plan its replacement.
    Notice,
    /// It ends within 14 days: replace it.
    Soon,
    /// It ends within 3 days: replace it now.
    Urgent,
    /// It has ended: sign-in fails.
    Expired,
}

/// Warns that a secret or certificate ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryWarning {
    level: ExpiryLevel,
    left: Duration,
}

impl ExpiryWarning {
    /// Returns the warning that is due at `now` for what ends at `expires_at`, or `None` when more
    /// than 60 days are left.
    ///
    /// The end of a certificate stands in it; that of a client secret is known to the portal and
    /// to Graph only, so that the caller hands it in.
    pub fn due(expires_at: SystemTime, now: SystemTime) -> Option<Self> {
        let left = expires_at.duration_since(now).unwrap_or_default();
        let level = if left.is_zero() {
            ExpiryLevel::Expired
        } else if left <= DAY * 3 {
            ExpiryLevel::Urgent
        } else if left <= DAY * 14 {
            ExpiryLevel::Soon
        } else if left <= DAY * 60 {
            ExpiryLevel::Notice
        } else {
            return None;
        };
        Some(Self { level, left })
    }

    /// Returns how near the end is.
    pub fn level(&self) -> ExpiryLevel {
        self.level
    }

    /// Returns how much time is left; nothing when it has ended.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// Returns the warning in words, `what` being for example `the client secret`.
    pub fn words(&self, what: &str) -> String {
        let hours = self.left.as_secs() / 3_600;
        match self.level {
            ExpiryLevel::Expired => format!("{what} has expired"),
            _ if hours < 48 => format!("{what} expires in {hours} hours"),
            _ => format!("{what} expires in {} days", hours / 24),
        }
    }
}

const DAY: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{DAY, ExpiryLevel, ExpiryWarning};

    #[test]
    fn warnings_grow_as_the_end_comes_near() {
        let end = UNIX_EPOCH + DAY * 1_000;
        let at = |left: Duration| ExpiryWarning::due(end, end - left);
        let level = |left: Duration| at(left).map(|warning| warning.level());
        assert_eq!(level(DAY * 61), None);
        assert_eq!(level(DAY * 60), Some(ExpiryLevel::Notice));
        assert_eq!(level(DAY * 14), Some(ExpiryLevel::Soon));
        assert_eq!(level(DAY * 3), Some(ExpiryLevel::Urgent));
        assert_eq!(level(Duration::ZERO), Some(ExpiryLevel::Expired));
        let late = ExpiryWarning::due(end, end + DAY).unwrap();
        assert_eq!(
            late.words("the client secret"),
            "the client secret has expired"
        );
        let words = at(DAY * 20).unwrap().words("the certificate");
        assert_eq!(words, "the certificate expires in 20 days");
        assert!(at(DAY).unwrap().words("it").ends_with("24 hours"));
    }
}
