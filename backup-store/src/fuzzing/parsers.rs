//! The parsers of stored bytes, by name: what is accepted must be written as the same bytes again.

use bytes::Bytes;

use crate::ObjectName;
use crate::codec::{Decoder, Encoder};
use crate::content::recipe::Recipe;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, PackId, StoreId};
use crate::index::filter::Shard;
use crate::index::layout::{Directory, Trailer, decode_block, encode_entry};
use crate::index::sealing::{segment_id, segment_name};
use crate::keys::config::Config;
use crate::keys::epoch::{self, EpochPlace};
use crate::keys::key_file::KeyFile;
use crate::keys::recovery_code::RecoveryCode;
use crate::keys::slot::{self, SlotPlace};
use crate::keys::{KEY_LENGTH, Key};
use crate::pack::layout::{
    Table, TablePlace, decode_frame_entry, encode_frame_entry, unpack_block,
};
use crate::pack::{pack_id, pack_name};
use crate::rounds::records::{Ack, BrokenLease, Damage, Done, Plan, Verdict};
use crate::rounds::{ack_name, parse_ack_name, parse_round_name, round_name};
use crate::seal::unpack;
use crate::slots::{Slot, parse_slot_name, slot_name};
use crate::tree::Node;
use crate::writer::begin::Lease;

/// Reads stored bytes, and writes what it read again; where there is no such writing, the bytes.
pub type Parser = fn(&[u8]) -> Result<Vec<u8>>;

/// The parsers of what is stored, by name.
pub const PARSERS: &[(&str, Parser)] = &[
    ("segment directory", |bytes| {
        Ok(Directory::decode(bytes)?.encode())
    }),
    ("segment trailer", |bytes| {
        Ok(Trailer::decode(bytes)?.encode().to_vec())
    }),
    ("segment block", segment_block),
    ("filter shard", filter_shard),
    ("pack table", |bytes| Ok(Table::decode(bytes)?.encode())),
    ("spool entry", |bytes| {
        Ok(encode_frame_entry(&decode_frame_entry(bytes)?))
    }),
    ("pack trailer", |bytes| {
        Ok(TablePlace::decode(bytes)?.encode().to_vec())
    }),
    ("block", block),
    ("slot", |bytes| Ok(Slot::decode(bytes)?.encode())),
    ("plan", |bytes| Ok(Plan::decode(bytes)?.encode())),
    ("verdict", |bytes| Ok(Verdict::decode(bytes)?.encode())),
    ("done", |bytes| Ok(Done::decode(bytes)?.encode())),
    ("ack", |bytes| Ok(Ack::decode(bytes)?.encode())),
    ("broken lease", |bytes| {
        Ok(BrokenLease::decode(bytes)?.encode())
    }),
    ("lease", lease),
    ("recipe", recipe),
    ("tree node", |bytes| {
        Ok(Node::decode(&bytes.to_vec().into())?.encode())
    }),
    ("small object", small_object),
    ("config", config),
    ("key epoch", key_epoch),
    ("key slot", key_slot),
    ("key file", |bytes| {
        KeyFile::from_text(&text(bytes)?).map(|_| bytes.to_vec())
    }),
    ("recovery code", |bytes| {
        text(bytes)?.parse::<RecoveryCode>().map(|_| bytes.to_vec())
    }),
    ("object name", object_name),
    ("damage record", |bytes| Ok(Damage::decode(bytes)?.encode())),
    ("memory of snapshots", |bytes| {
        crate::store::remembered::parse_again(bytes)
    }),
    ("memory of samples", |bytes| {
        crate::check::memory::parse_again(bytes)
    }),
];

/// The store that stored bytes of these parsers are of.
pub(super) const STORE: StoreId = StoreId::from_bytes([9; 16]);

/// The one pack of a segment block.
pub(super) const PACK: PackId = PackId::from_bytes([1; 16]);

/// Where a key slot is read from.
pub(super) const SLOT_PLACE: SlotPlace<'static> = SlotPlace {
    store: STORE,
    epoch: 0,
    name: "keys/0.01",
};

/// Where an epoch object is read from.
pub(super) const EPOCH_PLACE: EpochPlace<'static> = EpochPlace {
    store: STORE,
    epoch: 0,
    config: b"config",
};

/// The root key of the epoch object.
pub(super) fn root() -> Option<Key> {
    Key::from_slice(&[5; KEY_LENGTH])
}

fn text(bytes: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(bytes);
    let text = text.map_err(|_| Error::new(ErrorKind::InvalidInput, "it is not text"))?;
    Ok(text.to_owned())
}

fn segment_block(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = Encoder::new();
    for entry in decode_block(bytes, &[PACK])? {
        encode_entry(&mut encoder, 0, &entry);
    }
    Ok(encoder.finish())
}

/// A filter that decodes answers for any id.
fn filter_shard(bytes: &[u8]) -> Result<Vec<u8>> {
    let shard = Shard::decode(bytes)?;
    for head in [0u8, 1, 0x7f, 0x80, 0xff] {
        shard.may_hold(&ChunkId::from_bytes([head; 32]), 0);
    }
    Ok(bytes.to_vec())
}

/// Two bytes say how long the block claims to be, in units that lead over every limit.
fn block(bytes: &[u8]) -> Result<Vec<u8>> {
    let (claimed, payload) = number(bytes);
    let plain = unpack_block(&Bytes::copy_from_slice(payload), claimed << 8 | 0xff);
    let refused = || Error::damaged("block", "it does not unpack");
    let plain = plain.ok_or_else(refused)?;
    assert_eq!(plain.len(), claimed as usize * 256 + 255);
    Ok(bytes.to_vec())
}

/// Two bytes say how long the content claims to be.
fn recipe(bytes: &[u8]) -> Result<Vec<u8>> {
    let (length, rest) = number(bytes);
    let mut decoder = Decoder::new("recipe", rest);
    let recipe = Recipe::decode(&mut decoder, length.into())?;
    decoder.finish()?;
    let mut encoder = Encoder::new();
    encoder.raw(&bytes[..bytes.len().min(2)]);
    Recipe::encode(recipe.as_ref(), &mut encoder);
    Ok(encoder.finish())
}

fn number(bytes: &[u8]) -> (u32, &[u8]) {
    let (number, rest) = bytes.split_at(bytes.len().min(2));
    let number = number
        .iter()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    (number, rest)
}

fn lease(bytes: &[u8]) -> Result<Vec<u8>> {
    let name = ObjectName::new("leases/1".to_owned())?;
    Lease::decode(&name, bytes).map(|_| bytes.to_vec())
}

/// What a small object holds when its seal is opened: no more is inflated than 1 MiB.
fn small_object(bytes: &[u8]) -> Result<Vec<u8>> {
    let limit = 1 << 20;
    let refused = || Error::damaged("small object", "it does not unpack");
    let plain = unpack(bytes, limit).ok_or_else(refused)?;
    assert!(plain.len() <= limit);
    Ok(bytes.to_vec())
}

/// The lines before the last, which is the hash that a forger would add too.
fn config(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut object = bytes.to_vec();
    object.extend_from_slice(format!("blake3 {}\n", blake3::hash(bytes)).as_bytes());
    Config::decode(bytes).map_or(Ok(()), |_| {
        Err(Error::damaged("config", "it was read without its hash"))
    })?;
    Config::decode(&object).map(|_| bytes.to_vec())
}

fn key_epoch(bytes: &[u8]) -> Result<Vec<u8>> {
    let refused = || Error::damaged("key epoch", "of another root");
    let root = root().ok_or_else(refused)?;
    let opened = epoch::unwrap(&with_checksum(bytes), &root, &EPOCH_PLACE)?;
    opened.ok_or_else(refused).map(|_| bytes.to_vec())
}

fn key_slot(bytes: &[u8]) -> Result<Vec<u8>> {
    let slot = slot::Slot::parse(&with_checksum(bytes), &SLOT_PLACE)?;
    if let (Ok(slot), Some(key)) = (slot, root()) {
        // Whatever it says of its costs, nothing is computed before it is asked for.
        let _opened = slot.open(&key, &SLOT_PLACE).is_ok();
        let _info = slot.info(&key, &SLOT_PLACE);
    }
    Ok(bytes.to_vec())
}

/// Checksums protect nothing: whoever forges an object adds the right one.
fn with_checksum(bytes: &[u8]) -> Vec<u8> {
    let mut object = bytes.to_vec();
    object.extend_from_slice(blake3::hash(bytes).as_bytes());
    object
}

/// A name that is read as that of a pack, slot, segment, round or acknowledgement is its only one.
fn object_name(bytes: &[u8]) -> Result<Vec<u8>> {
    let name = ObjectName::new(text(bytes)?)?;
    let again = [
        pack_id(&name).map(|id| pack_name(&id)),
        segment_id(&name).map(|id| segment_name(&id)),
        parse_slot_name(&name).map(|(lease, number)| slot_name(&lease, number)),
        parse_round_name(&name).map(|(round, part)| round_name(round, part)),
        parse_ack_name(&name).map(|(lease, round)| ack_name(&lease, round)),
    ];
    let mut written = name.as_str().as_bytes().to_vec();
    for again in again.into_iter().flatten() {
        written = again?.as_str().as_bytes().to_vec();
    }
    let _epochs = (
        epoch::parse_name(name.as_str()),
        slot::parse_epoch(name.as_str()),
    );
    Ok(written)
}
