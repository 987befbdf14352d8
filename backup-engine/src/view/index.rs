//! Index: where in the item tree each id is, in about 30 bytes an item.

use std::collections::HashMap;

use backup_store::Timestamp;
use backup_store::catalog::ItemKey;

use crate::tally::{IdHash, IdMap};

/// Maps ids to keys. Feeds speak of removed items by id alone; the tree is ordered by key.
#[derive(Debug, Default)]
pub(super) struct Index {
    containers: Vec<String>,
    numbers: HashMap<String, u32>,
    places: IdMap<(u32, i64)>,
}

impl Index {
    pub(super) fn insert(&mut self, key: &ItemKey) {
        self.insert_as(IdHash::of(&key.id), key);
    }

    /// Does the same where the hash of the id is known.
    pub(super) fn insert_as(&mut self, id: IdHash, key: &ItemKey) {
        let number = self.number(&key.container);
        let place = (number, key.created.as_millis());
        self.places.insert(id, place);
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.places.remove(&IdHash::of(id));
    }

    pub(super) fn contains(&self, id: &str) -> bool {
        self.places.contains_key(&IdHash::of(id))
    }

    /// Returns the key of the item with this id.
    pub(super) fn key(&self, id: &str) -> Option<ItemKey> {
        self.key_of(IdHash::of(id), id)
    }

    /// Does the same where the hash of the id is known.
    pub(super) fn key_of(&self, hash: IdHash, id: &str) -> Option<ItemKey> {
        let (number, created) = self.places.get(&hash)?;
        let container = self.containers.get(*number as usize)?;
        Some(ItemKey {
            container: container.clone(),
            created: Timestamp::from_millis(*created),
            id: id.to_owned(),
        })
    }

    fn number(&mut self, container: &str) -> u32 {
        if let Some(number) = self.numbers.get(container) {
            return *number;
        }
        let number = u32::try_from(self.containers.len()).unwrap_or(u32::MAX);
        self.containers.push(container.to_owned());
        self.numbers.insert(container.to_owned(), number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_to_its_key_and_a_removed_one_nowhere() {
        let mut index = Index::default();
        let key = |container: &str, id: &str| ItemKey {
            container: container.into(),
            created: Timestamp::from_millis(77),
            id: id.into(),
        };
        index.insert(&key("a", "1"));
        index.insert(&key("b", "2"));
        index.insert(&key("b", "1"));
        assert_eq!(index.key("1"), Some(key("b", "1")));
        assert_eq!(index.key("2"), Some(key("b", "2")));
        index.remove("1");
        assert!(!index.contains("1") && index.key("1").is_none());
    }
}
