//! Retry: how long to wait before a failed write is tried again, and the pause that all writes keep.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backup_store::StopSignal;
use tokio::time::Instant;

use crate::error::Error;

/// How often one effect is tried before its item counts as failed.
pub(crate) const TRIES_MAX: u32 = 8;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(120);
/// A service that asks for more than this is not waited for.
const HINT_MAX: Duration = Duration::from_secs(900);

/// Returns how long to wait before the next try, or `None` when there shall be none. Pure.
///
/// `tried` counts the tries so far, from 1; `hint` is what the service asked for.
pub(crate) fn next_delay(tried: u32, hint: Option<Duration>) -> Option<Duration> {
    if tried >= TRIES_MAX {
        return None;
    }
    match hint {
        Some(hint) if hint > HINT_MAX => None,
        Some(hint) => Some(hint),
        None => Some(WAIT_MAX.min(FIRST_WAIT * 2u32.saturating_pow(tried.saturating_sub(1)))),
    }
}

/// Says what to do after a failed try. Pure.
pub(crate) fn after_failure(tried: u32, error: &Error) -> Option<Duration> {
    if error.is_retryable() {
        next_delay(tried, error.retry_after())
    } else {
        None
    }
}

/// The pause that every request to one destination keeps: when one is refused, all wait.
#[derive(Debug, Default)]
pub(crate) struct Pause(Mutex<Option<Instant>>);

impl Pause {
    /// Lets nobody through for `wait` from now; never shortens a pause.
    pub(crate) fn set(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut pause = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pause.is_none_or(|known| known < until) {
            *pause = Some(until);
        }
    }

    /// Waits until the pause is over; returns false at once when a stop is requested.
    pub(crate) async fn pass(&self, stop: &StopSignal) -> bool {
        loop {
            if stop.is_requested() {
                return false;
            }
            let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match until.filter(|until| *until > Instant::now()) {
                None => return true,
                Some(until) => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    () = stop.requested() => return false,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn waits_grow_obey_the_service_and_end() {
        let check = |tried, hint: Option<u64>, expected: Option<u64>| {
            let hint = hint.map(Duration::from_secs);
            assert_eq!(next_delay(tried, hint), expected.map(Duration::from_secs));
        };
        check(1, None, Some(1));
        check(4, None, Some(8));
        check(7, None, Some(64));
        check(8, None, None);
        check(1, Some(37), Some(37));
        check(1, Some(0), Some(0));
        check(1, Some(3600), None);
    }

    #[test]
    fn a_refused_item_is_not_tried_again() {
        let refused = Error::new(ErrorKind::Refused, "message \"x\": refused");
        assert_eq!(after_failure(1, &refused), None);
        let failed = Error::new(ErrorKind::Service, "message \"x\": no answer");
        assert_eq!(after_failure(1, &failed), Some(FIRST_WAIT));
    }
}
