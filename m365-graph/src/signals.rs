//! Throttling signals: what the services say of their limits, as data.
//!
//! *Source*: SharePoint, avoid getting throttled (2025), for `RateLimit-*`; Graph throttling
//! limits, identity and access (2024), for `x-ms-*`.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::HeaderMap;

use crate::retry_after;

/// Says what one answer told of the limits of its service; what it did not tell is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ThrottleSignals {
    /// How long to wait, of `Retry-After` in seconds or as a date.
    pub retry_after: Option<Duration>,
    /// The units that the window holds (`RateLimit-Limit`).
    pub limit: Option<u64>,
    /// The units that are left in it (`RateLimit-Remaining`).
    pub remaining: Option<u64>,
    /// How long until it begins anew (`RateLimit-Reset`).
    pub reset: Option<Duration>,
    /// What the request cost (`x-ms-resource-unit`).
    pub resource_units: Option<u64>,
    /// The share of the limit in use, from 0.8 on (`x-ms-throttle-limit-percentage`).
    pub used_share: Option<f64>,
    /// Whose limit it is (`x-ms-throttle-scope`).
    pub scope: Option<String>,
    /// Which limit it is (`x-ms-throttle-information`).
    pub information: Option<String>,
}

impl ThrottleSignals {
    /// Reads the headers of an answer; `now` turns a date into a duration.
    pub fn from_headers(headers: &HeaderMap, now: SystemTime) -> Self {
        let text = |name: &str| Some(headers.get(name)?.to_str().ok()?.trim());
        let number = |name: &str| text(name)?.parse().ok();
        let words = |name: &str| text(name).map(str::to_owned);
        Self {
            retry_after: retry_after::hint(headers, false, now),
            limit: number("ratelimit-limit"),
            remaining: number("ratelimit-remaining"),
            reset: number("ratelimit-reset").map(Duration::from_secs),
            resource_units: number("x-ms-resource-unit"),
            used_share: text("x-ms-throttle-limit-percentage")
                .and_then(|text| text.parse().ok())
                .filter(|share: &f64| share.is_finite()),
            scope: words("x-ms-throttle-scope"),
            information: words("x-ms-throttle-information"),
        }
    }

    /// Tells whether the answer told nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Takes notice of throttling signals, of answers and refusals alike.
pub trait ThrottleObserver: fmt::Debug + Send + Sync {
    /// Is called for each answer that tells anything, before the caller sees the answer.
    ///
    /// *Shape*: `operation` are the words by which errors name the object, such as `the message`.
    fn observed(&self, operation: &'static str, signals: &ThrottleSignals);
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::ThrottleSignals;

    const NAMES: [&str; 8] = [
        "retry-after",
        "ratelimit-limit",
        "ratelimit-remaining",
        "ratelimit-reset",
        "x-ms-resource-unit",
        "x-ms-throttle-limit-percentage",
        "x-ms-throttle-scope",
        "x-ms-throttle-information",
    ];

    fn read(values: [&str; 8]) -> ThrottleSignals {
        let pairs = NAMES.into_iter().zip(values).map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        });
        ThrottleSignals::from_headers(&pairs.collect::<HeaderMap>(), UNIX_EPOCH)
    }

    #[test]
    fn every_signal_is_read() {
        let signals = read(["7", "1250", "100", "31", "2", "0.9", "scope", "why"]);
        assert_eq!(signals.retry_after, Some(Duration::from_secs(7)));
        assert_eq!((signals.limit, signals.remaining), (Some(1250), Some(100)));
        assert_eq!(signals.reset, Some(Duration::from_secs(31)));
        assert_eq!(
            (signals.resource_units, signals.used_share),
            (Some(2), Some(0.9))
        );
        assert_eq!(signals.scope.as_deref(), Some("scope"));
        assert_eq!(signals.information.as_deref(), Some("why"));
        let date = read([
            "Thu, 01 Jan 1970 00:01:00 GMT",
            "",
            "",
            "",
            "",
            "NaN",
            "",
            "",
        ]);
        assert_eq!(date.retry_after, Some(Duration::from_secs(60)));
        assert_eq!(date.used_share, None);
    }

    #[test]
    fn an_answer_without_signals_says_nothing() {
        assert!(ThrottleSignals::from_headers(&HeaderMap::new(), UNIX_EPOCH).is_empty());
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(values: [String; 8]) {
            let pairs = NAMES.into_iter().zip(&values).filter_map(|(name, value)| {
                Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?))
            });
            let _ = ThrottleSignals::from_headers(&pairs.collect::<HeaderMap>(), UNIX_EPOCH);
        }
    }
}
