//! Tasks: what there is to do, from the directory of the tenant or from a run that workers share.

use backup_store::RunId;
use backup_store::catalog::{ResourceId, Service};
use serde::{Deserialize, Serialize};

use crate::claims::{Hold, Taken};
use crate::coordinator::{Coordination, Standing, Wanted, Work};
use crate::error::{Error, ErrorKind, Result};
use crate::resource::RunContext;
use crate::source::{Owner, Source};

/// One resource to come.
#[derive(Debug, Clone)]
pub(crate) struct Task<'a> {
    pub(crate) source: &'a dyn Source,
    pub(crate) owner: Owner,
}

impl Task<'_> {
    /// Returns the name under which the resource is claimed: that of its service and owner, which
    /// is known before it is looked up.
    pub(crate) fn claimed_as(&self) -> ResourceId {
        ResourceId::of(&self.source.service(), &self.owner.id)
    }
}

/// A task that is this run's to do.
#[derive(Debug)]
pub(crate) struct Assigned<'a> {
    pub(crate) task: Task<'a>,
    pub(crate) hold: Hold,
    /// Whether another worker had it since this run listed what is published.
    pub(crate) moved: bool,
}

/// What follows in a run that workers share.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    Task(Assigned<'a>),
    Done(Standing),
    Stopped,
}

/// Makes tasks of owners.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    sources: Vec<&'a dyn Source>,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(sources: impl Iterator<Item = &'a dyn Source>) -> Self {
        Self {
            sources: sources.collect(),
        }
    }

    /// Makes the task of an owner, given the position of its source.
    pub(crate) fn task(&self, number: usize, owner: Owner) -> Option<Task<'a>> {
        let source = *self.sources.get(number)?;
        Some(Task { source, owner })
    }

    /// Offers tasks to all workers of a run.
    pub(crate) async fn offer(
        &self,
        context: &RunContext<'_>,
        (coordination, run): (&Coordination, RunId),
        tasks: Vec<Task<'_>>,
    ) -> Result<()> {
        let seal = |task: &Task<'_>| {
            let resource = task.claimed_as();
            let offered = Offered::of(task);
            let plain = serde_json::to_vec(&offered).map_err(|cause| {
                Error::new(ErrorKind::Coordinator, "work cannot be written").with_source(cause)
            })?;
            let name = resource.as_str().as_bytes();
            let sealed = context.store.seal_local(PURPOSE, name, &plain)?;
            Ok(Work { resource, sealed })
        };
        let work = tasks.iter().map(seal).collect::<Result<Vec<_>>>()?;
        coordination.coordinator.offer(run, work).await
    }

    /// Waits for the next task of a shared run.
    pub(crate) async fn next(&self, context: &RunContext<'_>, run: RunId) -> Result<Next<'a>> {
        loop {
            if context.stop.is_requested() {
                return Ok(Next::Stopped);
            }
            match context.claims.take(Wanted::Next(run)).await? {
                Taken::Done(standing) => return Ok(Next::Done(standing)),
                Taken::Wait(wait) => {
                    // What is ready must not wait for more: others wait for it.
                    context.outbox.flush();
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep(wait) => {}
                        () = context.stop.requested() => {}
                    }
                }
                Taken::Held { hold, work, moved } => {
                    let work = work.ok_or_else(|| unreadable("nothing"))?;
                    let task = self.open(context, &work)?;
                    return Ok(Next::Task(Assigned { task, hold, moved }));
                }
            }
        }
    }

    fn open(&self, context: &RunContext<'_>, work: &Work) -> Result<Task<'a>> {
        let name = work.resource.as_str().as_bytes();
        let plain = context.store.open_local(PURPOSE, name, &work.sealed)?;
        let offered: Offered =
            serde_json::from_slice(&plain).map_err(|cause| unreadable("it").with_source(cause))?;
        let service = Service::from(offered.service.as_str());
        let number = self
            .sources
            .iter()
            .position(|source| source.service() == service);
        let owner = Owner {
            id: offered.id,
            principal_name: offered.principal_name,
            name: offered.name,
        };
        number
            .and_then(|number| self.task(number, owner))
            .ok_or_else(|| unreadable("a service that this worker does not read"))
    }
}

fn unreadable(what: &str) -> Error {
    let message = format!("the work that other workers offer cannot be understood: {what}");
    Error::new(ErrorKind::Coordinator, message)
}

/// What a worker needs to begin; sealed, because it names people.
#[derive(Debug, Serialize, Deserialize)]
struct Offered {
    service: String,
    id: String,
    principal_name: String,
    name: String,
}

impl Offered {
    fn of(task: &Task<'_>) -> Self {
        Self {
            service: task.source.service().as_str().to_owned(),
            id: task.owner.id.clone(),
            principal_name: task.owner.principal_name.clone(),
            name: task.owner.name.clone(),
        }
    }
}

const PURPOSE: &str = "coordinator work";
