//! Collections: objects of services that are simulated as they are stored, without rules of their
//! own: contacts, events, tasks, groups, sites, lists.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Tenant, ids};

/// The collections of a tenant, by their path below the version of Graph, in lower case.
#[derive(Debug, Default, Clone)]
pub(crate) struct Collections(BTreeMap<String, Collection>);

/// One collection with the order of its last changes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Collection {
    /// Places of the last changes: what is there, or the id of what is gone.
    pub(crate) log: BTreeMap<u64, Result<Value, String>>,
    pub(crate) place: u64,
    /// Cursors from before this place are too old.
    pub(crate) horizon: u64,
    made: u64,
}

impl Collections {
    /// Returns the collection of a path, as it is empty where nobody put anything.
    pub(crate) fn get(&self, path: &str) -> Collection {
        self.0
            .get(&path.to_lowercase())
            .cloned()
            .unwrap_or_default()
    }
}

impl Collection {
    fn forget(&mut self, id: &str) {
        self.log.retain(|_, entry| match entry {
            Ok(object) => object["id"] != id,
            Err(gone) => gone != id,
        });
        self.place += 1;
    }

    /// Lists what is there.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Value> {
        self.log.values().filter_map(|entry| entry.as_ref().ok())
    }
}

impl Tenant {
    /// Puts an object into a collection, or in the place of the one with its id; returns the id.
    ///
    /// *Shape*: the collection by its path, such as `users/{id}/contacts`, `groups`,
    /// `sites/{id}/lists/{id}/items`; of users by their object id.
    pub fn put_object(&self, collection: &str, mut object: Value) -> String {
        let mut state = self.lock();
        let seed = state.seed;
        let held = state.collections.0.entry(collection.to_lowercase());
        let held = held.or_default();
        held.made += 1;
        let number = ids::number(seed, collection, held.made);
        let id = match object["id"].as_str() {
            Some(id) => id.to_owned(),
            None => ids::guid(number, "object", 0),
        };
        held.forget(&id);
        object["id"] = json!(id);
        object["@odata.etag"] = json!(format!("W/\"{}\"", held.place));
        held.log.insert(held.place, Ok(object));
        id
    }

    /// Removes an object from a collection; `false` when it is not there.
    pub fn remove_object(&self, collection: &str, id: &str) -> bool {
        let mut state = self.lock();
        let Some(held) = state.collections.0.get_mut(&collection.to_lowercase()) else {
            return false;
        };
        if !held.objects().any(|object| object["id"] == id) {
            return false;
        }
        held.forget(id);
        held.log.insert(held.place, Err(id.to_owned()));
        true
    }

    /// Makes every cursor of a collection too old: the next use answers 410.
    pub fn expire_collection_cursors(&self, collection: &str) {
        let mut state = self.lock();
        if let Some(held) = state.collections.0.get_mut(&collection.to_lowercase()) {
            held.place += 1;
            held.horizon = held.place;
        }
    }
}
