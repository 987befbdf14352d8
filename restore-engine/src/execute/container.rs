//! Containers of a plan, in order: found or created, filled, finished.

use std::collections::HashMap;

use backup_store::catalog::{Item, ItemKey};
use futures_util::{StreamExt, stream};

use super::{Attempt, Run, is_fatal};
use crate::conflict::{Decision, Occupants, fold_name};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Event;
use crate::journal::{Effect, EffectRecord, Stage};
use crate::plan::{ItemRef, ItemSet, ParentRef, Placement, PlannedContainer};
use crate::target::NewContainer;

/// A container that is there now.
#[derive(Debug, Clone)]
pub(super) struct Ready {
    pub(super) id: String,
    /// Whether this very execution, or an interrupted one of the same plan, created it.
    pub(super) created: bool,
    /// Whether it was created a moment ago and holds nothing.
    pub(super) empty: bool,
}

/// One container, with all that writing its items needs.
pub(super) struct Filling<'a> {
    pub(super) planned: &'a PlannedContainer,
    pub(super) source: &'a str,
    pub(super) ready: &'a Ready,
    pub(super) occupants: Occupants,
    pub(super) collisions: HashMap<&'a ItemRef, &'a Decision>,
}

impl Run<'_> {
    /// Does everything the plan lists; false when a stop came first.
    pub(super) async fn all(&self) -> Result<bool> {
        let mut ready: Vec<Option<Ready>> = Vec::with_capacity(self.plan.containers.len());
        for (at, planned) in self.plan.containers.iter().enumerate() {
            if self.stop.is_requested() {
                return Ok(false);
            }
            let made = match self.make(at, planned, &ready).await {
                Ok(Attempt::Done(made)) => Some(made),
                Ok(Attempt::Stopped) => return Ok(false),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => {
                    let items = planned.write + planned.skip + planned.unavailable;
                    self.tally
                        .container_failed(&planned.path, &error.to_string(), items);
                    None
                }
            };
            if let Some(made) = &made {
                let created = made.created;
                self.observer.event(&Event::ContainerReady {
                    path: &planned.path,
                    created,
                });
                self.fill(planned, made).await?;
            }
            ready.push(made);
        }
        // Attributes last, deepest first: writing into a folder changes its dates.
        for (at, made) in ready.iter().enumerate().rev() {
            if let Some(made) = made.as_ref().filter(|made| made.created) {
                self.finish_container(at, made).await?;
            }
        }
        Ok(!self.stop.is_requested())
    }

    async fn make(
        &self,
        at: usize,
        planned: &PlannedContainer,
        ready: &[Option<Ready>],
    ) -> Result<Attempt<Ready>> {
        let (parent, name, hidden) = match &planned.placement {
            Placement::Existing { id } => {
                let created = self.created_before(at).await?;
                if created {
                    self.tally.container_created();
                }
                return Ok(Attempt::Done(Ready {
                    id: id.clone(),
                    created,
                    empty: false,
                }));
            }
            Placement::Create {
                parent,
                name,
                hidden,
            } => (parent, name, *hidden),
        };
        let (parent, parent_empty) = match parent {
            ParentRef::Id(id) => (id.clone(), false),
            ParentRef::Planned(parent) => match ready.get(*parent).and_then(Option::as_ref) {
                Some(parent) => (parent.id.clone(), parent.empty),
                None => {
                    let cause = "its parent folder could not be made";
                    return Err(Error::new(ErrorKind::NotFound, cause));
                }
            },
        };
        let ours = self.created_before(at).await?;
        let new = NewContainer {
            name: name.clone(),
            hidden,
        };
        let mut look = !parent_empty;
        let mut tried = 0;
        while self.pause.pass(self.stop).await {
            tried += 1;
            match self.try_make(at, &parent, &new, look, ours).await {
                Ok(ready) => {
                    if ready.created {
                        self.tally.container_created();
                    }
                    return Ok(Attempt::Done(ready));
                }
                // Without an answer it may be there: the next try looks first.
                Err(error) => self.wait_after(tried, error)?,
            }
            look = true;
        }
        Ok(Attempt::Stopped)
    }

    /// Tells whether an interrupted execution created this container, or was about to.
    async fn created_before(&self, at: usize) -> Result<bool> {
        let known = self.execution.known(Effect::Container(at)).await?;
        Ok(known.is_some_and(|(_, record)| record.created))
    }

    async fn try_make(
        &self,
        at: usize,
        parent: &str,
        new: &NewContainer,
        look: bool,
        ours: bool,
    ) -> Result<Ready> {
        if look {
            let found = self.target.child_containers(parent).await?.into_iter();
            let same = |name: &str| fold_name(name) == fold_name(&new.name);
            if let Some(found) = { found }.find(|each| same(&each.name)) {
                let begun = ours || self.created_before(at).await?;
                return Ok(Ready {
                    id: found.id,
                    created: begun,
                    empty: false,
                });
            }
        }
        let mut record = EffectRecord {
            created: true,
            ..EffectRecord::default()
        };
        self.execution
            .log(Effect::Container(at), Stage::Begun, &record)
            .await?;
        record.id = self.target.create_container(parent, new).await?;
        self.execution
            .log(Effect::Container(at), Stage::Written, &record)
            .await?;
        Ok(Ready {
            id: record.id,
            created: true,
            empty: true,
        })
    }

    /// Writes the items of one container, several at once.
    async fn fill(&self, planned: &PlannedContainer, ready: &Ready) -> Result<()> {
        let Some(source) = planned.source.as_deref() else {
            return Ok(());
        };
        if planned.items == ItemSet::None {
            return Ok(());
        }
        let occupants = if ready.empty {
            Occupants::default()
        } else {
            match self.repeat(|| self.target.occupants(&ready.id)).await {
                Ok(Attempt::Done(list)) => Occupants::new(list, self.target.names_are_unique()),
                Ok(Attempt::Stopped) => return Ok(()),
                Err(error) if is_fatal(&error) => return Err(error),
                Err(error) => {
                    let items = planned.write + planned.skip + planned.unavailable;
                    self.tally
                        .container_failed(&planned.path, &error.to_string(), items);
                    return Ok(());
                }
            }
        };
        let collisions = planned
            .collisions
            .iter()
            .map(|each| (&each.item, &each.decision))
            .collect();
        let filling = Filling {
            planned,
            source,
            ready,
            occupants,
            collisions,
        };
        match &planned.items {
            ItemSet::None => Ok(()),
            ItemSet::All => self.fill_all(&filling).await,
            ItemSet::Only(items) => self.fill_some(&filling, items).await,
        }
    }

    async fn fill_all(&self, filling: &Filling<'_>) -> Result<()> {
        let scan = self.browse.items_in(filling.source);
        let items = stream::unfold(scan, |mut scan| async move {
            if self.stop.is_requested() {
                return None;
            }
            let item = scan.next().await?;
            Some((item.map_err(Error::from), scan))
        });
        self.write_all(filling, items).await
    }

    async fn fill_some(&self, filling: &Filling<'_>, items: &[ItemRef]) -> Result<()> {
        let items = stream::iter(items).then(|ItemRef { created, id }| async move {
            let container = filling.source.to_owned();
            let key = ItemKey {
                container,
                created: *created,
                id: id.clone(),
            };
            self.browse.item(&key).await?.ok_or_else(|| {
                let cause = format!("item {id}: is not in the snapshot that the plan names");
                Error::new(ErrorKind::PlanMismatch, cause)
            })
        });
        let items = items.take_while(|_| async { !self.stop.is_requested() });
        self.write_all(filling, items).await
    }

    async fn write_all(
        &self,
        filling: &Filling<'_>,
        items: impl futures_util::Stream<Item = Result<Item>>,
    ) -> Result<()> {
        let width = self.target.limits().concurrency;
        let writes = items.map(|item| async move {
            let item = item?;
            self.item(filling, &item).await
        });
        let mut writes = std::pin::pin!(writes.buffer_unordered(width));
        while let Some(result) = writes.next().await {
            // What ends the whole restore drops what is under way, like a crash; the journal and
            // the marks at the destination settle it next time.
            result?;
        }
        Ok(())
    }

    async fn finish_container(&self, at: usize, made: &Ready) -> Result<()> {
        let planned = &self.plan.containers[at];
        let source = self
            .containers
            .iter()
            .find(|each| Some(&each.id) == planned.source.as_ref());
        let Some(source) = source else { return Ok(()) };
        if self.stop.is_requested() {
            return Ok(());
        }
        let record = EffectRecord {
            id: made.id.clone(),
            ..EffectRecord::default()
        };
        self.execution
            .log(Effect::Attributes(at), Stage::Begun, &record)
            .await?;
        let finish = || self.target.finish_container(self.store, &made.id, source);
        match self.repeat(finish).await {
            Ok(Attempt::Done(())) => {
                self.execution
                    .log(Effect::Attributes(at), Stage::Written, &record)
                    .await
            }
            Ok(Attempt::Stopped) => Ok(()),
            Err(error) if is_fatal(&error) => Err(error),
            Err(error) => {
                self.tally
                    .container_failed(&planned.path, &error.to_string(), 0);
                Ok(())
            }
        }
    }
}
