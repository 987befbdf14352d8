//! Fault injection: a journal in memory that stops, fails or runs full between two of its
//! statements, and rules that can be broken (feature `fault-injection`).
//!
//! The journal shares a [`FaultPlan`] with the backend and the disk of a simulated machine: each of
//! its statements and commits is one effect of that plan.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use backup_store::fault::ActiveMutant;
use backup_store::fault::{FaultPlan, Ruling};
use rusqlite::{Connection, MAIN_DB, ffi};

pub use crate::mutant::Mutant;

/// A backup journal of which a crash keeps what was committed; clones share it.
#[derive(Clone)]
pub struct SimulatedJournal {
    committed: Arc<Mutex<Option<Arc<[u8]>>>>,
    plan: FaultPlan,
}

impl SimulatedJournal {
    /// Creates a journal that was never opened.
    pub fn new(plan: FaultPlan) -> Self {
        Self {
            committed: Arc::default(),
            plan,
        }
    }

    /// Copies what is committed, for another life.
    #[must_use]
    pub fn fork(&self, plan: FaultPlan) -> Self {
        Self {
            committed: Arc::new(Mutex::new(self.lock().clone())),
            plan,
        }
    }

    /// Opens the database as it was last committed.
    pub(crate) fn connect(&self) -> rusqlite::Result<Connection> {
        let mut connection = Connection::open_in_memory()?;
        if let Some(image) = &*self.lock() {
            connection.deserialize_read_exact(MAIN_DB, &image[..], image.len(), false)?;
        }
        Ok(connection)
    }

    /// Lets a statement pass, or not.
    pub(crate) fn step(&self) -> rusqlite::Result<()> {
        match self.plan.rule() {
            Ruling::Stopped => Err(stopped()),
            Ruling::Full => Err(refused(ffi::SQLITE_FULL, "the disk is full")),
            Ruling::Fail | Ruling::DoThenFail => {
                Err(refused(ffi::SQLITE_IOERR, "the disk reports a failure"))
            }
            Ruling::DoThenStop => {
                self.plan.stop();
                Err(stopped())
            }
            _ => {
                self.plan.note_other("journal statement");
                Ok(())
            }
        }
    }

    /// Lets a commit happen, or not.
    pub(crate) fn rule_commit(&self) -> rusqlite::Result<Ruling> {
        match self.plan.rule() {
            Ruling::Stopped => Err(stopped()),
            Ruling::Full => Err(refused(ffi::SQLITE_FULL, "the disk is full")),
            Ruling::Fail => Err(refused(ffi::SQLITE_IOERR, "the disk reports a failure")),
            ruling => Ok(ruling),
        }
    }

    /// Keeps what `connection` has committed, and answers as it was ruled.
    pub(crate) fn committed(
        &self,
        connection: &mut Connection,
        ruling: Ruling,
    ) -> rusqlite::Result<()> {
        *self.lock() = Some(connection.serialize(MAIN_DB)?.to_vec().into());
        self.plan.note_other("journal commit");
        match ruling {
            Ruling::DoThenStop => {
                self.plan.stop();
                Err(stopped())
            }
            Ruling::DoThenFail => Err(refused(ffi::SQLITE_IOERR, "the disk reports a failure")),
            _ => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<[u8]>>> {
        self.committed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SimulatedJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimulatedJournal")
    }
}

fn stopped() -> rusqlite::Error {
    refused(ffi::SQLITE_IOERR, "the machine has stopped")
}

fn refused(code: std::ffi::c_int, words: &str) -> rusqlite::Error {
    rusqlite::Error::SqliteFailure(ffi::Error::new(code), Some(words.to_owned()))
}
