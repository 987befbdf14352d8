//! Remaining: how much of a resource is still to come, as far as the service has said.
//!
//! It decides only whose turn it is; nothing that is stored depends on it.

use std::cmp::Reverse;
use std::collections::HashMap;

use crate::source::{Change, Feed, FeedKind};

/// Items that are still to come, by feed.
#[derive(Debug, Default)]
pub(super) struct Remaining {
    announced: HashMap<String, u64>,
}

impl Remaining {
    /// Takes note of what containers are said to hold; one that was read before brings only changes.
    pub(super) fn announce(&mut self, changes: &[Change], is_read: impl Fn(&str) -> bool) {
        for change in changes {
            if let Change::Container(seen) = change
                && let Some(items) = seen.items
                && !is_read(&seen.container.id)
            {
                self.announced.insert(seen.container.id.clone(), items);
            }
        }
    }

    /// Takes note of a page of a feed.
    pub(super) fn shown(&mut self, feed: &Feed, items: usize, ended: bool) {
        if ended {
            self.announced.remove(&feed.id);
        } else if let Some(left) = self.announced.get_mut(&feed.id) {
            *left = left.saturating_sub(items as u64).max(1);
        }
    }

    /// Returns how many items are still to come. Where a first reading goes on without a word of
    /// the service, as after a crash, about as many are to come as have come.
    pub(super) fn items(&self, is_first: bool, known: u64) -> u64 {
        match self.announced.values().sum() {
            0 if is_first => known,
            announced => announced,
        }
    }

    /// Puts the longest feeds first: they end last.
    pub(super) fn sort(&self, feeds: &mut [Feed]) {
        if feeds.iter().all(|feed| feed.kind == FeedKind::Delta) {
            let left = |feed: &Feed| self.announced.get(&feed.id).copied().unwrap_or(0);
            feeds.sort_by_key(|feed| Reverse(left(feed)));
        }
    }
}
