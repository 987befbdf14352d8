//! Where nodes end: a function of the records alone, never of the history that led to them.
//!
//! Integers only. Let x be the encoded bytes of the node including this record, len this record,
//! h the first 32 bits (little-endian) of the keyed hash of level and key. The node ends after
//! this record if x ≥ 128 KiB, or if x ≥ M and h < min(2³² − 1, len · 2 · 2³² / M): on average at
//! 1.5 M. Leaves are short (M is 6 KiB), so that an edit of scattered records writes little beside
//! them; the nodes above (16 KiB) are few, and longer ones make the tree lower. The rule depends on
//! bytes, so that a long record does not make a long node. The state is reset at every boundary.

use bytes::Bytes;

use super::node::{self, HEADER_BYTES, Record};
use crate::codec::Encoder;

const KIB: usize = 1 << 10;

/// Keys the hash that decides where nodes end; one per store.
#[derive(Clone)]
pub struct BoundaryKey([u8; 32]);

impl BoundaryKey {
    /// Wraps the 32 bytes of a key.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl std::fmt::Debug for BoundaryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoundaryKey(..)")
    }
}

/// The shortest leaf that is not the last, and the shortest node above.
const LEAST_LEAF: usize = 6 * KIB;
const LEAST_ABOVE: usize = 16 * KIB;

fn ends_node(boundary: &BoundaryKey, level: u8, key: &[u8], x: usize, len: usize) -> bool {
    if x >= 128 * KIB {
        return true;
    }
    let least = if level == 0 { LEAST_LEAF } else { LEAST_ABOVE };
    if x < least {
        return false;
    }
    // How likely a byte ends the node, in units of 2⁻³².
    let rate = (2 << 32) / least as u64;
    let mut hasher = blake3::Hasher::new_keyed(&boundary.0);
    hasher.update(&[level]);
    hasher.update(key);
    let hash = hasher.finalize();
    let [a, b, c, d, ..] = *hash.as_bytes();
    let h = u64::from(u32::from_le_bytes([a, b, c, d]));
    h < u64::from(u32::MAX).min(len as u64 * rate)
}

/// A node that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) bytes: Bytes,
    pub(super) last_key: Bytes,
    pub(super) entries: u64,
}

/// Cuts the sorted records of one level into nodes.
#[derive(Debug)]
pub(super) struct Chunker {
    boundary: BoundaryKey,
    level: u8,
    encoder: Encoder,
    /// Encoded bytes of the open node.
    x: usize,
    last_key: Option<Bytes>,
    entries: u64,
}

impl Chunker {
    pub(super) fn new(boundary: &BoundaryKey, level: u8) -> Self {
        Self {
            boundary: boundary.clone(),
            level,
            encoder: node::begin(level),
            x: HEADER_BYTES,
            last_key: None,
            entries: 0,
        }
    }

    /// Tells whether the last record ended a node.
    pub(super) fn at_boundary(&self) -> bool {
        self.last_key.is_none()
    }

    /// Returns the key of the last record of the open node, if it has one.
    pub(super) fn last_key(&self) -> Option<&Bytes> {
        self.last_key.as_ref()
    }

    /// Appends a record; returns the node if it ends here.
    pub(super) fn push(&mut self, record: &Record) -> Option<Ended> {
        let len = record.encoded_len();
        self.x += len;
        record.put(&mut self.encoder);
        self.last_key = Some(record.key.clone());
        // A sum over 64 bits would need more entries than there are atoms to store them.
        self.entries = self.entries.saturating_add(record.entries());
        if ends_node(&self.boundary, self.level, &record.key, self.x, len) {
            self.finish()
        } else {
            None
        }
    }

    /// Ends the open node, if it has records.
    pub(super) fn finish(&mut self) -> Option<Ended> {
        let last_key = self.last_key.take()?;
        let encoder = std::mem::replace(&mut self.encoder, node::begin(self.level));
        let entries = std::mem::take(&mut self.entries);
        self.x = HEADER_BYTES;
        Some(Ended {
            bytes: encoder.finish().into(),
            last_key,
            entries,
        })
    }
}
