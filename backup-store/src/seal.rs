//! Sealing of small objects and local records: one fresh key per message, bound to its place.
//!
//! Every sealed thing begins with a clear header (salt, key epoch, key commitment). Its key comes
//! from the catalog key, its kind, its full name and the salt, and seals exactly one message, so
//! that the nonce can be zero. The whole header and the place are associated data.

pub(crate) mod messages;

use std::sync::{Mutex, MutexGuard, PoisonError};

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use zstd::bulk::{Compressor, Decompressor};

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::StoreId;
use crate::keys::{KEY_LENGTH, Key, Keys, Purpose, same};
use crate::nonces::observe;

/// Format version of the whole store; part of what every sealed thing is bound to.
pub const FORMAT_VERSION: u32 = 3;

/// Bytes that sealing adds to a message.
pub(crate) const TAG: usize = 16;
/// Length of a nonce.
pub(crate) const NONCE: usize = 12;

/// Kinds of small sealed objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    Lease,
    Slot,
    Run,
    /// The records of rounds of prune.
    Plan,
    Verdict,
    Done,
    Ack,
    BrokenLease,
    /// What repairs found damaged.
    Damage,
}

impl ObjectKind {
    fn code(self) -> u8 {
        match self {
            Self::Lease => 4,
            Self::Slot => 5,
            Self::Run => 6,
            Self::Plan => 16,
            Self::Verdict => 17,
            Self::Done => 18,
            Self::Ack => 19,
            Self::BrokenLease => 20,
            Self::Damage => 21,
        }
    }

    /// Tells whether the size of the object is hidden by padding.
    fn padded(self) -> bool {
        matches!(self, Self::Slot)
    }

    /// Largest sealed object in bytes, padding included: of a larger one no more is read.
    pub(crate) fn sealed_limit(self) -> u64 {
        let limit = self.limit() as u64;
        limit + limit / 4 + (1 << 20)
    }

    /// Largest plaintext in bytes; refused beyond, before anything is inflated.
    fn limit(self) -> usize {
        match self {
            Self::Plan | Self::Verdict | Self::Done => 512 << 20,
            Self::Slot => 256 << 20,
            Self::Lease | Self::Run | Self::Ack | Self::BrokenLease | Self::Damage => 64 << 20,
        }
    }
}

const MAGIC: &[u8; 4] = b"M3BO";
const HEADER: usize = 4 + 1 + 1 + 2 + 4 + KEY_LENGTH + KEY_LENGTH;
/// Codec, length of the data, length of the plaintext.
const PAYLOAD_HEADER: usize = 1 + 8 + 8;
const CODEC_RAW: u8 = 0;
const CODEC_ZSTD: u8 = 1;
/// Compression level of everything: measured as the best trade for mail.
pub(crate) const ZSTD_LEVEL: i32 = 2;

/// Seals a small object for the name it will have.
pub(crate) fn seal_object(
    keys: &Keys,
    kind: ObjectKind,
    name: &str,
    plain: &[u8],
    environment: &dyn Environment,
) -> Result<Vec<u8>> {
    if plain.len() > kind.limit() {
        let words = format!(
            "object {name}: {} bytes are more than it may hold",
            plain.len()
        );
        return Err(Error::new(ErrorKind::TooLarge, words));
    }
    let mut dice = [0; 2];
    environment.fill(&mut dice)?;
    let epoch = keys.epoch();
    let catalog = keys.catalog(epoch)?;
    let salt = catalog.salt(
        environment,
        &[&[kind.code()], name.as_bytes(), &dice, plain],
    )?;
    let mut object = Vec::with_capacity(HEADER);
    object.extend_from_slice(MAGIC);
    object.extend_from_slice(&[1, kind.code(), 0, 0]);
    object.extend_from_slice(&epoch.to_le_bytes());
    object.extend_from_slice(&salt);
    let parts: [&[u8]; 3] = [&[kind.code()], name.as_bytes(), &salt];
    object.extend_from_slice(&catalog.commitment(Purpose::OBJECT_COMMITMENT, &parts));
    let mut payload = payload(plain)?;
    if kind.padded() {
        let bare = HEADER + payload.len() + TAG;
        let dice = u16::from_le_bytes(dice);
        let padding = padded_size(bare as u64, dice) - bare as u64;
        payload.resize(payload.len() + usize::try_from(padding).unwrap_or(0), 0);
    }
    let key = catalog.derive(Purpose::OBJECT, &parts);
    let sealed = seal_once(
        &key,
        &associated(keys.store, kind.code(), name, &object),
        payload,
    )?;
    object.extend_from_slice(&sealed);
    Ok(object)
}

/// Reads the key epoch that a small object says it was sealed in.
pub(crate) fn epoch_of(object: &[u8]) -> Option<u32> {
    let epoch = object.get(8..12).filter(|_| object.starts_with(MAGIC))?;
    Some(u32::from_le_bytes(epoch.try_into().ok()?))
}

/// Opens a small object that was read under `name`.
///
/// *Errors*: [`ErrorKind::Damaged`] when any byte of it, or its name, is not what was sealed.
pub(crate) fn open_object(
    keys: &Keys,
    kind: ObjectKind,
    name: &str,
    object: &[u8],
) -> Result<Vec<u8>> {
    let damaged = |cause: &str| Error::damaged(format_args!("object {name}"), cause);
    let (header, sealed) = object
        .split_at_checked(HEADER)
        .ok_or_else(|| damaged("it is too short"))?;
    if !header.starts_with(MAGIC) || header[4..8] != [1, kind.code(), 0, 0] {
        return Err(damaged("its header is not that of such an object"));
    }
    let mut epoch = [0; 4];
    epoch.copy_from_slice(&header[8..12]);
    let epoch = u32::from_le_bytes(epoch);
    let catalog = keys
        .catalog(epoch)
        .map_err(|cause| damaged("its key epoch is not one of the store").with_source(cause))?;
    let (salt, commitment) = header[12..].split_at(KEY_LENGTH);
    let parts: [&[u8]; 3] = [&[kind.code()], name.as_bytes(), salt];
    let expected = catalog.commitment(Purpose::OBJECT_COMMITMENT, &parts);
    if !commitment
        .try_into()
        .is_ok_and(|found| same(found, &expected))
    {
        return Err(damaged("its key commitment does not match"));
    }
    let key = catalog.derive(Purpose::OBJECT, &parts);
    let bound = associated(keys.store, kind.code(), name, header);
    let payload = open_once(&key, &bound, sealed.to_vec())
        .ok_or_else(|| damaged("it fails authentication"))?;
    unpack(&payload, kind.limit()).ok_or_else(|| damaged("its payload cannot be unpacked"))
}

/// Writes what is sealed of a small object: compressed if that pays, with both lengths.
pub(crate) fn payload(plain: &[u8]) -> Result<Vec<u8>> {
    let compressed = compress(plain)?;
    let (codec, data) = match &compressed {
        Some(compressed) => (CODEC_ZSTD, compressed.as_slice()),
        None => (CODEC_RAW, plain),
    };
    let mut payload = Vec::with_capacity(PAYLOAD_HEADER + data.len() + TAG);
    payload.push(codec);
    payload.extend_from_slice(&(data.len() as u64).to_le_bytes());
    payload.extend_from_slice(&(plain.len() as u64).to_le_bytes());
    payload.extend_from_slice(data);
    Ok(payload)
}

/// Reads what [`payload`] wrote; nothing longer than `limit` is inflated.
pub(crate) fn unpack(payload: &[u8], limit: usize) -> Option<Vec<u8>> {
    let (header, rest) = payload.split_at_checked(PAYLOAD_HEADER)?;
    let number = |at: usize| {
        let bytes = header[at..at + 8].try_into().ok()?;
        usize::try_from(u64::from_le_bytes(bytes)).ok()
    };
    let (data, length) = (rest.get(..number(1)?)?, number(9)?);
    if header[0] > CODEC_ZSTD {
        return None;
    }
    inflate(header[0] == CODEC_ZSTD, data, length, limit)
}

/// Compresses, unless that does not pay.
pub(crate) fn compress(plain: &[u8]) -> Result<Option<Vec<u8>>> {
    let failed = |cause| Error::from_io(ErrorKind::InvalidInput, "compression", cause);
    let kept = compressors().pop();
    let (mut compressor, mut buffer) = match kept {
        Some(kept) => kept,
        None => (Compressor::new(ZSTD_LEVEL).map_err(failed)?, Vec::new()),
    };
    buffer.clear();
    buffer.reserve(zstd::zstd_safe::compress_bound(plain.len()));
    compressor
        .compress_to_buffer(plain, &mut buffer)
        .map_err(failed)?;
    let compressed = (buffer.len() < plain.len()).then(|| buffer.clone());
    let mut kept = compressors();
    if kept.len() < COMPRESSORS_KEPT {
        kept.push((compressor, buffer));
    }
    Ok(compressed)
}

/// Compressors that wait for the next block, with the buffers they write to: making them anew
/// costs more than a small block does.
static COMPRESSORS: Mutex<Vec<(Compressor<'static>, Vec<u8>)>> = Mutex::new(Vec::new());
const COMPRESSORS_KEPT: usize = 2;

fn compressors() -> MutexGuard<'static, Vec<(Compressor<'static>, Vec<u8>)>> {
    COMPRESSORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Inflates to exactly `length` bytes, which may not exceed `limit`.
pub(crate) fn inflate(zstd: bool, data: &[u8], length: usize, limit: usize) -> Option<Vec<u8>> {
    if length > limit {
        return None;
    }
    let plain = if zstd {
        let kept = decompressors().pop();
        let mut decompressor = kept.map_or_else(Decompressor::new, Ok).ok()?;
        let mut plain = Vec::with_capacity(length);
        decompressor.decompress_to_buffer(data, &mut plain).ok()?;
        let mut kept = decompressors();
        if kept.len() < COMPRESSORS_KEPT {
            kept.push(decompressor);
        }
        plain
    } else {
        data.to_vec()
    };
    (plain.len() == length).then_some(plain)
}

/// Decompressors that wait for the next block.
static DECOMPRESSORS: Mutex<Vec<Decompressor<'static>>> = Mutex::new(Vec::new());

fn decompressors() -> MutexGuard<'static, Vec<Decompressor<'static>>> {
    DECOMPRESSORS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the size that an object of `bare` bytes is padded to.
///
/// Size classes keep the few leading bits of the size (at most 12 % for small, 3 % for large
/// objects); `dice` adds up to 3 %; nothing is smaller than 64 KiB.
pub(crate) fn padded_size(bare: u64, dice: u16) -> u64 {
    const SMALLEST: u64 = 64 * 1024;
    let bare = bare.max(SMALLEST);
    let exponent = bare.ilog2();
    let kept = exponent.ilog2() + 1;
    let step = 1u64 << (exponent - kept);
    let class = bare.div_ceil(step) * step;
    class + class * 3 / 100 * u64::from(dice) / u64::from(u16::MAX)
}

/// What a message is bound to: the format, the store, its kind, its full name, its header, and
/// that it is number 0 and the last.
fn associated(store: StoreId, kind: u8, name: &str, header: &[u8]) -> Vec<u8> {
    let mut bytes = context(store, kind, name, header);
    bytes.extend_from_slice(&0u64.to_le_bytes());
    bytes.push(1);
    bytes
}

/// The part of the associated data that all messages of one object share.
pub(crate) fn context(store: StoreId, kind: u8, name: &str, header: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(b"m365-backup store");
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(store.as_bytes());
    bytes.push(kind);
    for part in [name.as_bytes(), header] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Seals the one message of a key.
pub(crate) fn seal_once(key: &Key, associated: &[u8], plain: Vec<u8>) -> Result<Vec<u8>> {
    observe(key.bytes(), &[0; NONCE], associated, &[&plain]);
    seal_with(
        &Aes256Gcm::new(key.bytes().into()),
        &[0; NONCE],
        associated,
        plain,
    )
}

/// Opens the one message of a key; nothing tells why it fails.
pub(crate) fn open_once(key: &Key, associated: &[u8], sealed: Vec<u8>) -> Option<Vec<u8>> {
    open_with(
        &Aes256Gcm::new(key.bytes().into()),
        &[0; NONCE],
        associated,
        sealed,
    )
}

pub(crate) fn seal_with(
    cipher: &Aes256Gcm,
    nonce: &[u8; NONCE],
    associated: &[u8],
    mut plain: Vec<u8>,
) -> Result<Vec<u8>> {
    cipher
        .encrypt_in_place(&Nonce::from(*nonce), associated, &mut plain)
        .map_err(|_| Error::new(ErrorKind::TooLarge, "sealing: the message is too long"))?;
    Ok(plain)
}

pub(crate) fn open_with(
    cipher: &Aes256Gcm,
    nonce: &[u8; NONCE],
    associated: &[u8],
    mut sealed: Vec<u8>,
) -> Option<Vec<u8>> {
    cipher
        .decrypt_in_place(&Nonce::from(*nonce), associated, &mut sealed)
        .ok()?;
    Some(sealed)
}

const LOCAL_LAYOUT: u8 = 1;

/// Seals a record that stays on this machine.
pub(crate) fn seal_local(
    keys: &Keys,
    purpose: &str,
    name: &[u8],
    plain: &[u8],
    environment: &dyn Environment,
) -> Result<Vec<u8>> {
    let salt = keys
        .local()
        .salt(environment, &[purpose.as_bytes(), name, plain])?;
    let parts: [&[u8]; 3] = [purpose.as_bytes(), name, &salt];
    let key = keys.local().derive(Purpose::LOCAL_RECORD, &parts);
    let mut record = vec![LOCAL_LAYOUT];
    record.extend_from_slice(&salt);
    record.extend_from_slice(&keys.local().commitment(Purpose::LOCAL_COMMITMENT, &parts));
    let sealed = seal_once(&key, &record, plain.to_vec())?;
    record.extend_from_slice(&sealed);
    Ok(record)
}

/// Opens a record that [`seal_local`] sealed for the same purpose and name.
pub(crate) fn open_local(
    keys: &Keys,
    purpose: &str,
    name: &[u8],
    record: &[u8],
) -> Result<Vec<u8>> {
    let damaged = |cause: &str| Error::damaged(format_args!("local {purpose} record"), cause);
    let (header, sealed) = record
        .split_at_checked(1 + 2 * KEY_LENGTH)
        .ok_or_else(|| damaged("it is too short"))?;
    if header[0] != LOCAL_LAYOUT {
        return Err(damaged("its layout is not known"));
    }
    let (salt, commitment) = header[1..].split_at(KEY_LENGTH);
    let parts: [&[u8]; 3] = [purpose.as_bytes(), name, salt];
    let expected = keys.local().commitment(Purpose::LOCAL_COMMITMENT, &parts);
    if !commitment
        .try_into()
        .is_ok_and(|found| same(found, &expected))
    {
        return Err(damaged(
            "it was not sealed for this store, purpose and name",
        ));
    }
    let key = keys.local().derive(Purpose::LOCAL_RECORD, &parts);
    open_once(&key, header, sealed.to_vec()).ok_or_else(|| damaged("it fails authentication"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;
    use crate::keys::tests::test_keys;

    #[test]
    fn an_object_opens_under_its_own_kind_and_name_only() {
        let keys = test_keys();
        let plain = vec![7; 100_000];
        let name = "snaps/a.0";
        let sealed = seal_object(&keys, ObjectKind::Slot, name, &plain, &SystemEnvironment);
        let sealed = sealed.unwrap();
        assert_eq!(
            open_object(&keys, ObjectKind::Slot, name, &sealed).unwrap(),
            plain
        );
        assert!(open_object(&keys, ObjectKind::Slot, "snaps/a.1", &sealed).is_err());
        assert!(open_object(&keys, ObjectKind::Run, name, &sealed).is_err());
    }

    #[test]
    fn every_flipped_byte_and_every_cut_of_an_object_is_damage() {
        let keys = test_keys();
        let sealed = seal_object(
            &keys,
            ObjectKind::Lease,
            "leases/a",
            b"lease",
            &SystemEnvironment,
        );
        let sealed = sealed.unwrap();
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 0x10;
            for bytes in [&flipped[..], &sealed[..at]] {
                let error = open_object(&keys, ObjectKind::Lease, "leases/a", bytes).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged, "byte {at}");
            }
        }
    }

    #[test]
    fn equal_objects_are_sealed_unlike() {
        let seal = || {
            let keys = test_keys();
            seal_object(
                &keys,
                ObjectKind::Run,
                "runs/a",
                b"same",
                &SystemEnvironment,
            )
            .unwrap()
        };
        assert_ne!(seal(), seal());
    }

    #[test]
    fn padding_hides_small_sizes_and_costs_little_for_large() {
        assert_eq!(padded_size(1, 0), padded_size(65_000, 0));
        for bare in [
            64u64 << 10,
            70_000,
            1 << 20,
            (32 << 20) + 1,
            (1 << 30) + 12_345,
        ] {
            for dice in [0, u16::MAX] {
                let size = padded_size(bare, dice);
                assert!(
                    size >= bare && size <= bare + bare * 16 / 100,
                    "{bare} -> {size}"
                );
            }
        }
        assert!(padded_size((32 << 20) + 1, 0) <= (33 << 20) + 1);
    }

    #[test]
    fn a_local_record_opens_for_its_purpose_and_name_only() {
        let keys = test_keys();
        let record = seal_local(&keys, "journal", b"row 1", b"secret", &SystemEnvironment).unwrap();
        assert_eq!(
            open_local(&keys, "journal", b"row 1", &record).unwrap(),
            b"secret"
        );
        for (purpose, name) in [("journal", b"row 2"), ("cursor!", b"row 1")] {
            assert!(open_local(&keys, purpose, name, &record).is_err());
        }
        for at in 0..record.len() {
            let mut flipped = record.clone();
            flipped[at] ^= 1;
            assert!(
                open_local(&keys, "journal", b"row 1", &flipped).is_err(),
                "byte {at}"
            );
        }
    }
}
