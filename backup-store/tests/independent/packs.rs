//! Section 10: packs, their tables, and chunks.

use super::bytes::{Cursor, hex, inflate};
use super::keys::{context, derive, open_message};
use super::{Answer, Hash, Id, Reader};

/// Where a chunk lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub pack: Id,
    pub kind: u8,
    pub block: u32,
    pub offset: u64,
    pub sealed: u32,
    pub plain: u32,
    pub start: u32,
    pub length: u32,
}

const HEADER: usize = 108;
const TRAILER: usize = 44;

struct Pack<'a> {
    bytes: &'a [u8],
    kind: u8,
    key: Hash,
    nonce_key: Hash,
    context: Vec<u8>,
}

impl Pack<'_> {
    fn message(&self, place: (u8, u32, bool), from: usize, length: usize) -> Answer<Vec<u8>> {
        let message = self
            .bytes
            .get(from..from + length)
            .ok_or("a pack is cut off")?;
        open_message(&self.key, &self.nonce_key, &self.context, place, message)
    }
}

impl Reader<'_> {
    pub(super) fn read_tables(&mut self) -> Answer<()> {
        let names: Vec<String> = self
            .with_prefix("packs/")
            .map(|(name, _)| name.clone())
            .collect();
        for name in names {
            let (id, places) = match self.table(&name) {
                Ok(table) => table,
                Err(cause) => {
                    self.trouble.push(format!("object {name}: {cause}"));
                    continue;
                }
            };
            if self.dead.contains(&id) {
                continue;
            }
            for (chunk, place) in places {
                self.places.entry(chunk).or_default().push(place);
            }
        }
        Ok(())
    }

    fn pack(&self, name: &str) -> Answer<(Id, Pack<'_>)> {
        let bytes = self.objects.get(name).ok_or("it is missing")?;
        let mut cursor = Cursor::new(bytes);
        let magic = cursor.take(8)?;
        let kind = magic[5];
        if magic != [b'M', b'3', b'B', b'P', 1, kind, 0, 0] || !(7..=8).contains(&kind) {
            return Err("a strange header".to_owned());
        }
        let content = self.keys.content_key(cursor.u32()?)?;
        let (id, lease, salt): (Id, Id, Hash) = (cursor.array()?, cursor.array()?, cursor.array()?);
        let hex = hex(&id);
        if name != format!("packs/{}/{hex}", &hex[..2]) {
            return Err("the header names another pack".to_owned());
        }
        let parts: [&[u8]; 4] = [&[kind], &id, &lease, &salt];
        if derive(&content, "pack commitment", &parts) != cursor.array::<32>()? {
            return Err("the commitment does not match".to_owned());
        }
        let pack = Pack {
            bytes,
            kind,
            key: derive(&content, "pack key", &parts),
            nonce_key: derive(&content, "pack nonce key", &parts),
            context: context(&self.keys.store, kind, name, &bytes[..HEADER]),
        };
        Ok((id, pack))
    }

    fn table(&self, name: &str) -> Answer<(Id, Vec<(Hash, Place)>)> {
        let (id, pack) = self.pack(name)?;
        let trailer_at = pack
            .bytes
            .len()
            .checked_sub(TRAILER)
            .ok_or("it is too short")?;
        let trailer = pack.message((4, 0, true), trailer_at, TRAILER)?;
        let mut cursor = Cursor::new(&trailer);
        let (table_at, sealed, blocks) = (cursor.u64()?, cursor.u32()?, cursor.u32()?);
        cursor.end()?;
        let table = pack.message((3, blocks, false), table_at as usize, sealed as usize)?;
        let mut cursor = Cursor::new(&table);
        let mut places = Vec::new();
        let mut offset = HEADER as u64;
        for block in 0..cursor.varint()? {
            let (sealed, plain) = (cursor.varint()? as u32, cursor.varint()? as u32);
            let mut start = 0;
            for _ in 0..cursor.varint()? {
                let chunk: Hash = cursor.array()?;
                let length = cursor.varint()? as u32;
                let block = block as u32;
                let (pack, kind) = (id, pack.kind);
                places.push((
                    chunk,
                    Place {
                        pack,
                        kind,
                        block,
                        offset,
                        sealed,
                        plain,
                        start,
                        length,
                    },
                ));
                start += length;
            }
            if start != plain {
                return Err("the chunks of a block do not fill it".to_owned());
            }
            offset += u64::from(sealed);
        }
        if offset != table_at {
            return Err("the table does not follow the blocks".to_owned());
        }
        cursor.end()?;
        Ok((id, places))
    }

    /// 9: the plaintext of a chunk, checked by its id; every place is tried.
    pub fn chunk(&self, id: &Hash) -> Answer<Vec<u8>> {
        let mut trouble = "it is in no pack".to_owned();
        for place in self.places.get(id).into_iter().flatten() {
            match self.chunk_at(place) {
                Ok(chunk) if self.keys.chunk_name(&chunk) == *id => return Ok(chunk),
                Ok(_) => trouble = "its bytes have another id".to_owned(),
                Err(cause) => trouble = cause,
            }
        }
        Err(format!("chunk {}: {trouble}", hex(id)))
    }

    fn chunk_at(&self, place: &Place) -> Answer<Vec<u8>> {
        let hex = hex(&place.pack);
        let (_, pack) = self.pack(&format!("packs/{}/{hex}", &hex[..2]))?;
        let block = pack.message(
            (2, place.block, false),
            place.offset as usize,
            place.sealed as usize,
        )?;
        let mut cursor = Cursor::new(&block);
        let (codec, length) = (cursor.u8()?, cursor.u32()?);
        let plain = inflate(codec, &block[5..], length as usize)?;
        let end = (place.start + place.length) as usize;
        let chunk = plain.get(place.start as usize..end);
        Ok(chunk.ok_or("it lies outside its block")?.to_vec())
    }
}
