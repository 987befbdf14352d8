//! Claims: what this run holds of its coordinator, and how it is kept and given back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_store::{RunId, StoreId};
use m365_auth::SharedLimiter;
use tokio::time::Instant;

use crate::coordinator::{
    Answer, Ask, Claim, Coordination, Grant, SharedRun, Standing, Wanted, Work,
};
use crate::error::Result;

/// The claims of a run; without a coordinator there is nothing to claim, and all is free.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    coordination: Option<&'a Coordination>,
    shared: Option<SharedRun>,
    store: StoreId,
    floor: u64,
    held: Mutex<Vec<Hold>>,
}

/// The right to work on one resource; clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Hold(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    claim: Option<Claim>,
    token: u64,
    lost: AtomicBool,
    /// Until then nobody else can have taken it.
    sure: Mutex<Instant>,
}

/// What became of the work on a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Failed(String),
    Left,
}

/// Answers a wish for a claim.
#[derive(Debug)]
pub(crate) enum Taken {
    Held {
        hold: Hold,
        work: Option<Work>,
        moved: bool,
    },
    Wait(Duration),
    Done(Standing),
}

impl Hold {
    /// Returns the claim token of what is published under it.
    pub(crate) fn token(&self) -> u64 {
        self.0.token
    }

    /// Tells whether another has it now: what is done from here on is not wanted.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::SeqCst)
    }

    fn lose(&self) {
        self.0.lost.store(true, Ordering::SeqCst);
    }

    fn sure(&self) -> MutexGuard<'_, Instant> {
        self.0.sure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl<'a> Claims<'a> {
    /// Begins without any claim; `floor` is the claim token that the lease on the store gives.
    pub(crate) fn new(
        coordination: Option<&'a Coordination>,
        shared: Option<SharedRun>,
        store: StoreId,
        floor: u64,
    ) -> Self {
        Self {
            coordination,
            shared,
            store,
            floor,
            held: Mutex::default(),
        }
    }

    /// Returns the run that is shared with other workers, if it is, and who coordinates it.
    pub(crate) fn shared(&self) -> Option<(&'a Coordination, SharedRun)> {
        Some((self.coordination?, self.shared?))
    }

    /// Asks for a claim.
    pub(crate) async fn take(&self, wanted: Wanted) -> Result<Taken> {
        let Some(Coordination {
            coordinator,
            worker,
            ..
        }) = self.coordination
        else {
            let (work, moved) = (None, false);
            let hold = self.hold(None, self.floor, Instant::now());
            return Ok(Taken::Held { hold, work, moved });
        };
        let asked = Instant::now();
        let holding = self.claims().into_iter().map(|claim| claim.resource);
        let ask = Ask {
            worker: worker.clone(),
            store: self.store,
            floor: self.floor,
            holding: holding.collect(),
            wanted,
        };
        match coordinator.claim(ask).await? {
            Answer::Granted(Grant { claim, work, moved }) => {
                let again = |held: &Claim| held.resource == claim.resource;
                if self.claims().iter().any(again) {
                    // Lost and won back before the work on it has noticed: let that end first.
                    coordinator.release(&claim).await?;
                    return Ok(Taken::Wait(coordinator.term() / BEATS));
                }
                let token = claim.token;
                let hold = self.hold(Some(claim), token, asked + coordinator.term());
                self.held().push(hold.clone());
                Ok(Taken::Held { hold, work, moved })
            }
            Answer::Wait(wait) => Ok(Taken::Wait(wait)),
            Answer::Done(standing) => Ok(Taken::Done(standing)),
        }
    }

    fn hold(&self, claim: Option<Claim>, token: u64, sure: Instant) -> Hold {
        Hold(Arc::new(Inner {
            claim,
            token,
            lost: AtomicBool::new(false),
            sure: Mutex::new(sure),
        }))
    }

    /// Divides the limits of the service among all workers, as far down as `depth` names of the
    /// limiter, until the answer is dropped.
    pub(crate) async fn divide<'l>(
        &self,
        limiter: &'l SharedLimiter,
        depth: usize,
    ) -> Result<Divided<'l>> {
        let divided = Divided {
            limiter,
            depth,
            seen: Mutex::default(),
        };
        if let Some(coordination) = self.coordination {
            divided.ask(coordination).await?;
        }
        Ok(divided)
    }

    /// Keeps all claims alive, and the limits divided; ends with the run only.
    pub(crate) async fn keep_alive(&self, divided: &Divided<'_>) {
        let Some(coordination) = self.coordination else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(coordination.coordinator.term() / BEATS).await;
            self.beat(coordination).await;
            if let Err(error) = divided.ask(coordination).await {
                // The share before is as good a guess as any.
                tracing::warn!(%error, "the number of workers is not known");
            }
        }
    }

    /// Makes sure that what is about to be published is still held; what is not is lost from now.
    pub(crate) async fn confirm<'h>(&self, holds: impl Iterator<Item = &'h Hold>) {
        let now = Instant::now();
        let doubtful = holds
            .filter(|hold| hold.0.claim.is_some())
            .any(|hold| *hold.sure() <= now);
        if let Some(coordination) = self.coordination.filter(|_| doubtful) {
            self.beat(coordination).await;
        }
    }

    async fn beat(
        &self,
        Coordination {
            coordinator,
            worker,
            ..
        }: &Coordination,
    ) {
        let asked = Instant::now();
        let holds = self.held().clone();
        let claims: Vec<Claim> = holds
            .iter()
            .filter_map(|hold| hold.0.claim.clone())
            .collect();
        match coordinator.heartbeat(worker, &claims).await {
            Ok(lost) => {
                for hold in &holds {
                    if hold
                        .0
                        .claim
                        .as_ref()
                        .is_some_and(|claim| lost.contains(claim))
                    {
                        hold.lose();
                    } else {
                        *hold.sure() = asked + coordinator.term();
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "claims could not be kept alive");
                let now = Instant::now();
                let over = holds.iter().filter(|hold| *hold.sure() <= now);
                over.for_each(Hold::lose);
            }
        }
    }

    /// Gives a claim back, with what became of its work. One that is lost is no longer ours to end.
    pub(crate) async fn settle(&self, hold: &Hold, verdict: &Verdict) -> Result<()> {
        if let (Some(Coordination { coordinator, .. }), Some(claim)) =
            (self.coordination, &hold.0.claim)
        {
            let held = match verdict {
                Verdict::Done => coordinator.complete(claim).await?,
                Verdict::Failed(cause) => coordinator.fail(claim, cause).await?,
                Verdict::Left => coordinator.release(claim).await?,
            };
            if !held {
                tracing::info!(resource = %claim.resource, "another worker has taken it over");
            }
        }
        self.held().retain(|held| !held.is(hold));
        Ok(())
    }

    fn claims(&self) -> Vec<Claim> {
        let held = self.held();
        held.iter()
            .filter_map(|hold| hold.0.claim.clone())
            .collect()
    }

    fn held(&self) -> MutexGuard<'_, Vec<Hold>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Limits that are divided among workers until this is dropped.
#[derive(Debug)]
pub(crate) struct Divided<'a> {
    limiter: &'a SharedLimiter,
    depth: usize,
    /// Among how many, and since when there are fewer.
    seen: Mutex<(u32, Option<Instant>)>,
}

impl Divided<'_> {
    async fn ask(&self, coordination: &Coordination) -> Result<()> {
        let share = coordination.coordinator.share(&coordination.worker).await?;
        let workers = share.workers();
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let (before, fewer) = *seen;
            let fewer = (workers < before).then(|| fewer.unwrap_or(now));
            if fewer.is_some_and(|since| now < since + GROWS_AFTER) {
                seen.1 = fewer;
                return Ok(());
            }
            *seen = (workers, None);
        }
        self.limiter.set_share(workers, self.depth);
        Ok(())
    }
}

impl Drop for Divided<'_> {
    fn drop(&mut self) {
        self.limiter.set_share(1, 0);
    }
}

impl Coordination {
    /// Takes note that this worker begins, and joins the run that it shares with others.
    pub(crate) async fn join(
        &self,
        store: StoreId,
        set: &str,
        run: RunId,
        check: bool,
    ) -> Result<Option<SharedRun>> {
        self.coordinator.enter(&self.worker, &self.budget).await?;
        if !self.shared {
            return Ok(None);
        }
        let opening = crate::coordinator::Opening {
            run,
            sync_check: check,
        };
        let shared = self.coordinator.open_run(store, set, opening).await?;
        Ok(Some(shared))
    }
}

/// What a worker that left has used is still in the service's windows; those of a minute are the
/// longest that workers share, budgets of a day apart.
const GROWS_AFTER: Duration = Duration::from_secs(60);
/// So many times within its term a claim is kept alive.
const BEATS: u32 = 3;
