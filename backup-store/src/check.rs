//! Checking a store: does everything that a snapshot needs exist, and is it what was written?
//!
//! A check reads and changes nothing. It goes on after every problem, and needs memory in
//! proportion to the number of packs and snapshots, not of items or bytes.

mod blocks;
mod contents;
pub(crate) mod memory;
mod objects;
mod packs;
mod places;
mod report;
mod sample;
mod seen;
mod share;
mod snapshots;
mod trees;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod hostile;

use std::collections::{HashMap, HashSet};

use crate::{PackId, Result, Store};

pub use report::{
    CheckDepth, CheckPhase, CheckProgress, CheckReport, Dependent, Problem, Remark, RemarkKind,
    Unreferenced,
};
pub use share::{SampleReport, Share};

pub(crate) use places::BadPlaces;

use places::Trouble;
use report::Findings;
use seen::Seen;

/// What a long piece of work reports its progress to.
pub(crate) type Progress<'a, P> = &'a (dyn Fn(P) + Sync);

impl Store {
    /// Checks the whole store and reports every problem with what depends on it.
    ///
    /// Blocks are read first, several packs at once, each block once; then the structure tells
    /// what depends on those that are damaged. See [`CheckDepth`] for how much is read.
    ///
    /// *Units and limits*: memory for some packs' ranges of 4 MiB, about 30 MB for what was seen
    /// already, and about 200 bytes per pack and snapshot, however many items and bytes there are.
    ///
    /// *Errors*: only if the store cannot be listed at all, or the local memory of samples cannot
    /// be written; everything else is a [`Problem`].
    ///
    /// *Cancel safety*: may be dropped at any time.
    pub async fn check(
        &self,
        depth: CheckDepth,
        progress: &(dyn Fn(CheckProgress) + Sync),
    ) -> Result<CheckReport> {
        let mut checker = Checker::begin(self, depth, progress).await?;
        checker.check().await?;
        Ok(checker.findings.finish())
    }

    /// Checks, and returns beside the report the places that must not be relied on.
    pub(crate) async fn check_places(
        &self,
        depth: CheckDepth,
        progress: &(dyn Fn(CheckProgress) + Sync),
    ) -> Result<(CheckReport, BadPlaces)> {
        let mut checker = Checker::begin(self, depth, progress).await?;
        checker.check().await?;
        let places = checker.trouble.places();
        Ok((checker.findings.finish(), places))
    }
}

/// One check in progress.
struct Checker<'a> {
    store: &'a Store,
    depth: CheckDepth,
    progress: Progress<'a, CheckProgress>,
    findings: Findings,
    /// The packs that exist, and their sizes.
    pack_sizes: HashMap<PackId, u64>,
    /// What was found wrong with packs and blocks.
    trouble: Trouble,
    /// The packs that something needs.
    needed: HashSet<PackId>,
    /// Whether damage hides what else is needed.
    blind: bool,
    /// Tree nodes that were walked, and contents that were checked.
    nodes: Seen,
    contents: Seen,
}

impl<'a> Checker<'a> {
    async fn begin(
        store: &'a Store,
        depth: CheckDepth,
        progress: Progress<'a, CheckProgress>,
    ) -> Result<Self> {
        let mut checker = Self {
            store,
            depth,
            progress,
            findings: Findings::default(),
            pack_sizes: HashMap::new(),
            trouble: Trouble::default(),
            needed: HashSet::new(),
            blind: false,
            nodes: Seen::default(),
            contents: Seen::default(),
        };
        checker.list_objects().await?;
        Ok(checker)
    }

    async fn check(&mut self) -> Result<()> {
        self.small_objects().await?;
        self.segments().await?;
        match self.depth {
            CheckDepth::Structure => {}
            CheckDepth::Sample(share) => self.sample(share).await?,
            CheckDepth::AllData | CheckDepth::Contents => self.packs().await,
        }
        self.snapshots().await?;
        self.unreferenced();
        Ok(())
    }

    fn report_progress(&self, phase: CheckPhase, done: u64, total: Option<u64>) {
        (self.progress)(self.findings.progress(phase, done, total));
    }
}
