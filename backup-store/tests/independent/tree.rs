//! Section 14: trees. Checks the boundary rule as well, so that equal maps are equal trees.

use super::bytes::{Cursor, hex};
use super::records::Root;
use super::{Answer, Hash, Reader};

/// A sorted map: keys and values.
pub type Map = Vec<(Vec<u8>, Vec<u8>)>;

/// A record of a node: its key, and how long it is.
type Sizes = Vec<(Vec<u8>, usize)>;

impl Reader<'_> {
    pub(super) fn tree(&self, root: &Root) -> Answer<Map> {
        let mut map = Map::new();
        if root.entries == 0 {
            return Ok(map);
        }
        self.node(&root.node, root.level, true, &mut map)?;
        if map.len() as u64 != root.entries || !map.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(format!(
                "tree {}: another number of entries, or out of order",
                hex(&root.node)
            ));
        }
        Ok(map)
    }

    /// Reads a node and all below; returns its last key. `last` says that it ends its level.
    fn node(&self, id: &Hash, level: u8, last: bool, map: &mut Map) -> Answer<Vec<u8>> {
        let bytes = self.chunk(id)?;
        let failed = |cause: &str| format!("tree node {}: {cause}", hex(id));
        let mut cursor = Cursor::new(&bytes);
        cursor.expect(b'T')?;
        cursor.expect(1)?;
        cursor.expect(level)?;
        let (mut sizes, mut children) = (Sizes::new(), Vec::new());
        let mut before = cursor.position(&bytes);
        while !cursor.is_empty() {
            let key = cursor.bytes()?.to_vec();
            if level > 0 {
                let child: Hash = cursor.array()?;
                children.push((key.clone(), child, cursor.u64()?));
            } else if cursor.flag()? {
                let (length, chunk) = (cursor.varint()?, cursor.array()?);
                let value = self.chunk(&chunk)?;
                if value.len() as u64 != length {
                    return Err(failed("a value has another length"));
                }
                map.push((key.clone(), value));
            } else {
                map.push((key.clone(), cursor.bytes()?.to_vec()));
            }
            let at = cursor.position(&bytes);
            sizes.push((key, at - before));
            before = at;
        }
        self.check_boundary(level, last, &sizes)
            .map_err(|cause| failed(&cause))?;
        let count = children.len();
        for (at, (key, child, entries)) in children.into_iter().enumerate() {
            let known = map.len() as u64;
            let found = self.node(&child, level - 1, last && at + 1 == count, map)?;
            if found != key || map.len() as u64 - known != entries {
                return Err(failed("a child ends at another key, or counts otherwise"));
            }
        }
        let end = sizes.pop().ok_or_else(|| failed("it is empty"))?;
        Ok(end.0)
    }

    fn check_boundary(&self, level: u8, last: bool, sizes: &Sizes) -> Answer<()> {
        let mut x = 3;
        for (at, (key, size)) in sizes.iter().enumerate() {
            x += size;
            let ends = self.ends_node(level, key, x, *size);
            let is_last = at + 1 == sizes.len();
            if ends != is_last && !(is_last && last) {
                return Err("it ends where no node ends, or goes on over an end".to_owned());
            }
        }
        Ok(())
    }

    fn ends_node(&self, level: u8, key: &[u8], x: usize, size: usize) -> bool {
        let rate: u64 = match x {
            x if x >= 131_072 => return true,
            x if level == 0 && x >= 6_144 => 1_398_101,
            x if level > 0 && x >= 16_384 => 524_288,
            _ => 0,
        };
        let mut message = vec![level];
        message.extend(key);
        let hash = blake3::keyed_hash(&self.keys.boundary_key(), &message);
        let mut h = [0; 4];
        h.copy_from_slice(&hash.as_bytes()[..4]);
        u64::from(u32::from_le_bytes(h)) < (size as u64 * rate).min(u64::from(u32::MAX))
    }
}
