//! Scheduled: a target whose calls take their turn among all the work that goes to the service.
//!
//! A backup and a restore in one process share one scheduler, and so one limiter: together they stay
//! within what the service allows, what one of them learns of it holds for both, and the restore,
//! for which somebody waits, goes first.

use async_trait::async_trait;
use backup_store::Store;
use backup_store::catalog::{Container, Item, Service};
use m365_auth::{Charge, Class, Lane, Scheduler};
use tokio::sync::OnceCell;

use super::{
    FoundContainer, NewContainer, Occupant, Place, ServiceLimits, Target, WriteCost, WriteJob,
    Written,
};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::LossCode;

/// A target whose every call is one unit of work of a [`Scheduler`].
///
/// *Shape*: a unit waits for its slot, and its requests for the limiter. Their transport therefore
/// asks the limiter of the same scheduler and waits
/// ([`LimiterMode::Wait`](m365_auth::LimiterMode::Wait)): a write of several requests is never left
/// half done because a limit refuses the next of them.
#[derive(Debug)]
pub struct ScheduledTarget<T> {
    inner: T,
    scheduler: Scheduler,
    lane: OnceCell<Lane>,
}

impl<T: Target> ScheduledTarget<T> {
    /// Lets the calls of `inner` go as `scheduler` says.
    pub fn new(inner: T, scheduler: &Scheduler) -> Self {
        Self {
            inner,
            scheduler: scheduler.clone(),
            lane: OnceCell::new(),
        }
    }

    async fn lane(&self) -> Result<&Lane> {
        let open = || async {
            let charge = self.inner.charge().await?;
            let width = self.inner.limits().concurrency;
            Ok(self.scheduler.lane(Class::Restore, charge, width))
        };
        self.lane.get_or_try_init(open).await
    }

    /// Does one unit of work that brings `bytes` into memory, when its turn comes.
    async fn unit<R>(&self, bytes: u64, call: impl Future<Output = Result<R>> + Send) -> Result<R> {
        let lane = self.lane().await?;
        let result = {
            let _slot = lane.slot(bytes, false).await;
            call.await
        };
        if let Err(error) = &result {
            heed(lane, error);
        }
        result
    }
}

/// Holds back all that the service throttles together, the work of others as well.
fn heed(lane: &Lane, error: &Error) {
    if error.kind() == ErrorKind::Throttled
        && let Some(wait) = error.retry_after()
    {
        lane.pause(wait);
    }
}

#[async_trait]
impl<T: Target> Target for ScheduledTarget<T> {
    fn service(&self) -> Service {
        self.inner.service()
    }

    /// Finds out whose turn the rest will be; goes by the limiter alone.
    async fn place(&self) -> Result<Place> {
        self.inner.place().await
    }

    async fn charge(&self) -> Result<Charge> {
        self.inner.charge().await
    }

    fn names_are_unique(&self) -> bool {
        self.inner.names_are_unique()
    }

    fn standing_losses(&self) -> &'static [LossCode] {
        self.inner.standing_losses()
    }

    fn limits(&self) -> ServiceLimits {
        self.inner.limits()
    }

    fn cost(&self, item: &Item) -> WriteCost {
        self.inner.cost(item)
    }

    fn unavailable(&self, item: &Item) -> Option<LossCode> {
        self.inner.unavailable(item)
    }

    async fn well_known(&self, name: &str) -> Result<Option<String>> {
        self.unit(0, self.inner.well_known(name)).await
    }

    async fn child_containers(&self, parent: &str) -> Result<Vec<FoundContainer>> {
        self.unit(0, self.inner.child_containers(parent)).await
    }

    async fn occupants(&self, container: &str) -> Result<Vec<Occupant>> {
        self.unit(0, self.inner.occupants(container)).await
    }

    async fn create_container(&self, parent: &str, new: &NewContainer) -> Result<String> {
        self.unit(0, self.inner.create_container(parent, new)).await
    }

    async fn stored_hash(&self, store: &Store, item: &Item) -> Result<Option<String>> {
        // It is read from the store.
        self.inner.stored_hash(store, item).await
    }

    async fn write(&self, store: &Store, job: &WriteJob<'_>) -> Result<Written> {
        let bytes = self.inner.cost(job.item).memory_bytes;
        self.unit(bytes, self.inner.write(store, job)).await
    }

    async fn find(&self, store: &Store, job: &WriteJob<'_>) -> Result<Option<Occupant>> {
        self.unit(0, self.inner.find(store, job)).await
    }

    async fn verify(&self, store: &Store, job: &WriteJob<'_>, id: &str) -> Result<Vec<String>> {
        let bytes = self.inner.cost(job.item).memory_bytes;
        self.unit(bytes, self.inner.verify(store, job, id)).await
    }

    fn interim_name(&self, item: &Item) -> String {
        self.inner.interim_name(item)
    }

    async fn rename(&self, id: &str, name: &str) -> Result<()> {
        self.unit(0, self.inner.rename(id, name)).await
    }

    async fn remove(&self, id: &str) -> Result<()> {
        self.unit(0, self.inner.remove(id)).await
    }

    async fn finish_container(&self, store: &Store, id: &str, source: &Container) -> Result<()> {
        self.unit(0, self.inner.finish_container(store, id, source))
            .await
    }
}
