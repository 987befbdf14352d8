//! Keys: from the root key of a store to the key of every single object.

pub(crate) mod config;
pub(crate) mod epoch;
pub(crate) mod passphrase;

use std::fmt;

use zeroize::Zeroizing;

use crate::chunker::Gear;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, ContentHash, StoreId};

/// Length of every key, salt and commitment in bytes.
pub(crate) const KEY_LENGTH: usize = 32;

/// A secret key; its `Debug` shows nothing of it.
#[derive(Clone)]
pub(crate) struct Key(Zeroizing<[u8; KEY_LENGTH]>);

impl Key {
    pub(crate) fn random(environment: &dyn Environment) -> Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        environment.fill(bytes.as_mut())?;
        Ok(Self(bytes))
    }

    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(Zeroizing::new(bytes.try_into().ok()?)))
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    /// Derives the key for `purpose` from this one and `parts`, each prefixed by its length.
    pub(crate) fn derive(&self, purpose: Purpose, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(purpose.0);
        hasher.update(self.0.as_ref());
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(Zeroizing::new(hasher.finalize().into()))
    }

    /// Derives a value that proves the key without giving it away.
    pub(crate) fn commitment(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; KEY_LENGTH] {
        *self.derive(purpose, parts).bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Compares two commitments in constant time.
pub(crate) fn same(left: &[u8; KEY_LENGTH], right: &[u8; KEY_LENGTH]) -> bool {
    blake3::Hash::from_bytes(*left) == blake3::Hash::from_bytes(*right)
}

/// Names what a derived key is for; one string per use, never used for two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Purpose(&'static str);

macro_rules! purposes {
    ($($name:ident = $text:literal;)*) => {
        impl Purpose {
            $(pub(crate) const $name: Self = Self(concat!("m365-backup store 2026-11 ", $text));)*
        }
    };
}

purposes! {
    ROOT_COMMITMENT = "root commitment";
    EPOCH_WRAP = "epoch wrap key";
    CONTENT = "content key";
    CATALOG = "catalog key";
    CONTENT_HASH = "content hash key";
    TREE_BOUNDARY = "tree boundary key";
    LOCAL = "local key";
    GEAR = "chunker gear table";
    SLOT_WRAP = "passphrase slot wrap key";
    SLOT_COMMITMENT = "passphrase slot commitment";
    PACK = "pack key";
    PACK_NONCE = "pack nonce key";
    PACK_PADDING = "pack padding";
    PACK_COMMITMENT = "pack commitment";
    SEGMENT = "segment key";
    SEGMENT_NONCE = "segment nonce key";
    SEGMENT_PADDING = "segment padding";
    SEGMENT_COMMITMENT = "segment commitment";
    OBJECT = "object key";
    OBJECT_COMMITMENT = "object commitment";
    LOCAL_RECORD = "local record key";
    LOCAL_COMMITMENT = "local record commitment";
}

/// All keys of an open store.
///
/// One key epoch for now: objects of another are refused by name until epochs can be added.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) store: StoreId,
    pub(crate) epoch: u32,
    content: Key,
    catalog: Key,
    chunk_id: Key,
    content_hash: Key,
    tree_boundary: Key,
    local: Key,
    pub(crate) gear: Gear,
}

impl Keys {
    /// Derives every key from the root of an epoch and the stable keys wrapped under it.
    pub(crate) fn new(store: StoreId, epoch: u32, root: &Key, stable: &StableKeys) -> Self {
        let bound: [&[u8]; 2] = [store.as_bytes(), &epoch.to_le_bytes()];
        Self {
            store,
            epoch,
            content: root.derive(Purpose::CONTENT, &bound),
            catalog: root.derive(Purpose::CATALOG, &bound),
            chunk_id: stable.chunk_id.clone(),
            content_hash: stable.chunk_id.derive(Purpose::CONTENT_HASH, &[]),
            tree_boundary: stable.chunk_id.derive(Purpose::TREE_BOUNDARY, &[]),
            local: stable.chunk_id.derive(Purpose::LOCAL, &[store.as_bytes()]),
            gear: Gear::new(&stable.chunker.derive(Purpose::GEAR, &[])),
        }
    }

    /// Returns the key that packs of `epoch` are sealed under.
    pub(crate) fn content(&self, epoch: u32) -> Result<&Key> {
        self.of(epoch, &self.content)
    }

    /// Returns the key that small objects of `epoch` are sealed under.
    pub(crate) fn catalog(&self, epoch: u32) -> Result<&Key> {
        self.of(epoch, &self.catalog)
    }

    /// Returns the key for records at rest on this machine.
    pub(crate) fn local(&self) -> &Key {
        &self.local
    }

    /// Returns the key that decides where tree nodes end.
    pub(crate) fn tree_boundary(&self) -> &[u8; KEY_LENGTH] {
        self.tree_boundary.bytes()
    }

    /// Names a chunk by its plaintext.
    pub(crate) fn chunk_id(&self, plain: &[u8]) -> ChunkId {
        ChunkId::from_bytes(blake3::keyed_hash(self.chunk_id.bytes(), plain).into())
    }

    /// Starts the hash of a whole content.
    pub(crate) fn content_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(self.content_hash.bytes())
    }

    /// Hashes a whole content that is at hand.
    pub(crate) fn content_hash(&self, plain: &[u8]) -> ContentHash {
        ContentHash::from_bytes(blake3::keyed_hash(self.content_hash.bytes(), plain).into())
    }

    fn of<'a>(&self, epoch: u32, key: &'a Key) -> Result<&'a Key> {
        if epoch == self.epoch {
            return Ok(key);
        }
        let words = format!(
            "key epoch {epoch}: not open; this store was opened at {}",
            self.epoch
        );
        Err(Error::new(ErrorKind::Unsupported, words))
    }
}

/// The keys that stay when the root key changes.
#[derive(Debug, Clone)]
pub(crate) struct StableKeys {
    pub(crate) chunk_id: Key,
    pub(crate) chunker: Key,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Keys that every test may use, the same each time.
    pub(crate) fn test_keys() -> Keys {
        let key = |byte| Key(Zeroizing::new([byte; KEY_LENGTH]));
        let stable = StableKeys {
            chunk_id: key(2),
            chunker: key(3),
        };
        Keys::new(StoreId::from_bytes([9; 16]), 0, &key(1), &stable)
    }

    #[test]
    fn no_key_shows_in_debug() {
        let shown = format!("{:?}", test_keys());
        assert!(shown.contains("Key(..)"));
        assert!(
            !shown.contains("[1, 1") && !shown.contains("[2, 2"),
            "{shown}"
        );
    }

    #[test]
    fn derived_keys_differ_by_purpose_parent_and_parts() {
        let key = |byte| Key(Zeroizing::new([byte; KEY_LENGTH]));
        let derived = [
            key(1).derive(Purpose::CONTENT, &[]),
            key(1).derive(Purpose::CATALOG, &[]),
            key(2).derive(Purpose::CONTENT, &[]),
            key(1).derive(Purpose::CONTENT, &[b"ab", b"c"]),
            key(1).derive(Purpose::CONTENT, &[b"a", b"bc"]),
        ];
        for (at, one) in derived.iter().enumerate() {
            for other in &derived[at + 1..] {
                assert_ne!(one.bytes(), other.bytes());
            }
        }
    }

    #[test]
    fn another_epoch_is_refused_by_name() {
        let error = test_keys().content(7).unwrap_err();
        assert!(error.to_string().contains("key epoch 7"));
    }
}
