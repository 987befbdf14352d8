//! Passes: all feeds are read again until nothing is open, and nothing can have slipped between two.

use backup_store::catalog::Snapshot;

use super::{ResourceRun, is_settled};
use crate::error::Result;
use crate::source::{Change, Feed, FeedKind};

/// What a pass over feeds has shown.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// A feed has more pages than one, or is not yet known to its end.
    long: bool,
    /// Something has changed.
    changes: bool,
}

impl ResourceRun<'_> {
    /// Reads feeds until nothing is open, or the passes are used up.
    pub(super) async fn read_passes(&mut self, mut feeds: Vec<Feed>) -> Result<()> {
        let mut moving = false; // Or so it must be assumed.
        for pass in 1..=PASSES_MAX {
            self.seen = Seen::default();
            self.read_feeds(feeds).await?;
            if self.stopped() {
                break;
            }
            if pass == 1 {
                self.retry_quarantined().await?;
            }
            moving = self.seen.long || moving && self.seen.changes;
            feeds = self.settle(pass == PASSES_MAX).await?;
            if moving && pass < PASSES_MAX {
                feeds = self.feeds_side_by_side(feeds).await?;
            }
            if feeds.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Returns all feeds if there are several, else those given.
    ///
    /// Until its feed has shown it, the catalog knows nothing of an item: if it moves meanwhile
    /// into a feed already read, neither shows it, but the next cursors do, or a new container's
    /// feed. The longer a pass takes, the more of that; one of single pages takes seconds.
    async fn feeds_side_by_side(&mut self, given: Vec<Feed>) -> Result<Vec<Feed>> {
        self.read_hierarchy().await?;
        let mut feeds = self.feeds(FeedKind::Delta);
        if feeds.len() < 2 {
            return Ok(given);
        }
        feeds.retain(|feed| !self.failures.contains_key(&feed.id));
        Ok(feeds)
    }

    /// Reads everything from where its cursors stand.
    pub(super) async fn read_to_rest(&mut self) -> Result<()> {
        self.read_hierarchy().await?;
        let feeds = self.feeds(FeedKind::Delta);
        self.read_passes(feeds).await
    }

    /// Notes what a page shows of its pass.
    pub(super) fn take_note(&mut self, feed: &Feed, changes: &[Change], ended: bool) {
        self.seen.changes |= !changes.is_empty();
        self.seen.long |= !ended || self.is_enumeration(&feed.id);
    }

    /// Tells whether no snapshot holds a feed as it was at one time.
    fn is_enumeration(&self, feed: &str) -> bool {
        let parent = self.parent.as_ref().map(|entry| &entry.snapshot);
        let whole = parent.filter(|parent| is_settled(parent.outcome));
        let before = |parent: &Snapshot| parent.cursors.iter().any(|cursor| cursor.feed == feed);
        self.view.generation(feed).is_some() || !whole.is_some_and(before)
    }
}

/// What is not settled after so many passes is kept as it was, and noted.
const PASSES_MAX: u32 = 3;
