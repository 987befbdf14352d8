//! The numbered messages of one object (a pack, a segment), sealed under keys of its own.
//!
//! A message is nonce, ciphertext, tag. Each is bound to the object and to its place in it.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use bytes::{Buf, Bytes, BytesMut};

use super::{NONCE, TAG};
use crate::error::{Error, ErrorKind, Result};
use crate::keys::Key;
use crate::mutant::{Mutant, mutated};
use crate::nonces::observe;

/// What sealing adds to a message.
pub(crate) const OVERHEAD: usize = NONCE + TAG;
/// Bytes of padding that are made together.
const PADDING_PIECE: usize = 256 * 1024;

/// Where a message stands in its object: what it is, its number, and whether it ends the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) role: u8,
    pub(crate) number: u32,
    pub(crate) last: bool,
}

impl Place {
    fn bytes(self) -> [u8; 5] {
        let mut place = [self.role; 5];
        place[1..].copy_from_slice(&self.number.to_le_bytes());
        place
    }
}

/// Seals and opens the messages of one object.
pub(crate) struct Messages {
    cipher: Aes256Gcm,
    nonce_key: Key,
    padding_key: Key,
    context: Vec<u8>,
}

impl Messages {
    /// Takes the keys of the object, and what all its messages are bound to.
    pub(crate) fn new(key: &Key, nonce_key: Key, padding_key: Key, context: Vec<u8>) -> Self {
        Self {
            cipher: Aes256Gcm::new(key.bytes().into()),
            nonce_key,
            padding_key,
            context,
        }
    }

    /// Appends a sealed message to `object` and returns how long it is.
    ///
    /// The nonce is a keyed hash of place and content, so that one (key, nonce) pair can only
    /// repeat for the very same message, even on a cloned machine.
    pub(crate) fn seal_onto(
        &self,
        object: &mut Vec<u8>,
        place: Place,
        plain: &[&[u8]],
    ) -> Result<usize> {
        let mut hasher = blake3::Hasher::new_keyed(self.nonce_key.bytes());
        hasher.update(&place.bytes());
        let length: usize = plain.iter().map(|part| part.len()).sum();
        let from = object.len();
        object.reserve(length + OVERHEAD);
        object.resize(from + NONCE, 0);
        for part in plain {
            if !mutated(Mutant::NonceIgnoresMessage) {
                hasher.update(part);
            }
            object.extend_from_slice(part);
        }
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&hasher.finalize().as_bytes()[..NONCE]);
        object[from..from + NONCE].copy_from_slice(&nonce);
        let associated = self.associated(place);
        // The nonce key stands for the key: both come from the same parts.
        observe(self.nonce_key.bytes(), &nonce, &associated, plain);
        let body = &mut object[from + NONCE..];
        let tag = self
            .cipher
            .encrypt_inout_detached(&Nonce::from(nonce), &associated, body.into())
            .map_err(|_| Error::new(ErrorKind::TooLarge, "sealing: the message is too long"))?;
        object.extend_from_slice(&tag);
        Ok(length + OVERHEAD)
    }

    /// Opens a message; nothing tells why it fails.
    pub(crate) fn open(&self, place: Place, sealed: &[u8]) -> Option<Vec<u8>> {
        let mut plain = sealed.get(NONCE..sealed.len().checked_sub(TAG)?)?.to_vec();
        let (nonce, tag) = (sealed.first_chunk()?, sealed.last_chunk()?);
        self.decrypt(place, nonce, &mut plain, tag)?;
        Some(plain)
    }

    /// Opens a message where it lies.
    pub(crate) fn open_in_place(&self, place: Place, mut sealed: BytesMut) -> Option<Bytes> {
        let length = sealed.len().checked_sub(OVERHEAD)?;
        let (nonce, tag) = (*sealed.first_chunk()?, *sealed.last_chunk()?);
        sealed.advance(NONCE);
        sealed.truncate(length);
        self.decrypt(place, &nonce, &mut sealed, &tag)?;
        Some(sealed.freeze())
    }

    fn decrypt(
        &self,
        place: Place,
        nonce: &[u8; NONCE],
        body: &mut [u8],
        tag: &[u8; TAG],
    ) -> Option<()> {
        let (nonce, tag) = (Nonce::from(*nonce), Tag::from(*tag));
        let associated = self.associated(place);
        self.cipher
            .decrypt_inout_detached(&nonce, &associated, body.into(), &tag)
            .ok()
    }

    /// Padding that looks random to everyone without the key, and is the same each time.
    pub(crate) fn padding(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.padding_stream().fill(&mut bytes);
        bytes
    }

    /// The same piece by piece, as it may be long.
    pub(crate) fn padding_pieces(&self, length: usize) -> impl Iterator<Item = Vec<u8>> + use<> {
        let mut stream = self.padding_stream();
        let begins = (0..length).step_by(PADDING_PIECE);
        begins.map(move |from| {
            let mut bytes = vec![0; PADDING_PIECE.min(length - from)];
            stream.fill(&mut bytes);
            bytes
        })
    }

    fn padding_stream(&self) -> blake3::OutputReader {
        blake3::Hasher::new_keyed(self.padding_key.bytes()).finalize_xof()
    }

    /// The random share of this object's padding, drawn once for all from its key.
    pub(crate) fn dice(&self) -> u16 {
        let hash = blake3::keyed_hash(self.padding_key.bytes(), b"size");
        u16::from_le_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])
    }

    fn associated(&self, place: Place) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.context.len() + 6);
        bytes.extend_from_slice(&self.context);
        bytes.extend_from_slice(&place.bytes());
        bytes.push(u8::from(place.last));
        bytes
    }
}
