//! Sections 9, 13 and 15: contents, rounds, and the records of the catalog.

use super::bytes::{Cursor, hex, text};
use super::{Answer, Hash, Id, Reader};

/// 9: a reference to a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    pub length: u64,
    pub hash: Hash,
    pub chunks: Vec<Hash>,
    pub steps: Vec<Step>,
}

/// 9: a step of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Literal(u64),
    Base64 {
        length: u64,
        width: u64,
        flags: u8,
        chunks: Vec<Hash>,
    },
}

fn content(cursor: &mut Cursor<'_>) -> Answer<Content> {
    Ok(Content {
        length: cursor.varint()?,
        hash: cursor.array()?,
        chunks: cursor.list(|cursor| cursor.array())?,
        steps: cursor.list(|cursor| match cursor.u8()? {
            0 => Ok(Step::Literal(cursor.varint()?)),
            1 => Ok(Step::Base64 {
                length: cursor.varint()?,
                width: cursor.varint()?,
                flags: cursor.u8()?,
                chunks: cursor.list(|cursor| cursor.array())?,
            }),
            other => Err(format!("a step of kind {other}")),
        })?,
    })
}

/// 9: joins a content from its literals and parts.
pub fn follow(
    steps: &[Step],
    literals: &[u8],
    part: impl Fn(&[Hash]) -> Answer<Vec<u8>>,
) -> Answer<Vec<u8>> {
    let mut literals = Cursor::new(literals);
    let mut whole = Vec::new();
    for step in steps {
        match step {
            Step::Literal(length) => whole.extend(literals.take(*length as usize)?),
            Step::Base64 {
                length,
                width,
                flags,
                chunks,
            } => {
                let plain = part(chunks)?;
                if plain.len() as u64 != *length {
                    return Err("a part has another length".to_owned());
                }
                let ending: &[u8] = if flags & 1 == 1 { b"\r\n" } else { b"\n" };
                let characters = base64(&plain);
                let width = match *width as usize {
                    0 => characters.len().max(1),
                    width => width,
                };
                let lines: Vec<&[u8]> = characters.chunks(width).collect();
                whole.extend(lines.join(ending));
                if flags & 2 == 2 {
                    whole.extend(ending);
                }
            }
        }
    }
    literals.end()?;
    Ok(whole)
}

fn base64(plain: &[u8]) -> Vec<u8> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Vec::new();
    for group in plain.chunks(3) {
        let mut bits = 0u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(group.get(at).copied().unwrap_or(0));
        }
        for at in 0..4 {
            let symbol = alphabet[(bits >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { symbol } else { b'=' });
        }
    }
    text
}

/// 14: a reference to a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub node: Hash,
    pub level: u8,
    pub entries: u64,
}

fn root(cursor: &mut Cursor<'_>) -> Answer<Root> {
    let (node, level, entries) = (cursor.array()?, cursor.u8()?, cursor.varint()?);
    Ok(Root {
        node,
        level,
        entries,
    })
}

/// 15: a snapshot; what no test asks for is read and left out.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub id: Id,
    pub resource: String,
    pub set: String,
    pub outcome: u8,
    pub token: u64,
    pub sequence: u64,
    pub containers: Root,
    pub items: Root,
    pub notes: Root,
    pub cursors: Vec<(String, String)>,
    pub totals: Vec<u64>,
}

impl Snapshot {
    pub fn decode(id: Id, record: &[u8]) -> Answer<Self> {
        let mut cursor = Cursor::new(record);
        cursor.expect(b'S')?;
        cursor.expect(1)?;
        let resource = cursor.text()?;
        for _ in 0..6 {
            cursor.text()?;
        }
        let set = cursor.text()?;
        cursor.take(16)?;
        let (outcome, token, sequence) = (cursor.u8()?, cursor.varint()?, cursor.varint()?);
        cursor.option(|cursor| cursor.array::<16>())?;
        cursor.option(|cursor| cursor.array::<32>())?;
        cursor.signed()?;
        cursor.signed()?;
        let (containers, items, notes) =
            (root(&mut cursor)?, root(&mut cursor)?, root(&mut cursor)?);
        cursor.list(|cursor| {
            cursor.text()?;
            cursor.take(16)?;
            root(cursor)?;
            cursor.option(Cursor::text)
        })?;
        let cursors = cursor.list(|cursor| Ok((cursor.text()?, cursor.text()?)))?;
        let totals = (0..9)
            .map(|_| cursor.varint())
            .collect::<Answer<Vec<u64>>>()?;
        cursor.list(Cursor::text)?;
        cursor.varint()?;
        cursor.end()?;
        Ok(Self {
            id,
            resource,
            set,
            outcome,
            token,
            sequence,
            containers,
            items,
            notes,
            cursors,
            totals,
        })
    }
}

/// 15: a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub parent: Option<String>,
    pub name: String,
    pub kind: String,
    pub properties: Option<Content>,
}

impl Container {
    pub fn decode(key: &[u8], record: &[u8]) -> Answer<Self> {
        let mut cursor = Cursor::new(record);
        cursor.expect(b'C')?;
        cursor.expect(1)?;
        let parent = cursor.option(Cursor::text)?;
        let (name, kind) = (cursor.text()?, cursor.text()?);
        cursor.option(Cursor::text)?;
        cursor.flag()?;
        cursor.option(Cursor::text)?;
        cursor.option(Cursor::signed)?;
        cursor.option(Cursor::signed)?;
        let properties = cursor.option(content)?;
        cursor.end()?;
        Ok(Self {
            id: text(key)?,
            parent,
            name,
            kind,
            properties,
        })
    }
}

/// 15: an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub container: String,
    pub created: i64,
    pub id: String,
    pub kind: String,
    pub name: String,
    pub size: u64,
    /// 0 stored, 1 skipped, 2 quarantined.
    pub state: u8,
    pub representations: Vec<(String, Content)>,
}

impl Item {
    pub fn decode(key: &[u8], record: &[u8]) -> Answer<Self> {
        let (container, created, id) = item_key(key)?;
        let mut cursor = Cursor::new(record);
        cursor.expect(b'I')?;
        cursor.expect(1)?;
        let (kind, name) = (cursor.text()?, cursor.text()?);
        cursor.option(Cursor::text)?;
        cursor.list(Cursor::text)?;
        cursor.text()?;
        cursor.option(Cursor::text)?;
        let size = cursor.varint()?;
        cursor.option(Cursor::signed)?;
        cursor.flag()?;
        let state = cursor.u8()?;
        for _ in 0..state {
            cursor.text()?;
        }
        let representations = cursor.list(|cursor| Ok((cursor.text()?, content(cursor)?)))?;
        cursor.end()?;
        Ok(Self {
            container,
            created,
            id,
            kind,
            name,
            size,
            state,
            representations,
        })
    }
}

fn item_key(key: &[u8]) -> Answer<(String, i64, String)> {
    let mut cursor = Cursor::new(key);
    let mut container = Vec::new();
    loop {
        match cursor.u8()? {
            0 => match cursor.u8()? {
                0 => break,
                255 => container.push(0),
                other => return Err(format!("byte {other} after a zero in an item key")),
            },
            byte => container.push(byte),
        }
    }
    let created = u64::from_be_bytes(cursor.array()?) ^ (1 << 63);
    let mut id = Vec::new();
    while !cursor.is_empty() {
        id.push(cursor.u8()?);
    }
    Ok((text(&container)?, created as i64, text(&id)?))
}

/// 15: a run note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub first_seen: i64,
    pub tries: u64,
    pub content_assumed: bool,
    pub route: String,
}

impl Note {
    pub fn decode(record: &[u8]) -> Answer<Self> {
        let mut cursor = Cursor::new(record);
        cursor.expect(b'N')?;
        cursor.expect(1)?;
        let note = Self {
            first_seen: cursor.signed()?,
            tries: cursor.varint()?,
            content_assumed: cursor.flag()?,
            route: cursor.text()?,
        };
        cursor.end()?;
        Ok(note)
    }
}

/// 13: what prune has removed.
#[derive(Debug, Default)]
pub struct Rounds {
    pub dead: Vec<Id>,
    pub forgotten: Vec<Id>,
    /// Lease, as hex, and number of each deleted slot.
    pub gone: Vec<(String, u32)>,
}

impl Reader<'_> {
    /// 13: the newest done, and the verdict of the round after it.
    pub(super) fn read_rounds(&self) -> Answer<Rounds> {
        let number = |name: &str| name.split_once('.')?.0.parse::<u32>().ok();
        let parts = self
            .with_prefix("gc/")
            .map(|(name, _)| name[3..].to_owned());
        let parts: Vec<String> = parts.collect();
        let greatest = parts.iter().filter_map(|name| number(name)).max();
        let Some(greatest) = greatest else {
            return Ok(Rounds::default());
        };
        let is_done = self.objects.contains_key(&format!("gc/{greatest}.done"));
        let done = if is_done { greatest } else { greatest - 1 };
        let mut rounds = Rounds::default();
        if done > 0 {
            let plain = self.round(done, "done", 18)?;
            let mut cursor = opened(&plain, done)?;
            rounds.dead = cursor.list(|cursor| cursor.array())?;
            rounds.forgotten = cursor.list(|cursor| cursor.array())?;
            for (lease, numbers) in slots(&mut cursor)? {
                rounds
                    .gone
                    .extend(numbers.iter().map(|number| (hex(&lease), *number)));
            }
            cursor.end()?;
        }
        if self
            .objects
            .contains_key(&format!("gc/{}.verdict", done + 1))
        {
            let plain = self.round(done + 1, "verdict", 17)?;
            let mut cursor = opened(&plain, done + 1)?;
            rounds
                .forgotten
                .extend(cursor.list(|cursor| cursor.array::<16>())?);
        }
        Ok(rounds)
    }

    fn round(&self, round: u32, part: &str, kind: u8) -> Answer<Vec<u8>> {
        let name = format!("gc/{round}.{part}");
        let object = self
            .objects
            .get(&name)
            .ok_or(format!("object {name}: missing"))?;
        self.keys.open_object(kind, &name, object)
    }
}

fn opened(plain: &[u8], round: u32) -> Answer<Cursor<'_>> {
    let mut cursor = Cursor::new(plain);
    cursor.expect(1)?;
    if cursor.varint()? != u64::from(round) {
        return Err("a record of another round".to_owned());
    }
    Ok(cursor)
}

fn slots(cursor: &mut Cursor<'_>) -> Answer<Vec<(Id, Vec<u32>)>> {
    cursor.list(|cursor| {
        let lease = cursor.array()?;
        Ok((lease, cursor.list(|cursor| Ok(cursor.varint()? as u32))?))
    })
}
