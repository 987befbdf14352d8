//! Statistics: how much a store holds, how much of it is distinct, how much it takes.
//!
//! *Logical* is what a restore would write, *unique* what is left when every chunk counts once,
//! *stored* what those chunks take, compressed and sealed.

mod distinct;
mod report;
mod walk;

#[cfg(test)]
mod tests;

pub use report::{
    ObjectSums, ResourceStats, Sizes, SnapshotStats, StatsOptions, StatsProgress, StatsReport,
};

use std::collections::BTreeMap;

use crate::catalog::{ResourceId, SnapshotEntry};
use crate::{Result, Store};

use distinct::Distinct;
use walk::Walker;

impl Store {
    /// Measures the store.
    ///
    /// Trees are read, contents are not. Of each resource the oldest snapshot is read whole, and
    /// of every later one what differs from the one before it.
    ///
    /// *Units and limits*: bounded memory; the distinct chunks are counted in a temporary file of
    /// about 60 bytes per chunk in the cache directory, or in memory without one.
    ///
    /// *Errors*: those of the backend. What is damaged is left out and counted as
    /// [`unreadable`](StatsReport::unreadable).
    ///
    /// *Cancel safety*: may be dropped at any time; a temporary file may stay behind.
    pub async fn stats(
        &self,
        options: StatsOptions,
        progress: &(dyn Fn(StatsProgress) + Sync),
    ) -> Result<StatsReport> {
        let mut report = StatsReport::default();
        self.sum_objects(&mut report).await?;
        let listing = self.snapshot_listing().await?;
        report.unreadable = listing.damaged.len() as u64;
        let mut resources: BTreeMap<ResourceId, Vec<SnapshotEntry>> = BTreeMap::new();
        for entry in listing.snapshots {
            let resource = entry.snapshot.resource.id.clone();
            resources.entry(resource).or_default().push(entry);
        }
        let distinct = Distinct::create(self).await?;
        let mut walker = Walker::new(self, distinct, options, progress);
        for (resource, entries) in resources {
            walker.resource(resource, entries, &mut report).await?;
        }
        walker.finish(&mut report).await?;
        Ok(report)
    }

    async fn sum_objects(&self, report: &mut StatsReport) -> Result<()> {
        for info in self.backend().list("").await? {
            let folder = info.name.as_str().split('/').next().unwrap_or_default();
            let sums = match folder {
                "packs" => &mut report.packs,
                "segments" => &mut report.segments,
                "snaps" => &mut report.snapshot_sets,
                _ => &mut report.other,
            };
            sums.objects += 1;
            sums.bytes += info.size;
        }
        Ok(())
    }
}
