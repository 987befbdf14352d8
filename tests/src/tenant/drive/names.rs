//! Names: what OneDrive allows an item to be called, and ids that look like the service's.

use super::content::mix;

/// Longest name, in characters.
const NAME_MAX: usize = 255;

/// Tells whether OneDrive accepts `name` for a file or folder.
pub(crate) fn is_allowed(name: &str) -> bool {
    const FORBIDDEN: &[char] = &['"', '*', ':', '<', '>', '?', '/', '\\', '|'];
    const DEVICES: &[&str] = &["con", "prn", "aux", "nul"];
    let lower = name.to_lowercase();
    let numbered_device = ["com", "lpt"].iter().any(|device| {
        lower
            .strip_prefix(device)
            .is_some_and(|rest| rest.len() == 1 && rest.bytes().all(|byte| byte.is_ascii_digit()))
    });
    !(name.is_empty()
        || name.chars().count() > NAME_MAX
        || name.contains(FORBIDDEN)
        || name.chars().any(char::is_control)
        || name.trim() != name
        || name.ends_with('.')
        || name.starts_with("~$")
        || lower.contains("_vti_")
        || DEVICES.contains(&lower.as_str())
        || numbered_device
        || matches!(lower.as_str(), "desktop.ini" | ".lock" | ".ds_store"))
}

/// Makes a text of `length` letters and digits that only `seed` decides.
pub(super) fn opaque(seed: u64, length: usize) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut state = mix(seed);
    let mut text = String::with_capacity(length);
    for index in 0..length {
        if index % 12 == 0 {
            state = mix(state ^ index as u64 ^ seed);
        }
        text.push(char::from(ALPHABET[(state & 31) as usize]));
        state >>= 5;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_as_onedrive_refuses_them() {
        for name in [
            "", "a:b", "what?", " lead", "trail ", "dot.", "CON", "Lpt1", "~$x.docx",
        ] {
            assert!(!is_allowed(name), "{name:?} should be refused");
        }
        for name in [
            "_vti_bin",
            "desktop.ini",
            "a/b",
            "a\\b",
            "tab\t",
            "<tag>",
            "\"q\"",
        ] {
            assert!(!is_allowed(name), "{name:?} should be refused");
        }
        for name in [
            "a",
            "#1 100%.txt",
            "Übersicht – 東京.xlsx",
            "com10",
            ".profile",
            "a 'b' (1)",
        ] {
            assert!(is_allowed(name), "{name:?} should be accepted");
        }
        assert!(is_allowed(&"é".repeat(255)) && !is_allowed(&"é".repeat(256)));
    }

    #[test]
    fn ids_differ_by_seed() {
        let ids: std::collections::HashSet<_> = (0..10_000).map(|n| opaque(n, 32)).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
