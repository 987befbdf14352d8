//! Paths: the names from the top of the tree to a node, hashed once for all that look it up.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Names from the top down; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Path(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    names: Box<[String]>,
    /// The hash of as many names as its place says, from one name on.
    prints: Box<[u64]>,
}

/// Names a node in a table: the first names of a path.
#[derive(Debug, Clone)]
pub(super) struct Key {
    path: Path,
    length: usize,
}

/// A table of nodes by their paths.
pub(super) type Table<T> = HashMap<Key, T, BuildHasherDefault<Print>>;

impl Path {
    pub(super) fn names(&self) -> &[String] {
        &self.0.names
    }

    /// Returns the key of the node to which the first `length` names lead.
    pub(super) fn key(&self, length: usize) -> Key {
        Key {
            path: self.clone(),
            length,
        }
    }
}

impl FromIterator<String> for Path {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        let names: Box<[String]> = names.into_iter().collect();
        // Without a secret key: names are ids that the service gives.
        let mut hasher = DefaultHasher::new();
        let print = |name: &String| {
            name.hash(&mut hasher);
            hasher.finish()
        };
        let prints = names.iter().map(print).collect();
        Self(Arc::new(Inner { names, prints }))
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.names() == other.names()
    }
}

impl Eq for Path {}

impl Hash for Path {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.prints.last().hash(state);
    }
}

impl Key {
    pub(super) fn names(&self) -> &[String] {
        &self.path.names()[..self.length]
    }

    /// Returns the key of the node above, if this is not the topmost.
    pub(super) fn above(&self) -> Option<Self> {
        (self.length > 1).then(|| self.path.key(self.length - 1))
    }

    fn prints(&self) -> &[u64] {
        &self.path.0.prints[..self.length]
    }
}

/// By the prints of all names: for two nodes of one tenant to have the same, and so to share their
/// limits, it would take thousands of millions of them.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.prints() == other.prints()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prints().last().copied().unwrap_or_default());
    }
}

/// Takes what is a hash already, or a number of our own, nearly as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Print(u64);

impl Hasher for Print {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, print: u64) {
        // Numbers that follow each other differ in their upper bits, too.
        self.0 = print.wrapping_mul(GOLDEN);
    }
}

/// Odd, and near the golden section of all numbers.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> Path {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn equal_names_are_one_node_and_others_are_not() {
        let (one, other) = (path(&["a", "b", "c"]), path(&["a", "b", "d"]));
        let mut table: Table<u32> = Table::default();
        table.insert(one.key(2), 1);
        table.insert(one.key(3), 2);
        assert_eq!(table.get(&other.key(2)), Some(&1));
        assert_eq!(table.get(&other.key(3)), None);
        assert_eq!(table.get(&path(&["a", "b", "c"]).key(3)), Some(&2));
        assert_eq!(
            table.get(&path(&["ab", "c"]).key(2)),
            None,
            "names are apart"
        );
        assert_eq!(one.key(3).above(), Some(other.key(2)));
        assert_eq!(one.key(1).above(), None);
    }
}
