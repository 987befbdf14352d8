//! Record: what is written down of a run, and what of it is alarming.

use std::collections::HashMap;

use backup_store::catalog::{Alarm, Findings, Gap, RunRecord, SnapshotEntry, Totals};
use backup_store::{RunId, SnapshotId, Timestamp};

use crate::error::Result;
use crate::job::BackupJob;
use crate::report::{LeftOut, ResourceOutcome, RunReport};

impl BackupJob {
    /// Writes down how a run went.
    pub(crate) fn record(
        &self,
        report: &RunReport,
        started: Timestamp,
        finished: Timestamp,
    ) -> RunRecord {
        let resources = report.resources.iter();
        let unchanged = resources
            .clone()
            .filter(|r| r.outcome == ResourceOutcome::Unchanged);
        let failed = resources.clone().filter_map(|resource| {
            let cause = resource.error.clone()?;
            Some((resource.resource.id.clone(), cause))
        });
        let published = resources
            .clone()
            .filter(|r| r.outcome != ResourceOutcome::Unchanged);
        RunRecord {
            run: report.run,
            set: self.options().set.clone(),
            started,
            finished,
            outcome: report.outcome.to_catalog(),
            totals: report.totals,
            snapshots: published.filter_map(|resource| resource.snapshot).collect(),
            unchanged: unchanged
                .map(|resource| resource.resource.id.clone())
                .collect(),
            failed: failed.collect(),
            drift: report.drift,
            findings: Findings {
                part: self.options().part,
                gaps: report.left_out.iter().filter_map(gap).collect(),
                alarms: report.alarms.clone(),
            },
        }
    }

    /// Looks for mass changes: where enough was stored or removed, what was published is compared
    /// with what an earlier run had published.
    pub(crate) async fn alarms(&self, report: &RunReport) -> Result<Vec<Alarm>> {
        let thresholds = self.options().alarm;
        let suspects = report.resources.iter().filter(|resource| {
            let Totals {
                stored, removed, ..
            } = resource.totals;
            stored.max(removed) >= thresholds.items_min.max(1)
        });
        let published: Vec<SnapshotId> = suspects.filter_map(|it| it.snapshot).collect();
        if published.is_empty() {
            return Ok(Vec::new());
        }
        // What cannot be read is for a check to say; it holds up no backup.
        let entries = self.with_parents(&published, report.run).await?;
        let mut alarms = Vec::new();
        for id in published {
            let Some(after) = entries.get(&id) else {
                continue;
            };
            let mut before = Some(after);
            while let Some(entry) = before.filter(|entry| entry.snapshot.run == report.run) {
                let parent = entry.snapshot.parent;
                before = parent.and_then(|parent| entries.get(&parent));
            }
            if let Some(before) = before {
                let (before, after) = (&before.snapshot, &after.snapshot);
                match thresholds.look(self.store().clone(), before, after).await {
                    Ok(alarm) => alarms.extend(alarm),
                    // The backup itself is whole, and an older one is for a check to look at.
                    Err(error) => tracing::warn!(%error, "changes could not be looked at"),
                }
            }
        }
        Ok(alarms)
    }

    /// Finds snapshots, and what they continue, up to the first that another run has published.
    async fn with_parents(
        &self,
        published: &[SnapshotId],
        run: RunId,
    ) -> Result<HashMap<SnapshotId, SnapshotEntry>> {
        let mut entries = HashMap::new();
        let mut wanted = published.to_vec();
        while !wanted.is_empty() {
            let found = self.store().find_snapshots(&wanted).await?.snapshots;
            let of_run = found.iter().filter(|entry| entry.snapshot.run == run);
            wanted = of_run.filter_map(|entry| entry.snapshot.parent).collect();
            entries.extend(found.into_iter().map(|entry| (entry.id, entry)));
            wanted.retain(|id| !entries.contains_key(id));
        }
        Ok(entries)
    }
}

/// What another worker has taken over is no gap.
fn gap(left_out: &LeftOut) -> Option<Gap> {
    (left_out.reason != TAKEN_OVER).then(|| Gap {
        service: left_out.service.clone(),
        owner: left_out.owner.clone(),
        reason: left_out.reason.clone(),
    })
}

/// Why a worker leaves out what it has lost.
pub(crate) const TAKEN_OVER: &str = "another worker has taken it over";
