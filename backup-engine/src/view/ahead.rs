//! Ahead: content that came for a page which is not committed yet.
//!
//! It belongs to no state. A record counts only when its page is shown again with the same change
//! key and is committed: what was deleted meanwhile is not shown again, and so is never kept.
//! A commit does not write down again what is journalled ahead: it says which of that it takes.
//! A checkpoint covers the journal up to it; what is ahead of it then is journalled once more.

use std::collections::{BTreeMap, BTreeSet};

use backup_store::catalog::{Item, ItemState};
use backup_store::{PackId, Timestamp};

use crate::error::Result;
use crate::journal::{Edit, Entry, malformed};
use crate::source::SeenItem;

/// What came ahead, by feed.
#[derive(Debug, Default)]
pub(crate) struct Ahead(BTreeMap<String, OfFeed>);

#[derive(Debug, Default)]
pub(super) struct OfFeed {
    /// Records that an interrupted run, or a page that failed, left, by item.
    kept: BTreeMap<String, Edit>,
    /// Records that the page under way takes, journalled and among its edits.
    taken: BTreeMap<String, Edit>,
    /// What came for the page that is under way now, in its order; what is journalled, as taken.
    arrived: Vec<Edit>,
    /// The packs that hold the content of all of them.
    packs: BTreeSet<PackId>,
}

impl OfFeed {
    /// Returns what an edit of the page that is committed stands for.
    ///
    /// *Errors*: that of a journal from which something is missing.
    pub(super) fn resolve<'e>(&'e self, edit: &'e Edit) -> Result<&'e Edit> {
        match edit {
            Edit::Ahead { id } => {
                let found = self.taken.get(id).or_else(|| self.kept.get(id));
                found.ok_or_else(malformed)
            }
            other => Ok(other),
        }
    }
}

impl Ahead {
    /// Takes over what the journal kept of a page.
    pub(super) fn restore(&mut self, entry: &Entry) {
        let feed = self.0.entry(entry.feed.clone()).or_default();
        feed.packs.extend(&entry.packs);
        for edit in &entry.edits {
            if let Edit::Put { item, .. } = edit {
                feed.kept.insert(item.key.id.clone(), edit.clone());
            }
        }
    }

    /// Forgets a feed, of which a page was committed, or which is gone; returns what was ahead.
    pub(super) fn end(&mut self, feed: &str) -> OfFeed {
        self.0.remove(feed).unwrap_or_default()
    }

    /// Begins a page of a feed: what came for an earlier one that failed counts for it only where
    /// it is shown again as it was.
    pub(crate) fn begin_page(&mut self, feed: &str) {
        if let Some(feed) = self.0.get_mut(feed) {
            feed.kept.append(&mut feed.taken);
            feed.arrived.clear();
        }
    }

    /// Takes the record of an item that was kept, if it is of the very state that is shown.
    pub(crate) fn take_kept(&mut self, feed: &str, seen: &SeenItem) -> Option<Edit> {
        let feed = self.0.get_mut(feed)?;
        let (id, kept) = feed.kept.remove_entry(&seen.id)?;
        let holds = |item: &Item| {
            item.change_key == seen.change_key
                && item.key.container == seen.container
                && item.key.created == seen.created
                && !seen.draft
        };
        let holds = matches!(&kept, Edit::Put { item, .. } if holds(item));
        holds.then(|| {
            feed.taken.insert(id.clone(), kept);
            Edit::Ahead { id }
        })
    }

    /// Returns what is ahead of a checkpoint, as entries that outlive those which it covers: one
    /// for each feed whose page is still under way.
    pub(crate) fn entries(&self, at: Timestamp) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (name, feed) in &self.0 {
            let edits: Vec<Edit> = feed
                .kept
                .values()
                .chain(feed.taken.values())
                .cloned()
                .collect();
            if !edits.is_empty() {
                let mut entry = Entry::new(at);
                entry.feed.clone_from(name);
                entry.is_ahead = true;
                entry.edits = edits;
                entry.packs = feed.packs.iter().copied().collect();
                entries.push(entry);
            }
        }
        entries
    }

    /// Takes note of what came for the page of a feed that is under way, and makes the entry that
    /// keeps it, if any of it is worth that; its packs are still to be added.
    pub(crate) fn arrived(&mut self, mut entry: Entry, edits: Vec<Edit>) -> Option<Entry> {
        entry.is_ahead = true;
        let feed = self.0.entry(entry.feed.clone()).or_default();
        for edit in edits {
            match &edit {
                Edit::Put { item, .. } if is_kept(item) => {
                    let id = item.key.id.clone();
                    feed.arrived.push(Edit::Ahead { id: id.clone() });
                    entry.edits.push(edit.clone());
                    feed.taken.insert(id, edit);
                }
                _ => feed.arrived.push(edit),
            }
        }
        (!entry.edits.is_empty()).then_some(entry)
    }

    /// Takes what has come for the page of a feed so far.
    pub(crate) fn take_arrived(&mut self, feed: &str) -> Vec<Edit> {
        let feed = self.0.get_mut(feed);
        feed.map(|feed| std::mem::take(&mut feed.arrived))
            .unwrap_or_default()
    }

    /// Adds to the packs that a page of a feed needs, and returns all of them: content that took
    /// long to come may lie in those of an earlier commit.
    pub(crate) fn packs_of_page(&mut self, feed: &str, packs: Vec<PackId>) -> Vec<PackId> {
        match self.0.get_mut(feed) {
            Some(feed) => {
                feed.packs.extend(packs);
                feed.packs.iter().copied().collect()
            }
            None => packs,
        }
    }
}

/// A draft may change under the same key, and what could not be stored is asked for again.
fn is_kept(item: &Item) -> bool {
    item.state == ItemState::Stored && !item.draft
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use backup_store::Timestamp;

    use super::*;
    use crate::change::tests::{item, seen};
    use crate::tally::Fate;

    fn kept(edits: Vec<Edit>) -> Ahead {
        let mut entry = Entry::new(Timestamp::from_millis(1));
        entry.feed = "a".into();
        entry.is_ahead = true;
        entry.packs = vec![PackId::from_bytes([1; 16])];
        entry.edits = edits;
        let mut ahead = Ahead::default();
        ahead.restore(&entry);
        ahead
    }

    fn put(item: Item) -> Edit {
        Edit::Put {
            item: Arc::new(item),
            fate: Fate::Stored,
            note: None,
            fetched: 1,
        }
    }

    #[test]
    fn a_draft_and_what_was_not_stored_are_not_kept() {
        assert!(is_kept(&item("a", "1", "k")));
        let mut draft = item("a", "1", "k");
        draft.draft = true;
        assert!(!is_kept(&draft));
        let mut skipped = item("a", "1", "k");
        skipped.state = ItemState::Skipped {
            reason: "none".into(),
        };
        assert!(!is_kept(&skipped));
    }

    #[test]
    fn a_record_counts_only_for_the_very_state_that_is_shown_and_once() {
        let taken = |shown: &SeenItem| {
            let mut ahead = kept(vec![put(item("a", "1", "k"))]);
            let first = ahead.take_kept("a", shown).is_some();
            (first, ahead.take_kept("a", shown).is_some())
        };
        assert_eq!(taken(&seen("a", "1", "k")), (true, false));
        assert_eq!(taken(&seen("a", "1", "k2")), (false, false));
        assert_eq!(taken(&seen("b", "1", "k")), (false, false));
        let mut draft = seen("a", "1", "k");
        draft.draft = true;
        assert_eq!(taken(&draft), (false, false));
    }

    #[test]
    fn what_is_ahead_is_journalled_again_with_its_packs_until_its_page_is_committed() {
        let feed = |ahead: &Ahead| ahead.entries(Timestamp::from_millis(2));
        let mut ahead = kept(vec![put(item("a", "1", "k")), put(item("a", "2", "k"))]);
        ahead.begin_page("a");
        assert!(ahead.take_kept("a", &seen("a", "1", "k")).is_some());
        let mut entry = Entry::new(Timestamp::from_millis(1));
        entry.feed = "a".into();
        assert!(
            ahead
                .arrived(entry, vec![put(item("a", "3", "k"))])
                .is_some()
        );
        let entries = feed(&ahead);
        assert_eq!((entries.len(), entries[0].edits.len()), (1, 3));
        assert!(entries[0].is_ahead);
        assert_eq!(entries[0].packs, vec![PackId::from_bytes([1; 16])]);
        // A page that failed and is read again takes all of it.
        ahead.begin_page("a");
        for id in ["1", "2", "3"] {
            assert!(ahead.take_kept("a", &seen("a", id, "k")).is_some(), "{id}");
        }
        ahead.end("a");
        assert!(feed(&ahead).is_empty());
    }

    #[test]
    fn a_page_needs_the_packs_of_all_its_parts_and_a_commit_forgets_them() {
        let mut ahead = kept(vec![put(item("a", "1", "k"))]);
        let second = PackId::from_bytes([2; 16]);
        let both = vec![PackId::from_bytes([1; 16]), second];
        assert_eq!(ahead.packs_of_page("a", vec![second]), both);
        ahead.end("a");
        assert_eq!(ahead.packs_of_page("a", vec![second]), vec![second]);
        assert!(ahead.take_kept("a", &seen("a", "1", "k")).is_none());
    }
}
