//! When to come back: `Retry-After` as seconds or date, and the rate-limit headers of SharePoint.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;

/// Reads the time to wait from the headers of an answer; `now` turns a date into a duration where
/// the answer does not say what time it is at the service: clocks differ.
///
/// *Shape*: the longer of `Retry-After` and, on a refusal, `RateLimit-Reset`.
pub(crate) fn hint(headers: &HeaderMap, refused: bool, now: SystemTime) -> Option<Duration> {
    let there = text(headers, "date").and_then(|text| moment(text.trim()));
    let told = text(headers, "retry-after");
    let told = told.and_then(|text| parse(text, there.unwrap_or(now)));
    let reset = text(headers, "ratelimit-reset")
        .filter(|_| refused)
        .and_then(|text| text.trim().parse().ok())
        .map(Duration::from_secs);
    told.into_iter()
        .chain(reset)
        .max()
        .map(|wait| wait.min(LONGEST))
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn parse(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    Some(moment(text)?.duration_since(now).unwrap_or_default())
}

/// Reads a date of HTTP.
fn moment(text: &str) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_secs(date(text)?))
}

/// Parses the date form of HTTP, such as `Sun, 06 Nov 1994 08:49:37 GMT`, into seconds of the
/// epoch.
fn date(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(", ")?;
    let mut words = rest.split(' ');
    let day: u64 = words
        .next()?
        .parse()
        .ok()
        .filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = MONTHS
        .iter()
        .position(|name| name.eq_ignore_ascii_case(month))? as u64
        + 1;
    let year: u64 = words
        .next()?
        .parse()
        .ok()
        .filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':');
    let mut part = |limit: u64| clock.next()?.parse().ok().filter(|value| *value < limit);
    let (hour, minute, second): (u64, u64, u64) = (part(24)?, part(60)?, part(61)?);
    if words.next()? != "GMT" || words.next().is_some() {
        return None;
    }
    Some(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Counts the days from 1970-01-01 in the Gregorian calendar, with years that begin in March.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month < 3 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let in_years = year * 365 + year / 4 - year / 100 + year / 400;
    in_years + (month * 153 + 2) / 5 + day - 1 - 719_468
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Longer hints are cut to this.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::{date, hint, parse};

    #[test]
    fn dates_of_the_rfc_are_read() {
        assert_eq!(date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(date("Sun Nov  6 08:49:37 1994"), None);
    }

    #[test]
    fn seconds_and_dates_mean_the_same() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(parse("7", now), Some(Duration::from_secs(7)));
        assert_eq!(
            parse("Sun, 06 Nov 1994 08:49:37 GMT", now),
            Some(Duration::from_secs(7))
        );
        assert_eq!(parse("soon", now), None);
    }

    #[test]
    fn a_date_is_measured_by_the_clock_of_the_service() {
        let mut headers = HeaderMap::new();
        let until = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert("retry-after", until);
        let there = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:30 GMT");
        headers.insert("date", there);
        let right = UNIX_EPOCH + Duration::from_secs(784_111_770);
        let hour = Duration::from_secs(3_600);
        for now in [right, right + hour, right - hour] {
            assert_eq!(hint(&headers, true, now), Some(Duration::from_secs(7)));
        }
        headers.insert("date", HeaderValue::from_static("noon"));
        assert_eq!(hint(&headers, true, right), Some(Duration::from_secs(7)));
        headers.remove("date");
        assert_eq!(hint(&headers, true, right + hour), Some(Duration::ZERO));
    }

    #[test]
    fn the_longer_of_two_hints_counts_after_a_refusal() {
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", HeaderValue::from_static("3"));
        headers.insert("ratelimit-reset", HeaderValue::from_static("31"));
        assert_eq!(
            hint(&headers, true, UNIX_EPOCH),
            Some(Duration::from_secs(31))
        );
        assert_eq!(
            hint(&headers, false, UNIX_EPOCH),
            Some(Duration::from_secs(3))
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "\\PC{0,40}") {
            let _ = parse(&text, UNIX_EPOCH);
        }
    }
}
