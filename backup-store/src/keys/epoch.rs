//! The `epochs/e` object: the stable keys wrapped under the root key of epoch e, and a commitment
//! to that root. It is bound to `config`, so that a changed parameter does not go unnoticed.

use super::{KEY_LENGTH, Key, Purpose, StableKeys, same};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::id::StoreId;
use crate::seal::{TAG, context, open_once, seal_once};

const MAGIC: &[u8; 4] = b"M3BE";
const KIND: u8 = 2;
const HEADER: usize = 4 + 4 + 4 + KEY_LENGTH + KEY_LENGTH;
const LENGTH: usize = HEADER + 2 * KEY_LENGTH + TAG + KEY_LENGTH;

/// What an epoch object is bound to besides its own bytes.
pub(crate) struct EpochPlace<'a> {
    pub(crate) store: StoreId,
    pub(crate) epoch: u32,
    pub(crate) config: &'a [u8],
}

impl EpochPlace<'_> {
    pub(crate) fn name(&self) -> String {
        format!("epochs/{}", self.epoch)
    }

    fn associated(&self, header: &[u8]) -> Vec<u8> {
        let mut bytes = context(self.store, KIND, &self.name(), header);
        bytes.extend_from_slice(blake3::hash(self.config).as_bytes());
        bytes
    }
}

/// Wraps the stable keys under `root`.
pub(crate) fn wrap(
    root: &Key,
    stable: &StableKeys,
    place: &EpochPlace<'_>,
    environment: &dyn Environment,
) -> Result<Vec<u8>> {
    let mut salt = [0; KEY_LENGTH];
    environment.fill(&mut salt)?;
    let mut object = Vec::with_capacity(LENGTH);
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&[1, 0, 0, 0]);
    object.extend_from_slice(&place.epoch.to_le_bytes());
    object.extend_from_slice(&salt);
    object.extend_from_slice(&root.commitment(Purpose::ROOT_COMMITMENT, &[&salt]));
    let mut plain = stable.chunk_id.bytes().to_vec();
    plain.extend_from_slice(stable.chunker.bytes());
    let key = root.derive(Purpose::EPOCH_WRAP, &[&salt]);
    let sealed = seal_once(&key, &place.associated(&object), plain)?;
    object.extend_from_slice(&sealed);
    let checksum = blake3::hash(&object);
    object.extend_from_slice(checksum.as_bytes());
    Ok(object)
}

/// Opens the stable keys; `None` when the object is whole but belongs to another root.
pub(crate) fn unwrap(
    object: &[u8],
    root: &Key,
    place: &EpochPlace<'_>,
) -> Result<Option<StableKeys>> {
    let damaged = |cause: &str| Error::damaged(format_args!("object {}", place.name()), cause);
    if object.len() != LENGTH {
        return Err(damaged("its length is wrong"));
    }
    let (body, checksum) = object.split_at(LENGTH - KEY_LENGTH);
    if blake3::hash(body).as_bytes()[..] != *checksum {
        return Err(damaged("its checksum does not match"));
    }
    let (header, sealed) = body.split_at(HEADER);
    let known = header.starts_with(MAGIC) && header[4..8] == [1, 0, 0, 0];
    if !known || header[8..12] != place.epoch.to_le_bytes() {
        return Err(damaged("its header is not that of this key epoch"));
    }
    let (salt, commitment) = header[12..].split_at(KEY_LENGTH);
    let expected = root.commitment(Purpose::ROOT_COMMITMENT, &[salt]);
    if !commitment
        .try_into()
        .is_ok_and(|found| same(found, &expected))
    {
        return Ok(None);
    }
    let key = root.derive(Purpose::EPOCH_WRAP, &[salt]);
    let plain = open_once(&key, &place.associated(header), sealed.to_vec())
        .ok_or_else(|| damaged("it fails authentication, or config was changed"))?;
    let (chunk_id, chunker) = plain.split_at(KEY_LENGTH.min(plain.len()));
    match (Key::from_slice(chunk_id), Key::from_slice(chunker)) {
        (Some(chunk_id), Some(chunker)) => Ok(Some(StableKeys { chunk_id, chunker })),
        _ => Err(damaged("its keys have the wrong length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;

    #[test]
    fn stable_keys_open_under_their_root_store_and_config_only() {
        let random = || Key::random(&SystemEnvironment).unwrap();
        let root = random();
        let stable = StableKeys {
            chunk_id: random(),
            chunker: random(),
        };
        let place = EpochPlace {
            store: StoreId::from_bytes([1; 16]),
            epoch: 0,
            config: b"config",
        };
        let object = wrap(&root, &stable, &place, &SystemEnvironment).unwrap();
        let opened = unwrap(&object, &root, &place).unwrap().unwrap();
        assert_eq!(opened.chunker.bytes(), stable.chunker.bytes());
        assert!(unwrap(&object, &random(), &place).unwrap().is_none());
        let changed = EpochPlace {
            config: b"changed",
            ..place
        };
        assert!(unwrap(&object, &root, &changed).is_err());
        for at in 0..object.len() {
            let mut flipped = object.clone();
            flipped[at] ^= 1;
            assert!(unwrap(&flipped, &root, &place).is_err(), "byte {at}");
        }
    }
}
