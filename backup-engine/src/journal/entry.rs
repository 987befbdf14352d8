//! Entries of the backup journal: what one committed page changed, and their layout.
//!
//! A live page and a page read back after a crash go through the same value, and so through the
//! same code. The journal lives on one machine for hours; its layout may change with any version.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use backup_store::catalog::{Container, Cursor, FeedCursor, Item, RunNote};
use backup_store::{PackId, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::source::Scope;
use crate::tally::Fate;

/// What one committed page changed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The feed of the page; empty for what is decided at the end of a pass.
    pub(crate) feed: String,
    /// Whether the page is not committed yet: nothing but records of content that came already.
    pub(crate) is_ahead: bool,
    /// The generation, if the feed is being enumerated anew.
    pub(crate) generation: Option<[u8; 16]>,
    /// What the feed covers, if that enumeration ends with this page.
    pub(crate) ended: Option<Scope>,
    /// When the page was committed.
    pub(crate) at: Timestamp,
    /// The changes, in order.
    pub(crate) edits: Vec<Edit>,
    /// The cursors from which the next pages start, this feed's and others' that moved since.
    pub(crate) cursors: Vec<FeedCursor>,
    /// The packs, or spools, that hold the content of the page.
    pub(crate) packs: Vec<PackId>,
}

/// One change within an entry.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit {
    /// An item has this record now.
    Put {
        item: Arc<Item>,
        fate: Fate,
        note: Option<RunNote>,
        /// Bytes of content that came from the service for it.
        fetched: u64,
    },
    /// An item has the record that an entry ahead of this one, of the same feed, holds of it.
    Ahead { id: String },
    /// An item was shown, and its record holds.
    Same { id: String, fate: Fate },
    /// An item is deleted for certain.
    Delete { id: String },
    /// An item has left the container of the feed; whether it moved or was deleted is open.
    Left { id: String, from: String },
    /// An item could not be settled; it stays as it is, with this note.
    Keep { id: String, note: RunNote },
    /// A container has this record now.
    Container(Box<Container>),
    /// A container was shown, and its record holds.
    SameContainer { id: String },
    /// A container is gone.
    ContainerGone { id: String },
}

impl Edit {
    /// Tells whether the edit changes anything but the tally.
    pub(crate) fn is_durable(&self) -> bool {
        !matches!(self, Self::Same { .. } | Self::SameContainer { .. })
    }

    /// Returns the id of the item that has its record here.
    fn put_id(&self) -> Option<&str> {
        match self {
            Self::Put { item, .. } => Some(&item.key.id),
            _ => None,
        }
    }
}

impl Entry {
    /// Creates an entry without changes, of no feed.
    pub(crate) fn new(at: Timestamp) -> Self {
        Self {
            feed: String::new(),
            is_ahead: false,
            generation: None,
            ended: None,
            at,
            edits: Vec::new(),
            cursors: Vec::new(),
            packs: Vec::new(),
        }
    }

    /// Encodes the entry.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Encoder(Vec::with_capacity(
            USUAL_EDIT_BYTES * (1 + self.edits.len()),
        ));
        out.byte(LAYOUT);
        out.text(&self.feed);
        out.byte(u8::from(self.is_ahead));
        out.bytes(self.generation.as_ref().map_or(&[], |id| id.as_slice()));
        encode_scope(&mut out, self.ended.as_ref());
        out.number(self.at.as_millis().cast_unsigned());
        out.count(self.edits.len());
        for edit in &self.edits {
            encode_edit(&mut out, edit);
        }
        out.count(self.cursors.len());
        for cursor in &self.cursors {
            out.text(&cursor.feed);
            out.text(cursor.cursor.as_str());
        }
        out.count(self.packs.len());
        for pack in &self.packs {
            out.bytes(pack.as_bytes());
        }
        out.0
    }

    /// Decodes an entry.
    ///
    /// *Errors*: [`ErrorKind::Journal`] when the bytes are not an entry of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = Decoder(bytes);
        if input.byte()? != LAYOUT {
            return Err(malformed());
        }
        let feed = input.text()?;
        let is_ahead = match input.byte()? {
            0 => false,
            1 => true,
            _ => return Err(malformed()),
        };
        let generation = match input.bytes()? {
            [] => None,
            id => Some(id.try_into().map_err(|_| malformed())?),
        };
        let ended = decode_scope(&mut input)?;
        let at = Timestamp::from_millis(input.number()?.cast_signed());
        let mut entry = Self {
            feed,
            is_ahead,
            generation,
            ended,
            ..Self::new(at)
        };
        for _ in 0..input.count()? {
            entry.edits.push(decode_edit(&mut input)?);
        }
        for _ in 0..input.count()? {
            let feed = input.text()?;
            let cursor = Cursor::new(input.text()?);
            entry.cursors.push(FeedCursor { feed, cursor });
        }
        for _ in 0..input.count()? {
            entry.packs.push(input.pack()?);
        }
        if input.0.is_empty() {
            Ok(entry)
        } else {
            Err(malformed())
        }
    }
}

/// Tells whether all that commits take from what is ahead of them is there.
pub(crate) fn hang_together<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> bool {
    let mut ahead: HashMap<&str, HashSet<&str>> = HashMap::new();
    entries.into_iter().all(|entry| {
        if entry.is_ahead {
            let ids = entry.edits.iter().filter_map(Edit::put_id);
            ahead.entry(&entry.feed).or_default().extend(ids);
            return true;
        }
        let there = ahead.remove(entry.feed.as_str()).unwrap_or_default();
        let taken = |edit: &Edit| match edit {
            Edit::Ahead { id } => there.contains(id.as_str()),
            _ => true,
        };
        entry.edits.iter().all(taken)
    })
}

/// How long an edit usually is: an item with its key.
const USUAL_EDIT_BYTES: usize = 1 << 10;
/// Changes whenever the layout does.
const LAYOUT: u8 = 3;

fn encode_edit(out: &mut Encoder, edit: &Edit) {
    match edit {
        Edit::Put {
            item,
            fate,
            note,
            fetched,
        } => {
            out.byte(0);
            out.bytes(&item.key.encode());
            out.bytes(&item.encode());
            out.byte(*fate as u8);
            out.bytes(&note.as_ref().map(RunNote::encode).unwrap_or_default());
            out.number(*fetched);
        }
        Edit::Same { id, fate } => {
            out.byte(1);
            out.text(id);
            out.byte(*fate as u8);
        }
        Edit::Delete { id } => out.tagged(2, id),
        Edit::Left { id, from } => {
            out.tagged(3, id);
            out.text(from);
        }
        Edit::Keep { id, note } => {
            out.tagged(4, id);
            out.bytes(&note.encode());
        }
        Edit::Container(container) => {
            out.byte(5);
            out.bytes(&container.key());
            out.bytes(&container.encode());
        }
        Edit::SameContainer { id } => out.tagged(6, id),
        Edit::ContainerGone { id } => out.tagged(7, id),
        Edit::Ahead { id } => out.tagged(8, id),
    }
}

fn decode_edit(input: &mut Decoder<'_>) -> Result<Edit> {
    Ok(match input.byte()? {
        0 => {
            let key = input.bytes()?;
            let item = Arc::new(Item::decode(key, input.bytes()?)?);
            let fate = input.fate()?;
            let note = match input.bytes()? {
                [] => None,
                note => Some(RunNote::decode(note)?),
            };
            let fetched = input.number()?;
            Edit::Put {
                item,
                fate,
                note,
                fetched,
            }
        }
        1 => {
            let id = input.text()?;
            let fate = input.fate()?;
            Edit::Same { id, fate }
        }
        2 => Edit::Delete { id: input.text()? },
        3 => {
            let id = input.text()?;
            let from = input.text()?;
            Edit::Left { id, from }
        }
        4 => {
            let id = input.text()?;
            let note = RunNote::decode(input.bytes()?)?;
            Edit::Keep { id, note }
        }
        5 => {
            let key = input.bytes()?;
            Edit::Container(Box::new(Container::decode(key, input.bytes()?)?))
        }
        6 => Edit::SameContainer { id: input.text()? },
        7 => Edit::ContainerGone { id: input.text()? },
        8 => Edit::Ahead { id: input.text()? },
        _ => return Err(malformed()),
    })
}

fn encode_scope(out: &mut Encoder, scope: Option<&Scope>) {
    match scope {
        None => out.byte(0),
        Some(Scope::Containers) => out.byte(1),
        Some(Scope::Container(container)) => out.tagged(2, container),
        Some(Scope::Resource) => out.byte(3),
    }
}

fn decode_scope(input: &mut Decoder<'_>) -> Result<Option<Scope>> {
    Ok(match input.byte()? {
        0 => None,
        1 => Some(Scope::Containers),
        2 => Some(Scope::Container(input.text()?)),
        3 => Some(Scope::Resource),
        _ => return Err(malformed()),
    })
}

/// Writes numbers and length-prefixed bytes.
pub(super) struct Encoder(pub(super) Vec<u8>);

impl Encoder {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.number(count as u64);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn tagged(&mut self, tag: u8, text: &str) {
        self.byte(tag);
        self.text(text);
    }
}

/// Reads what [`Encoder`] wrote; never beyond the end.
pub(super) struct Decoder<'a>(pub(super) &'a [u8]);

impl<'a> Decoder<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    pub(super) fn count(&mut self) -> Result<usize> {
        usize::try_from(self.number()?).map_err(|_| malformed())
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = self.count()?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| malformed())
    }

    pub(super) fn id(&mut self) -> Result<[u8; 16]> {
        self.bytes()?.try_into().map_err(|_| malformed())
    }

    fn pack(&mut self) -> Result<PackId> {
        Ok(PackId::from_bytes(self.id()?))
    }

    fn fate(&mut self) -> Result<Fate> {
        let tag = usize::from(self.byte()?);
        Fate::ALL.get(tag).copied().ok_or_else(malformed)
    }
}

pub(crate) fn malformed() -> Error {
    Error::new(
        ErrorKind::Journal,
        "the backup journal holds an entry that cannot be read",
    )
}

#[cfg(test)]
mod tests {
    use backup_store::catalog::{ContainerKind, ItemState, RepresentationKind};
    use proptest::prelude::*;

    use super::*;
    use crate::change::tests::item;

    fn note() -> RunNote {
        RunNote {
            first_seen: Timestamp::from_millis(5),
            tries: 2,
            content_assumed: true,
            route: "graph".into(),
        }
    }

    fn example() -> Entry {
        let mut refused = item("a", "2", "k2");
        refused.state = ItemState::Quarantined {
            representation: RepresentationKind::Mime,
            cause: "corrupt".into(),
        };
        let container = Container {
            id: "a".into(),
            parent: None,
            name: "Inbox".into(),
            kind: ContainerKind::MailFolder,
            well_known: Some("inbox".into()),
            hidden: false,
            change_key: None,
            created: None,
            modified: None,
            properties: None,
        };
        let put = |item, fate, note| Edit::Put {
            item: Arc::new(item),
            fate,
            note,
            fetched: 7,
        };
        Entry {
            feed: "inbox".into(),
            is_ahead: true,
            generation: Some([7; 16]),
            ended: Some(Scope::Container("inbox".into())),
            at: Timestamp::from_millis(9),
            edits: vec![
                put(item("a", "1", "k1"), Fate::Stored, None),
                put(refused, Fate::Quarantined, Some(note())),
                Edit::Same {
                    id: "3".into(),
                    fate: Fate::Unchanged,
                },
                Edit::Delete { id: "4".into() },
                Edit::Left {
                    id: "5".into(),
                    from: "a".into(),
                },
                Edit::Keep {
                    id: "6".into(),
                    note: note(),
                },
                Edit::Container(Box::new(container)),
                Edit::SameContainer { id: "b".into() },
                Edit::ContainerGone { id: "c".into() },
                Edit::Ahead { id: "7".into() },
            ],
            cursors: vec![FeedCursor {
                feed: "inbox".into(),
                cursor: Cursor::new("next"),
            }],
            packs: vec![PackId::from_bytes([1; 16])],
        }
    }

    #[test]
    fn an_entry_survives_the_round_trip() {
        let entry = example();
        assert_eq!(Entry::decode(&entry.encode()).unwrap(), entry);
    }

    #[test]
    fn a_commit_finds_what_it_takes_ahead_of_it_and_only_once() {
        let entry = |is_ahead, feed: &str, edits: Vec<Edit>| Entry {
            is_ahead,
            feed: feed.into(),
            edits,
            ..Entry::new(Timestamp::from_millis(1))
        };
        let put = || {
            vec![Edit::Put {
                item: Arc::new(item("a", "1", "k")),
                fate: Fate::Stored,
                note: None,
                fetched: 1,
            }]
        };
        let take = || vec![Edit::Ahead { id: "1".into() }];
        let [ahead, commit] = [entry(true, "a", put()), entry(false, "a", take())];
        assert!(hang_together([&ahead, &commit]));
        assert!(!hang_together([&ahead, &commit, &commit]));
        assert!(!hang_together([&commit]));
        assert!(!hang_together([&ahead, &entry(false, "b", take())]));
        assert!(!hang_together([&entry(false, "a", put()), &commit]));
    }

    #[test]
    fn a_cut_entry_is_refused() {
        let whole = example().encode();
        for length in 0..whole.len() {
            assert!(Entry::decode(&whole[..length]).is_err(), "cut at {length}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(mut bytes: Vec<u8>) {
            if let Some(first) = bytes.first_mut() {
                *first = LAYOUT;
            }
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(Entry::decode(&entry.encode()).ok(), Some(entry));
            }
        }
    }
}
