//! Bandwidth: how much of the line a backup takes at which time of the day.

use std::convert::Infallible;
use std::time::Duration;

use backup_store::{Environment, Timestamp};
use m365_auth::{Limits, SharedLimiter, Unit};

/// Says how many bytes a second may come in, by the time of the day.
///
/// *Shape*: spans follow each other; the last one of a day goes on until the first one of the next.
/// Without any, the line is free.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BandwidthProfile {
    spans: Vec<(u16, Option<u64>)>,
}

impl BandwidthProfile {
    /// Leaves the line free.
    pub fn free() -> Self {
        Self::default()
    }

    /// Adds a span that begins at `minute` of the day, in UTC; `None` leaves the line free.
    ///
    /// *Units and limits*: bytes a second; minutes from 0 to 1,439, greater ones are cut to that.
    #[must_use]
    pub fn from(mut self, minute: u16, bytes_per_second: Option<u64>) -> Self {
        let minute = minute.min(DAY_MINUTES - 1);
        self.spans.retain(|(known, _)| *known != minute);
        self.spans.push((minute, bytes_per_second));
        self.spans.sort_unstable();
        self
    }

    /// Returns what holds at a time, and for how long from then.
    pub fn at(&self, time: Timestamp) -> (Option<u64>, Duration) {
        let millis = u64::try_from(time.as_millis().rem_euclid(DAY_MILLIS)).unwrap_or_default();
        let begins = |(minute, _): &(u16, Option<u64>)| u64::from(*minute) * 60_000;
        let after = self.spans.partition_point(|span| begins(span) <= millis);
        let day = DAY_MILLIS.unsigned_abs();
        let next = match (self.spans.get(after), self.spans.first()) {
            (Some(span), _) => begins(span),
            (None, Some(first)) => day + begins(first),
            (None, None) => millis + day,
        };
        let present = after.checked_sub(1).map(|place| &self.spans[place]);
        let present = present.or(self.spans.last());
        let amount = present.and_then(|(_, amount)| *amount);
        (amount, Duration::from_millis(next - millis))
    }

    /// Keeps a limiter to the profile, for ever; pending at once where the line is always free.
    pub(crate) async fn keep(
        &self,
        limiter: &SharedLimiter,
        environment: &dyn Environment,
    ) -> Infallible {
        if self.spans.is_empty() {
            return std::future::pending().await;
        }
        let _freed = Freed(limiter);
        loop {
            let (amount, lasts) = self.at(environment.now());
            let limits = match amount {
                None => Limits::none(),
                Some(rate) => Limits::none().with_window(
                    Unit::Bytes,
                    rate.saturating_mul(SPAN.as_secs()).max(1),
                    SPAN,
                ),
            };
            limiter.set_overall(limits);
            tokio::time::sleep(lasts).await;
        }
    }
}

/// Frees the line when the run is over, however it ends.
struct Freed<'a>(&'a SharedLimiter);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.0.set_overall(Limits::none());
    }
}

const DAY_MINUTES: u16 = 24 * 60;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
/// Over how long the rate is kept on average: what a request brings is known only afterwards.
const SPAN: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_millis(1_793_491_200_000 + minute * 60_000)
    }

    #[test]
    fn the_present_span_holds_until_the_next_one_and_over_midnight() {
        let profile = BandwidthProfile::free()
            .from(8 * 60, Some(1_000))
            .from(18 * 60, None);
        let minutes = |number: u64| Duration::from_secs(number * 60);
        assert_eq!(profile.at(at(8 * 60)), (Some(1_000), minutes(600)));
        assert_eq!(profile.at(at(17 * 60 + 59)), (Some(1_000), minutes(1)));
        assert_eq!(profile.at(at(18 * 60)), (None, minutes(14 * 60)));
        assert_eq!(profile.at(at(60)), (None, minutes(7 * 60)));
        let always = BandwidthProfile::free().from(0, Some(5));
        assert_eq!(always.at(at(61)).0, Some(5));
        assert_eq!(BandwidthProfile::free().at(at(3)).0, None);
    }

    proptest! {
        #[test]
        fn what_holds_changes_only_where_a_span_begins(
            spans in proptest::collection::vec((0u16..1_440, proptest::option::of(1u64..9)), 1..6),
            minute in 0i64..2_880
        ) {
            let profile = spans.iter().fold(BandwidthProfile::free(), |profile, (from, rate)| {
                profile.from(*from, *rate)
            });
            let (amount, lasts) = profile.at(at(minute));
            prop_assert!(lasts > Duration::ZERO && lasts <= Duration::from_secs(86_400));
            let last = i64::try_from(lasts.as_secs() / 60).unwrap() - 1;
            prop_assert_eq!(profile.at(at(minute + last.max(0))).0, amount);
            let begin = (minute + last + 1).rem_euclid(1_440);
            prop_assert!(spans.iter().any(|(from, _)| i64::from(*from) == begin));
        }
    }
}
