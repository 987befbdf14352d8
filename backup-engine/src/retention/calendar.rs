//! Calendar: the hour, day, week, month or year that a time falls into.

use backup_store::Timestamp;

use super::KeepReason;

/// A stretch of the calendar, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Period {
    Hour,
    Day,
    Week,
    Month,
    Year,
}

impl Period {
    pub(super) fn reason(self) -> KeepReason {
        match self {
            Self::Hour => KeepReason::Hourly,
            Self::Day => KeepReason::Daily,
            Self::Week => KeepReason::Weekly,
            Self::Month => KeepReason::Monthly,
            Self::Year => KeepReason::Yearly,
        }
    }
}

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// Returns a number that all times of one period share, and that grows with time.
pub(super) fn period_of(period: Period, time: Timestamp) -> i64 {
    let millis = time.as_millis();
    let days = millis.div_euclid(DAY);
    let (year, month, _) = time.date();
    match period {
        Period::Hour => millis.div_euclid(HOUR),
        Period::Day => days,
        // 1970-01-01 was a Thursday.
        Period::Week => (days + 3).div_euclid(7),
        Period::Month => year * 12 + month,
        Period::Year => year,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(period: Period, a: &str, b: &str, apart: i64) {
        let number = |text| period_of(period, Timestamp::parse_rfc3339(text).unwrap());
        assert_eq!(number(b) - number(a), apart, "{a} and {b}");
    }

    #[test]
    fn months_and_years_end_where_they_do() {
        check(
            Period::Month,
            "2024-02-29T12:00:00Z",
            "2024-03-01T00:00:00Z",
            1,
        );
        check(
            Period::Month,
            "2026-12-01T00:00:00Z",
            "2026-12-31T23:59:59Z",
            0,
        );
        check(
            Period::Month,
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:00Z",
            1,
        );
        check(
            Period::Year,
            "1999-12-31T23:59:59Z",
            "2001-01-01T00:00:00Z",
            2,
        );
    }

    #[test]
    fn a_week_begins_on_monday() {
        // 2026-11-22 is a Sunday.
        check(
            Period::Week,
            "2026-11-16T00:00:00Z",
            "2026-11-22T23:59:59Z",
            0,
        );
        check(
            Period::Week,
            "2026-11-22T23:59:59Z",
            "2026-11-23T00:00:00Z",
            1,
        );
    }
}
