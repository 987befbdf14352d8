//! Public folders: one tree for the whole tenant, reached through EWS alone.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::{Tenant, ids};
use crate::server::ews::Passwords;

/// What a tenant knows of EWS.
#[derive(Debug, Clone)]
pub(crate) struct Ews {
    pub(crate) folders: PublicFolders,
    /// Refuses every call, as a tenant does that has not enabled EWS.
    pub(crate) turned_off: bool,
    /// How many calls to refuse as busy, and the back-off to name, in milliseconds.
    pub(crate) busy: (u32, u64),
    pub(crate) passwords: Passwords,
}

impl Ews {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            folders: PublicFolders::new(seed),
            turned_off: false,
            busy: (0, 0),
            passwords: Passwords::default(),
        }
    }
}

/// The tree of public folders.
#[derive(Debug, Clone)]
pub(crate) struct PublicFolders {
    seed: u64,
    root: String,
    folders: BTreeMap<String, PublicFolder>,
    /// Folders in the order of their creation.
    order: Vec<String>,
    counter: u64,
}

/// One public folder.
#[derive(Debug, Clone)]
pub(crate) struct PublicFolder {
    pub(crate) id: String,
    pub(crate) change_key: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    pub(crate) items: Vec<PublicItem>,
}

/// One item in a public folder.
#[derive(Debug, Clone)]
pub(crate) struct PublicItem {
    pub(crate) id: String,
    pub(crate) change_key: String,
    pub(crate) subject: String,
    /// Seconds since 1970.
    pub(crate) received: i64,
    pub(crate) mime: Bytes,
}

impl PublicFolders {
    fn new(seed: u64) -> Self {
        let mut folders = Self {
            seed,
            root: String::new(),
            folders: BTreeMap::new(),
            order: Vec::new(),
            counter: 0,
        };
        folders.root = folders.add(None, "IPM_SUBTREE");
        folders
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    pub(crate) fn folder(&self, id: &str) -> Option<&PublicFolder> {
        self.folders.get(id)
    }

    pub(crate) fn children(&self, id: &str) -> Vec<&PublicFolder> {
        self.order
            .iter()
            .filter_map(|own| self.folders.get(own))
            .filter(|folder| folder.parent.as_deref() == Some(id))
            .collect()
    }

    /// Finds an item with its folder.
    pub(crate) fn item(&self, id: &str) -> Option<(&PublicFolder, &PublicItem)> {
        self.folders.values().find_map(|folder| {
            let item = folder.items.iter().find(|item| item.id == id)?;
            Some((folder, item))
        })
    }

    fn add(&mut self, parent: Option<&str>, name: &str) -> String {
        let (id, change_key) = self.next(1);
        self.order.push(id.clone());
        let folder = PublicFolder {
            id: id.clone(),
            change_key,
            parent: parent.map(str::to_owned),
            name: name.to_owned(),
            items: Vec::new(),
        };
        self.folders.insert(id.clone(), folder);
        id
    }

    /// Returns the next id and a change key as the service builds them: a tag, a length, the id of
    /// the replica, a counter.
    fn next(&mut self, tag: u8) -> (String, String) {
        self.counter += 1;
        let id = STANDARD.encode(ids::bytes(self.seed, "ews id", self.counter));
        let mut key = vec![tag, 0, 0, 0, 0x16, 0, 0, 0];
        key.extend_from_slice(&ids::bytes(self.seed, "replica", 0)[..16]);
        key.extend_from_slice(&self.counter.to_be_bytes()[2..]);
        (format!("AAEuAAAAAA{id}"), STANDARD.encode(key))
    }
}

impl Tenant {
    /// Creates a public folder in `parent`, or at the top; returns its id.
    ///
    /// Returns `None` when there is no such parent.
    pub fn add_public_folder(&self, parent: Option<&str>, name: &str) -> Option<String> {
        let mut state = self.lock();
        let folders = &mut state.ews.folders;
        let parent = parent.unwrap_or(folders.root()).to_owned();
        folders.folder(&parent)?;
        Some(folders.add(Some(&parent), name))
    }

    /// Posts an item to a public folder; returns its id.
    ///
    /// Returns `None` when there is no such folder.
    pub fn add_public_item(
        &self,
        folder: &str,
        subject: &str,
        mime: impl Into<Bytes>,
    ) -> Option<String> {
        let mut state = self.lock();
        let received = state.tick();
        let folders = &mut state.ews.folders;
        let (id, change_key) = folders.next(9);
        folders.folders.get_mut(folder)?.items.push(PublicItem {
            id: id.clone(),
            change_key,
            subject: subject.to_owned(),
            received,
            mime: mime.into(),
        });
        Some(id)
    }

    /// Turns EWS off or on for the whole tenant.
    pub fn turn_ews_off(&self, off: bool) {
        self.lock().ews.turned_off = off;
    }

    /// Lets the next `calls` EWS calls fail as busy, naming a back-off.
    pub fn make_ews_busy(&self, calls: u32, back_off_millis: u64) {
        self.lock().ews.busy = (calls, back_off_millis);
    }
}
