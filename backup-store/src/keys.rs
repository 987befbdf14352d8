//! Keys: from the root key of a store to the key of every single object.

pub(crate) mod config;
pub(crate) mod epoch;
pub(crate) mod key_file;
pub(crate) mod kit;
pub(crate) mod passphrase;
pub(crate) mod recovery_code;
pub(crate) mod slot;
pub(crate) mod unlock;

use std::fmt;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use zeroize::Zeroizing;

use crate::chunker::Gear;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, ContentHash, StoreId};
use crate::mutant::{Mutant, mutated};

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
        Self::derive_from(self.0.as_ref(), purpose, parts)
    }

    /// Derives a key from a secret whose length `purpose` fixes.
    pub(crate) fn derive_from(secret: &[u8], purpose: Purpose, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(purpose.0);
        hasher.update(secret);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(Zeroizing::new(hasher.finalize().into()))
    }

    /// Draws a salt that repeats only for the same `message`, even on a cloned machine where the
    /// random bytes repeat: the one key and nonce that come of it then seal nothing else.
    pub(crate) fn salt(
        &self,
        environment: &dyn Environment,
        message: &[&[u8]],
    ) -> Result<[u8; KEY_LENGTH]> {
        let mut random = [0; KEY_LENGTH];
        environment.fill(&mut random)?;
        let mut parts: Vec<&[u8]> = vec![&random];
        if !mutated(Mutant::SaltIgnoresMessage) {
            parts.extend_from_slice(message);
        }
        Ok(*self.derive(Purpose::SALT, &parts).bytes())
    }

    /// Derives a value that proves the key without giving it away.
    pub(crate) fn commitment(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; KEY_LENGTH] {
        *self.derive(purpose, parts).bytes()
    }
}

/// Compared in constant time.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        same(&self.0, &other.0)
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
    TREE_BOUNDARY = "tree boundary key";
    LOCAL = "local key";
    GEAR = "chunker gear table";
    RECOVERY_CODE = "recovery code recipient key";
    KEY_FILE = "key file recipient key";
    SLOT_WRAP = "slot wrap key";
    SLOT_COMMITMENT = "slot commitment";
    SLOT_INFO = "slot info key";
    SALT = "salt";
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

/// All keys of an open store: those of every key epoch up to the present one, and the stable ones.
///
/// Shared by everything that is open; a new epoch shows everywhere at once.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) store: StoreId,
    /// One entry per key epoch, from 0; never empty.
    epochs: RwLock<Vec<EpochKeys>>,
    stable: StableKeys,
    tree_boundary: Key,
    local: Key,
    pub(crate) gear: Gear,
}

/// The keys of one key epoch.
#[derive(Debug)]
struct EpochKeys {
    root: Key,
    content: Key,
    catalog: Key,
}

impl EpochKeys {
    fn new(store: StoreId, epoch: usize, root: &Key) -> Self {
        let epoch = u32::try_from(epoch).unwrap_or(u32::MAX);
        let bound: [&[u8]; 2] = [store.as_bytes(), &epoch.to_le_bytes()];
        Self {
            root: root.clone(),
            content: root.derive(Purpose::CONTENT, &bound),
            catalog: root.derive(Purpose::CATALOG, &bound),
        }
    }
}

impl Keys {
    /// Derives every key from the roots of all key epochs, oldest first, and the stable keys.
    pub(crate) fn new(store: StoreId, roots: &[Key], stable: &StableKeys) -> Self {
        let epochs = roots.iter().enumerate();
        let epochs = epochs.map(|(epoch, root)| EpochKeys::new(store, epoch, root));
        Self {
            store,
            epochs: RwLock::new(epochs.collect()),
            stable: stable.clone(),
            tree_boundary: stable.chunk_id.derive(Purpose::TREE_BOUNDARY, &[]),
            local: stable.chunk_id.derive(Purpose::LOCAL, &[store.as_bytes()]),
            gear: Gear::new(&stable.chunker.derive(Purpose::GEAR, &[])),
        }
    }

    /// Returns the key epoch under which new objects are sealed.
    pub(crate) fn epoch(&self) -> u32 {
        u32::try_from(self.epochs().len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Returns the roots of all key epochs, oldest first.
    pub(crate) fn roots(&self) -> Vec<Key> {
        self.epochs().iter().map(|keys| keys.root.clone()).collect()
    }

    /// Takes over a longer list of roots that begins with the present one.
    ///
    /// *Errors*: [`ErrorKind::Damaged`] when it begins otherwise, or with other stable keys.
    pub(crate) fn advance(&self, roots: &[Key], stable: &StableKeys) -> Result<()> {
        let mut epochs = self.epochs.write().unwrap_or_else(PoisonError::into_inner);
        let known = epochs
            .iter()
            .map(|keys| &keys.root)
            .chain(self.stable.both());
        let found = roots.iter().take(epochs.len()).chain(stable.both());
        if roots.len() < epochs.len() || known.ne(found) {
            let cause = "it does not go on from the key epochs known here";
            return Err(Error::damaged("newest key epoch", cause));
        }
        for (epoch, root) in roots.iter().enumerate().skip(epochs.len()) {
            epochs.push(EpochKeys::new(self.store, epoch, root));
        }
        Ok(())
    }

    /// Returns the keys that every epoch wraps.
    pub(crate) fn stable(&self) -> &StableKeys {
        &self.stable
    }

    /// Returns the key that packs of `epoch` are sealed under.
    pub(crate) fn content(&self, epoch: u32) -> Result<Key> {
        self.of(epoch, |keys| &keys.content)
    }

    /// Returns the key that small objects of `epoch` are sealed under.
    pub(crate) fn catalog(&self, epoch: u32) -> Result<Key> {
        self.of(epoch, |keys| &keys.catalog)
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
        ChunkId::from_bytes(blake3::keyed_hash(self.stable.chunk_id.bytes(), plain).into())
    }

    /// Starts the hash of a whole content: a content of one chunk has the hash that names the
    /// chunk, is hashed once, and its record holds the same 32 bytes twice, which compress.
    pub(crate) fn content_hasher(&self) -> blake3::Hasher {
        blake3::Hasher::new_keyed(self.stable.chunk_id.bytes())
    }

    /// Hashes a whole content that is at hand.
    pub(crate) fn content_hash(&self, plain: &[u8]) -> ContentHash {
        ContentHash::of_one_chunk(&self.chunk_id(plain))
    }

    fn epochs(&self) -> RwLockReadGuard<'_, Vec<EpochKeys>> {
        self.epochs.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, epoch: u32, choose: impl FnOnce(&EpochKeys) -> &Key) -> Result<Key> {
        let epochs = self.epochs();
        let found = usize::try_from(epoch).ok().and_then(|at| epochs.get(at));
        found.map(|keys| choose(keys).clone()).ok_or_else(|| {
            let words = format!(
                "key epoch {epoch}: not known; this store was opened at {}",
                epochs.len().saturating_sub(1)
            );
            Error::new(ErrorKind::Unsupported, words)
        })
    }
}

/// The keys that stay when the root key changes.
#[derive(Debug, Clone)]
pub(crate) struct StableKeys {
    pub(crate) chunk_id: Key,
    pub(crate) chunker: Key,
}

impl StableKeys {
    fn both(&self) -> [&Key; 2] {
        [&self.chunk_id, &self.chunker]
    }
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
        Keys::new(StoreId::from_bytes([9; 16]), &[key(1)], &stable)
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
    fn a_new_epoch_must_go_on_from_the_old_ones() {
        let keys = test_keys();
        let key = |byte| Key(Zeroizing::new([byte; KEY_LENGTH]));
        let stable = keys.stable().clone();
        let other = StableKeys {
            chunk_id: key(8),
            ..stable.clone()
        };
        assert!(keys.advance(&[key(9), key(4)], &stable).is_err());
        assert!(keys.advance(&[key(1), key(4)], &other).is_err());
        assert!(keys.advance(&[], &stable).is_err());
        assert_eq!(keys.epoch(), 0);
        let old = keys.content(0).unwrap();
        keys.advance(&[key(1), key(4)], &stable).unwrap();
        assert_eq!(keys.epoch(), 1);
        assert_eq!(keys.content(0).unwrap(), old);
        assert_ne!(keys.content(1).unwrap(), old);
    }

    #[test]
    fn another_epoch_is_refused_by_name() {
        let error = test_keys().content(7).unwrap_err();
        assert!(error.to_string().contains("key epoch 7"));
    }
}
