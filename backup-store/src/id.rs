//! Ids: fixed-size names of stores, packs, leases, snapshots, runs and chunks.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident, $length:literal, $what:literal) => {
        $(#[$doc])*
        ///
        #[doc = concat!("*Shape*: ", stringify!($length), " bytes, written as lower-case hex.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Number of bytes in this id.
            pub const LENGTH: usize = $length;

            /// Wraps the bytes of an id.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes of the id.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "("))?;
                write_hex(f, &self.0)?;
                f.write_str(")")
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                let mut bytes = [0; $length];
                read_hex(text, &mut bytes).ok_or_else(|| {
                    let words = concat!(
                        $what, ": expected ", stringify!($length), " bytes as hex digits"
                    );
                    Error::new(ErrorKind::InvalidInput, words)
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

macro_rules! random_id {
    ($($name:ident),*) => {$(
        impl $name {
            /// Draws a fresh random id.
            ///
            /// *Errors*: [`ErrorKind::Environment`] when there is no randomness.
            pub fn random(environment: &dyn Environment) -> Result<Self> {
                let mut bytes = [0; 16];
                environment.fill(&mut bytes)?;
                Ok(Self(bytes))
            }
        }
    )*};
}

id_type!(
    /// Names one store, for ever.
    StoreId, 16, "store id"
);
id_type!(
    /// Names one pack; never used twice.
    PackId, 16, "pack id"
);
id_type!(
    /// Names one index segment; never used twice.
    SegmentId, 16, "segment id"
);
id_type!(
    /// Names one writer's lease.
    LeaseId, 16, "lease id"
);
id_type!(
    /// Names one snapshot.
    SnapshotId, 16, "snapshot id"
);
id_type!(
    /// Names one run of a backup set.
    RunId, 16, "run id"
);
id_type!(
    /// Names a chunk: the keyed BLAKE3 of its plaintext.
    ChunkId, 32, "chunk id"
);
id_type!(
    /// The keyed BLAKE3 of a whole content, checked when all its chunks were read.
    ContentHash, 32, "content hash"
);

impl ContentHash {
    /// The hash of a content that is one chunk: both are named by the same function.
    pub(crate) fn of_one_chunk(chunk: &ChunkId) -> Self {
        Self::from_bytes(*chunk.as_bytes())
    }
}

id_type!(
    /// Names one recipient of the root key, through all changes of its secret and of the root.
    RecipientId, 16, "recipient id"
);
random_id!(
    StoreId,
    PackId,
    SegmentId,
    LeaseId,
    SnapshotId,
    RunId,
    RecipientId
);

/// Points at the root node of an ordered tree of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TreeRoot {
    /// The chunk that holds the root node.
    pub node: ChunkId,
    /// Height of the root: 0 for a single leaf.
    pub level: u8,
    /// Number of records in the whole tree.
    pub entries: u64,
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

pub(crate) fn read_hex(text: &str, into: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    if digits.len() != into.len() * 2 {
        return None;
    }
    for (byte, pair) in into.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (hex_digit(pair[0])? << 4) | hex_digit(pair[1])?;
    }
    Some(())
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// A map by ids that are keyed hashes already: whoever could choose them has the key.
pub(crate) type ChunkMap<T> = HashMap<ChunkId, T, BuildHasherDefault<HashedAlready>>;
/// A set of them.
pub(crate) type ChunkSet = HashSet<ChunkId, BuildHasherDefault<HashedAlready>>;

/// Takes the first bytes of what is hashed for its hash.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct HashedAlready(u64);

impl Hasher for HashedAlready {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // How many bytes follow is the same for all.
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_being_written_and_read() {
        let id = PackId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse::<PackId>().unwrap(), id);
        assert_eq!(id.to_string().to_uppercase().parse::<PackId>().unwrap(), id);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<PackId>(&json).unwrap(), id);
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "00",
            "zz112233445566778899aabbccddeeff",
            "é0112233445566778899aabbccddeef",
        ] {
            let error = text.parse::<PackId>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }
    }
}
