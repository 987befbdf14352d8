//! The `epochs/e` object: the stable keys and the roots of all earlier key epochs, wrapped under the
//! root key of epoch e, and a commitment to that root. It is bound to `config`, so that a changed
//! parameter does not go unnoticed.
//!
//! Whoever holds root e holds every earlier one, and nobody learns a later one from it: a recipient
//! who stays needs one slot and one object to read everything; one who was removed reads nothing new.

use zeroize::Zeroizing;

use super::{KEY_LENGTH, Key, Purpose, StableKeys, same};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::StoreId;
use crate::seal::{TAG, context, open_once, seal_once};

const MAGIC: &[u8; 4] = b"M3BE";
const KIND: u8 = 2;
const HEADER: usize = 4 + 4 + 4 + KEY_LENGTH + KEY_LENGTH;
/// Greatest key epoch: bounds the object, and what a hostile name can ask for.
pub(crate) const MOST_EPOCHS: u32 = 1023;

/// Length of the object of an epoch.
fn length(epoch: u32) -> usize {
    let keys = 2 + epoch.min(MOST_EPOCHS) as usize;
    HEADER + keys * KEY_LENGTH + TAG + KEY_LENGTH
}

/// Reads the number of a key epoch back from its object's name.
pub(crate) fn parse_name(name: &str) -> Option<u32> {
    let number = name.strip_prefix("epochs/")?;
    let epoch = number.parse().ok()?;
    (format!("{epoch}") == number && epoch <= MOST_EPOCHS).then_some(epoch)
}

/// What an epoch object holds, for whoever has its root.
#[derive(Debug, Clone)]
pub(crate) struct EpochContent {
    pub(crate) stable: StableKeys,
    /// The roots of all key epochs, oldest first; the last is the one that opened the object.
    pub(crate) roots: Vec<Key>,
}

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

/// Wraps the stable keys and the earlier roots under the last of the roots.
pub(crate) fn wrap(
    content: &EpochContent,
    place: &EpochPlace<'_>,
    environment: &dyn Environment,
) -> Result<Vec<u8>> {
    let refused = || {
        let words = format!("key epoch {}: no store has that many", place.epoch);
        Error::new(ErrorKind::InvalidInput, words)
    };
    let (root, earlier) = content.roots.split_last().ok_or_else(refused)?;
    if earlier.len() != place.epoch as usize || place.epoch > MOST_EPOCHS {
        return Err(refused());
    }
    let mut plain = Vec::with_capacity((2 + earlier.len()) * KEY_LENGTH + TAG);
    for key in content.stable.both().into_iter().chain(earlier) {
        plain.extend_from_slice(key.bytes());
    }
    let salt = root.salt(
        environment,
        &[place.name().as_bytes(), place.config, &plain],
    )?;
    let mut object = Vec::with_capacity(length(place.epoch));
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&[1, 0, 0, 0]);
    object.extend_from_slice(&place.epoch.to_le_bytes());
    object.extend_from_slice(&salt);
    object.extend_from_slice(&root.commitment(Purpose::ROOT_COMMITMENT, &[&salt]));
    let key = root.derive(Purpose::EPOCH_WRAP, &[&salt]);
    let sealed = seal_once(&key, &place.associated(&object), plain)?;
    object.extend_from_slice(&sealed);
    let checksum = blake3::hash(&object);
    object.extend_from_slice(checksum.as_bytes());
    Ok(object)
}

/// Opens what an epoch object holds; `None` when the object is whole but belongs to another root.
pub(crate) fn unwrap(
    object: &[u8],
    root: &Key,
    place: &EpochPlace<'_>,
) -> Result<Option<EpochContent>> {
    let damaged = |cause: &str| Error::damaged(format_args!("object {}", place.name()), cause);
    if object.len() != length(place.epoch) {
        return Err(damaged("its length is wrong"));
    }
    let (body, checksum) = object.split_at(object.len() - KEY_LENGTH);
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
    let plain = Zeroizing::new(plain);
    let keys: Option<Vec<Key>> = plain.chunks(KEY_LENGTH).map(Key::from_slice).collect();
    let mut keys = keys.unwrap_or_default().into_iter();
    let (Some(chunk_id), Some(chunker)) = (keys.next(), keys.next()) else {
        return Err(damaged("its keys have the wrong length"));
    };
    let stable = StableKeys { chunk_id, chunker };
    let roots = keys.chain([root.clone()]).collect();
    Ok(Some(EpochContent { stable, roots }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;

    fn random() -> Key {
        Key::random(&SystemEnvironment).unwrap()
    }

    #[test]
    fn keys_open_under_their_root_store_and_config_only() {
        for epoch in [0, 2] {
            let content = EpochContent {
                stable: StableKeys {
                    chunk_id: random(),
                    chunker: random(),
                },
                roots: (0..=epoch).map(|_| random()).collect(),
            };
            let place = EpochPlace {
                store: StoreId::from_bytes([1; 16]),
                epoch,
                config: b"config",
            };
            let root = content.roots.last().unwrap();
            let object = wrap(&content, &place, &SystemEnvironment).unwrap();
            let opened = unwrap(&object, root, &place).unwrap().unwrap();
            assert_eq!(opened.stable.chunker, content.stable.chunker);
            assert_eq!(opened.roots, content.roots);
            assert!(unwrap(&object, &random(), &place).unwrap().is_none());
            let changed = EpochPlace {
                config: b"changed",
                ..place
            };
            assert!(unwrap(&object, root, &changed).is_err());
            for at in 0..object.len() {
                let mut flipped = object.clone();
                flipped[at] ^= 1;
                assert!(unwrap(&flipped, root, &place).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn only_the_plain_number_of_an_epoch_that_may_be_is_its_name() {
        assert_eq!(parse_name("epochs/0"), Some(0));
        assert_eq!(parse_name("epochs/17"), Some(17));
        for name in [
            "epochs/",
            "epochs/00",
            "epochs/+1",
            "epochs/1024",
            "epochs/a",
            "epochs/1.2",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }
}
