//! Drives: a tree of items by id, and the order of their last changes, as pure state.
//!
//! Every change gives its item a new place in one order of changes; a delta cursor is a position
//! in that order. Nothing here knows HTTP, and nothing reads a clock.

mod content;
mod delta;
mod hash;
mod names;
#[cfg(test)]
mod tests;
mod upload;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

pub(crate) use content::mix;
pub use content::{Blocks, Content, Texture};
pub use delta::{DeltaChange, DeltaPage, DeltaPosition};
pub use hash::QuickXor;
pub(crate) use names::is_allowed;
pub(crate) use upload::{FragmentFault, Upload, UploadPlan, UploadTarget};

/// Says what happens when a name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NameConflict {
    /// The request is refused.
    #[default]
    Fail,
    /// The content of the file that has the name is replaced.
    Replace,
    /// A number is added to the name.
    Rename,
}

/// Says why a drive refused a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// There is no such item.
    NotFound,
    /// A sibling has that name.
    NameTaken,
    /// The name is not allowed in a drive.
    NameNotAllowed,
    /// The target is not a folder, is the root, or lies within the item.
    WrongPlace,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "the item does not exist",
            Self::NameTaken => "an item of that name exists already",
            Self::NameNotAllowed => "the name is not allowed",
            Self::WrongPlace => "the place is not allowed",
        })
    }
}

/// The dates that a client sees and may set, in milliseconds since 1970 (UTC, whole seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_structs)]
pub struct FileTimes {
    /// When the item was created.
    pub created: i64,
    /// When its content was last modified.
    pub modified: i64,
}

impl FileTimes {
    /// Gives both dates the same value.
    pub fn both(at: i64) -> Self {
        Self {
            created: at,
            modified: at,
        }
    }

    /// Drops what the service does not keep: fractions of a second.
    #[must_use]
    pub fn to_seconds(self) -> Self {
        Self {
            created: self.created.div_euclid(1000) * 1000,
            modified: self.modified.div_euclid(1000) * 1000,
        }
    }
}

/// Holds one file or folder, or the trace of a deleted one.
#[derive(Debug, Clone)]
pub struct Item {
    pub(crate) id: String,
    pub(crate) parent: Option<String>,
    pub(crate) name: String,
    /// The content of a file; a folder has none.
    pub(crate) content: Option<Arc<Content>>,
    pub(crate) times: FileTimes,
    /// Rises with every change: the version inside the eTag.
    pub(crate) version: u32,
    /// Rises with every change of content: the version inside the cTag.
    pub(crate) content_version: u32,
    /// When it was deleted, as a place in the order of changes.
    pub(crate) deleted: Option<u64>,
    changed: u64,
}

impl Item {
    /// Returns the id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the id of the folder that holds it; the root has none.
    pub fn parent(&self) -> Option<&str> {
        self.parent.as_deref()
    }

    /// Returns the content of a file.
    pub fn content(&self) -> Option<&Arc<Content>> {
        self.content.as_ref()
    }

    /// Tells whether it is a folder.
    pub fn is_folder(&self) -> bool {
        self.content.is_none()
    }

    /// Returns the dates.
    pub fn times(&self) -> FileTimes {
        self.times
    }
}

/// Holds one drive.
#[derive(Debug, Clone)]
pub struct Drive {
    pub(crate) id: String,
    pub(crate) owner: String,
    root: String,
    items: HashMap<String, Item>,
    names: BTreeMap<(String, String), String>,
    changes: BTreeMap<u64, String>,
    clock: u64,
    seed: u64,
    created: u64,
    /// Cursors of an earlier generation are refused.
    pub(crate) generation: u32,
}

impl Drive {
    /// Creates an empty drive of the user `owner`; `seed` decides its ids.
    pub fn new(owner: &str, seed: u64, created: i64) -> Self {
        let mut drive = Self {
            id: format!("b!{}", names::opaque(seed, 48)),
            owner: owner.to_owned(),
            root: String::new(),
            items: HashMap::new(),
            names: BTreeMap::new(),
            changes: BTreeMap::new(),
            clock: 0,
            seed,
            created: 0,
            generation: 0,
        };
        drive.root = drive.insert(None, "root", None, FileTimes::both(created));
        drive
    }

    /// Returns the id of the user whose drive it is.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the id of the drive.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the id of the root folder.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Returns an item that exists.
    pub fn item(&self, id: &str) -> Option<&Item> {
        self.items.get(id).filter(|item| item.deleted.is_none())
    }

    /// Returns the child of `parent` that has `name`, whatever its case.
    pub fn child(&self, parent: &str, name: &str) -> Option<&Item> {
        let key = (parent.to_owned(), name.to_lowercase());
        self.names.get(&key).and_then(|id| self.item(id))
    }

    /// Returns the children of a folder in the order of their names.
    pub fn children<'a>(&'a self, parent: &str) -> impl Iterator<Item = &'a Item> + use<'a> {
        let parent = parent.to_owned();
        self.names
            .range((parent.clone(), String::new())..)
            .take_while(move |((of, _), _)| *of == parent)
            .filter_map(|(_, id)| self.item(id))
    }

    /// Returns the item at a path of names below `from`.
    pub fn at_path(&self, from: &str, names: &[String]) -> Option<&Item> {
        names
            .iter()
            .try_fold(self.item(from)?, |item, name| self.child(&item.id, name))
    }

    /// Returns the path of an item below the root: `/a/b`, and an empty text for the root.
    pub fn path(&self, id: &str) -> String {
        let mut names = Vec::new();
        let mut at = self.items.get(id);
        while let Some(item) = at.filter(|item| item.parent.is_some()) {
            names.push(item.name.as_str());
            at = item.parent.as_ref().and_then(|id| self.items.get(id));
        }
        names
            .iter()
            .rev()
            .fold(String::new(), |path, name| path + "/" + name)
    }

    /// Returns everything that exists, parents before children, in the order of names.
    pub fn walk(&self) -> Vec<&Item> {
        let mut found: Vec<&Item> = self.item(&self.root).into_iter().collect();
        let mut next = 0;
        while let Some(folder) = found.get(next) {
            let id = folder.id.clone();
            found.extend(self.children(&id));
            next += 1;
        }
        found
    }

    /// Returns the bytes that an item, or everything in a folder, holds.
    pub fn size(&self, id: &str) -> u64 {
        let mut total = 0;
        let mut open = vec![id.to_owned()];
        while let Some(id) = open.pop() {
            match self.item(&id).map(|item| &item.content) {
                Some(Some(content)) => total += content.length(),
                Some(None) => open.extend(self.children(&id).map(|item| item.id.clone())),
                None => {}
            }
        }
        total
    }

    /// Creates a folder.
    ///
    /// *Errors*: [`Refusal`]; replacing a folder is [`Refusal::NameTaken`].
    pub fn add_folder(
        &mut self,
        parent: &str,
        name: &str,
        conflict: NameConflict,
        times: FileTimes,
    ) -> Result<String, Refusal> {
        let name = self.free_name(parent, name, conflict)?;
        Ok(self.insert(Some(parent), &name, None, times))
    }

    /// Creates a file, or gives an existing one new content; says whether it was created.
    ///
    /// *Errors*: [`Refusal`].
    pub fn put_file(
        &mut self,
        parent: &str,
        name: &str,
        content: Arc<Content>,
        conflict: NameConflict,
        times: FileTimes,
    ) -> Result<(String, bool), Refusal> {
        if conflict == NameConflict::Replace
            && let Some(item) = self.child(parent, name)
        {
            let (id, created) = (item.id.clone(), item.times.created);
            let times = FileTimes { created, ..times };
            self.set_content(&id, content, times)?;
            return Ok((id, false));
        }
        let name = self.free_name(parent, name, conflict)?;
        let id = self.insert(Some(parent), &name, Some(content), times);
        Ok((id, true))
    }

    /// Gives a file new content and dates.
    ///
    /// *Errors*: [`Refusal`].
    pub fn set_content(
        &mut self,
        id: &str,
        content: Arc<Content>,
        times: FileTimes,
    ) -> Result<(), Refusal> {
        let item = self.existing(id)?;
        if item.content.is_none() {
            return Err(Refusal::NameTaken);
        }
        item.content = Some(content);
        item.content_version += 1;
        item.times = times.to_seconds();
        self.touch(id);
        Ok(())
    }

    /// Sets the dates of an item.
    ///
    /// *Errors*: [`Refusal`].
    pub fn set_times(&mut self, id: &str, times: FileTimes) -> Result<(), Refusal> {
        self.existing(id)?.times = times.to_seconds();
        self.touch(id);
        Ok(())
    }

    /// Renames an item, moves it, or both; its descendants do not change.
    ///
    /// *Errors*: [`Refusal`].
    pub fn relocate(
        &mut self,
        id: &str,
        parent: Option<&str>,
        name: Option<&str>,
    ) -> Result<(), Refusal> {
        let item = self.item(id).ok_or(Refusal::NotFound)?;
        let old_parent = item.parent.clone().ok_or(Refusal::WrongPlace)?;
        let old_name = item.name.clone();
        let parent = parent.unwrap_or(&old_parent).to_owned();
        let name = name.unwrap_or(&old_name).to_owned();
        self.check_place(&parent, &name)?;
        if self.is_within(&parent, id) {
            return Err(Refusal::WrongPlace);
        }
        if self
            .child(&parent, &name)
            .is_some_and(|other| other.id != id)
        {
            return Err(Refusal::NameTaken);
        }
        self.names.remove(&(old_parent, old_name.to_lowercase()));
        self.names
            .insert((parent.clone(), name.to_lowercase()), id.to_owned());
        let item = self.existing(id)?;
        item.parent = Some(parent);
        item.name = name;
        self.touch(id);
        Ok(())
    }

    /// Deletes an item and everything in it; returns how many items went.
    ///
    /// *Errors*: [`Refusal`]; the root stays.
    pub fn delete(&mut self, id: &str) -> Result<u64, Refusal> {
        if id == self.root {
            return Err(Refusal::WrongPlace);
        }
        self.existing(id)?;
        let mut open = vec![id.to_owned()];
        let mut gone = 0;
        while let Some(id) = open.pop() {
            open.extend(self.children(&id).map(|item| item.id.clone()));
            self.touch(&id);
            let at = self.clock;
            if let Some(item) = self.items.get_mut(&id) {
                item.deleted = Some(at);
                item.content = item
                    .content
                    .take()
                    .map(|_| Arc::new(Content::from_bytes("")));
                let key = (
                    item.parent.clone().unwrap_or_default(),
                    item.name.to_lowercase(),
                );
                self.names.remove(&key);
            }
            gone += 1;
        }
        Ok(gone)
    }

    /// Returns the last place in the order of changes.
    pub fn last_place(&self) -> u64 {
        self.clock
    }

    /// Returns the item whose last change has this place in the order of changes.
    pub fn last_changed_at(&self, place: u64) -> Option<&Item> {
        self.changes.get(&place).and_then(|id| self.item(id))
    }

    fn existing(&mut self, id: &str) -> Result<&mut Item, Refusal> {
        self.items
            .get_mut(id)
            .filter(|item| item.deleted.is_none())
            .ok_or(Refusal::NotFound)
    }

    fn is_within(&self, id: &str, folder: &str) -> bool {
        let mut at = self.items.get(id);
        while let Some(item) = at {
            if item.id == folder {
                return true;
            }
            at = item.parent.as_ref().and_then(|id| self.items.get(id));
        }
        false
    }

    fn check_place(&self, parent: &str, name: &str) -> Result<(), Refusal> {
        if !is_allowed(name) {
            return Err(Refusal::NameNotAllowed);
        }
        match self.item(parent) {
            Some(folder) if folder.is_folder() => Ok(()),
            Some(_) => Err(Refusal::WrongPlace),
            None => Err(Refusal::NotFound),
        }
    }

    fn free_name(
        &self,
        parent: &str,
        name: &str,
        conflict: NameConflict,
    ) -> Result<String, Refusal> {
        self.check_place(parent, name)?;
        if self.child(parent, name).is_none() {
            return Ok(name.to_owned());
        }
        if conflict != NameConflict::Rename {
            return Err(Refusal::NameTaken);
        }
        let (stem, extension) = match name.rfind('.') {
            Some(dot) if dot > 0 => name.split_at(dot),
            _ => (name, ""),
        };
        (1u32..)
            .map(|number| format!("{stem} {number}{extension}"))
            .find(|name| self.child(parent, name).is_none())
            .ok_or(Refusal::NameTaken)
    }

    fn insert(
        &mut self,
        parent: Option<&str>,
        name: &str,
        content: Option<Arc<Content>>,
        times: FileTimes,
    ) -> String {
        self.created += 1;
        let id = format!(
            "01{}",
            names::opaque(mix(self.seed) ^ self.created, 32).to_uppercase()
        );
        let key = (parent.unwrap_or_default().to_owned(), name.to_lowercase());
        self.names.insert(key, id.clone());
        self.items.insert(
            id.clone(),
            Item {
                id: id.clone(),
                parent: parent.map(str::to_owned),
                name: name.to_owned(),
                content,
                times: times.to_seconds(),
                version: 0,
                content_version: 1,
                deleted: None,
                changed: 0,
            },
        );
        self.touch(&id);
        id
    }

    /// Gives an item the newest place in the order of changes and a new version.
    fn touch(&mut self, id: &str) {
        self.clock += 1;
        if let Some(item) = self.items.get_mut(id) {
            self.changes.remove(&item.changed);
            item.changed = self.clock;
            item.version += 1;
            self.changes.insert(self.clock, id.to_owned());
        }
    }
}
