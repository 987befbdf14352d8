//! Ids: short hashes of the seed in the shapes that the services use.

use std::fmt::Write as _;

/// Returns 32 bytes that depend on `seed`, `purpose` and `number` only.
pub(crate) fn bytes(seed: u64, purpose: &str, number: u64) -> [u8; 32] {
    let mut hash = blake3::Hasher::new();
    hash.update(&seed.to_le_bytes());
    hash.update(purpose.as_bytes());
    hash.update(&[0]);
    hash.update(&number.to_le_bytes());
    *hash.finalize().as_bytes()
}

/// Returns a number that depends on `seed`, `purpose` and `number` only.
pub(crate) fn number(seed: u64, purpose: &str, number: u64) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&bytes(seed, purpose, number)[..8]);
    u64::from_le_bytes(first)
}

/// Returns a GUID in the usual shape, of version 4 by its looks.
pub(crate) fn guid(seed: u64, purpose: &str, number: u64) -> String {
    let hash = bytes(seed, purpose, number);
    let hex = hash[..16].iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    format!(
        "{}-{}-4{}-9{}-{}",
        &hex[0..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}
