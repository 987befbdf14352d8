//! Records of items, containers and run notes: the values of a snapshot's trees.
//!
//! The keys are not repeated in the values, so that decoding takes both.

use super::{Container, Item, ItemKey, ItemState, Representation, RunNote};
use crate::codec::{Decoder, Encoder};
use crate::content::recipe::Recipe;
use crate::{ChunkId, ContentHash, ContentRef, Error, ErrorKind, Result, Timestamp, TreeRoot};

const ITEM: u8 = b'I';
const CONTAINER: u8 = b'C';
const NOTE: u8 = b'N';
/// The one version of these records so far.
const VERSION: u8 = 1;

/// How long a record of an item usually is, but for its texts and forms; and one form of it.
const USUAL_ITEM_BYTES: usize = 48;
const USUAL_FORM_BYTES: usize = 96;

const STORED: u8 = 0;
const SKIPPED: u8 = 1;
const QUARANTINED: u8 = 2;

/// Opens a record: its kind and version first.
pub(super) fn begin(kind: u8, version: u8) -> Encoder {
    let mut encoder = Encoder::new();
    encoder.byte(kind);
    encoder.byte(version);
    encoder
}

/// Reads kind and version; refuses any but these.
pub(super) fn expect(decoder: &mut Decoder<'_>, kind: u8, version: u8) -> Result<()> {
    expect_one_of(decoder, kind, &[version]).map(drop)
}

/// Reads kind and version, and returns the version; refuses any but these.
pub(super) fn expect_one_of(decoder: &mut Decoder<'_>, kind: u8, versions: &[u8]) -> Result<u8> {
    if decoder.byte()? != kind {
        return Err(decoder.malformed("is a record of another kind"));
    }
    let found = decoder.byte()?;
    if !versions.contains(&found) {
        let words = format!("{} has version {found}, which is not known", decoder.what());
        return Err(Error::new(ErrorKind::UnsupportedFormat, words));
    }
    Ok(found)
}

pub(super) fn put_time(encoder: &mut Encoder, time: Timestamp) {
    encoder.signed(time.as_millis());
}

pub(super) fn take_time(decoder: &mut Decoder<'_>) -> Result<Timestamp> {
    Ok(Timestamp::from_millis(decoder.signed()?))
}

pub(super) fn put_root(encoder: &mut Encoder, root: &TreeRoot) {
    encoder.raw(root.node.as_bytes());
    encoder.byte(root.level);
    encoder.varint(root.entries);
}

pub(super) fn take_root(decoder: &mut Decoder<'_>) -> Result<TreeRoot> {
    Ok(TreeRoot {
        node: ChunkId::from_bytes(decoder.array()?),
        level: decoder.byte()?,
        entries: decoder.varint()?,
    })
}

fn put_content(encoder: &mut Encoder, content: &ContentRef) {
    encoder.varint(content.length);
    encoder.raw(content.hash.as_bytes());
    encoder.list(&content.chunks, |encoder, chunk| {
        encoder.raw(chunk.as_bytes());
    });
    Recipe::encode(content.recipe.as_ref(), encoder);
}

fn take_content(decoder: &mut Decoder<'_>) -> Result<ContentRef> {
    let length = decoder.varint()?;
    Ok(ContentRef {
        length,
        hash: ContentHash::from_bytes(decoder.array()?),
        chunks: decoder.list(32, |decoder| Ok(ChunkId::from_bytes(decoder.array()?)))?,
        recipe: Recipe::decode(decoder, length)?,
    })
}

impl ItemKey {
    /// Encodes the key so that the order of the bytes is the order of the keys.
    ///
    /// *Shape*: container id, each zero byte followed by 0xff, ended by two zero bytes · time as
    /// eight bytes, highest first, sign bit flipped · item id to the end.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = container_prefix(&self.container, 8 + self.id.len());
        let ordered = self.created.as_millis().cast_unsigned() ^ (1 << 63);
        bytes.extend_from_slice(&ordered.to_be_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        bytes
    }

    /// Decodes a key.
    ///
    /// *Errors*: `Damaged` for anything that [`encode`](Self::encode) does not make.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("item key", bytes);
        let mut container = Vec::new();
        loop {
            match decoder.byte()? {
                0 => match decoder.byte()? {
                    0 => break,
                    0xff => container.push(0),
                    _ => return Err(decoder.malformed("has no end of its container id")),
                },
                byte => container.push(byte),
            }
        }
        let ordered = u64::from_be_bytes(decoder.array()?);
        let created = Timestamp::from_millis((ordered ^ (1 << 63)).cast_signed());
        let (container, id) = (String::from_utf8(container), decoder.rest().to_vec());
        let (Ok(container), Ok(id)) = (container, String::from_utf8(id)) else {
            return Err(decoder.malformed("holds text that is not UTF-8"));
        };
        Ok(Self {
            container,
            created,
            id,
        })
    }

    /// Returns the range of encoded keys that lie in a container.
    pub fn container_range(container: &str) -> std::ops::Range<Vec<u8>> {
        let start = container_prefix(container, 0);
        let mut end = start.clone();
        if let Some(last) = end.last_mut() {
            *last = 1;
        }
        start..end
    }
}

fn container_prefix(container: &str, room: usize) -> Vec<u8> {
    // Many are kept for a while: no more room than they need.
    let mut bytes = Vec::with_capacity(container.len() + 2 + room);
    for (place, part) in container.split('\0').enumerate() {
        if place > 0 {
            bytes.extend_from_slice(&[0, 0xff]);
        }
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(&[0, 0]);
    bytes
}

impl Item {
    /// Encodes the record that the item tree holds under [`key`](Self::key), without the key.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(ITEM, VERSION);
        encoder.reserve(self.usual_bytes());
        encoder.text(self.kind.as_str());
        encoder.text(&self.name);
        encoder.option(self.sender.as_deref(), Encoder::text);
        encoder.list(&self.recipients, |encoder, each| encoder.text(each));
        encoder.text(&self.change_key);
        encoder.option(self.content_key.as_deref(), Encoder::text);
        encoder.varint(self.size_bytes);
        encoder.option(self.modified, put_time);
        encoder.flag(self.draft);
        match &self.state {
            ItemState::Stored => encoder.byte(STORED),
            ItemState::Skipped { reason } => {
                encoder.byte(SKIPPED);
                encoder.text(reason);
            }
            ItemState::Quarantined {
                representation,
                cause,
            } => {
                encoder.byte(QUARANTINED);
                encoder.text(representation.as_str());
                encoder.text(cause);
            }
        }
        encoder.list(&self.representations, |encoder, each| {
            encoder.text(each.kind.as_str());
            put_content(encoder, &each.content);
        });
        encoder.finish()
    }

    /// Decodes an item from its encoded key and its record.
    ///
    /// *Errors*: `Damaged` for anything that [`encode`](Self::encode) does not make.
    pub fn decode(key: &[u8], record: &[u8]) -> Result<Self> {
        let key = ItemKey::decode(key)?;
        let mut decoder = Decoder::new("item record", record);
        expect(&mut decoder, ITEM, VERSION)?;
        let item = Self {
            key,
            kind: decoder.text()?.as_str().into(),
            name: decoder.text()?,
            sender: decoder.option(Decoder::text)?,
            recipients: decoder.list(1, Decoder::text)?,
            change_key: decoder.text()?,
            content_key: decoder.option(Decoder::text)?,
            size_bytes: decoder.varint()?,
            modified: decoder.option(take_time)?,
            draft: decoder.flag()?,
            state: take_state(&mut decoder)?,
            representations: decoder.list(36, |decoder| {
                Ok(Representation {
                    kind: decoder.text()?.as_str().into(),
                    content: take_content(decoder)?,
                })
            })?,
        };
        decoder.finish()?;
        Ok(item)
    }
}

impl Item {
    /// Returns about how long the record is, so that room for it is made once.
    fn usual_bytes(&self) -> usize {
        let people: usize = self.recipients.iter().map(|each| each.len() + 1).sum();
        let texts = [self.sender.as_deref(), self.content_key.as_deref()];
        let texts: usize = texts.into_iter().flatten().map(|text| text.len() + 2).sum();
        let forms = USUAL_FORM_BYTES * self.representations.len();
        USUAL_ITEM_BYTES + self.name.len() + self.change_key.len() + people + texts + forms
    }
}

fn take_state(decoder: &mut Decoder<'_>) -> Result<ItemState> {
    match decoder.byte()? {
        STORED => Ok(ItemState::Stored),
        SKIPPED => Ok(ItemState::Skipped {
            reason: decoder.text()?,
        }),
        QUARANTINED => Ok(ItemState::Quarantined {
            representation: decoder.text()?.as_str().into(),
            cause: decoder.text()?,
        }),
        _ => Err(decoder.malformed("has an unknown state")),
    }
}

impl Container {
    /// Encodes the record that the container tree holds under [`key`](Self::key), without the
    /// id.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(CONTAINER, VERSION);
        encoder.option(self.parent.as_deref(), Encoder::text);
        encoder.text(&self.name);
        encoder.text(self.kind.as_str());
        encoder.option(self.well_known.as_deref(), Encoder::text);
        encoder.flag(self.hidden);
        encoder.option(self.change_key.as_deref(), Encoder::text);
        encoder.option(self.created, put_time);
        encoder.option(self.modified, put_time);
        encoder.option(self.properties.as_ref(), put_content);
        encoder.finish()
    }

    /// Decodes a container from its key and its record.
    ///
    /// *Errors*: `Damaged` for anything that [`encode`](Self::encode) does not make.
    pub fn decode(key: &[u8], record: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("container record", record);
        expect(&mut decoder, CONTAINER, VERSION)?;
        let id = std::str::from_utf8(key);
        let container = Self {
            id: id
                .map_err(|_| decoder.malformed("has a key that is not UTF-8"))?
                .to_owned(),
            parent: decoder.option(Decoder::text)?,
            name: decoder.text()?,
            kind: decoder.text()?.as_str().into(),
            well_known: decoder.option(Decoder::text)?,
            hidden: decoder.flag()?,
            change_key: decoder.option(Decoder::text)?,
            created: decoder.option(take_time)?,
            modified: decoder.option(take_time)?,
            properties: decoder.option(take_content)?,
        };
        decoder.finish()?;
        Ok(container)
    }
}

impl RunNote {
    /// Encodes the record that the map of run notes holds under the item's key.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = begin(NOTE, VERSION);
        put_time(&mut encoder, self.first_seen);
        encoder.varint(u64::from(self.tries));
        encoder.flag(self.content_assumed);
        encoder.text(&self.route);
        encoder.finish()
    }

    /// Decodes a run note.
    ///
    /// *Errors*: `Damaged` for anything that [`encode`](Self::encode) does not make.
    pub fn decode(record: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new("run note", record);
        expect(&mut decoder, NOTE, VERSION)?;
        let note = Self {
            first_seen: take_time(&mut decoder)?,
            tries: decoder.varint_u32()?,
            content_assumed: decoder.flag()?,
            route: decoder.text()?,
        };
        decoder.finish()?;
        Ok(note)
    }
}
