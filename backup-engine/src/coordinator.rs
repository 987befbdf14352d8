//! Coordinator: who works on which resource, when several processes share the work of one set.
//!
//! The store stays correct whoever works on what: a snapshot made under an older claim token is a
//! stale fork, which nothing continues. A coordinator saves the work of doing things twice.

#[cfg(feature = "postgres")]
mod postgres;
mod sqlite;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backup_store::catalog::ResourceId;
use backup_store::{RunId, StoreId};

use crate::error::Result;

#[cfg(feature = "postgres")]
pub use postgres::{PostgresCoordinator, PostgresOptions};
pub use sqlite::SqliteCoordinator;

/// Says who works on which resource.
///
/// A claim is held until it is completed, failed, released, or not kept alive for the
/// [`term`](Self::term); then the next who asks has it, under a greater token. A worker that comes
/// back after its process was killed gets at once what it held before.
///
/// *Errors*: [`Coordinator`](crate::ErrorKind::Coordinator) when the shared state cannot be
/// reached or read.
#[async_trait]
pub trait Coordinator: fmt::Debug + Send + Sync {
    /// Returns for how long a claim is held without a heartbeat.
    fn term(&self) -> Duration;

    /// Takes note that `worker` is about to list what is published, and counts it among those who
    /// share `budget`.
    ///
    /// Must come before the listing: [`Grant::moved`] tells of what was touched since.
    async fn enter(&self, worker: &WorkerId, budget: &str) -> Result<()>;

    /// Takes note that `worker` is gone: what it held is free at once.
    async fn leave(&self, worker: &WorkerId) -> Result<()>;

    /// Returns the run of `set` that is under way, or opens `opening`.
    async fn open_run(&self, store: StoreId, set: &str, opening: Opening) -> Result<SharedRun>;

    /// Adds work to a run; what is there already stays as it is.
    async fn offer(&self, run: RunId, work: Vec<Work>) -> Result<()>;

    /// Takes note that everything has been offered: the run is done when this work is.
    async fn set_listed(&self, run: RunId) -> Result<()>;

    /// Claims a resource by name, or the next one of a run that nobody else holds.
    async fn claim(&self, ask: Ask) -> Result<Answer>;

    /// Keeps claims alive, and `worker` among the living; returns the claims that are lost.
    async fn heartbeat(&self, worker: &WorkerId, claims: &[Claim]) -> Result<Vec<Claim>>;

    /// Ends a claim: its work is done. Returns whether the claim was still held; if not, nothing
    /// changes. Doing it twice does no more than once.
    async fn complete(&self, claim: &Claim) -> Result<bool>;

    /// Ends a claim: its work could not be done in this run. Returns as
    /// [`complete`](Self::complete).
    async fn fail(&self, claim: &Claim, cause: &str) -> Result<bool>;

    /// Ends a claim: its work is left to whoever asks next. Returns as
    /// [`complete`](Self::complete).
    async fn release(&self, claim: &Claim) -> Result<bool>;

    /// Returns the part of the service's limits that `worker` may use. A run asks with every
    /// heartbeat and divides the limiter of its scheduler accordingly, above the resources.
    async fn share(&self, worker: &WorkerId) -> Result<Share>;
}

/// Says how a run shares its work with other workers.
#[derive(Debug, Clone)]
pub struct Coordination {
    /// Who is asked.
    pub coordinator: Arc<dyn Coordinator>,
    /// Who asks.
    pub worker: WorkerId,
    /// What is divided among workers: the limits of one app in one tenant.
    pub budget: String,
    /// Whether all workers of the set share one run, each doing a part of it; otherwise this run
    /// does everything that it covers, one resource after the other as others let go of it.
    pub shared: bool,
}

/// Names a worker, through all its restarts: one state folder on one machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(String);

impl WorkerId {
    /// Takes a name that no other worker has.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Describes a run that is to be opened, if none of the set is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Its id.
    pub run: RunId,
    /// Whether it makes a Data Synchronization Check.
    pub sync_check: bool,
}

/// Describes a run that several workers share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedRun {
    /// Its id; every worker writes under it.
    pub run: RunId,
    /// Whether it makes a Data Synchronization Check.
    pub sync_check: bool,
    /// Whether everything has been offered, so that nobody need look for resources again.
    pub listed: bool,
}

/// One unit of a run: a resource, and what a worker needs to begin on it.
#[derive(Clone, PartialEq, Eq)]
pub struct Work {
    /// The resource, named by its service and owner.
    pub resource: ResourceId,
    /// Whose it is, sealed under a key of the store.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Work({}, {} bytes)", self.resource, self.sealed.len())
    }
}

/// Asks for a claim.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who asks.
    pub worker: WorkerId,
    /// The store in which snapshots will be published.
    pub store: StoreId,
    /// The claim token is at least this: what the worker's lease on the store gives.
    pub floor: u64,
    /// What the worker holds already; anything else under its name is left from an earlier life.
    pub holding: Vec<ResourceId>,
    /// What is asked for.
    pub wanted: Wanted,
}

/// Says what is to be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wanted {
    /// This resource.
    Resource(ResourceId),
    /// Whatever of this run is open, in the order of offering.
    Next(RunId),
}

/// Answers whoever asked for a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is yours.
    Granted(Grant),
    /// Others hold what is left; ask again after this long at most.
    Wait(Duration),
    /// Nothing of the run is left, by this worker or any other.
    Done(Standing),
}

/// A claim together with what its holder must know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The claim.
    pub claim: Claim,
    /// What was offered with it, if it was asked for as the next of a run.
    pub work: Option<Work>,
    /// Whether another worker had it since this one has entered: snapshots are to be listed anew.
    pub moved: bool,
}

/// Stands for the right to work on a resource, as long as it is kept alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who holds it.
    pub worker: WorkerId,
    /// In which store.
    pub store: StoreId,
    /// The resource.
    pub resource: ResourceId,
    /// The run in which it was offered.
    pub run: Option<RunId>,
    /// Greater than that of every earlier claim of this resource.
    pub token: u64,
}

/// Counts how the work of a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// Units that are done.
    pub done: u64,
    /// Units that could not be done.
    pub failed: u64,
}

/// The part of a tenant's limits that one of several workers may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    workers: u32,
}

impl Share {
    /// Divides among so many workers; none counts as one.
    pub fn of(workers: u32) -> Self {
        Self {
            workers: workers.max(1),
        }
    }

    /// Returns among how many it is divided.
    pub fn workers(self) -> u32 {
        self.workers
    }

    /// Returns the part of `limit`, at least one: the sum of all parts exceeds the limit only where
    /// there are more workers than units.
    pub fn of_limit(self, limit: u64) -> u64 {
        (limit / u64::from(self.workers)).max(1)
    }

    /// Returns the factor by which a rate is scaled.
    pub fn factor(self) -> f64 {
        1.0 / f64::from(self.workers)
    }
}

/// For how long a claim is held without a heartbeat, unless a coordinator is told otherwise.
pub const CLAIM_TERM: Duration = Duration::from_secs(60);

/// Asks again at least this often: work is released without a word to those who wait.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Returns how long to wait for a claim that runs out after `left` milliseconds.
fn wait_for(left: Option<i64>) -> Duration {
    let left = u64::try_from(left.unwrap_or(0)).unwrap_or(0);
    Duration::from_millis(left).clamp(Duration::from_millis(10), ASK_AGAIN)
}

/// How the work of a claim ended, as coordinators keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Open = 0,
    Done = 1,
    Failed = 2,
}

#[cfg(test)]
mod tests {
    use super::Share;

    #[test]
    fn shares_never_exceed_the_limit_and_are_never_nothing() {
        for workers in 0..50 {
            let share = Share::of(workers);
            for limit in 1..200 {
                let part = share.of_limit(limit);
                assert!(part >= 1);
                let all = part * u64::from(share.workers());
                assert!(all <= limit || part == 1, "{workers} {limit}");
            }
        }
        assert!((Share::of(4).factor() - 0.25).abs() < f64::EPSILON);
    }
}
