//! How numbers become words: bytes, durations, counts, dates.

use std::time::Duration;

use backup_store::Timestamp;

/// Writes a number of bytes for people: `512 B`, `1.5 KiB`, `1.0 GiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    // Tenths, in integers, so that no rounding depends on the platform.
    let mut tenths = u128::from(count) * 10;
    let mut unit = "B";
    for name in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths = (tenths + 512) / 1024;
        unit = name;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Writes a duration for people: `0.4 s`, `12.3 s`, `3 min 05 s`, `2 h 10 min`.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        return format!("{}.{} s", seconds, time.subsec_millis() / 100);
    }
    if seconds < 3600 {
        return format!("{} min {:02} s", seconds / 60, seconds % 60);
    }
    format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
}

/// Writes a whole number with thin groups of three: `20,113`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes a number and its noun: `1 item`, `2 items`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// Writes a time to the second, UTC: `2026-11-22 08:50:03`.
pub(crate) fn time(at: Timestamp) -> String {
    let text = at.to_string();
    text.get(..19).unwrap_or(&text).replace('T', " ")
}

/// Writes bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes, count, counted, duration, hex};

    #[test]
    fn bytes_are_written_in_binary_units() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ];
        for (input, expected) in table {
            assert_eq!(bytes(input), expected);
        }
    }

    #[test]
    fn durations_and_counts_read_well() {
        assert_eq!(duration(Duration::from_millis(450)), "0.4 s");
        assert_eq!(duration(Duration::from_secs(185)), "3 min 05 s");
        assert_eq!(duration(Duration::from_secs(7800)), "2 h 10 min");
        assert_eq!(count(20_113), "20,113");
        assert_eq!(count(7), "7");
        assert_eq!(counted(1, "item"), "1 item");
        assert_eq!(hex(&[0, 255]), "00ff");
    }
}
