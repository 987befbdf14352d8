//! An independent reader of stores, written from FORMAT.md alone: it shares no code with the crate.
//!
//! Slow and simple: it takes all objects in memory, ignores local caches, finds chunks through the
//! tables of the packs, and compares every segment with them. Numbers in comments are sections of
//! FORMAT.md. Tests use it as an oracle: `mod independent;`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::precedence,
    reason = "each test uses its own share"
)]

mod bytes;
pub mod compare;
mod keys;
mod packs;
mod records;
mod segments;
mod tree;

use std::collections::BTreeMap;

pub use self::keys::Secret;
pub use self::records::{Container, Content, Item, Note, Snapshot};

use self::bytes::{Cursor, hex};
use self::keys::Keys;
use self::packs::Place;

/// All objects of a store by name.
pub type Objects = BTreeMap<String, Vec<u8>>;

/// What went wrong, in words.
pub type Answer<T> = Result<T, String>;

pub type Hash = [u8; 32];
pub type Id = [u8; 16];

/// A store that was opened.
pub struct Reader<'a> {
    objects: &'a Objects,
    pub keys: Keys,
    /// 13: packs that are not to be read.
    dead: Vec<Id>,
    rounds: records::Rounds,
    places: BTreeMap<Hash, Vec<Place>>,
    /// Packs whose tables cannot be read, each with the cause.
    pub trouble: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Opens a store: keys, rounds, and the tables of all packs.
    pub fn open(objects: &'a Objects, secret: &Secret) -> Answer<Self> {
        let keys = Keys::open(objects, secret)?;
        let mut reader = Self {
            objects,
            keys,
            dead: Vec::new(),
            rounds: records::Rounds::default(),
            places: BTreeMap::new(),
            trouble: Vec::new(),
        };
        reader.rounds = reader.read_rounds()?;
        reader.dead = reader.rounds.dead.clone();
        reader.read_tables()?;
        Ok(reader)
    }

    /// 12: all snapshots that exist, in the order of their slots.
    pub fn snapshots(&self) -> Answer<Vec<Snapshot>> {
        let mut found = Vec::new();
        for (name, object) in self.with_prefix("snaps/") {
            let (lease, number) = name[6..].split_once('.').ok_or("a strange slot name")?;
            let number: u32 = number.parse().map_err(|_| "a strange slot number")?;
            let plain = self.keys.open_object(5, name, object)?;
            let mut cursor = Cursor::new(&plain);
            cursor.expect(1)?;
            if cursor.u8()? != 0 {
                continue;
            }
            cursor.varint()?; // The claim token: each record says it too.
            for _ in 0..cursor.varint()? {
                let id: Id = cursor.array()?;
                let record = cursor.bytes()?;
                let forgotten = self.rounds.forgotten.contains(&id);
                let gone = self.rounds.gone.contains(&(lease.to_owned(), number));
                if !forgotten && !gone {
                    found.push(Snapshot::decode(id, record)?);
                }
            }
            cursor.end()?;
        }
        Ok(found)
    }

    /// The newest snapshot of each resource: the greatest (token, sequence).
    pub fn newest(&self) -> Answer<BTreeMap<String, Snapshot>> {
        let mut newest: BTreeMap<String, Snapshot> = BTreeMap::new();
        for snapshot in self.snapshots()? {
            let order = |one: &Snapshot| (one.token, one.sequence);
            match newest.get(&snapshot.resource) {
                Some(known) if order(known) >= order(&snapshot) => {}
                _ => {
                    newest.insert(snapshot.resource.clone(), snapshot);
                }
            }
        }
        Ok(newest)
    }

    /// 15: the containers of a snapshot, by id.
    pub fn containers(&self, snapshot: &Snapshot) -> Answer<Vec<Container>> {
        let map = self.tree(&snapshot.containers)?;
        map.iter()
            .map(|(key, record)| Container::decode(key, record))
            .collect()
    }

    /// 15: the items of a snapshot, in the order of their keys.
    pub fn items(&self, snapshot: &Snapshot) -> Answer<Vec<Item>> {
        let map = self.tree(&snapshot.items)?;
        map.iter()
            .map(|(key, record)| Item::decode(key, record))
            .collect()
    }

    /// 15: the run notes of a snapshot, by encoded item key.
    pub fn notes(&self, snapshot: &Snapshot) -> Answer<Vec<(Vec<u8>, Note)>> {
        let map = self.tree(&snapshot.notes)?;
        let note = |(key, record): &(Vec<u8>, Vec<u8>)| Ok((key.clone(), Note::decode(record)?));
        map.iter().map(note).collect()
    }

    /// 9: the bytes of a content, checked by length and hash.
    pub fn content(&self, content: &Content) -> Answer<Vec<u8>> {
        let whole = match &content.steps {
            steps if steps.is_empty() => self.joined(&content.chunks)?,
            steps => records::follow(steps, &self.joined(&content.chunks)?, |chunks| {
                self.joined(chunks)
            })?,
        };
        if whole.len() as u64 != content.length || self.keys.chunk_name(&whole) != content.hash {
            return Err(format!(
                "content {}: wrong length or hash",
                hex(&content.hash)
            ));
        }
        Ok(whole)
    }

    /// Every content of every item and container of a snapshot, in order.
    pub fn all_contents(&self, snapshot: &Snapshot) -> Answer<Vec<Vec<u8>>> {
        let mut contents = Vec::new();
        for container in self.containers(snapshot)? {
            if let Some(properties) = &container.properties {
                contents.push(self.content(properties)?);
            }
        }
        for item in self.items(snapshot)? {
            for (_, content) in &item.representations {
                contents.push(self.content(content)?);
            }
        }
        Ok(contents)
    }

    fn joined(&self, chunks: &[Hash]) -> Answer<Vec<u8>> {
        let mut whole = Vec::new();
        for chunk in chunks {
            whole.extend(self.chunk(chunk)?);
        }
        Ok(whole)
    }

    fn with_prefix(&self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Vec<u8>)> {
        let from = self.objects.range(prefix.to_owned()..);
        from.take_while(move |(name, _)| name.starts_with(prefix))
    }
}
