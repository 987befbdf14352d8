//! Mailbox: folders and messages with a log of changes, from which delta queries are answered.
//!
//! Every change takes the next place in the mailbox's log. A folder's log maps places to what is
//! there now (a live message) or was there (a gone one); a message that changes again leaves its
//! old place. A delta token is a place: what lies behind it, its reader has not seen. So a change
//! during an enumeration appears at its end, and an item may appear twice: last wins.

pub(crate) mod delta;
pub(crate) mod names;

use std::collections::BTreeMap;

use super::ids;
use super::message::{Content, Flag, Importance, Message};
use names::Kind;

/// Key of the folder above all folders.
pub(crate) const ROOT: u32 = 0;

/// What a place of a folder's log stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    Live(u32),
    /// Serial number and moves at the time it left.
    Gone(u32, u32),
}

/// One mail folder.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) key: u32,
    pub(crate) parent: u32,
    pub(crate) name: String,
    pub(crate) well_known: Option<&'static str>,
    pub(crate) hidden: bool,
    pub(crate) change: u64,
    pub(crate) log: BTreeMap<u64, Mark>,
}

/// One mailbox.
#[derive(Debug, Clone)]
pub(crate) struct Mailbox {
    /// Seed of ids and tokens of this mailbox.
    pub(crate) seed: u64,
    pub(crate) folders: BTreeMap<u32, Folder>,
    pub(crate) messages: BTreeMap<u32, Message>,
    folder_log: BTreeMap<u64, Mark>,
    sequence: u64,
    next_folder: u32,
    next_serial: u32,
    pub(crate) chains: Vec<delta::Chain>,
    /// Requests under way, for the limit of four.
    pub(crate) in_flight: u32,
}

/// State of a new message.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) now: i64,
    pub(crate) received: i64,
    pub(crate) sent: i64,
    pub(crate) draft: bool,
    pub(crate) read: bool,
    pub(crate) flag: Flag,
    pub(crate) importance: Importance,
    pub(crate) categories: Vec<String>,
    pub(crate) properties: Vec<(String, String)>,
    pub(crate) content: Content,
}

impl Mailbox {
    /// Creates a mailbox with the well-known folders, named in one of several languages.
    pub(crate) fn new(seed: u64, language: usize) -> Self {
        let mut mailbox = Self {
            seed,
            folders: BTreeMap::new(),
            messages: BTreeMap::new(),
            folder_log: BTreeMap::new(),
            sequence: 0,
            next_folder: ROOT,
            next_serial: 1,
            chains: Vec::new(),
            in_flight: 0,
        };
        for (well_known, hidden, localised) in &names::WELL_KNOWN {
            let name = localised[language % localised.len()];
            mailbox.add_folder(ROOT, name, *hidden, Some(well_known));
        }
        mailbox
    }

    /// Adds a folder; whether the name is free is the caller's affair.
    pub(crate) fn add_folder(
        &mut self,
        parent: u32,
        name: &str,
        hidden: bool,
        well_known: Option<&'static str>,
    ) -> u32 {
        let key = self.next_folder;
        self.next_folder += 1;
        let change = self.next_place();
        let folder = Folder {
            key,
            parent,
            name: name.to_string(),
            well_known,
            hidden,
            change,
            log: BTreeMap::new(),
        };
        self.folders.insert(key, folder);
        self.folder_log.insert(change, Mark::Live(key));
        key
    }

    /// Finds a folder by id or well-known name.
    pub(crate) fn folder_key(&self, id: &str) -> Option<u32> {
        let well_known = self.folders.values().find(|folder| {
            folder
                .well_known
                .is_some_and(|name| name.eq_ignore_ascii_case(id))
        });
        if let Some(folder) = well_known {
            return Some(folder.key);
        }
        let (kind, key, _) = names::decode(self.seed, id)?;
        (kind == Kind::Folder && self.folders.contains_key(&key)).then_some(key)
    }

    /// Finds the folder of this name below `parent`.
    pub(crate) fn child_named(&self, parent: u32, name: &str) -> Option<u32> {
        self.children(parent)
            .find(|folder| folder.name.eq_ignore_ascii_case(name))
            .map(|folder| folder.key)
    }

    /// Lists the folders directly below `parent`, in the order of creation.
    pub(crate) fn children(&self, parent: u32) -> impl Iterator<Item = &Folder> {
        self.folders
            .values()
            .filter(move |folder| folder.parent == parent && folder.key != ROOT)
    }

    /// Renames a folder or hangs it elsewhere.
    pub(crate) fn change_folder(&mut self, key: u32, parent: u32, name: &str) {
        let place = self.next_place();
        if let Some(folder) = self.folders.get_mut(&key) {
            self.folder_log.remove(&folder.change);
            folder.parent = parent;
            folder.name = name.to_string();
            folder.change = place;
            self.folder_log.insert(place, Mark::Live(key));
        }
    }

    /// Removes a folder with all that is in it; returns how many messages went with it.
    pub(crate) fn remove_folder(&mut self, key: u32) -> u64 {
        let below: Vec<u32> = self.children(key).map(|folder| folder.key).collect();
        let mut gone: u64 = below
            .into_iter()
            .map(|child| self.remove_folder(child))
            .sum();
        let inside: Vec<u32> = self
            .messages_in(key)
            .map(|message| message.serial)
            .collect();
        for serial in inside {
            self.messages.remove(&serial);
            gone += 1;
        }
        if let Some(folder) = self.folders.remove(&key) {
            self.folder_log.remove(&folder.change);
            let place = self.next_place();
            self.folder_log.insert(place, Mark::Gone(key, 0));
        }
        gone
    }

    /// Adds a message to a folder and returns its serial number.
    pub(crate) fn add_message(&mut self, folder: u32, draft: Draft) -> u32 {
        let serial = self.next_serial;
        self.next_serial += 1;
        let message = Message {
            serial,
            moves: 0,
            folder,
            change: 0,
            created: draft.now,
            modified: draft.now,
            received: draft.received,
            sent: draft.sent,
            draft: draft.draft,
            read: draft.read,
            flag: draft.flag,
            importance: draft.importance,
            categories: draft.categories,
            subject: None,
            revision: 0,
            content: draft.content,
            properties: draft.properties,
        };
        self.messages.insert(serial, message);
        self.touch(serial, draft.now);
        serial
    }

    /// Finds a message by either kind of id.
    pub(crate) fn message(&self, id: &str) -> Option<&Message> {
        let (kind, serial, moves) = names::decode(self.seed, id)?;
        let message = self.messages.get(&serial)?;
        let fits = moves == names::IMMUTABLE || moves == message.moves;
        (kind == Kind::Message && fits).then_some(message)
    }

    /// Lists the messages of a folder in the order of their last change.
    pub(crate) fn messages_in(&self, folder: u32) -> impl DoubleEndedIterator<Item = &Message> {
        self.folders
            .get(&folder)
            .into_iter()
            .flat_map(|folder| folder.log.values())
            .filter_map(|mark| match mark {
                Mark::Live(serial) => self.messages.get(serial),
                Mark::Gone(..) => None,
            })
    }

    /// Gives a message a new place in the log, and with it a new change key.
    pub(crate) fn touch(&mut self, serial: u32, now: i64) {
        let place = self.next_place();
        let Some(message) = self.messages.get_mut(&serial) else {
            return;
        };
        if let Some(folder) = self.folders.get_mut(&message.folder) {
            folder.log.remove(&message.change);
            folder.log.insert(place, Mark::Live(serial));
        }
        message.change = place;
        message.modified = now;
    }

    /// Moves a message to another folder.
    pub(crate) fn move_message(&mut self, serial: u32, to: u32, now: i64) {
        self.leave(serial);
        if let Some(message) = self.messages.get_mut(&serial) {
            message.folder = to;
            message.moves += 1;
        }
        self.touch(serial, now);
    }

    /// Removes a message for good.
    pub(crate) fn remove_message(&mut self, serial: u32) {
        self.leave(serial);
        self.messages.remove(&serial);
    }

    fn leave(&mut self, serial: u32) {
        let place = self.next_place();
        let Some(message) = self.messages.get(&serial) else {
            return;
        };
        if let Some(folder) = self.folders.get_mut(&message.folder) {
            folder.log.remove(&message.change);
            folder.log.insert(place, Mark::Gone(serial, message.moves));
        }
    }

    fn next_place(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Returns the last place of the log.
    pub(crate) fn last_place(&self) -> u64 {
        self.sequence
    }

    /// Returns the log that answers a delta query: a folder's, or that of all folders.
    pub(crate) fn log(&self, folder: Option<u32>) -> Option<&BTreeMap<u64, Mark>> {
        match folder {
            None => Some(&self.folder_log),
            Some(key) => self.folders.get(&key).map(|folder| &folder.log),
        }
    }

    /// Returns the id of a message, of the kind that is asked for.
    pub(crate) fn message_id(&self, message: &Message, immutable: bool) -> String {
        names::message_id(self.seed, message.serial, message.moves, immutable)
    }

    /// Returns the id that a message had when it left.
    pub(crate) fn gone_id(&self, serial: u32, moves: u32, immutable: bool) -> String {
        names::message_id(self.seed, serial, moves, immutable)
    }

    /// Tells whether `key` is `above` or lies below it.
    pub(crate) fn is_below(&self, key: u32, above: u32) -> bool {
        let mut next = key;
        while next != above {
            match self.folders.get(&next).filter(|folder| folder.key != ROOT) {
                None => return false,
                Some(folder) => next = folder.parent,
            }
        }
        true
    }

    /// Returns the id of a folder.
    pub(crate) fn folder_id(&self, key: u32) -> String {
        names::folder_id(self.seed, key)
    }

    /// Returns the change key of a place.
    pub(crate) fn change_key(&self, place: u64) -> String {
        names::change_key(ids::bytes(self.seed, "change", place))
    }

    /// Returns the names of a folder and those above it, root excluded.
    pub(crate) fn path_of(&self, key: u32) -> Vec<String> {
        let mut path = Vec::new();
        let mut next = key;
        while let Some(folder) = self.folders.get(&next).filter(|folder| folder.key != ROOT) {
            path.push(folder.name.clone());
            next = folder.parent;
        }
        path.reverse();
        path
    }

    /// Tells whether the folder or one above it is hidden.
    pub(crate) fn is_hidden(&self, key: u32) -> bool {
        let mut next = key;
        while let Some(folder) = self.folders.get(&next).filter(|folder| folder.key != ROOT) {
            if folder.hidden {
                return true;
            }
            next = folder.parent;
        }
        false
    }
}
