//! Run records: one small object for each finished run, named so that the newest come first.

use crate::backend::ObjectName;
use crate::catalog::RunRecord;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::RunId;
use crate::seal::ObjectKind;
use crate::store::{Resolved, Store};
use crate::writer::Writer;

/// Bytes at the beginning of a run's id that tell when it began.
const TIME_BYTES: usize = 6;

impl RunId {
    /// Draws the id of a run that begins now: ids of later runs are greater.
    ///
    /// *Shape*: the milliseconds since 1970 as six bytes, most significant first, then ten random
    /// bytes. Two machines agree on the order of their runs as well as their clocks do.
    ///
    /// *Errors*: [`ErrorKind::Environment`] when there is no randomness.
    pub fn begin(environment: &dyn Environment) -> Result<Self> {
        let mut bytes = *Self::random(environment)?.as_bytes();
        let millis = u64::try_from(environment.now().as_millis()).unwrap_or(0);
        bytes[..TIME_BYTES].copy_from_slice(&millis.to_be_bytes()[8 - TIME_BYTES..]);
        Ok(Self::from_bytes(bytes))
    }
}

/// The run records of a store, the newest first; each is read when it is asked for.
#[derive(Debug)]
pub struct NewestRuns {
    store: Store,
    /// Those still to be read, oldest first.
    names: Vec<ObjectName>,
}

impl NewestRuns {
    /// Reads the next record.
    ///
    /// *Errors*: [`ErrorKind::Damaged`] when it cannot be read; the next call goes on behind it.
    pub async fn next(&mut self) -> Result<Option<RunRecord>> {
        while let Some(name) = self.names.pop() {
            match self.store.get_object(ObjectKind::Run, &name).await {
                Ok(plain) => {
                    let run = RunRecord::decode(&plain).map_err(|cause| {
                        Error::damaged(format_args!("object {name}"), "its record")
                            .with_source(cause)
                    })?;
                    return Ok(Some(run));
                }
                Err(cause) if cause.kind() == ErrorKind::NotFound => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(None)
    }
}

impl Store {
    /// Reads all run records, oldest first.
    pub async fn runs(&self) -> Result<Vec<RunRecord>> {
        let mut newest = self.newest_runs().await?;
        let mut runs = Vec::new();
        while let Some(run) = newest.next().await? {
            runs.push(run);
        }
        runs.sort_by_key(|run| (run.started, run.run));
        Ok(runs)
    }

    /// Lists the run records without reading any: by the ids of the runs, the greatest first.
    ///
    /// Whoever looks for something recent stops there, and reads no more however many there are.
    pub async fn newest_runs(&self) -> Result<NewestRuns> {
        let listed = self.backend().list("runs/").await?;
        let mut names: Vec<ObjectName> = listed.into_iter().map(|info| info.name).collect();
        names.sort_unstable();
        Ok(NewestRuns {
            store: self.clone(),
            names,
        })
    }
}

impl Writer {
    /// Puts the record of a finished run.
    pub async fn put_run(&self, run: &RunRecord) -> Result<()> {
        let random = RunId::random(self.store().environment().as_ref())?;
        let name = ObjectName::new(format!("runs/{}.{random}", run.run))?;
        match self
            .store()
            .put_object(ObjectKind::Run, &name, run.encode())
            .await?
        {
            Resolved::Ours => Ok(()),
            Resolved::Other(_) => {
                let words = format!("object {name}: the name of a new run record is taken");
                Err(Error::new(ErrorKind::Conflict, words))
            }
        }
    }
}
