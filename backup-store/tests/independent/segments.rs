//! Section 11: segments, compared with the tables of the packs.

use std::collections::BTreeSet;

use super::bytes::{Cursor, hex};
use super::keys::{context, derive, open_message};
use super::packs::Place;
use super::{Answer, Hash, Id, Reader};

const HEADER: usize = 76;
const TRAILER: usize = 48;

impl Reader<'_> {
    /// Checks that every entry of every segment is true; returns how many places of chunks are in
    /// no segment: none, unless a writer stopped between its packs and their segment.
    pub fn check_segments(&self) -> Answer<usize> {
        let mut named = BTreeSet::new();
        for (name, object) in self.with_prefix("segments/") {
            let failed = |cause: String| format!("object {name}: {cause}");
            for (chunk, place) in self.segment(name, object).map_err(failed)? {
                let known = self
                    .places
                    .get(&chunk)
                    .is_some_and(|known| known.contains(&place));
                if !known && !self.is_absent(&place.pack) {
                    return Err(failed(format!("chunk {} does not lie there", hex(&chunk))));
                }
                named.insert((chunk, place));
            }
        }
        let places = self.places.iter();
        let all =
            places.flat_map(|(chunk, places)| places.iter().map(|place| (*chunk, place.clone())));
        Ok(all.filter(|place| !named.contains(place)).count())
    }

    fn is_absent(&self, pack: &Id) -> bool {
        let hex = hex(pack);
        let name = format!("packs/{}/{hex}", &hex[..2]);
        self.dead.contains(pack) || !self.objects.contains_key(&name)
    }

    fn segment(&self, name: &str, object: &[u8]) -> Answer<Vec<(Hash, Place)>> {
        let mut cursor = Cursor::new(object);
        if cursor.take(8)? != [b'M', b'3', b'B', b'S', 1, 0, 0, 0] {
            return Err("a strange header".to_owned());
        }
        let catalog = self.keys.catalog_key(cursor.u32()?)?;
        let (salt, commitment): (Hash, Hash) = (cursor.array()?, cursor.array()?);
        let parts: [&[u8]; 3] = [&[3], name.as_bytes(), &salt];
        if derive(&catalog, "segment commitment", &parts) != commitment {
            return Err("the commitment does not match".to_owned());
        }
        let key = derive(&catalog, "segment key", &parts);
        let nonce_key = derive(&catalog, "segment nonce key", &parts);
        let context = context(&self.keys.store, 3, name, &object[..HEADER]);
        let open = |place: (u8, u32, bool), from: usize, length: usize| {
            let message = object.get(from..from + length).ok_or("it is cut off")?;
            open_message(&key, &nonce_key, &context, place, message)
        };
        let trailer_at = object.len().checked_sub(TRAILER).ok_or("it is too short")?;
        let trailer = open((3, 0, true), trailer_at, TRAILER)?;
        let mut cursor = Cursor::new(&trailer);
        let (filters, directory_at) = (cursor.u64()? as usize, cursor.u64()? as usize);
        let length = cursor.u32()? as usize;
        let directory = open((2, 0, false), directory_at, length)?;
        let directory = Directory::decode(&directory)?;
        let mut found = Vec::new();
        let mut at = HEADER;
        for (number, (head, sealed)) in directory.blocks.iter().enumerate() {
            let block = open((0, number as u32, false), at, *sealed)?;
            let before = found.len();
            directory.entries_of(&block, &mut found)?;
            if found.get(before).is_none_or(|(id, _)| id[..8] != *head) {
                return Err("a block begins with another id".to_owned());
            }
            at += sealed;
        }
        let order = |(id, place): &(Hash, Place)| (*id, place.pack, place.block, place.start);
        if found.len() as u64 != directory.entries
            || !found.is_sorted_by(|a, b| order(a) < order(b))
        {
            return Err("its entries are out of order, or of another number".to_owned());
        }
        let ids: BTreeSet<Hash> = found.iter().map(|(id, _)| *id).collect();
        let mut at = filters;
        for (number, sealed) in directory.shards.iter().enumerate() {
            let shard = open((1, number as u32, false), at, *sealed)?;
            let own = ids.iter().filter(|id| directory.shard_of(id) == number);
            let own: Vec<&Hash> = own.collect();
            if shard != shard_of(&own, directory.bits) {
                return Err("a filter is not that of its ids".to_owned());
            }
            at += sealed;
        }
        Ok(found)
    }
}

struct Directory {
    kind: u8,
    entries: u64,
    packs: Vec<Id>,
    bits: u32,
    shards: Vec<usize>,
    /// The first eight bytes of the first id, and the sealed length.
    blocks: Vec<([u8; 8], usize)>,
}

impl Directory {
    fn decode(bytes: &[u8]) -> Answer<Self> {
        let mut cursor = Cursor::new(bytes);
        cursor.expect(1)?;
        let (kind, entries) = (cursor.u8()?, cursor.varint()?);
        cursor.list(|cursor| cursor.array::<16>())?;
        let packs = cursor.list(|cursor| cursor.array())?;
        let bits = u32::from(cursor.u8()?);
        let shards = (0..1u32 << bits)
            .map(|_| cursor.length())
            .collect::<Answer<_>>()?;
        let blocks = cursor.list(|cursor| Ok((cursor.array()?, cursor.length()?)))?;
        cursor.end()?;
        Ok(Self {
            kind,
            entries,
            packs,
            bits,
            shards,
            blocks,
        })
    }

    fn shard_of(&self, id: &Hash) -> usize {
        (0..self.bits).fold(0, |shard, bit| {
            shard << 1 | usize::from(id[bit as usize / 8] >> (7 - bit % 8) & 1)
        })
    }

    fn entries_of(&self, block: &[u8], found: &mut Vec<(Hash, Place)>) -> Answer<()> {
        let mut cursor = Cursor::new(block);
        while !cursor.is_empty() {
            let id: Hash = cursor.array()?;
            let pack = self
                .packs
                .get(cursor.length()?)
                .ok_or("an entry in no pack")?;
            let place = Place {
                pack: *pack,
                kind: self.kind,
                block: cursor.varint()? as u32,
                offset: cursor.varint()?,
                sealed: cursor.varint()? as u32,
                plain: cursor.varint()? as u32,
                start: cursor.varint()? as u32,
                length: cursor.varint()? as u32,
            };
            found.push((id, place));
        }
        Ok(())
    }
}

/// The filter of some ids that ascend and share a prefix of `bits` bits.
fn shard_of(ids: &[&Hash], bits: u32) -> Vec<u8> {
    let n = ids.len();
    let mut high = vec![0u8; (2 * n).div_ceil(8)];
    let mut low = vec![0u8; (12 * n).div_ceil(8)];
    for (i, id) in ids.iter().enumerate() {
        let x = id[..8]
            .iter()
            .fold(0u64, |x, byte| x << 8 | u64::from(*byte))
            << bits;
        let y = (u128::from(x) * n as u128 >> 52) as usize;
        let bit = (y >> 12) + i;
        high[bit / 8] |= 1 << (bit % 8);
        for j in (0..12).filter(|j| y >> j & 1 == 1) {
            let bit = 12 * i + j;
            low[bit / 8] |= 1 << (bit % 8);
        }
    }
    let mut bytes = (n as u32).to_le_bytes().to_vec();
    bytes.extend(high);
    bytes.extend(low);
    bytes
}
