//! Packs: sealed blocks of chunks in one stored object, with a sealed table of what is in them.
//!
//! ```text
//! pack   header | block 0 | block 1 | … | table | padding | trailer
//! spool  header | block 0 | block 1 | …
//! frames head 0, entries 0 | head 1, entries 1 | …
//! ```
//!
//! The header is clear; everything else is sealed under the key of the pack. While a pack is open
//! it is an append-only spool file with its frames beside it; the pack is a pure function of the two.

pub(crate) mod layout;
mod noise;
pub(crate) mod reader;
pub(crate) mod spool;
pub(crate) mod spools;

use bytes::{Bytes, BytesMut};

use crate::backend::ObjectName;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::id::{ChunkId, LeaseId, PackId, StoreId};
use crate::keys::{KEY_LENGTH, Key, Keys, Purpose, same};
use crate::seal::context;
use crate::seal::messages::{Messages, Place};

/// Size at which a pack is closed: with its last block and its table it mostly stays below 32 MiB,
/// where the next size class begins.
pub(crate) const TARGET_BYTES: u64 = 32 * 1024 * 1024 - 768 * 1024;
/// Largest plaintext of one block.
pub(crate) const BLOCK_LIMIT: usize = 8 * 1024 * 1024;
/// Length of the clear header.
pub(crate) const HEADER: usize = 4 + 4 + 4 + 16 + 16 + KEY_LENGTH + KEY_LENGTH;
/// Where in the header id, lease and salt begin, and where the commitment does.
const ID: usize = 12;
const LEASE: usize = ID + PackId::LENGTH;
const SALT: usize = LEASE + LeaseId::LENGTH;
const COMMITMENT: usize = SALT + KEY_LENGTH;
/// What sealing adds to a message of a pack.
pub(crate) use crate::seal::messages::OVERHEAD;

const MAGIC: &[u8; 4] = b"M3BP";
const LAYOUT: u8 = 1;

/// Says what a pack holds; the two are never mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PackKind {
    Content,
    Tree,
}

impl PackKind {
    pub(crate) const ALL: [Self; 2] = [Self::Content, Self::Tree];

    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Content => 7,
            Self::Tree => 8,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where a chunk lies in a stored pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: PackId,
    /// Number of the block in the pack.
    pub(crate) block: u32,
    /// Where the sealed block begins in the pack, and its length.
    pub(crate) offset: u64,
    pub(crate) sealed: u32,
    /// Length of the inflated block.
    pub(crate) plain: u32,
    /// Where the chunk begins in the inflated block, and its length.
    pub(crate) start: u32,
    pub(crate) length: u32,
}

/// Chunks that are compressed and sealed together.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) plain: Vec<u8>,
    pub(crate) chunks: Vec<(ChunkId, u32)>,
}

/// Returns the name of a pack's object.
pub(crate) fn pack_name(pack: &PackId) -> Result<ObjectName> {
    let hex = pack.to_string();
    ObjectName::new(format!("packs/{}/{hex}", &hex[..2]))
}

/// Reads a pack id back from its object's name.
pub(crate) fn pack_id(name: &ObjectName) -> Option<PackId> {
    let id = name
        .as_str()
        .strip_prefix("packs/")?
        .get(3..)?
        .parse()
        .ok()?;
    (pack_name(&id).ok()? == *name).then_some(id)
}

/// Says what a message of a pack is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Head = 0,
    Entries = 1,
    Block = 2,
    Table = 3,
    Trailer = 4,
}

/// Seals and opens the messages of one pack.
pub(crate) struct PackSealer {
    pub(crate) id: PackId,
    /// The lease under which the pack was opened.
    pub(crate) lease: LeaseId,
    pub(crate) kind: PackKind,
    pub(crate) name: ObjectName,
    pub(crate) header: [u8; HEADER],
    messages: Messages,
}

impl PackSealer {
    /// Draws id and salt of a new pack that is opened under `lease`.
    pub(crate) fn create(
        keys: &Keys,
        kind: PackKind,
        lease: &LeaseId,
        environment: &dyn Environment,
    ) -> Result<Self> {
        let id = PackId::random(environment)?;
        let mut salt = [0; KEY_LENGTH];
        environment.fill(&mut salt)?;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(MAGIC);
        header[4] = LAYOUT;
        header[5] = kind.code();
        let epoch = keys.epoch();
        header[8..12].copy_from_slice(&epoch.to_le_bytes());
        header[ID..LEASE].copy_from_slice(id.as_bytes());
        header[LEASE..SALT].copy_from_slice(lease.as_bytes());
        header[SALT..COMMITMENT].copy_from_slice(&salt);
        let content = keys.content(epoch)?;
        let commitment = content.commitment(Purpose::PACK_COMMITMENT, &parts(&header));
        header[COMMITMENT..].copy_from_slice(&commitment);
        Self::new(&content, keys.store, kind, id, header)
    }

    /// Checks a header that was read for pack `expected` (any pack, when absent).
    pub(crate) fn open(keys: &Keys, header: &[u8], expected: Option<&PackId>) -> Result<Self> {
        let damaged = |cause: &str| match expected {
            Some(id) => Error::damaged(format_args!("pack {id}"), cause),
            None => Error::damaged("spool file", cause),
        };
        let header: [u8; HEADER] = header
            .try_into()
            .map_err(|_| damaged("its header is cut off"))?;
        let kind = PackKind::from_code(header[5]);
        let (Some(kind), [LAYOUT, _, 0, 0], true) =
            (kind, &header[4..8], header.starts_with(MAGIC))
        else {
            return Err(damaged("its header is not that of a pack"));
        };
        let mut id = [0; 16];
        id.copy_from_slice(&header[ID..LEASE]);
        let id = PackId::from_bytes(id);
        if expected.is_some_and(|expected| *expected != id) {
            return Err(damaged("its header names another pack"));
        }
        let mut epoch = [0; 4];
        epoch.copy_from_slice(&header[8..12]);
        let content = keys
            .content(u32::from_le_bytes(epoch))
            .map_err(|cause| damaged("its key epoch is not one of the store").with_source(cause))?;
        let commitment = &header[COMMITMENT..];
        let own = content.commitment(Purpose::PACK_COMMITMENT, &parts(&header));
        if !commitment.try_into().is_ok_and(|found| same(found, &own)) {
            return Err(damaged("its key commitment does not match"));
        }
        Self::new(&content, keys.store, kind, id, header)
    }

    fn new(
        content: &Key,
        store: StoreId,
        kind: PackKind,
        id: PackId,
        header: [u8; HEADER],
    ) -> Result<Self> {
        let parts = parts(&header);
        let mut lease = [0; LeaseId::LENGTH];
        lease.copy_from_slice(&header[LEASE..SALT]);
        let name = pack_name(&id)?;
        let messages = Messages::new(
            &content.derive(Purpose::PACK, &parts),
            content.derive(Purpose::PACK_NONCE, &parts),
            content.derive(Purpose::PACK_PADDING, &parts),
            context(store, kind.code(), name.as_str(), &header),
        );
        Ok(Self {
            messages,
            lease: LeaseId::from_bytes(lease),
            id,
            kind,
            name,
            header,
        })
    }

    /// Seals a message.
    pub(crate) fn seal(&self, role: Role, number: u32, plain: &[&[u8]]) -> Result<Vec<u8>> {
        let mut message = Vec::new();
        self.messages
            .seal_onto(&mut message, place(role, number), plain)?;
        Ok(message)
    }

    /// Opens a message; nothing tells why it fails.
    pub(crate) fn open_message(&self, role: Role, number: u32, sealed: &[u8]) -> Option<Vec<u8>> {
        self.messages.open(place(role, number), sealed)
    }

    /// Opens the message of a block where it lies.
    pub(crate) fn open_block_message(&self, number: u32, sealed: BytesMut) -> Option<Bytes> {
        self.messages
            .open_in_place(place(Role::Block, number), sealed)
    }

    /// Padding that looks random to everyone without the key, and is the same each time.
    pub(crate) fn padding(&self, length: usize) -> Vec<u8> {
        self.messages.padding(length)
    }

    /// The random share of this pack's padding, drawn once for all from its key.
    pub(crate) fn dice(&self) -> u16 {
        self.messages.dice()
    }

    pub(crate) fn damaged(&self, cause: impl std::fmt::Display) -> Error {
        Error::damaged(format_args!("object {}", self.name), cause)
    }
}

impl std::fmt::Debug for PackSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackSealer({})", self.id)
    }
}

/// What the keys of a pack are derived from: its kind, its id, its lease and its salt.
fn parts(header: &[u8; HEADER]) -> [&[u8]; 4] {
    let [kind, id] = [&header[5..6], &header[ID..LEASE]];
    [kind, id, &header[LEASE..SALT], &header[SALT..COMMITMENT]]
}

fn place(role: Role, number: u32) -> Place {
    Place {
        role: role as u8,
        number,
        last: role == Role::Trailer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::environment::SystemEnvironment;
    use crate::keys::tests::test_keys;
    use crate::seal::NONCE;

    const LEASE_ID: LeaseId = LeaseId::from_bytes([9; 16]);

    #[test]
    fn a_message_opens_in_its_own_place_only() {
        let keys = test_keys();
        let sealer =
            PackSealer::create(&keys, PackKind::Content, &LEASE_ID, &SystemEnvironment).unwrap();
        let sealed = sealer.seal(Role::Block, 3, &[b"some ", b"bytes"]).unwrap();
        let reopened = PackSealer::open(&keys, &sealer.header, Some(&sealer.id)).unwrap();
        assert_eq!(
            reopened.open_message(Role::Block, 3, &sealed).unwrap(),
            b"some bytes"
        );
        assert!(reopened.open_message(Role::Block, 4, &sealed).is_none());
        assert!(reopened.open_message(Role::Table, 3, &sealed).is_none());
        let other =
            PackSealer::create(&keys, PackKind::Content, &LEASE_ID, &SystemEnvironment).unwrap();
        assert!(other.open_message(Role::Block, 3, &sealed).is_none());
    }

    #[test]
    fn a_nonce_repeats_only_for_the_same_message_in_the_same_place() {
        let sealer = PackSealer::create(
            &test_keys(),
            PackKind::Content,
            &LEASE_ID,
            &SystemEnvironment,
        )
        .unwrap();
        let seal = |role, number, plain: &[u8]| {
            sealer.seal(role, number, &[plain]).unwrap()[..NONCE].to_vec()
        };
        let nonce = seal(Role::Block, 0, b"a");
        assert_eq!(nonce, seal(Role::Block, 0, b"a"));
        assert_ne!(nonce, seal(Role::Block, 0, b"b"));
        assert_ne!(nonce, seal(Role::Block, 1, b"a"));
        assert_ne!(nonce, seal(Role::Entries, 0, b"a"));
    }

    #[test]
    fn every_flipped_byte_of_a_header_is_damage() {
        let keys = test_keys();
        let sealer =
            PackSealer::create(&keys, PackKind::Tree, &LEASE_ID, &SystemEnvironment).unwrap();
        for at in 0..HEADER {
            let mut header = sealer.header;
            header[at] ^= 1;
            let error = PackSealer::open(&keys, &header, Some(&sealer.id)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged, "byte {at}");
        }
    }

    #[test]
    fn a_pack_name_leads_back_to_its_id() {
        let id = PackId::from_bytes([0xab; 16]);
        assert_eq!(pack_id(&pack_name(&id).unwrap()), Some(id));
        let wrong = ObjectName::new(format!("packs/00/{id}")).unwrap();
        assert_eq!(pack_id(&wrong), None);
    }
}
