//! Passes: all feeds are read again until nothing is open, and nothing can have slipped between two.

use super::ResourceRun;
use crate::error::Result;
use crate::source::{Feed, FeedKind};

impl ResourceRun<'_> {
    /// Reads feeds until they show nothing new and nothing is open, or the passes are used up.
    pub(super) async fn read_passes(&mut self, mut feeds: Vec<Feed>) -> Result<()> {
        for pass in 1..=PASSES_MAX {
            self.changes = 0;
            self.read_feeds(feeds).await?;
            if self.stopped() {
                break;
            }
            if pass == 1 {
                self.retry_quarantined().await?;
            }
            feeds = self.settle(pass == PASSES_MAX).await?;
            if self.changes > 0 && pass < PASSES_MAX {
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
    /// feed.
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
}

/// What is not settled after so many passes is kept as it was, and noted.
const PASSES_MAX: u32 = 3;
