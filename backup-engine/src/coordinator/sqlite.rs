//! The coordinator of one machine: a SQLite file that its processes share.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backup_store::catalog::ResourceId;
use backup_store::{Environment, Offload, RunId, StoreId, local_database, offload};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    Answer, Ask, Claim, Coordinator, End, Grant, Opening, Share, SharedRun, Standing, Wanted, Work,
    WorkerId, wait_for,
};
use crate::error::{Error, ErrorKind, Result};

/// Coordinates the processes of one machine through a file.
///
/// The file may be deleted while no worker is at work: the next run then finds everything open.
/// Claim tokens go on from those of the store.
#[derive(Debug, Clone)]
pub struct SqliteCoordinator {
    shared: Arc<Shared>,
    offload: Arc<dyn Offload>,
    term: Duration,
}

#[derive(Debug)]
struct Shared {
    connection: Mutex<Connection>,
    environment: Arc<dyn Environment>,
    term_ms: i64,
}

impl SqliteCoordinator {
    /// Opens the file at `path`, or creates it; claims are held for `term`, as in
    /// [`CLAIM_TERM`](super::CLAIM_TERM).
    ///
    /// *Errors*: [`ErrorKind::Coordinator`] when the file cannot be opened.
    pub async fn open(
        path: &Path,
        term: Duration,
        environment: Arc<dyn Environment>,
        work: Arc<dyn Offload>,
    ) -> Result<Self> {
        let path = path.to_owned();
        let connection = offload(&*work, move || connect(&path)).await??;
        let shared = Shared {
            connection: Mutex::new(connection),
            environment,
            term_ms: millis(term),
        };
        Ok(Self {
            shared: Arc::new(shared),
            offload: work,
            term,
        })
    }

    /// Does `job` in one transaction that no other process interrupts.
    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Moment<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        let done = offload(&*self.offload, move || {
            let mut connection = shared.lock();
            let behavior = TransactionBehavior::Immediate;
            let transaction = connection.transaction_with_behavior(behavior)?;
            let moment = Moment {
                transaction,
                now: shared.environment.now().as_millis(),
                term: shared.term_ms,
            };
            let done = job(&moment)?;
            moment.transaction.commit()?;
            Ok(done)
        });
        done.await?.map_err(failed)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn failed(cause: rusqlite::Error) -> Error {
    let message = format!("the coordinator's file failed: {cause}");
    Error::new(ErrorKind::Coordinator, message).with_source(cause)
}

fn connect(path: &Path) -> Result<Connection> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(|cause| {
            let message = format!("the folder {} cannot be made: {cause}", parent.display());
            Error::new(ErrorKind::Coordinator, message).with_source(cause)
        })?;
    }
    open(path).map_err(failed)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let mut connection = Connection::open(path)?;
    local_database::share(&connection, BUSY_MAX)?;
    let made = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    made.execute_batch(SCHEMA)?;
    made.commit()?;
    Ok(connection)
}

/// Other processes hold the file for milliseconds.
const BUSY_MAX: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS worker (
        id TEXT PRIMARY KEY, budget TEXT NOT NULL, entered INTEGER NOT NULL, until INTEGER NOT NULL
    );
    CREATE TABLE IF NOT EXISTS run (
        id BLOB PRIMARY KEY, store BLOB NOT NULL, name TEXT NOT NULL, sync_check INTEGER NOT NULL,
        listed INTEGER NOT NULL DEFAULT 0, closed INTEGER NOT NULL DEFAULT 0
    );
    CREATE UNIQUE INDEX IF NOT EXISTS run_open ON run (store, name) WHERE closed = 0;
    CREATE TABLE IF NOT EXISTS work (
        number INTEGER PRIMARY KEY AUTOINCREMENT, run BLOB NOT NULL, resource TEXT NOT NULL,
        sealed BLOB NOT NULL, ended INTEGER NOT NULL DEFAULT 0, cause TEXT, UNIQUE (run, resource)
    );
    CREATE INDEX IF NOT EXISTS work_open ON work (run, ended, number);
    CREATE TABLE IF NOT EXISTS claim (
        store BLOB NOT NULL, resource TEXT NOT NULL, token INTEGER NOT NULL, worker TEXT NOT NULL,
        until INTEGER, touched INTEGER NOT NULL, PRIMARY KEY (store, resource)
    );";

/// One transaction at one time.
struct Moment<'a> {
    transaction: Transaction<'a>,
    now: i64,
    term: i64,
}

/// A claim as the file knows it.
struct Known {
    token: i64,
    worker: String,
    until: Option<i64>,
    touched: i64,
}

impl Moment<'_> {
    fn known(&self, store: StoreId, resource: &str) -> rusqlite::Result<Option<Known>> {
        let mut found = self.transaction.prepare_cached(
            "SELECT token, worker, until, touched FROM claim WHERE store = ?1 AND resource = ?2",
        )?;
        let row = |row: &rusqlite::Row<'_>| {
            Ok(Known {
                token: row.get(0)?,
                worker: row.get(1)?,
                until: row.get(2)?,
                touched: row.get(3)?,
            })
        };
        found
            .query_row(params![store.as_bytes(), resource], row)
            .optional()
    }

    fn entered(&self, worker: &WorkerId) -> rusqlite::Result<i64> {
        let row = self.transaction.query_row(
            "SELECT entered FROM worker WHERE id = ?1",
            [worker.as_str()],
            |row| row.get(0),
        );
        Ok(row.optional()?.unwrap_or(self.now))
    }

    /// Claims one resource, unless another holds it: then returns when that claim runs out.
    fn take(&self, ask: &Ask, resource: &str) -> rusqlite::Result<Result<(u64, bool), i64>> {
        let known = self.known(ask.store, resource)?;
        let mut token = ask.floor;
        let mut moved = false;
        if let Some(known) = known {
            let own = known.worker == ask.worker.as_str();
            let holding = ask.holding.iter().any(|held| held.as_str() == resource);
            match known.until {
                Some(until) if until > self.now && (!own || holding) => return Ok(Err(until)),
                _ => {}
            }
            token = token.max(known.token.cast_unsigned().saturating_add(1));
            moved = !own && known.touched >= self.entered(&ask.worker)?;
        }
        self.transaction.execute(
            "INSERT INTO claim (store, resource, token, worker, until, touched)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (store, resource) DO UPDATE
             SET token = ?3, worker = ?4, until = ?5, touched = ?6",
            params![
                ask.store.as_bytes(),
                resource,
                token.cast_signed(),
                ask.worker.as_str(),
                self.now.saturating_add(self.term),
                self.now
            ],
        )?;
        Ok(Ok((token, moved)))
    }

    fn claim_resource(&self, ask: &Ask, resource: ResourceId) -> rusqlite::Result<Answer> {
        Ok(match self.take(ask, resource.as_str())? {
            Ok((token, moved)) => granted(ask, resource, None, token, moved, None),
            Err(until) => Answer::Wait(wait_for(Some(until.saturating_sub(self.now)))),
        })
    }

    fn claim_next(&self, ask: &Ask, run: RunId) -> rusqlite::Result<Answer> {
        let mut open = self.transaction.prepare_cached(
            "SELECT resource, sealed FROM work WHERE run = ?1 AND ended = 0 ORDER BY number",
        )?;
        let mut rows = open.query([run.as_bytes()])?;
        let mut first: Option<i64> = None;
        while let Some(row) = rows.next()? {
            let resource: String = row.get(0)?;
            match self.take(ask, &resource)? {
                Ok((token, moved)) => {
                    let resource = ResourceId::new(resource);
                    let work = Work {
                        resource: resource.clone(),
                        sealed: row.get(1)?,
                    };
                    return Ok(granted(ask, resource, Some(run), token, moved, Some(work)));
                }
                Err(until) => first = Some(first.map_or(until, |first| first.min(until))),
            }
        }
        if first.is_none() && self.close(run)? {
            return self.standing(run).map(Answer::Done);
        }
        let left = first.map(|until| until.saturating_sub(self.now));
        Ok(Answer::Wait(wait_for(left)))
    }

    /// Closes a run of which nothing is open, if all of it has been offered; `true` also for one
    /// that is long gone.
    fn close(&self, run: RunId) -> rusqlite::Result<bool> {
        let closed = self.transaction.execute(
            "UPDATE run SET closed = 1 WHERE id = ?1 AND listed = 1",
            [run.as_bytes()],
        )?;
        let unlisted = "SELECT 1 FROM run WHERE id = ?1";
        let mut unlisted = self.transaction.prepare_cached(unlisted)?;
        Ok(closed > 0 || !unlisted.exists([run.as_bytes()])?)
    }

    fn standing(&self, run: RunId) -> rusqlite::Result<Standing> {
        let count = |end: End| {
            self.transaction.query_row(
                "SELECT count(*) FROM work WHERE run = ?1 AND ended = ?2",
                params![run.as_bytes(), end as i64],
                |row| row.get::<_, i64>(0),
            )
        };
        Ok(Standing {
            done: count(End::Done)?.cast_unsigned(),
            failed: count(End::Failed)?.cast_unsigned(),
        })
    }

    fn end(&self, claim: &Claim, end: End, cause: Option<&str>) -> rusqlite::Result<bool> {
        let held = self.transaction.execute(
            "UPDATE claim SET until = NULL, touched = ?5
             WHERE store = ?1 AND resource = ?2 AND token = ?3 AND worker = ?4",
            params![
                claim.store.as_bytes(),
                claim.resource.as_str(),
                claim.token.cast_signed(),
                claim.worker.as_str(),
                self.now
            ],
        )? > 0;
        if let Some(run) = claim.run.filter(|_| held && end != End::Open) {
            self.transaction.execute(
                "UPDATE work SET ended = ?3, cause = ?4 WHERE run = ?1 AND resource = ?2",
                params![run.as_bytes(), claim.resource.as_str(), end as i64, cause],
            )?;
        }
        Ok(held)
    }

    fn open_run(&self, store: StoreId, set: &str, opening: Opening) -> rusqlite::Result<SharedRun> {
        let found = self.transaction.query_row(
            "SELECT id, sync_check, listed FROM run WHERE store = ?1 AND name = ?2 AND closed = 0",
            params![store.as_bytes(), set],
            |row| {
                Ok(SharedRun {
                    run: RunId::from_bytes(row.get(0)?),
                    sync_check: row.get(1)?,
                    listed: row.get(2)?,
                })
            },
        );
        if let Some(found) = found.optional()? {
            return Ok(found);
        }
        let own = params![store.as_bytes(), set];
        self.transaction.execute(
            "DELETE FROM work WHERE run IN (SELECT id FROM run WHERE store = ?1 AND name = ?2)",
            own,
        )?;
        self.transaction
            .execute("DELETE FROM run WHERE store = ?1 AND name = ?2", own)?;
        self.transaction.execute(
            "INSERT INTO run (id, store, name, sync_check) VALUES (?1, ?2, ?3, ?4)",
            params![
                opening.run.as_bytes(),
                store.as_bytes(),
                set,
                opening.sync_check
            ],
        )?;
        Ok(SharedRun {
            run: opening.run,
            sync_check: opening.sync_check,
            listed: false,
        })
    }

    fn live(&self, worker: &WorkerId) -> rusqlite::Result<Share> {
        let workers: u32 = self.transaction.query_row(
            "SELECT count(*) FROM worker AS other JOIN worker AS own ON own.id = ?1
             WHERE other.budget = own.budget AND (other.until > ?2 OR other.id = ?1)",
            params![worker.as_str(), self.now],
            |row| row.get(0),
        )?;
        Ok(Share::of(workers))
    }
}

fn granted(
    ask: &Ask,
    resource: ResourceId,
    run: Option<RunId>,
    token: u64,
    moved: bool,
    work: Option<Work>,
) -> Answer {
    Answer::Granted(Grant {
        claim: Claim {
            worker: ask.worker.clone(),
            store: ask.store,
            resource,
            run,
            token,
        },
        work,
        moved,
    })
}

#[async_trait]
impl Coordinator for SqliteCoordinator {
    fn term(&self) -> Duration {
        self.term
    }

    async fn enter(&self, worker: &WorkerId, budget: &str) -> Result<()> {
        let (worker, budget) = (worker.clone(), budget.to_owned());
        self.run(move |moment| {
            moment.transaction.execute(
                "INSERT INTO worker (id, budget, entered, until) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET budget = ?2, entered = ?3, until = ?4",
                params![
                    worker.as_str(),
                    budget,
                    moment.now,
                    moment.now.saturating_add(moment.term)
                ],
            )?;
            Ok(())
        })
        .await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        let worker = worker.clone();
        self.run(move |moment| {
            let transaction = &moment.transaction;
            transaction.execute(
                "UPDATE claim SET until = NULL, touched = ?2
                 WHERE worker = ?1 AND until IS NOT NULL",
                params![worker.as_str(), moment.now],
            )?;
            transaction.execute("DELETE FROM worker WHERE id = ?1", [worker.as_str()])?;
            Ok(())
        })
        .await
    }

    async fn open_run(&self, store: StoreId, set: &str, opening: Opening) -> Result<SharedRun> {
        let set = set.to_owned();
        self.run(move |moment| moment.open_run(store, &set, opening))
            .await
    }

    async fn offer(&self, run: RunId, work: Vec<Work>) -> Result<()> {
        self.run(move |moment| {
            let mut insert = moment.transaction.prepare_cached(
                "INSERT INTO work (run, resource, sealed) SELECT ?1, ?2, ?3
                 WHERE EXISTS (SELECT 1 FROM run WHERE id = ?1 AND closed = 0)
                 ON CONFLICT (run, resource) DO NOTHING",
            )?;
            for one in &work {
                insert.execute(params![run.as_bytes(), one.resource.as_str(), one.sealed])?;
            }
            Ok(())
        })
        .await
    }

    async fn set_listed(&self, run: RunId) -> Result<()> {
        self.run(move |moment| {
            let listed = "UPDATE run SET listed = 1 WHERE id = ?1";
            moment.transaction.execute(listed, [run.as_bytes()])?;
            Ok(())
        })
        .await
    }

    async fn claim(&self, ask: Ask) -> Result<Answer> {
        self.run(move |moment| match &ask.wanted {
            Wanted::Resource(resource) => moment.claim_resource(&ask, resource.clone()),
            Wanted::Next(run) => moment.claim_next(&ask, *run),
        })
        .await
    }

    async fn heartbeat(&self, worker: &WorkerId, claims: &[Claim]) -> Result<Vec<Claim>> {
        let (worker, claims) = (worker.clone(), claims.to_vec());
        self.run(move |moment| {
            let until = moment.now.saturating_add(moment.term);
            moment.transaction.execute(
                "UPDATE worker SET until = ?2 WHERE id = ?1",
                params![worker.as_str(), until],
            )?;
            let mut keep = moment.transaction.prepare_cached(
                "UPDATE claim SET until = ?5, touched = ?6 WHERE store = ?1 AND resource = ?2
                 AND token = ?3 AND worker = ?4 AND until IS NOT NULL",
            )?;
            let mut lost = Vec::new();
            for claim in claims {
                let kept = keep.execute(params![
                    claim.store.as_bytes(),
                    claim.resource.as_str(),
                    claim.token.cast_signed(),
                    claim.worker.as_str(),
                    until,
                    moment.now
                ])?;
                if kept == 0 {
                    lost.push(claim);
                }
            }
            Ok(lost)
        })
        .await
    }

    async fn complete(&self, claim: &Claim) -> Result<bool> {
        let claim = claim.clone();
        self.run(move |moment| moment.end(&claim, End::Done, None))
            .await
    }

    async fn fail(&self, claim: &Claim, cause: &str) -> Result<bool> {
        let (claim, cause) = (claim.clone(), cause.to_owned());
        self.run(move |moment| moment.end(&claim, End::Failed, Some(&cause)))
            .await
    }

    async fn release(&self, claim: &Claim) -> Result<bool> {
        let claim = claim.clone();
        self.run(move |moment| moment.end(&claim, End::Open, None))
            .await
    }

    async fn share(&self, worker: &WorkerId) -> Result<Share> {
        let worker = worker.clone();
        self.run(move |moment| moment.live(&worker)).await
    }
}
