//! Sealing of segments: a clear header, then messages under keys of the segment's own.
//!
//! ```text
//! segment   header | block 0 | block 1 | … | padding | shard 0 | shard 1 | … | directory | trailer
//! ```
//!
//! A reader begins at the end: trailer, directory, then the one shard and the one block it needs.

use crate::backend::ObjectName;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::id::SegmentId;
use crate::index::layout::TRAILER_PLAIN;
use crate::keys::{KEY_LENGTH, Key, Keys, Purpose, same};
use crate::seal::context;
use crate::seal::messages::{Messages, OVERHEAD, Place};

/// Length of the clear header.
pub(crate) const HEADER: usize = 4 + 4 + 4 + KEY_LENGTH + KEY_LENGTH;
/// Length of the sealed trailer.
pub(crate) const TRAILER: usize = TRAILER_PLAIN + OVERHEAD;

const MAGIC: &[u8; 4] = b"M3BS";
const LAYOUT: u8 = 1;
/// Code of segments among the kinds of sealed objects.
const KIND: u8 = 3;

/// Says what a message of a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Block = 0,
    Shard = 1,
    Directory = 2,
    Trailer = 3,
}

/// Seals and opens the messages of one segment.
pub(crate) struct SegmentSealer {
    pub(crate) id: SegmentId,
    pub(crate) header: [u8; HEADER],
    messages: Messages,
}

/// Returns the name of a segment's object.
pub(crate) fn segment_name(id: &SegmentId) -> Result<ObjectName> {
    ObjectName::new(format!("segments/{id}"))
}

/// Reads a segment id back from its object's name.
pub(crate) fn segment_id(name: &ObjectName) -> Option<SegmentId> {
    let id = name.as_str().strip_prefix("segments/")?.parse().ok()?;
    (segment_name(&id).ok()? == *name).then_some(id)
}

impl SegmentSealer {
    /// Draws id and salt of a new segment.
    pub(crate) fn create(keys: &Keys, environment: &dyn Environment) -> Result<Self> {
        let id = SegmentId::random(environment)?;
        let mut salt = [0; KEY_LENGTH];
        environment.fill(&mut salt)?;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(MAGIC);
        header[4] = LAYOUT;
        let epoch = keys.epoch();
        header[8..12].copy_from_slice(&epoch.to_le_bytes());
        header[12..44].copy_from_slice(&salt);
        let name = segment_name(&id)?;
        let parts: [&[u8]; 3] = [&[KIND], name.as_str().as_bytes(), &salt];
        let catalog = keys.catalog(epoch)?;
        header[44..].copy_from_slice(&catalog.commitment(Purpose::SEGMENT_COMMITMENT, &parts));
        Ok(Self::new(keys, &catalog, id, &name, header))
    }

    /// Checks a header that was read for segment `id`.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged).
    pub(crate) fn open(keys: &Keys, id: SegmentId, header: &[u8]) -> Result<Self> {
        let name = segment_name(&id)?;
        let damaged = |cause: &str| Error::damaged(format_args!("object {name}"), cause);
        let header: [u8; HEADER] = header
            .try_into()
            .map_err(|_| damaged("its header is cut off"))?;
        if !header.starts_with(MAGIC) || header[4..8] != [LAYOUT, 0, 0, 0] {
            return Err(damaged("its header is not that of a segment"));
        }
        let mut epoch = [0; 4];
        epoch.copy_from_slice(&header[8..12]);
        let catalog = keys
            .catalog(u32::from_le_bytes(epoch))
            .map_err(|cause| damaged("its key epoch is not one of the store").with_source(cause))?;
        let (salt, commitment) = header[12..].split_at(KEY_LENGTH);
        let parts: [&[u8]; 3] = [&[KIND], name.as_str().as_bytes(), salt];
        let own = catalog.commitment(Purpose::SEGMENT_COMMITMENT, &parts);
        if !commitment.try_into().is_ok_and(|found| same(found, &own)) {
            return Err(damaged("its key commitment does not match"));
        }
        Ok(Self::new(keys, &catalog, id, &name, header))
    }

    fn new(
        keys: &Keys,
        catalog: &Key,
        id: SegmentId,
        name: &ObjectName,
        header: [u8; HEADER],
    ) -> Self {
        let parts: [&[u8]; 3] = [&[KIND], name.as_str().as_bytes(), &header[12..44]];
        let messages = Messages::new(
            &catalog.derive(Purpose::SEGMENT, &parts),
            catalog.derive(Purpose::SEGMENT_NONCE, &parts),
            catalog.derive(Purpose::SEGMENT_PADDING, &parts),
            context(keys.store, KIND, name.as_str(), &header),
        );
        Self {
            id,
            header,
            messages,
        }
    }

    /// Appends a sealed message to the object and returns how long it is.
    pub(crate) fn seal_onto(
        &self,
        object: &mut Vec<u8>,
        role: Role,
        number: usize,
        plain: &[u8],
    ) -> Result<usize> {
        self.messages
            .seal_onto(object, place(role, number), &[plain])
    }

    /// Opens a message.
    ///
    /// *Errors*: [`ErrorKind::Damaged`](crate::ErrorKind::Damaged).
    pub(crate) fn open_message(&self, role: Role, number: usize, sealed: &[u8]) -> Result<Vec<u8>> {
        self.messages
            .open(place(role, number), sealed)
            .ok_or_else(|| self.damaged(format_args!("{role:?} {number}: it fails authentication")))
    }

    /// Padding that looks random, piece by piece.
    pub(crate) fn padding_pieces(&self, length: usize) -> impl Iterator<Item = Vec<u8>> + use<> {
        self.messages.padding_pieces(length)
    }

    /// The random share of the length of the padding.
    pub(crate) fn dice(&self) -> u16 {
        self.messages.dice()
    }

    pub(crate) fn damaged(&self, cause: impl std::fmt::Display) -> Error {
        Error::damaged(format_args!("object segments/{}", self.id), cause)
    }
}

impl std::fmt::Debug for SegmentSealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SegmentSealer({})", self.id)
    }
}

fn place(role: Role, number: usize) -> Place {
    Place {
        role: role as u8,
        number: u32::try_from(number).unwrap_or(u32::MAX),
        last: role == Role::Trailer,
    }
}
