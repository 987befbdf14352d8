//! One backup of the demo, with what it cost.

use std::sync::Arc;

use backup_engine::{
    BackupJob, BackupOptions, Observer, OneDriveSource, OutlookSource, RunReport, Silent,
};
use backup_store::Store;
use m365_graph::GraphClient;
use m365_simulator::Tenant;

use super::folder::Folder;
use crate::connect::Context;
use crate::failure::{Result, from_backup, from_store};
use crate::output::Progress;
use crate::progress::BackupProgress;

/// What every step of the demo works with.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) context: &'a Context,
    pub(super) folder: &'a Folder,
    pub(super) store: &'a Store,
    pub(super) tenant: &'a Tenant,
    pub(super) graph: &'a GraphClient,
}

/// A backup and what it cost.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) report: RunReport,
    /// Requests answered by login, Graph and EWS.
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) feeds: u64,
    pub(super) resources: u64,
    /// Content fetched, in bytes.
    pub(super) bytes: u64,
    pub(super) new_packs: u64,
}

impl Stage<'_> {
    /// Takes a backup of the whole tenant.
    pub(super) async fn backup(&self) -> Result<Measured> {
        let packs = self.packs().await?;
        let requests = self.tenant.counters().billed();
        let started = tokio::time::Instant::now();
        let report = self.run().await?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Measured {
            requests: self.tenant.counters().billed() - requests,
            seconds,
            feeds: report
                .resources
                .iter()
                .map(|resource| resource.feeds as u64)
                .sum(),
            resources: report.resources.len() as u64,
            bytes: report.totals.bytes,
            new_packs: self.packs().await? - packs,
            report,
        })
    }

    /// Returns the size of everything in the store, in bytes.
    pub(super) async fn stored_bytes(&self) -> Result<u64> {
        let objects = self.store.backend().list("").await;
        let objects =
            objects.map_err(|error| from_store("list", self.folder.store().display(), &error))?;
        Ok(objects.iter().map(|object| object.size).sum())
    }

    async fn packs(&self) -> Result<u64> {
        let packs = self.store.backend().list("packs/").await;
        let packs =
            packs.map_err(|error| from_store("list", self.folder.store().display(), &error))?;
        Ok(packs.len() as u64)
    }

    async fn run(&self) -> Result<RunReport> {
        let options = BackupOptions {
            set: "demo".to_owned(),
            state_dir: self.folder.state().to_owned(),
            ..BackupOptions::default()
        };
        let job = BackupJob::new(
            self.store.clone(),
            vec![
                Arc::new(OutlookSource::new(self.graph.clone())),
                Arc::new(OneDriveSource::new(self.graph.clone())),
            ],
            options,
        );
        // A line for each of fifty resources, four times over, would hide the story.
        let bars = match self.context.output.progress() {
            Progress::Bars => Some(BackupProgress::new(&self.context.output)),
            _ => None,
        };
        let observer: &dyn Observer = match &bars {
            Some(bars) => bars,
            None => &Silent,
        };
        let result = job.run(observer, &self.context.stop).await;
        if let Some(bars) = &bars {
            bars.finish()?;
        }
        result.map_err(|error| from_backup(self.folder.store().display(), &error))
    }
}
