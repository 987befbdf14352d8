//! Ranges: the `Range` and `Content-Range` headers of single byte ranges.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Requested {
    /// This part.
    Part(Range<u64>),
    /// A part that does not exist.
    Unsatisfiable,
    /// Something this origin does not serve in parts.
    Ignored,
}

/// Reads a `Range` header for content of `length` bytes.
pub(super) fn requested(text: &str, length: u64) -> Requested {
    let Some((from, to)) = text
        .strip_prefix("bytes=")
        .and_then(|spec| spec.split_once('-'))
    else {
        return Requested::Ignored;
    };
    let part = match (from.trim().parse::<u64>(), to.trim().parse::<u64>()) {
        (Ok(from), Ok(to)) if from <= to => from..length.min(to.saturating_add(1)),
        (Ok(from), Err(_)) if to.trim().is_empty() => from..length,
        (Err(_), Ok(last)) if from.trim().is_empty() => length.saturating_sub(last)..length,
        _ => return Requested::Ignored,
    };
    if part.start >= part.end {
        return Requested::Unsatisfiable;
    }
    Requested::Part(part)
}

/// Reads a `Content-Range` header of a request: the part and the total.
pub(super) fn given(text: &str) -> Option<(Range<u64>, u64)> {
    let (part, total) = text.strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (from, to) = part.split_once('-')?;
    let (from, to): (u64, u64) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
    (from <= to).then_some((from..to.checked_add(1)?, total.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_says() {
        assert_eq!(requested("bytes=0-4", 10), Requested::Part(0..5));
        assert_eq!(requested("bytes=4-", 10), Requested::Part(4..10));
        assert_eq!(requested("bytes=4-99", 10), Requested::Part(4..10));
        assert_eq!(requested("bytes=-3", 10), Requested::Part(7..10));
        assert_eq!(requested("bytes=10-", 10), Requested::Unsatisfiable);
        assert_eq!(requested("bytes=0-", 0), Requested::Unsatisfiable);
        for odd in ["bytes=0-1,3-4", "bytes=5-4", "lines=1-2", "bytes=-", ""] {
            assert_eq!(requested(odd, 10), Requested::Ignored, "{odd}");
        }
    }

    #[test]
    fn content_ranges_are_read_as_http_says() {
        assert_eq!(given("bytes 0-4/10"), Some((0..5, 10)));
        assert_eq!(given("bytes 5-5/6"), Some((5..6, 6)));
        for odd in [
            "bytes */10",
            "bytes 4-3/10",
            "0-4/10",
            "bytes 0-4",
            "bytes 0-4/*",
        ] {
            assert_eq!(given(odd), None, "{odd}");
        }
    }
}
