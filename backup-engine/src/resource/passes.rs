//! Passes: all feeds are read again until nothing is open, and nothing can have slipped between two.

use std::collections::HashSet;

use super::{ResourceRun, is_settled};
use crate::error::Result;
use crate::source::{Feed, FeedKind};

impl ResourceRun<'_> {
    /// Reads feeds until nothing is open, or the passes are used up.
    pub(super) async fn read_passes(&mut self, mut feeds: Vec<Feed>) -> Result<()> {
        let mut may_hide = false;
        for pass in 1..=PASSES_MAX {
            self.changes = 0;
            let many = CHANGES_A_FEED * feeds.len();
            if pass == 1 && !self.is_enumeration() {
                feeds = self.read_new_feeds(feeds).await?;
            }
            self.read_feeds(feeds).await?;
            if self.stopped() {
                break;
            }
            if pass == 1 {
                self.retry_quarantined().await?;
            }
            may_hide = match pass {
                1 => self.is_enumeration() || self.changes > many,
                _ => may_hide && self.changes > 0,
            };
            feeds = self.settle(pass == PASSES_MAX).await?;
            if may_hide && pass < PASSES_MAX {
                feeds = self.feeds_side_by_side(feeds).await?;
            }
            if feeds.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Reads feeds that were never read, and returns the others.
    ///
    /// Such a feed does not tell what left it before its first page. Where that went is still to be
    /// read if the others come afterwards; if it went into another new one, that one is read again.
    async fn read_new_feeds(&mut self, mut feeds: Vec<Feed>) -> Result<Vec<Feed>> {
        for _ in 0..PASSES_MAX {
            let is_known = |feed: &Feed| self.view.cursor(&feed.id).is_some();
            let (known, new): (Vec<Feed>, _) = feeds.into_iter().partition(is_known);
            feeds = known;
            if new.is_empty() || self.stopped() {
                return Ok(feeds);
            }
            let again = match new.len() {
                1 => Vec::new(),
                _ => new.clone(),
            };
            self.read_feeds(new).await?;
            self.read_feeds(again).await?;
            self.read_hierarchy().await?;
            let known: HashSet<String> = feeds.iter().map(|feed| feed.id.clone()).collect();
            let all = self.feeds(FeedKind::Delta).into_iter();
            let is_open = |feed: &Feed| {
                let is_read =
                    self.view.cursor(&feed.id).is_some() || self.failures.contains_key(&feed.id);
                known.contains(&feed.id) || !is_read
            };
            feeds = all.filter(is_open).collect();
        }
        Ok(feeds)
    }

    /// Returns all feeds if there are several, else those given.
    ///
    /// Until its feed has shown it, the catalog knows nothing of an item: if it moves meanwhile
    /// into a feed already read, neither shows it, but the next cursors do, or a new container's
    /// feed. The more a pass brings, the longer it takes, and the more of that there is.
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

    /// Tells whether much of what feeds hold was new to the catalog when they were read.
    fn is_enumeration(&self) -> bool {
        let parent = self.parent.as_ref();
        let is_whole = parent.is_some_and(|entry| is_settled(entry.snapshot.outcome));
        !is_whole || self.view.has_enumerated()
    }
}

/// What is not settled after so many passes is kept as it was, and noted.
const PASSES_MAX: u32 = 3;
/// With more changes than so many for each feed, to look at all feeds again costs a tenth of the pass.
const CHANGES_A_FEED: usize = 10;
