//! Retry policy: how long to wait before trying again, as a pure function.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// Reads how long a service asks to wait: seconds, with a fraction or without, or a date.
///
/// A date counts from the service's own `Date`, so that a wrong clock here does no harm; one
/// without that, and what cannot be understood, is no answer. A time that has passed is no wait.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        // What is no number compares with nothing.
        return match seconds < 0.0 {
            true => Some(Duration::ZERO),
            false => Duration::try_from_secs_f64(seconds).ok(),
        };
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(until.duration_since(date(headers)?).unwrap_or_default())
}

/// Reads the service's own time.
pub(crate) fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text.trim()).ok()
}

/// Decides whether, and after how long, a failed request is sent again.
///
/// The policy neither sleeps nor reads a clock: the caller hands in the number of attempts, the
/// service's hint, and a random number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    max_attempts: u32,
    first_delay: Duration,
    longest_delay: Duration,
    longest_hint: Duration,
}

impl RetryPolicy {
    /// Never tries again: for callers with a scheduler of their own.
    pub fn none() -> Self {
        Self {
            max_attempts: 1,
            first_delay: Duration::ZERO,
            longest_delay: Duration::ZERO,
            longest_hint: Duration::ZERO,
        }
    }

    /// Tries up to 6 times, waiting from 1 s to 60 s, and follows hints up to 10 minutes.
    pub fn standard() -> Self {
        Self {
            max_attempts: 6,
            first_delay: Duration::from_secs(1),
            longest_delay: Duration::from_secs(60),
            longest_hint: Duration::from_secs(600),
        }
    }

    /// Sets how often a request is sent at most, the first time included.
    #[must_use]
    pub fn with_max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Sets the first and the longest delay used without a hint of the service.
    #[must_use]
    pub fn with_delays(mut self, first: Duration, longest: Duration) -> Self {
        self.first_delay = first;
        self.longest_delay = longest.max(first);
        self
    }

    /// Sets the longest hint that is waited for; a longer one ends the attempts.
    #[must_use]
    pub fn with_longest_hint(mut self, longest: Duration) -> Self {
        self.longest_hint = longest;
        self
    }

    /// Returns the time to wait before the next attempt, or `None` to give up.
    ///
    /// `attempt` counts the attempts made so far (1 after the first failure); `hint` is the
    /// service's `Retry-After`; `random` spreads the delays of many clients.
    ///
    /// *Units and limits*: never shorter than the hint, at most a tenth longer; without a hint,
    /// between half of and the whole exponential step.
    pub fn next_delay(
        &self,
        attempt: u32,
        hint: Option<Duration>,
        random: u64,
    ) -> Option<Duration> {
        if attempt >= self.max_attempts {
            return None;
        }
        if let Some(hint) = hint {
            return (hint <= self.longest_hint)
                .then(|| hint.saturating_add(portion(hint / 10, random)));
        }
        let doublings = attempt.saturating_sub(1).min(20);
        let step = self
            .first_delay
            .saturating_mul(1 << doublings)
            .min(self.longest_delay);
        let half = step / 2;
        Some(half.saturating_add(portion(step - half, random)))
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::standard()
    }
}

/// Returns the part of `whole` that `random` stands for, from nothing to all of it.
fn portion(whole: Duration, random: u64) -> Duration {
    let millis = u64::try_from(whole.as_millis()).unwrap_or(u64::MAX);
    match millis.checked_add(1) {
        Some(choices) => Duration::from_millis(random % choices),
        None => Duration::from_millis(random),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::RetryPolicy;

    #[test]
    fn none_never_tries_again() {
        assert_eq!(RetryPolicy::none().next_delay(1, None, 0), None);
    }

    #[test]
    fn a_hint_beyond_the_limit_ends_the_attempts() {
        let policy = RetryPolicy::standard();
        assert_eq!(
            policy.next_delay(1, Some(Duration::from_secs(3_600)), 7),
            None
        );
    }

    #[test]
    fn waits_are_read_in_every_spelling() {
        let wait = |after: &'static str, date: Option<&'static str>| {
            let mut headers = http::HeaderMap::new();
            headers.insert("retry-after", http::HeaderValue::from_static(after));
            if let Some(date) = date {
                headers.insert("date", http::HeaderValue::from_static(date));
            }
            super::retry_after(&headers)
        };
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait("120", None), Some(Duration::from_secs(120)));
        assert_eq!(wait(" 0.5 ", None), Some(Duration::from_millis(500)));
        assert_eq!(wait("-3", None), Some(Duration::ZERO));
        let later = wait("Sun, 06 Nov 1994 08:50:07 GMT", date);
        assert_eq!(later, Some(Duration::from_secs(30)));
        let past = wait("Sun, 06 Nov 1994 08:00:00 GMT", date);
        assert_eq!(past, Some(Duration::ZERO));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", None), None);
        for nonsense in ["", "soon", "NaN", "inf", "1e400"] {
            assert_eq!(wait(nonsense, date), None, "{nonsense}");
        }
    }

    proptest! {
        #[test]
        fn delays_stay_within_their_bounds(attempt in 1u32..6, random: u64, hint in 0u64..600) {
            let policy = RetryPolicy::standard();
            let free = policy.next_delay(attempt, None, random).unwrap();
            prop_assert!(free <= Duration::from_secs(60));
            prop_assert!(free >= Duration::from_millis(500));
            let hint = Duration::from_secs(hint);
            let told = policy.next_delay(attempt, Some(hint), random).unwrap();
            prop_assert!(told >= hint && told <= hint + hint / 10);
            prop_assert_eq!(policy.next_delay(6, None, random), None);
        }
    }
}
