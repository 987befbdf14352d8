//! Place: where a journal lies. In a file; in simulation, in memory and under a fault plan.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Transaction};

use crate::error::Result;
#[cfg(feature = "fault-injection")]
use crate::fault::SimulatedJournal;

/// Where a journal lies.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a file.
    File(PathBuf),
    /// In memory.
    #[cfg(feature = "fault-injection")]
    Simulated(SimulatedJournal),
}

/// An open database.
#[derive(Debug)]
pub(super) struct Database {
    pub(super) connection: Connection,
    #[cfg(feature = "fault-injection")]
    simulated: Option<SimulatedJournal>,
}

/// What lies between the statements of one transaction: in simulation, a chance to fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steps<'a> {
    #[cfg(feature = "fault-injection")]
    simulated: Option<&'a SimulatedJournal>,
    #[cfg(not(feature = "fault-injection"))]
    nothing: std::marker::PhantomData<&'a ()>,
}

impl Place {
    /// Returns the file, if it is one.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            #[cfg(feature = "fault-injection")]
            Self::Simulated(_) => None,
        }
    }

    /// Opens the database, with every commit durable when it returns.
    pub(super) fn connect(&self) -> rusqlite::Result<Database> {
        match self {
            Self::File(path) => {
                let connection = Connection::open(path)?;
                // An entry is long: fewer pages for it are fewer writes. Of a new file only.
                connection.pragma_update(None, "page_size", PAGE_BYTES)?;
                connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
                connection.pragma_update(None, "journal_mode", "WAL")?;
                connection.pragma_update(None, "synchronous", "FULL")?;
                Ok(Database {
                    connection,
                    #[cfg(feature = "fault-injection")]
                    simulated: None,
                })
            }
            #[cfg(feature = "fault-injection")]
            Self::Simulated(simulated) => Ok(Database {
                connection: simulated.connect()?,
                simulated: Some(simulated.clone()),
            }),
        }
    }
}

/// Bytes of a page of the database.
const PAGE_BYTES: u32 = 16 << 10;

impl Database {
    /// Does `work` in one transaction; when this returns without an error, it survives a crash.
    pub(super) fn write<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>, Steps<'_>) -> Result<T>,
    ) -> Result<T> {
        let steps = Steps {
            #[cfg(feature = "fault-injection")]
            simulated: self.simulated.as_ref(),
            #[cfg(not(feature = "fault-injection"))]
            nothing: std::marker::PhantomData,
        };
        // Rolls back when it is dropped before its end.
        let transaction = self.connection.transaction()?;
        let done = work(&transaction, steps)?;
        #[cfg(feature = "fault-injection")]
        if let Some(simulated) = &self.simulated {
            let ruling = simulated.rule_commit()?;
            transaction.commit()?;
            simulated.committed(&mut self.connection, ruling)?;
            return Ok(done);
        }
        transaction.commit()?;
        Ok(done)
    }
}

impl Steps<'_> {
    /// Passes to the next statement.
    #[cfg(feature = "fault-injection")]
    pub(super) fn next(self) -> Result<()> {
        self.simulated.map_or(Ok(()), SimulatedJournal::step)?;
        Ok(())
    }

    /// Passes to the next statement.
    #[cfg(not(feature = "fault-injection"))]
    #[allow(clippy::unnecessary_wraps, reason = "it may fail in simulation")]
    pub(super) fn next(self) -> Result<()> {
        let _ = self.nothing;
        Ok(())
    }
}
