//! DER: as much of it as it takes to find between which times a certificate is valid.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the two times of validity of an X.509 certificate, or `None` when it is none.
///
/// *Source*: RFC 5280, section 4.1: Certificate, TBSCertificate, Validity.
pub(super) fn validity(certificate: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (mut fields, _) = element(whole, SEQUENCE)?;
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    let (_serial, fields) = element(fields, INTEGER)?;
    let (_algorithm, fields) = element(fields, SEQUENCE)?;
    let (_issuer, fields) = element(fields, SEQUENCE)?;
    let (validity, _) = element(fields, SEQUENCE)?;
    let (from, rest) = time(validity)?;
    let (until, _) = time(rest)?;
    Some((from, until))
}

/// Splits off one element of that tag: its content, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    if found != tag {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = digits
                .iter()
                .fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn time(bytes: &[u8]) -> Option<(SystemTime, &[u8])> {
    let (text, rest, century) = if let Some((text, rest)) = element(bytes, UTC_TIME) {
        let year = number(text.get(..2)?)?;
        (text, rest, if year < 50 { 2000 } else { 1900 })
    } else {
        let (text, rest) = element(bytes, GENERALIZED_TIME)?;
        let century = number(text.get(..2)?)? * 100;
        (text.get(2..)?, rest, century)
    };
    let part = |at: usize| number(text.get(at..at + 2)?);
    let year = century + part(0)?;
    let (month, day) = (part(2)?, part(4)?);
    let (hour, minute, second) = (part(6)?, part(8)?, part(10)?);
    if !(1..=12).contains(&month) || text.get(12..) != Some(b"Z") || year < 1970 {
        return None;
    }
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    Some((UNIX_EPOCH + Duration::from_secs(seconds), rest))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns the days from 1970-01-01 to a day of the Gregorian calendar, from 1970 on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // Years are counted from March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let in_year = (153 * month + 2) / 5 + day.saturating_sub(1);
    let before = year * 365 + year / 4 - year / 100 + year / 400;
    before + in_year - 719_468
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    #[test]
    fn the_times_of_a_certificate_are_found() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::default();
        parameters.not_before = rcgen::date_time_ymd(2024, 2, 29);
        parameters.not_after = rcgen::date_time_ymd(2051, 12, 31);
        let certificate = parameters.self_signed(&key).unwrap();
        let (from, until) = super::validity(certificate.der()).unwrap();
        assert_eq!(from, UNIX_EPOCH + Duration::from_secs(1_709_164_800));
        assert_eq!(until, UNIX_EPOCH + Duration::from_secs(2_587_593_600));
        for cut in 0..certificate.der().len().min(150) {
            assert_eq!(super::validity(&certificate.der()[..cut]), None);
        }
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(super::days(1970, 1, 1), 0);
        assert_eq!(super::days(2000, 3, 1), 11_017);
        assert_eq!(super::days(2100, 3, 1) - super::days(2100, 2, 28), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = super::validity(&bytes);
        }
    }
}
