//! Passphrases, and the cost of turning one into a key.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::{KEY_LENGTH, Key};
use crate::error::{Error, ErrorKind, Result};

/// A passphrase; its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes a passphrase as it is: nothing is trimmed or normalised.
    pub fn new(passphrase: impl Into<String>) -> Self {
        Self(Zeroizing::new(passphrase.into()))
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Cost of turning a passphrase into a key with Argon2id; stored in the key slot.
///
/// *Units and limits*: memory in KiB, from 8 MiB to 1 GiB; 1 to 64 passes; 1 to 16 lanes. A slot
/// outside these limits is refused, both when it is written and when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KdfParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl KdfParams {
    /// Checks parameters.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] outside the limits.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self> {
        let allowed = (8 * 1024..=1024 * 1024).contains(&memory_kib)
            && (1..=64).contains(&passes)
            && (1..=16).contains(&lanes);
        if !allowed {
            let words = format!(
                "key derivation of {memory_kib} KiB, {passes} passes, {lanes} lanes: \
                 outside the limits"
            );
            return Err(Error::new(ErrorKind::InvalidInput, words));
        }
        Ok(Self {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// Returns the cheapest parameters allowed: for tests, not for secrets.
    pub const fn minimum() -> Self {
        Self {
            memory_kib: 8 * 1024,
            passes: 1,
            lanes: 1,
        }
    }

    /// Memory in KiB, passes and lanes, as a slot stores them.
    pub(crate) fn numbers(self) -> [u32; 3] {
        [self.memory_kib, self.passes, self.lanes]
    }

    pub(super) fn derive(self, passphrase: &Passphrase, salt: &[u8]) -> Result<Key> {
        let failed = |cause: argon2::Error| {
            let words = format!("key derivation: {cause}");
            Error::new(ErrorKind::InvalidInput, words)
        };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_LENGTH))
            .map_err(failed)?;
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.0.as_bytes(), salt, key.as_mut())
            .map_err(failed)?;
        Ok(Key(key))
    }
}

impl Default for KdfParams {
    /// 64 MiB, three passes, one lane.
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1024,
            passes: 3,
            lanes: 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_outside_the_limits_are_refused() {
        for (memory, passes, lanes) in
            [(1024, 3, 1), (2 << 20, 3, 1), (65536, 0, 1), (65536, 3, 99)]
        {
            assert!(KdfParams::new(memory, passes, lanes).is_err());
        }
        let default = KdfParams::default();
        assert!(KdfParams::new(default.memory_kib, default.passes, default.lanes).is_ok());
    }

    #[test]
    fn a_passphrase_is_not_shown() {
        assert_eq!(
            format!("{:?}", Passphrase::new("secret words")),
            "Passphrase(..)"
        );
    }
}
