//! Time: a point of wall-clock time in UTC, to the millisecond, with RFC 3339 text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::{Error, ErrorKind, Result};

/// A point in time.
///
/// *Units and limits*: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Text is
/// RFC 3339 for the years 0000 to 9999; outside them the number of milliseconds is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

const DAY_MS: i64 = 86_400_000;

impl Timestamp {
    /// The beginning of 1970.
    pub const EPOCH: Self = Self(0);

    /// Makes a time from milliseconds since 1970.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since 1970.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns year, month (1 to 12) and day (1 to 31) in UTC, by the Gregorian calendar.
    pub fn date(self) -> (i64, i64, i64) {
        civil_from_days(self.0.div_euclid(DAY_MS))
    }

    /// Reads an RFC 3339 time with any offset; digits beyond the millisecond are cut off.
    ///
    /// *Shape*: `2026-11-22T08:30:00Z`, `2026-11-22T10:30:00.1234567+02:00`; a space may stand for
    /// the `T`.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] for anything else.
    pub fn parse_rfc3339(text: &str) -> Result<Self> {
        parse(text.as_bytes()).map(Self).ok_or_else(|| {
            let shown: String = text.chars().take(40).collect();
            Error::new(
                ErrorKind::InvalidInput,
                format!("time {shown:?}: not an RFC 3339 time"),
            )
        })
    }
}

fn parse(text: &[u8]) -> Option<i64> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let separators =
        [(4, b"-"), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")] as [(usize, &[u8]); 5];
    if separators
        .iter()
        .any(|(at, allowed)| !allowed.contains(&date_time[*at]))
    {
        return None;
    }
    let field = |from: usize, to: usize| digits(&date_time[from..to]);
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    let (hour, minute, second) = (field(11, 13)?, field(14, 16)?, field(17, 19)?);
    let valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    if !valid {
        return None;
    }
    let (millis, rest) = fraction(rest)?;
    let offset_minutes = offset(rest)?;
    let second = second.min(59); // A leap second is the second before it.
    let seconds = (hour * 60 + minute - offset_minutes) * 60 + second;
    Some(days_from_civil(year, month, day) * DAY_MS + seconds * 1000 + millis)
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |sum, digit| {
        digit
            .is_ascii_digit()
            .then(|| sum * 10 + i64::from(digit - b'0'))
    })
}

fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else {
        return Some((0, text));
    };
    let length = text
        .iter()
        .take_while(|digit| digit.is_ascii_digit())
        .count();
    if length == 0 {
        return None;
    }
    let shown = text[..length].iter().map(|digit| digit - b'0');
    let millis = shown
        .chain(std::iter::repeat(0))
        .take(3)
        .fold(0, |sum, digit| sum * 10 + i64::from(digit));
    Some((millis, &text[length..]))
}

fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ ..] if hours.len() == 5 && hours[2] == b':' => {
            let (hours, minutes) = (digits(&hours[..2])?, digits(&hours[3..])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let total = hours * 60 + minutes;
            Some(if *sign == b'-' { -total } else { total })
        }
        _ => None,
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar, counted in years that
/// begin in March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let march_year = if month <= 2 { year - 1 } else { year };
    let era = march_year.div_euclid(400);
    let year_of_era = march_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        if !(0..=9999).contains(&year) {
            return write!(f, "{} ms", self.0);
        }
        let of_day = self.0.rem_euclid(DAY_MS);
        let (seconds, millis) = (of_day / 1000, of_day % 1000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if millis != 0 {
            write!(f, ".{millis:03}")?;
        }
        f.write_str("Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse_rfc3339(text)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, millis: i64) {
        assert_eq!(
            Timestamp::parse_rfc3339(text).unwrap().as_millis(),
            millis,
            "{text}"
        );
    }

    #[test]
    fn known_times_are_read() {
        check("1970-01-01T00:00:00Z", 0);
        check("2000-02-29T12:00:00Z", 951_825_600_000);
        check("2026-11-22T10:30:00.1234567+02:00", 1_795_336_200_123);
        check("1969-12-31T23:59:59.9Z", -100);
        check("0001-01-01T00:00:00Z", -62_135_596_800_000);
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "2026-11-22",
            "2026-13-01T00:00:00Z",
            "2025-02-29T00:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T00:00:00",
            "2026-11-22T00:00:00.Z",
            "2026-11-22T00:00:00+2:00",
            "2026-11-22T00:00:00Zx",
            "+026-11-22T00:00:00Z",
        ] {
            assert!(Timestamp::parse_rfc3339(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_of_ten_thousand_years_survives_its_text(
            millis in -62_167_219_200_000i64..253_402_300_800_000,
        ) {
            let time = Timestamp::from_millis(millis);
            prop_assert_eq!(time.to_string().parse::<Timestamp>().unwrap(), time);
        }
    }
}
