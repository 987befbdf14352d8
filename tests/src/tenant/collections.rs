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
    /// Puts an object into the collection of a path; returns its id.
    pub(crate) fn put(&mut self, path: &str, seed: u64, mut object: Value) -> String {
        let held = self.0.entry(path.to_lowercase()).or_default();
        held.made += 1;
        let id = match object["id"].as_str() {
            Some(id) => id.to_owned(),
            None => ids::guid(ids::number(seed, path, held.made), "object", 0),
        };
        held.forget(&id);
        object["id"] = json!(id);
        object["@odata.etag"] = json!(format!("W/\"{}\"", held.place));
        held.log.insert(held.place, Ok(object));
        id
    }

    /// Counts what was ever put into the collection of a path.
    pub(crate) fn made(&self, path: &str) -> u64 {
        self.0.get(path).map_or(0, |held| held.made)
    }

    /// Removes an object from the collection of a path; `false` when it is not there.
    pub(crate) fn remove(&mut self, path: &str, id: &str) -> bool {
        let held = self.0.get_mut(&path.to_lowercase());
        let Some(held) = held.filter(|held| held.objects().any(|object| object["id"] == id)) else {
            return false;
        };
        held.forget(id);
        held.log.insert(held.place, Err(id.to_owned()));
        true
    }

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
    pub fn put_object(&self, collection: &str, object: Value) -> String {
        let mut state = self.lock();
        let seed = state.seed;
        state.collections.put(collection, seed, object)
    }

    /// Removes an object from a collection; `false` when it is not there.
    pub fn remove_object(&self, collection: &str, id: &str) -> bool {
        self.lock().collections.remove(collection, id)
    }

    /// Removes a user with all that belongs to it; `false` when there is none.
    pub fn remove_user(&self, user: &str) -> bool {
        let mut state = self.lock();
        let Some(id) = state.user(user).map(|user| user.id.clone()) else {
            return false;
        };
        state.users.retain(|user| user.id != id);
        state.collections.remove("users", &id)
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
