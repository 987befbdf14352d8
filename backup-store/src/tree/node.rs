//! Nodes of the tree: their one encoding, and decoding that trusts nothing.
//!
//! *Shape*: `T`, version 1, level, then records up to the end. A record is a length-prefixed key
//! and a payload. In a leaf (level 0) the payload is 0 and a length-prefixed value, or 1, the
//! value's length and the id of the chunk that holds it. In an index node the key is the last
//! key of a child, and the payload the child's id and the number of entries below it as eight
//! bytes. Keys ascend strictly.

use bytes::Bytes;

use crate::codec::{Decoder, Encoder};
use crate::{ChunkId, Error, ErrorKind, Result};

/// Longer keys are refused.
pub const KEY_MAX_BYTES: usize = 4096;
/// A leaf record that would be longer keeps its value in a chunk of its own.
pub const INLINE_MAX_BYTES: usize = 4096;
/// Longer values are refused: a value is one chunk. A content of 250 GB just fits.
pub const VALUE_MAX_BYTES: usize = 8 << 20;
/// No tree is higher: an index node that is not the last of its level has three children.
pub const LEVEL_MAX: u8 = 40;
/// No node is longer: the limit of the boundary rule and one record over it.
pub const NODE_MAX_BYTES: usize = (128 << 10) + 2 * KEY_MAX_BYTES + 64;

/// Bytes of a node before its first record.
pub(super) const HEADER_BYTES: usize = 3;
const MAGIC: u8 = b'T';
const VERSION: u8 = 1;
const INLINE: u8 = 0;
const OUTLINE: u8 = 1;

/// What a record holds beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// A value within the node.
    Inline(Bytes),
    /// A value in a chunk of its own.
    Outline { id: ChunkId, length: u64 },
    /// A child of an index node.
    Child { id: ChunkId, entries: u64 },
}

/// One record of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Bytes,
    pub(crate) payload: Payload,
}

impl Record {
    /// Number of bytes that [`put`](Self::put) appends.
    pub(super) fn encoded_len(&self) -> usize {
        let key = self.key.len();
        let payload = match &self.payload {
            Payload::Inline(value) => 1 + prefixed_len(value.len()),
            Payload::Outline { length, .. } => 1 + varint_len(*length) + ChunkId::LENGTH,
            Payload::Child { .. } => ChunkId::LENGTH + 8,
        };
        prefixed_len(key) + payload
    }

    pub(super) fn put(&self, encoder: &mut Encoder) {
        encoder.bytes(&self.key);
        match &self.payload {
            Payload::Inline(value) => {
                encoder.byte(INLINE);
                encoder.bytes(value);
            }
            Payload::Outline { id, length } => {
                encoder.byte(OUTLINE);
                encoder.varint(*length);
                encoder.raw(id.as_bytes());
            }
            Payload::Child { id, entries } => {
                encoder.raw(id.as_bytes());
                encoder.raw(&entries.to_le_bytes());
            }
        }
    }

    /// Number of entries of the map that the record stands for.
    pub(super) fn entries(&self) -> u64 {
        match self.payload {
            Payload::Child { entries, .. } => entries,
            _ => 1,
        }
    }
}

/// Tells whether a value stays in the leaf beside its key.
pub(super) fn is_inline(key_bytes: usize, value_bytes: u64) -> bool {
    let record = prefixed_len(key_bytes) as u64 + 1 + varint_len(value_bytes) as u64 + value_bytes;
    record <= INLINE_MAX_BYTES as u64
}

fn prefixed_len(length: usize) -> usize {
    varint_len(length as u64) + length
}

fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Opens the encoding of a node of this level.
pub(super) fn begin(level: u8) -> Encoder {
    let mut encoder = Encoder::new();
    encoder.raw(&[MAGIC, VERSION, level]);
    encoder
}

/// The one encoding of the empty map.
pub(super) fn empty_node() -> Vec<u8> {
    begin(0).finish()
}

/// A decoded node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) level: u8,
    pub(crate) records: Vec<Record>,
    /// The bytes it was decoded from.
    pub(super) encoded: Bytes,
}

impl Node {
    /// Decodes a node.
    ///
    /// *Errors*: `Damaged` for anything but the one encoding of a node, `UnsupportedFormat` for
    /// a later version.
    pub(crate) fn decode(bytes: &Bytes) -> Result<Self> {
        let mut decoder = Decoder::new("tree node", bytes);
        if bytes.len() > NODE_MAX_BYTES {
            return Err(decoder.malformed("is longer than a node can be"));
        }
        if decoder.byte()? != MAGIC {
            return Err(decoder.malformed("is a record of another kind"));
        }
        let version = decoder.byte()?;
        if version != VERSION {
            let words = format!("tree node has version {version}, which is not known");
            return Err(Error::new(ErrorKind::UnsupportedFormat, words));
        }
        let level = decoder.byte()?;
        if level > LEVEL_MAX {
            return Err(decoder.malformed("has a level over the limit"));
        }
        let mut records: Vec<Record> = Vec::new();
        while !decoder.is_empty() {
            let record = take_record(&mut decoder, bytes, level)?;
            if records.last().is_some_and(|last| last.key >= record.key) {
                return Err(decoder.malformed("has keys out of order"));
            }
            records.push(record);
        }
        if level > 0 && records.is_empty() {
            return Err(decoder.malformed("is an index node without children"));
        }
        let encoded = bytes.clone();
        Ok(Self {
            level,
            records,
            encoded,
        })
    }

    /// Writes the records anew: the bytes it was decoded from.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(self.level);
        self.records
            .iter()
            .for_each(|record| record.put(&mut encoder));
        encoder.finish()
    }

    pub(crate) fn last_key(&self) -> Option<&Bytes> {
        self.records.last().map(|record| &record.key)
    }

    /// Number of entries of the map below this node.
    pub(crate) fn entries(&self) -> Option<u64> {
        self.records
            .iter()
            .try_fold(0u64, |sum, record| sum.checked_add(record.entries()))
    }

    /// Position of the first record whose key is not less than `key`.
    pub(super) fn position(&self, key: &[u8]) -> usize {
        self.records.partition_point(|record| record.key[..] < *key)
    }
}

fn take_record(decoder: &mut Decoder<'_>, node: &Bytes, level: u8) -> Result<Record> {
    let key = decoder.bytes()?;
    if key.len() > KEY_MAX_BYTES {
        return Err(decoder.malformed("has a key over the limit"));
    }
    let payload = if level > 0 {
        let id = ChunkId::from_bytes(decoder.array()?);
        let entries = u64::from_le_bytes(decoder.array()?);
        if entries == 0 {
            return Err(decoder.malformed("has a child without entries"));
        }
        Payload::Child { id, entries }
    } else {
        match decoder.byte()? {
            INLINE => {
                let value = decoder.bytes()?;
                if !is_inline(key.len(), value.len() as u64) {
                    return Err(decoder.malformed("holds a value that belongs in a chunk"));
                }
                Payload::Inline(node.slice_ref(value))
            }
            OUTLINE => {
                let length = decoder.varint()?;
                // The limit first: what comes of longer ones is no length any more.
                if length > VALUE_MAX_BYTES as u64 || is_inline(key.len(), length) {
                    return Err(decoder.malformed("names a chunk for a value of wrong length"));
                }
                let id = ChunkId::from_bytes(decoder.array()?);
                Payload::Outline { id, length }
            }
            _ => return Err(decoder.malformed("has a record of unknown form")),
        }
    };
    let key = node.slice_ref(key);
    Ok(Record { key, payload })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn records(level: u8) -> impl Strategy<Value = Vec<Record>> {
        let key = prop::collection::vec(any::<u8>(), 0..40);
        let value = (
            prop::collection::vec(any::<u8>(), 0..200),
            any::<[u8; 32]>(),
            1u64..9_000,
        );
        prop::collection::btree_map(key, value, 1..30).prop_map(move |map| {
            let record = |(key, (value, id, number)): (Vec<u8>, (Vec<u8>, [u8; 32], u64))| {
                let id = ChunkId::from_bytes(id);
                let payload = if level > 0 {
                    Payload::Child {
                        id,
                        entries: number,
                    }
                } else if is_inline(key.len(), number) {
                    Payload::Inline(value.into())
                } else {
                    Payload::Outline { id, length: number }
                };
                Record {
                    key: key.into(),
                    payload,
                }
            };
            map.into_iter().map(record).collect()
        })
    }

    fn encode(level: u8, records: &[Record]) -> Bytes {
        let mut encoder = begin(level);
        let mut length = HEADER_BYTES;
        for record in records {
            record.put(&mut encoder);
            length += record.encoded_len();
        }
        let bytes = encoder.finish();
        assert_eq!(bytes.len(), length);
        bytes.into()
    }

    proptest! {
        #[test]
        fn node_round_trips(level in 0u8..3, seed in records(0), index in records(1)) {
            let records = if level == 0 { seed } else { index };
            let bytes = encode(level, &records);
            let node = Node::decode(&bytes).unwrap();
            prop_assert_eq!(node.level, level);
            prop_assert_eq!(node.records, records);
        }

        #[test]
        fn decoding_is_total_and_canonical(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            check_decoding(bytes.into())?;
        }

        #[test]
        fn decoding_damaged_nodes_is_total_and_canonical(
            records in records(0), at: prop::sample::Index, flip in 1u8..,
        ) {
            let mut bytes = encode(0, &records).to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            check_decoding(bytes.into())?;
        }
    }

    #[test]
    fn a_value_that_claims_to_be_as_long_as_can_be_said_is_refused() {
        for length in [VALUE_MAX_BYTES as u64 + 1, u64::MAX - 1, u64::MAX] {
            let record = Record {
                key: Bytes::from_static(b"key"),
                payload: Payload::Outline {
                    id: ChunkId::from_bytes([7; 32]),
                    length,
                },
            };
            let mut encoder = begin(0);
            record.put(&mut encoder);
            let refused = Node::decode(&encoder.finish().into()).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Damaged);
        }
    }

    fn check_decoding(bytes: Bytes) -> Result<(), TestCaseError> {
        if let Ok(node) = Node::decode(&bytes) {
            prop_assert_eq!(node.encode(), bytes);
        }
        Ok(())
    }
}
