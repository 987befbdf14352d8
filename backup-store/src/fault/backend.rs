//! Fault-injecting backend: does what a plan says instead of what it is asked.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::disk::SimulatedDisk;
use super::effect::{Change, Effect};
use super::plan::{FaultPlan, Ruling, no_answer, no_room};
use crate::backend::{Backend, Capabilities, ObjectInfo, ObjectName, Put};
use crate::error::{Error, ErrorKind, Result};

/// Passes everything on to another backend, except where its plan says otherwise.
///
/// Once the machine has stopped, no call ever returns: whoever runs it waits for
/// [`FaultPlan::stopped`] as well, and drops it.
#[derive(Debug, Clone)]
pub struct FaultBackend {
    inner: Arc<dyn Backend>,
    plan: FaultPlan,
    /// Whose files it takes.
    disk: Option<SimulatedDisk>,
}

impl FaultBackend {
    /// Puts faults between a caller and `inner`.
    pub fn new(inner: Arc<dyn Backend>, plan: FaultPlan) -> Self {
        let disk = None;
        Self { inner, plan, disk }
    }

    /// Takes whole files of `disk`, as a local backend on the same file system does.
    #[must_use]
    pub fn taking_files_of(mut self, disk: &SimulatedDisk) -> Self {
        self.disk = Some(disk.clone());
        self
    }

    /// Lets all effects of earlier lives land that have not yet.
    pub async fn land_all(&self) -> Result<()> {
        self.land(true).await
    }

    async fn land(&self, all: bool) -> Result<()> {
        for effect in self.plan.take_late(all) {
            self.perform(&effect).await?;
        }
        Ok(())
    }

    async fn perform(&self, effect: &Effect) -> Result<Put> {
        match &effect.0 {
            Change::Put(name, bytes) => self.inner.put_new(name, bytes.clone()).await,
            Change::HandOver(name, path, bytes) => {
                let put = self.inner.put_new(name, bytes.clone()).await?;
                if let (Put::Created, Some(disk)) = (put, &self.disk) {
                    disk.freeze(path);
                }
                Ok(put)
            }
            Change::Delete(name) => self.inner.delete(name).await.map(|()| Put::Created),
            // A disk belongs to one machine: nothing of it is under way after a crash.
            Change::Disk(_) | Change::Other(_) => Ok(Put::Created),
        }
    }

    async fn effect(&self, name: &ObjectName, change: Change) -> Result<Put> {
        // So that others who run in the same thread come in between.
        tokio::task::yield_now().await;
        self.land(false).await?;
        let effect = Effect(change);
        let ruling = self.plan.rule();
        match ruling {
            Ruling::Stopped => return std::future::pending().await,
            Ruling::Fail => return Err(no_answer(format_args!("object {name}"))),
            // A deletion needs no room.
            Ruling::Full if !matches!(effect.0, Change::Delete(..)) => {
                return Err(no_room(format_args!("object {name}")));
            }
            _ => {}
        }
        let mut answer = self.perform(&effect).await?;
        if ruling == Ruling::DoTwice {
            answer = self.perform(&effect).await?;
        }
        self.plan.note(effect);
        match ruling {
            Ruling::DoThenStop => {
                self.plan.stop();
                std::future::pending().await
            }
            Ruling::DoThenFail => Err(no_answer(format_args!("object {name}"))),
            _ => Ok(answer),
        }
    }

    /// Lets a read pass, fail, or hang for ever after the machine has stopped.
    async fn read(&self, object: &str, list: bool) -> Result<()> {
        if self.plan.is_stopped() {
            std::future::pending::<()>().await;
        }
        let (fails, wait) = self.plan.rule_read();
        if list && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if fails {
            return Err(no_answer(object));
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for FaultBackend {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        self.effect(name, Change::Put(name.clone(), bytes)).await
    }

    fn takes_files(&self) -> bool {
        self.disk.is_some()
    }

    async fn put_new_file(&self, name: &ObjectName, file: &Path) -> Result<Option<Put>> {
        let Some(disk) = &self.disk else {
            return Ok(None);
        };
        // What a power failure would leave of it: a file that was not synced shows.
        let bytes = disk.on_platter(file).map_err(|cause| {
            Error::from_io(
                ErrorKind::Backend,
                format_args!("{}", file.display()),
                cause,
            )
        })?;
        let change = Change::HandOver(name.clone(), file.to_path_buf(), bytes);
        self.effect(name, change).await.map(Some)
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        self.read(name.as_str(), false).await?;
        self.inner.get(name, range).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        self.read(prefix, true).await?;
        self.inner.list(prefix).await
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        self.effect(name, Change::Delete(name.clone()))
            .await
            .map(drop)
    }

    async fn probe(&self) -> Result<Capabilities> {
        self.inner.probe().await
    }
}
