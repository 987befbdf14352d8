//! One item: decided, logged, written, read back, compared, logged again.

use backup_store::catalog::Item;

use super::container::Filling;
use super::tally::Done;
use super::{Attempt, CREDIT_BYTES, CREDITS, Run, is_fatal};
use crate::conflict::{Decision, SkipReason};
use crate::error::{Error, Result};
use crate::event::Event;
use crate::journal::{Effect, EffectRecord, Stage};
use crate::plan::{ItemRef, build_decide};
use crate::target::{WriteJob, Written};

/// How one item is written.
#[derive(Debug, Clone, Default)]
struct Way {
    /// The name it gets in the end.
    name: String,
    /// The name under which it is written; differs when another one must be removed first.
    write_name: String,
    /// The item to remove once this one is there and equal.
    replaces: Option<String>,
}

/// What became of one item.
enum Fate {
    Written {
        record: EffectRecord,
        bytes: u64,
        resumed: bool,
        /// Why it could not be read back, if so.
        unread: Option<String>,
    },
    Skipped(SkipReason),
    Stopped,
}

impl Run<'_> {
    /// Does what the plan lists for one item; its failure stops nothing else.
    ///
    /// *Errors*: only what ends the whole restore.
    pub(super) async fn item(&self, filling: &Filling<'_>, item: &Item) -> Result<()> {
        let (path, name) = (filling.planned.path.as_str(), item.name.as_str());
        match self.fate(filling, item).await {
            Ok(Fate::Stopped) => {}
            Ok(Fate::Skipped(reason)) => {
                self.tally.skipped(1);
                self.observer
                    .event(&Event::ItemSkipped { path, name, reason });
            }
            Ok(Fate::Written {
                record,
                bytes,
                resumed,
                unread,
            }) => {
                let (losses, differs) = (&record.losses, &record.differs);
                self.tally.written(Done {
                    path,
                    name,
                    bytes,
                    resumed,
                    losses,
                    differs,
                    unread: unread.as_deref(),
                });
                self.observer
                    .event(&Event::ItemWritten { path, name, bytes });
                if let Some(cause) = &unread {
                    self.observer
                        .event(&Event::ItemUnread { path, name, cause });
                }
                if !differs.is_empty() {
                    self.observer.event(&Event::ItemDiffers {
                        path,
                        name,
                        fields: differs,
                    });
                }
            }
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => {
                let cause = describe(&error);
                self.tally.failed(path, name, &cause);
                self.observer.event(&Event::ItemFailed {
                    path,
                    name,
                    cause: &cause,
                });
            }
        }
        Ok(())
    }

    async fn fate(&self, filling: &Filling<'_>, item: &Item) -> Result<Fate> {
        if self.target.unavailable(item).is_some() {
            return Ok(Fate::Skipped(SkipReason::Unavailable));
        }
        let weight = self
            .target
            .cost(item)
            .memory_bytes
            .div_ceil(CREDIT_BYTES)
            .max(1);
        let weight = u32::try_from(weight).unwrap_or(CREDITS).min(CREDITS);
        let Ok(_credit) = self.credits.acquire_many(weight).await else {
            return Ok(Fate::Stopped);
        };
        if self.stop.is_requested() {
            return Ok(Fate::Stopped);
        }
        if let Some(fate) = self.take_up(filling, item).await? {
            return Ok(fate);
        }
        match self.way(filling, item).await? {
            Ok(way) => self.write(filling, item, &way).await,
            Err(reason) => Ok(Fate::Skipped(reason)),
        }
    }

    /// Takes up an item that an interrupted execution of this plan had begun.
    async fn take_up(&self, filling: &Filling<'_>, item: &Item) -> Result<Option<Fate>> {
        let effect = Effect::Item(filling.source, &item.key.id);
        let Some((stage, mut record)) = self.execution.known(effect).await? else {
            return Ok(None);
        };
        if stage == Stage::Begun {
            // It may have been written all the same: then it lies there under our mark.
            let name = record
                .write_name
                .clone()
                .unwrap_or_else(|| item.name.clone());
            let job = WriteJob {
                item,
                container: &filling.ready.id,
                name: &name,
            };
            let found = match self.repeat(|| self.target.find(self.store, &job)).await? {
                Attempt::Done(found) => found,
                Attempt::Stopped => return Ok(Some(Fate::Stopped)),
            };
            match found {
                Some(found) if !found.incomplete => record.id = found.id,
                _ => return Ok(None),
            }
        } else if !filling.occupants.holds(&record.id) {
            // It was there and has gone since: the plan decides anew.
            return Ok(None);
        }
        if stage == Stage::Verified {
            return Ok(Some(Fate::Written {
                record,
                bytes: 0,
                resumed: true,
                unread: None,
            }));
        }
        let way = Way {
            name: record.name.clone().unwrap_or_else(|| item.name.clone()),
            write_name: record
                .write_name
                .clone()
                .unwrap_or_else(|| item.name.clone()),
            replaces: record.replaces.clone(),
        };
        self.conclude(filling, item, &way, record, 0, true)
            .await
            .map(Some)
    }

    /// Decides how the item is written, if the plan and the present state of the place agree on it.
    async fn way(
        &self,
        filling: &Filling<'_>,
        item: &Item,
    ) -> Result<std::result::Result<Way, SkipReason>> {
        let rule = self.plan.conflict;
        let now = build_decide(self.store, self.target, item, &filling.occupants, rule).await?;
        let key = ItemRef {
            created: item.key.created,
            id: item.key.id.clone(),
        };
        let planned = filling.collisions.get(&key).copied();
        let plain = |name: &str| Way {
            name: name.to_owned(),
            write_name: name.to_owned(),
            replaces: None,
        };
        Ok(
            match (
                planned.unwrap_or(&Decision::Write),
                now.unwrap_or(Decision::Write),
            ) {
                (_, Decision::Skip(reason)) => Err(reason),
                (Decision::Skip(reason), _) => Err(*reason),
                (Decision::WriteAs(name), Decision::Write) => Ok(plain(name)),
                (Decision::WriteAs(name), Decision::WriteAs(now)) if *name == now => {
                    Ok(plain(name))
                }
                (_, Decision::Write) => Ok(plain(&item.name)),
                (planned, Decision::Replace(old)) => {
                    let agreed = *planned == Decision::Replace(old.clone());
                    let ours = filling.occupants.is_leftover_of(&old, &item.key.id);
                    if agreed || ours {
                        let write_name = self.target.interim_name(item);
                        Ok(Way {
                            name: item.name.clone(),
                            write_name,
                            replaces: Some(old),
                        })
                    } else {
                        Err(SkipReason::AppearedSince)
                    }
                }
                (_, Decision::WriteAs(_)) => Err(SkipReason::AppearedSince),
            },
        )
    }

    async fn write(&self, filling: &Filling<'_>, item: &Item, way: &Way) -> Result<Fate> {
        let effect = Effect::Item(filling.source, &item.key.id);
        let mut record = EffectRecord {
            created: true,
            replaces: way.replaces.clone(),
            name: Some(way.name.clone()),
            write_name: Some(way.write_name.clone()),
            ..EffectRecord::default()
        };
        self.execution.log(effect, Stage::Begun, &record).await?;
        let job = WriteJob {
            item,
            container: &filling.ready.id,
            name: &way.write_name,
        };
        let Some(written) = self.write_once(&job).await? else {
            return Ok(Fate::Stopped);
        };
        record.id = written.id;
        record.losses = written.losses;
        self.execution.log(effect, Stage::Written, &record).await?;
        self.conclude(filling, item, way, record, written.bytes, false)
            .await
    }

    /// Writes until it is written exactly once; a try without an answer is probed before the next.
    async fn write_once(&self, job: &WriteJob<'_>) -> Result<Option<Written>> {
        let (mut tried, mut doubtful) = (0, false);
        while self.pause.pass(self.stop).await {
            tried += 1;
            let result = match doubtful {
                true => self.probe_then_write(job).await,
                false => self.target.write(self.store, job).await,
            };
            match result {
                Ok(written) => return Ok(Some(written)),
                Err(error) => {
                    doubtful |= error.may_have_written();
                    self.wait_after(tried, error)?;
                }
            }
        }
        Ok(None)
    }

    async fn probe_then_write(&self, job: &WriteJob<'_>) -> Result<Written> {
        match self.target.find(self.store, job).await? {
            Some(found) if found.incomplete => self.target.remove(&found.id).await?,
            Some(found) => {
                let bytes = self.target.cost(job.item).bytes;
                return Ok(Written {
                    id: found.id,
                    bytes,
                    losses: Vec::new(),
                });
            }
            None => {}
        }
        self.target.write(self.store, job).await
    }

    /// Reads back and compares; then removes what is replaced, and only then.
    async fn conclude(
        &self,
        filling: &Filling<'_>,
        item: &Item,
        way: &Way,
        mut record: EffectRecord,
        bytes: u64,
        resumed: bool,
    ) -> Result<Fate> {
        use Attempt::{Done, Stopped};
        let job = WriteJob {
            item,
            container: &filling.ready.id,
            name: &way.write_name,
        };
        // What was written is also read back when a stop is requested: one request, and the item
        // needs no second look.
        let unread = match self.read_back(&job, &record.id).await {
            Ok(Done(differs)) => {
                record.differs = differs;
                None
            }
            Ok(Stopped) => Some("stopped before".to_owned()),
            Err(error) if is_fatal(&error) => return Err(error),
            Err(error) => Some(describe(&error)),
        };
        if unread.is_some() {
            // It stays logged as written: the next execution of the plan reads it back, and what
            // it replaces stays until then.
            return Ok(Fate::Written {
                record,
                bytes,
                resumed,
                unread,
            });
        }
        if let Some(old) = way.replaces.as_ref().filter(|_| record.differs.is_empty()) {
            match self.repeat(|| self.target.remove(old)).await? {
                Done(()) => {}
                Stopped => return Ok(Fate::Stopped),
            }
            if way.name != way.write_name {
                match self
                    .repeat(|| self.target.rename(&record.id, &way.name))
                    .await?
                {
                    Done(()) => {}
                    Stopped => return Ok(Fate::Stopped),
                }
            }
        }
        let effect = Effect::Item(filling.source, &item.key.id);
        self.execution.log(effect, Stage::Verified, &record).await?;
        Ok(Fate::Written {
            record,
            bytes,
            resumed,
            unread: None,
        })
    }

    async fn read_back(&self, job: &WriteJob<'_>, id: &str) -> Result<Attempt<Vec<String>>> {
        let mut tried = 0;
        loop {
            tried += 1;
            match self.target.verify(self.store, job, id).await {
                Ok(differs) => return Ok(Attempt::Done(differs)),
                Err(error) => self.wait_after(tried, error)?,
            }
            if !self.pause.pass(self.stop).await {
                return Ok(Attempt::Stopped);
            }
        }
    }
}

/// Renders an error with its causes, for a report.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}
