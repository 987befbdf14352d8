//! Passphrase key slots: the root key, wrapped under a key that a passphrase leads to.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::{KEY_LENGTH, Key, Purpose, same};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::StoreId;
use crate::seal::{open_once, seal_once};

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

    fn derive(self, passphrase: &Passphrase, salt: &[u8]) -> Result<Key> {
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

/// What a slot is bound to besides its own bytes.
pub(crate) struct SlotPlace<'a> {
    pub(crate) store: StoreId,
    pub(crate) name: &'a str,
}

const MAGIC: &[u8; 4] = b"M3BK";
const LAYOUT: u8 = 1;
/// Kind of recipient; others (recovery code, key file, public key) will have numbers of their own.
const KIND_PASSPHRASE: u8 = 1;
const HEADER: usize = 4 + 1 + 1 + 2 + 4 + 3 * 4 + KEY_LENGTH;
const SEALED: usize = KEY_LENGTH + 16;
const LENGTH: usize = HEADER + KEY_LENGTH + SEALED + KEY_LENGTH;

/// Says what came of trying a slot.
pub(crate) enum Opened {
    Root(Key),
    /// The slot is for another passphrase.
    NotOurs,
    /// The slot is for a kind of recipient that this program does not know.
    OtherKind,
}

/// Wraps `root` for a passphrase. Takes as long as `params` say: run it through `Offload`.
pub(crate) fn wrap(
    root: &Key,
    epoch: u32,
    passphrase: &Passphrase,
    params: KdfParams,
    place: &SlotPlace<'_>,
    environment: &dyn Environment,
) -> Result<Vec<u8>> {
    let mut salt = [0; KEY_LENGTH];
    environment.fill(&mut salt)?;
    let mut slot = Vec::with_capacity(LENGTH);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&[LAYOUT, KIND_PASSPHRASE, 0, 0]);
    for number in [epoch, params.memory_kib, params.passes, params.lanes] {
        slot.extend_from_slice(&number.to_le_bytes());
    }
    slot.extend_from_slice(&salt);
    let key = params.derive(passphrase, &salt)?;
    let sealed = seal_once(
        &key.derive(Purpose::SLOT_WRAP, &[]),
        &associated(&slot, place),
        root.bytes().to_vec(),
    )?;
    slot.extend_from_slice(&key.commitment(Purpose::SLOT_COMMITMENT, &[]));
    slot.extend_from_slice(&sealed);
    let checksum = blake3::hash(&slot);
    slot.extend_from_slice(checksum.as_bytes());
    Ok(slot)
}

/// Tries a passphrase on a slot. Takes as long as the slot says: run it through `Offload`.
pub(crate) fn unwrap(
    slot: &[u8],
    epoch: u32,
    passphrase: &Passphrase,
    place: &SlotPlace<'_>,
) -> Result<Opened> {
    let damaged = |cause: &str| Error::damaged(format_args!("key slot {}", place.name), cause);
    let body = slot.len().checked_sub(KEY_LENGTH);
    let (body, checksum) = slot.split_at(body.ok_or_else(|| damaged("it is too short"))?);
    // Tells damage from a wrong passphrase; it protects nothing.
    if blake3::hash(body).as_bytes()[..] != *checksum {
        return Err(damaged("its checksum does not match"));
    }
    if !body.starts_with(MAGIC) || body.get(4) != Some(&LAYOUT) {
        return Err(damaged("its layout is not known"));
    }
    if body.get(5) != Some(&KIND_PASSPHRASE) {
        return Ok(Opened::OtherKind);
    }
    if slot.len() != LENGTH {
        return Err(damaged("its length is wrong"));
    }
    let number = |at: usize| {
        body[at..at + 4]
            .iter()
            .rev()
            .fold(0, |sum, b| sum << 8 | u32::from(*b))
    };
    if number(8) != epoch {
        return Err(damaged("it names another key epoch"));
    }
    let params = KdfParams::new(number(12), number(16), number(20))?;
    let (header, rest) = body.split_at(HEADER);
    let key = params.derive(passphrase, &header[24..])?;
    let (commitment, sealed) = rest.split_at(KEY_LENGTH);
    let expected = key.commitment(Purpose::SLOT_COMMITMENT, &[]);
    if !commitment
        .try_into()
        .is_ok_and(|found| same(found, &expected))
    {
        return Ok(Opened::NotOurs);
    }
    let wrap = key.derive(Purpose::SLOT_WRAP, &[]);
    let root = open_once(&wrap, &associated(header, place), sealed.to_vec())
        .and_then(|root| Key::from_slice(&root))
        .ok_or_else(|| damaged("its sealed key does not open"))?;
    Ok(Opened::Root(root))
}

fn associated(header: &[u8], place: &SlotPlace<'_>) -> Vec<u8> {
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(place.store.as_bytes());
    bytes.extend_from_slice(place.name.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;

    const PLACE: SlotPlace<'static> = SlotPlace {
        store: StoreId::from_bytes([5; 16]),
        name: "keys/0.ab",
    };

    fn slot() -> (Key, Vec<u8>) {
        let root = Key::random(&SystemEnvironment).unwrap();
        let right = Passphrase::new("right");
        let params = KdfParams::minimum();
        let slot = wrap(&root, 0, &right, params, &PLACE, &SystemEnvironment).unwrap();
        (root, slot)
    }

    #[test]
    fn the_passphrase_opens_its_slot_and_another_does_not() {
        let (root, slot) = slot();
        let opened = unwrap(&slot, 0, &Passphrase::new("right"), &PLACE).unwrap();
        assert!(matches!(opened, Opened::Root(found) if found.bytes() == root.bytes()));
        let opened = unwrap(&slot, 0, &Passphrase::new("wrong"), &PLACE).unwrap();
        assert!(matches!(opened, Opened::NotOurs));
    }

    #[test]
    fn a_slot_of_another_store_does_not_open() {
        let (_, slot) = slot();
        let elsewhere = SlotPlace {
            store: StoreId::from_bytes([6; 16]),
            ..PLACE
        };
        assert!(unwrap(&slot, 0, &Passphrase::new("right"), &elsewhere).is_err());
    }

    #[test]
    fn every_flipped_byte_is_damage_not_a_wrong_passphrase() {
        let (_, slot) = slot();
        for at in 0..slot.len() {
            let mut flipped = slot.clone();
            flipped[at] ^= 1;
            let error = unwrap(&flipped, 0, &Passphrase::new("right"), &PLACE).err();
            assert_eq!(
                error.map(|error| error.kind()),
                Some(ErrorKind::Damaged),
                "byte {at}"
            );
        }
    }

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
