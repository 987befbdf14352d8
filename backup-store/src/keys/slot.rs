//! Key slots: the root key of one key epoch, wrapped for one recipient.
//!
//! A recipient has an id, a salt and a *recipient key* that its secret leads to, the same in every
//! epoch; each slot derives its sealing key from that and a salt of its own. What people call the
//! recipient is sealed under the root, so that every holder of it can list all recipients.

use super::passphrase::KdfParams;
use super::unlock::{RecipientKind, Unlock};
use super::{KEY_LENGTH, Key, Purpose, same};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RecipientId, StoreId};
use crate::seal::{TAG, context, open_once, seal_once};
use crate::time::Timestamp;

const MAGIC: &[u8; 4] = b"M3BK";
const LAYOUT: u8 = 1;
/// Number of this kind of object in associated data.
const KIND: u8 = 1;
/// Magic, layout and kind; epoch; recipient; costs; salt of the recipient; salt of the slot.
const HEADER: usize = 4 + 4 + 4 + RecipientId::LENGTH + 3 * 4 + KEY_LENGTH + KEY_LENGTH;
const SALT_AT: usize = HEADER - 2 * KEY_LENGTH;
const SLOT_SALT_AT: usize = HEADER - KEY_LENGTH;
/// Longest label in bytes.
pub(crate) const LABEL_MAX: usize = 64;
/// Time of creation, length of the label, label.
const INFO: usize = 8 + 1 + LABEL_MAX;
const SEALED_ROOT: usize = KEY_LENGTH + TAG;
const SEALED_INFO: usize = INFO + TAG;
const LENGTH: usize = HEADER + KEY_LENGTH + SEALED_ROOT + SEALED_INFO + KEY_LENGTH;
/// Largest slot that is read; those of kinds not known here may be longer than ours.
pub(crate) const MAX_BYTES: u64 = 64 * 1024;

/// Names the slots of a key epoch, up to what is random.
pub(crate) fn prefix(epoch: u32) -> String {
    format!("keys/{epoch}.")
}

/// Reads the key epoch back from a slot's name.
pub(crate) fn parse_epoch(name: &str) -> Option<u32> {
    let (epoch, _) = name.strip_prefix("keys/")?.split_once('.')?;
    epoch.parse().ok()
}

/// Who a slot is for: the same in every key epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipient {
    pub(crate) id: RecipientId,
    pub(crate) kind: RecipientKind,
    pub(crate) kdf: KdfParams,
    pub(crate) salt: [u8; KEY_LENGTH],
}

impl Recipient {
    /// Draws id and salt for a secret.
    pub(crate) fn new(
        unlock: &Unlock,
        kdf: KdfParams,
        id: Option<RecipientId>,
        environment: &dyn Environment,
    ) -> Result<Self> {
        let id = id.map_or_else(|| RecipientId::random(environment), Ok)?;
        let mut salt = [0; KEY_LENGTH];
        environment.fill(&mut salt)?;
        Ok(Self {
            id,
            kind: unlock.kind(),
            kdf,
            salt,
        })
    }

    /// Turns the recipient's secret into its key; slow for a passphrase.
    pub(crate) fn key(&self, store: StoreId, unlock: &Unlock) -> Result<Key> {
        unlock.recipient_key(store, self.kdf, &self.salt)
    }
}

/// What people know a recipient by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Info {
    pub(crate) label: String,
    pub(crate) created: Timestamp,
}

impl Info {
    fn encode(&self) -> Result<Vec<u8>> {
        let length = u8::try_from(self.label.len())
            .ok()
            .filter(|length| usize::from(*length) <= LABEL_MAX);
        let Some(length) = length else {
            let words = format!("label of a key slot: longer than {LABEL_MAX} bytes");
            return Err(Error::new(ErrorKind::InvalidInput, words));
        };
        let mut bytes = self.created.as_millis().to_le_bytes().to_vec();
        bytes.push(length);
        bytes.extend_from_slice(self.label.as_bytes());
        bytes.resize(INFO, 0);
        Ok(bytes)
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (created, rest) = bytes.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let label = rest.get(..usize::from(*length))?;
        Some(Self {
            label: std::str::from_utf8(label).ok()?.to_owned(),
            created: Timestamp::from_millis(i64::from_le_bytes(*created)),
        })
    }
}

/// What a slot is bound to besides its own bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SlotPlace<'a> {
    pub(crate) store: StoreId,
    pub(crate) epoch: u32,
    pub(crate) name: &'a str,
}

impl SlotPlace<'_> {
    /// Part 0 is the root, part 1 what people know the recipient by.
    fn associated(&self, header: &[u8], part: u8) -> Vec<u8> {
        let mut bytes = context(self.store, KIND, self.name, header);
        bytes.push(part);
        bytes
    }

    fn damaged(&self, cause: &str) -> Error {
        Error::damaged(format_args!("key slot {}", self.name), cause)
    }
}

/// Wraps `root` under the key of a recipient.
pub(crate) fn wrap(
    root: &Key,
    recipient: &Recipient,
    key: &Key,
    info: &Info,
    place: &SlotPlace<'_>,
    environment: &dyn Environment,
) -> Result<Vec<u8>> {
    let info = info.encode()?;
    let mut slot = Vec::with_capacity(LENGTH);
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&[LAYOUT, recipient.kind.code(), 0, 0]);
    slot.extend_from_slice(&place.epoch.to_le_bytes());
    slot.extend_from_slice(recipient.id.as_bytes());
    let costs = match recipient.kind {
        RecipientKind::Passphrase => recipient.kdf.numbers(),
        _ => [0; 3],
    };
    for cost in costs {
        slot.extend_from_slice(&cost.to_le_bytes());
    }
    slot.extend_from_slice(&recipient.salt);
    let message: [&[u8]; 4] = [place.name.as_bytes(), &slot, root.bytes(), &info];
    let salt = key.salt(environment, &message)?;
    slot.extend_from_slice(&salt);
    let wrapped = seal_once(
        &key.derive(Purpose::SLOT_WRAP, &[&salt]),
        &place.associated(&slot, 0),
        root.bytes().to_vec(),
    )?;
    let labelled = seal_once(
        &root.derive(Purpose::SLOT_INFO, &[&salt]),
        &place.associated(&slot, 1),
        info,
    )?;
    slot.extend_from_slice(&key.commitment(Purpose::SLOT_COMMITMENT, &[&salt]));
    slot.extend_from_slice(&wrapped);
    slot.extend_from_slice(&labelled);
    let checksum = blake3::hash(&slot);
    slot.extend_from_slice(checksum.as_bytes());
    Ok(slot)
}

/// A slot that was read and is whole.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    bytes: Vec<u8>,
    pub(crate) recipient: Recipient,
}

impl Slot {
    /// Reads a slot; for a kind that this program cannot open, only the kind is known.
    ///
    /// *Errors*: [`ErrorKind::Damaged`].
    pub(crate) fn parse(
        bytes: &[u8],
        place: &SlotPlace<'_>,
    ) -> Result<Result<Self, RecipientKind>> {
        let body = bytes.len().checked_sub(KEY_LENGTH);
        let (body, checksum) =
            bytes.split_at(body.ok_or_else(|| place.damaged("it is too short"))?);
        // Tells damage from a wrong secret; it protects nothing.
        if blake3::hash(body).as_bytes()[..] != *checksum {
            return Err(place.damaged("its checksum does not match"));
        }
        if !body.starts_with(MAGIC) || body.get(4) != Some(&LAYOUT) {
            return Err(place.damaged("its layout is not known"));
        }
        let kind = RecipientKind::from_code(body.get(5).copied().unwrap_or(0));
        if matches!(kind, RecipientKind::PublicKey | RecipientKind::Unknown) {
            return Ok(Err(kind));
        }
        if bytes.len() != LENGTH || body[6..8] != [0, 0] {
            return Err(place.damaged("its length or its header is wrong"));
        }
        let number = |at: usize| {
            let bytes = body[at..at + 4].iter().rev();
            bytes.fold(0, |sum, byte| sum << 8 | u32::from(*byte))
        };
        if number(8) != place.epoch {
            return Err(place.damaged("it names another key epoch"));
        }
        let kdf = match (kind, [number(28), number(32), number(36)]) {
            (RecipientKind::Passphrase, [memory, passes, lanes]) => {
                KdfParams::new(memory, passes, lanes)?
            }
            (_, [0, 0, 0]) => KdfParams::default(),
            _ => return Err(place.damaged("it has costs where there are none")),
        };
        let mut id = [0; RecipientId::LENGTH];
        id.copy_from_slice(&body[12..28]);
        let mut salt = [0; KEY_LENGTH];
        salt.copy_from_slice(&body[SALT_AT..SLOT_SALT_AT]);
        let recipient = Recipient {
            id: RecipientId::from_bytes(id),
            kind,
            kdf,
            salt,
        };
        let bytes = body.to_vec();
        Ok(Ok(Self { bytes, recipient }))
    }

    /// Opens the root key; `None` when the slot is for another secret.
    ///
    /// *Errors*: [`ErrorKind::Damaged`] when the secret is right and the rest is not.
    pub(crate) fn open(&self, key: &Key, place: &SlotPlace<'_>) -> Result<Option<Key>> {
        let (header, rest) = self.bytes.split_at(HEADER);
        let (commitment, rest) = rest.split_at(KEY_LENGTH);
        let salt = &header[SLOT_SALT_AT..];
        let expected = key.commitment(Purpose::SLOT_COMMITMENT, &[salt]);
        if !commitment
            .try_into()
            .is_ok_and(|found| same(found, &expected))
        {
            return Ok(None);
        }
        let wrap = key.derive(Purpose::SLOT_WRAP, &[salt]);
        let sealed = rest[..SEALED_ROOT].to_vec();
        open_once(&wrap, &place.associated(header, 0), sealed)
            .and_then(|root| Key::from_slice(&root))
            .map(Some)
            .ok_or_else(|| place.damaged("its sealed key does not open"))
    }

    /// Opens what people know the recipient by; `None` when the slot is not of this root.
    pub(crate) fn info(&self, root: &Key, place: &SlotPlace<'_>) -> Option<Info> {
        let (header, rest) = self.bytes.split_at(HEADER);
        let key = root.derive(Purpose::SLOT_INFO, &[&header[SLOT_SALT_AT..]]);
        let sealed = rest.get(KEY_LENGTH + SEALED_ROOT..)?.to_vec();
        Info::decode(&open_once(&key, &place.associated(header, 1), sealed)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;
    use crate::keys::key_file::KeyFile;
    use crate::keys::passphrase::Passphrase;
    use crate::keys::recovery_code::RecoveryCode;

    const STORE: StoreId = StoreId::from_bytes([5; 16]);
    const PLACE: SlotPlace<'static> = SlotPlace {
        store: STORE,
        epoch: 3,
        name: "keys/3.ab",
    };

    fn secrets() -> [Unlock; 3] {
        [
            Passphrase::new("right").into(),
            RecoveryCode::generate(&SystemEnvironment).unwrap().into(),
            KeyFile::generate(&SystemEnvironment).unwrap().into(),
        ]
    }

    fn info() -> Info {
        Info {
            label: "Zoë's laptop".to_owned(),
            created: Timestamp::from_millis(77),
        }
    }

    fn slot(unlock: &Unlock) -> (Key, Vec<u8>) {
        let root = Key::random(&SystemEnvironment).unwrap();
        let kdf = KdfParams::minimum();
        let recipient = Recipient::new(unlock, kdf, None, &SystemEnvironment).unwrap();
        let key = recipient.key(STORE, unlock).unwrap();
        let slot = wrap(&root, &recipient, &key, &info(), &PLACE, &SystemEnvironment);
        (root, slot.unwrap())
    }

    fn open(bytes: &[u8], unlock: &Unlock, place: &SlotPlace<'_>) -> Result<Option<Key>> {
        let slot = Slot::parse(bytes, place)?.unwrap();
        slot.open(&slot.recipient.key(place.store, unlock)?, place)
    }

    #[test]
    fn a_secret_opens_its_slot_and_another_does_not() {
        for unlock in secrets() {
            let (root, slot) = slot(&unlock);
            assert_eq!(open(&slot, &unlock, &PLACE).unwrap(), Some(root));
            for other in secrets() {
                if other.kind() != unlock.kind() || unlock.kind() != RecipientKind::Passphrase {
                    assert_eq!(open(&slot, &other, &PLACE).unwrap(), None);
                }
            }
            let wrong = Passphrase::new("wrong").into();
            assert_eq!(open(&slot, &wrong, &PLACE).unwrap(), None);
        }
    }

    #[test]
    fn the_holder_of_the_root_and_nobody_else_reads_the_label() {
        let (root, slot) = slot(&secrets()[1]);
        let slot = Slot::parse(&slot, &PLACE).unwrap().unwrap();
        assert_eq!(slot.info(&root, &PLACE), Some(info()));
        let other = Key::random(&SystemEnvironment).unwrap();
        assert_eq!(slot.info(&other, &PLACE), None);
    }

    #[test]
    fn a_slot_under_another_name_or_of_another_store_does_not_open() {
        let unlock = &secrets()[2];
        let (_, slot) = slot(unlock);
        let elsewhere = SlotPlace {
            name: "keys/3.ac",
            ..PLACE
        };
        assert!(open(&slot, unlock, &elsewhere).is_err());
        let other = SlotPlace {
            store: StoreId::from_bytes([6; 16]),
            ..PLACE
        };
        assert_eq!(open(&slot, unlock, &other).unwrap(), None);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_damage_not_a_wrong_secret() {
        let unlock = &secrets()[1];
        let (_, slot) = slot(unlock);
        for at in 0..slot.len() {
            let mut flipped = slot.clone();
            flipped[at] ^= 1;
            for bytes in [&flipped[..], &slot[..at]] {
                let error = open(bytes, unlock, &PLACE).err();
                let kind = error.map(|error| error.kind());
                assert_eq!(kind, Some(ErrorKind::Damaged), "byte {at}");
            }
        }
    }

    #[test]
    fn a_slot_for_a_public_key_is_known_as_one() {
        let (_, slot) = slot(&secrets()[1]);
        let mut body = slot[..slot.len() - KEY_LENGTH].to_vec();
        for (code, kind) in [(4, RecipientKind::PublicKey), (99, RecipientKind::Unknown)] {
            body[5] = code;
            let mut bytes = body.clone();
            bytes.extend_from_slice(blake3::hash(&body).as_bytes());
            assert_eq!(Slot::parse(&bytes, &PLACE).unwrap().unwrap_err(), kind);
        }
    }

    #[test]
    fn a_label_too_long_is_refused() {
        let long = Info {
            label: "x".repeat(LABEL_MAX + 1),
            ..info()
        };
        assert_eq!(long.encode().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}
