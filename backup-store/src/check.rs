//! Checking a store: does everything that a snapshot needs exist, and is it what was written?
//!
//! A check reads and changes nothing. It goes on after every problem, and needs memory in
//! proportion to the number of packs and snapshots, not of items or bytes.

mod contents;
mod packs;
mod report;
mod seen;
mod snapshots;
mod trees;

#[cfg(test)]
mod damage;

use std::collections::HashMap;

use crate::{PackId, Result, Store};

pub use report::{CheckDepth, CheckPhase, CheckProgress, CheckReport, Dependent, Problem};

use packs::Visited;
use report::Findings;
use seen::Seen;

impl Store {
    /// Checks the whole store and reports every problem with what depends on it.
    ///
    /// [`CheckDepth::Structure`] reads segments, snapshots and trees, and looks up every chunk;
    /// [`CheckDepth::AllData`] also reads, opens, inflates and hashes every chunk, and compares
    /// the hash of every whole content.
    ///
    /// *Errors*: only if the store cannot be listed at all; everything else is a [`Problem`].
    ///
    /// *Cancel safety*: may be dropped at any time.
    pub async fn check(
        &self,
        depth: CheckDepth,
        progress: &(dyn Fn(CheckProgress) + Sync),
    ) -> Result<CheckReport> {
        let mut checker = Checker::begin(self, depth, progress).await?;
        checker.segments().await?;
        checker.snapshots().await?;
        if depth == CheckDepth::AllData {
            checker.packs().await;
        }
        Ok(checker.findings.finish())
    }
}

/// One check in progress.
struct Checker<'a> {
    store: &'a Store,
    depth: CheckDepth,
    progress: &'a (dyn Fn(CheckProgress) + Sync),
    findings: Findings,
    /// The packs that exist, and their sizes.
    pack_sizes: HashMap<PackId, u64>,
    /// The blocks that were opened on the way.
    visited: Visited,
    /// Tree nodes that were walked, and contents that were checked.
    nodes: Seen,
    contents: Seen,
}

impl<'a> Checker<'a> {
    async fn begin(
        store: &'a Store,
        depth: CheckDepth,
        progress: &'a (dyn Fn(CheckProgress) + Sync),
    ) -> Result<Self> {
        let mut checker = Self {
            store,
            depth,
            progress,
            findings: Findings::default(),
            pack_sizes: HashMap::new(),
            visited: Visited::default(),
            nodes: Seen::default(),
            contents: Seen::default(),
        };
        checker.list_packs().await?;
        Ok(checker)
    }

    fn report_progress(&self, phase: CheckPhase, done: u64, total: Option<u64>) {
        (self.progress)(self.findings.progress(phase, done, total));
    }
}
