//! Retry: what to do next with a unit of work that failed. Pure.

use std::time::Duration;

use crate::options::RetryLimits;

/// What is known of a unit of work that has just failed for the service's or the network's reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    /// How often it was tried, this time included.
    pub(crate) tries: u32,
    /// How long ago it failed for the first time.
    pub(crate) since_first: Duration,
    /// Whether the service refused it for being too much; then tries do not count, only time does.
    pub(crate) throttled: bool,
    /// How long the service asked to wait.
    pub(crate) retry_after: Option<Duration>,
    /// Random bits, for the jitter.
    pub(crate) random: u64,
}

/// What to do with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Put it back for so long.
    Wait(Duration),
    /// Stop trying.
    GiveUp,
}

/// Decides. What the service asks for is honoured in full, with a little jitter on top.
pub(crate) fn next_step(limits: &RetryLimits, failure: &Failure) -> NextStep {
    if !failure.throttled && failure.tries >= limits.tries_max {
        return NextStep::GiveUp;
    }
    let wait = match failure.retry_after {
        Some(asked) => jittered_up(asked, failure.random),
        None => jittered_down(backoff(limits, failure.tries), failure.random),
    };
    if failure.since_first.saturating_add(wait) > limits.wait_max {
        return NextStep::GiveUp;
    }
    NextStep::Wait(wait)
}

fn backoff(limits: &RetryLimits, tries: u32) -> Duration {
    let doublings = tries.saturating_sub(1).min(20);
    limits
        .first_wait
        .saturating_mul(1 << doublings)
        .min(limits.longest_wait)
}

/// Adds up to a tenth, at most a second, so that not everybody comes back at once.
fn jittered_up(wait: Duration, random: u64) -> Duration {
    let most = (wait / 10).min(Duration::from_secs(1));
    wait.saturating_add(fraction(most, random))
}

/// Takes off up to a half.
fn jittered_down(wait: Duration, random: u64) -> Duration {
    wait - fraction(wait / 2, random)
}

fn fraction(whole: Duration, random: u64) -> Duration {
    whole.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failure(tries: u32, random: u64) -> Failure {
        Failure {
            tries,
            since_first: Duration::ZERO,
            throttled: false,
            retry_after: None,
            random,
        }
    }

    #[test]
    fn a_unit_is_given_up_after_its_tries_but_throttling_only_costs_time() {
        let limits = RetryLimits::default();
        let last = failure(limits.tries_max, 0);
        assert_eq!(next_step(&limits, &last), NextStep::GiveUp);
        let throttled = Failure {
            throttled: true,
            ..last
        };
        assert!(matches!(next_step(&limits, &throttled), NextStep::Wait(_)));
        let too_long = Failure {
            since_first: limits.wait_max,
            ..throttled
        };
        assert_eq!(next_step(&limits, &too_long), NextStep::GiveUp);
    }

    proptest! {
        #[test]
        fn the_service_is_never_asked_again_before_it_said(seconds in 0_u64..600, random: u64) {
            let asked = Duration::from_secs(seconds);
            let mut failed = failure(1, random);
            failed.throttled = true;
            failed.retry_after = Some(asked);
            let NextStep::Wait(wait) = next_step(&RetryLimits::default(), &failed) else {
                panic!("given up");
            };
            prop_assert!(wait >= asked && wait <= asked + Duration::from_secs(1));
        }

        #[test]
        fn waits_stay_between_half_the_first_and_the_longest(tries in 1_u32..8, random: u64) {
            let limits = RetryLimits::default();
            let NextStep::Wait(wait) = next_step(&limits, &failure(tries, random)) else {
                panic!("given up");
            };
            prop_assert!(wait >= limits.first_wait / 2 && wait <= limits.longest_wait);
        }
    }
}
