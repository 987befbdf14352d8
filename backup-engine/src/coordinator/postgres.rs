//! The coordinator of many machines: a PostgreSQL database, by whose clock claims run out.

mod connection;
mod statements;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use backup_store::catalog::ResourceId;
use backup_store::{RunId, StoreId};
use tokio_postgres::Row;

use self::connection::Connections;
use super::{
    Answer, Ask, CLAIM_TERM, Claim, Coordinator, End, Grant, Opening, Share, SharedRun, Standing,
    Wanted, Work, WorkerId, wait_for,
};
use crate::error::{Error, ErrorKind, Result};

/// Says how a database is reached.
#[derive(Clone)]
#[non_exhaustive]
pub struct PostgresOptions {
    /// Address and login, as `postgres://user:password@host/database` or as key and value pairs.
    ///
    /// *Shape*: without an `sslmode`, TLS is required of every server that is not on this machine;
    /// its certificate is always verified.
    pub address: String,
    /// A certificate authority to trust beside those of the system, in PEM.
    pub authority: Option<String>,
    /// For how long a claim is held without a heartbeat.
    pub term: Duration,
    /// For how long a database that cannot be reached is tried.
    pub patience: Duration,
}

impl PostgresOptions {
    /// Takes an address; the rest is as usual.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            authority: None,
            term: CLAIM_TERM,
            patience: Duration::from_secs(60),
        }
    }
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("term", &self.term)
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}

/// Coordinates the workers of many machines through a PostgreSQL database.
///
/// A connection that is lost is made again, and what was under way is asked again: every request
/// may be repeated. The tables lie in the schema `m365_backup`, which the first worker creates.
/// They name resources by their ids; whose they are is sealed.
#[derive(Debug)]
pub struct PostgresCoordinator {
    connections: Connections,
    term: Duration,
}

impl PostgresCoordinator {
    /// Connects, and creates the tables where there are none.
    ///
    /// *Errors*: [`ErrorKind::Configuration`] for an address that cannot be understood,
    /// [`ErrorKind::Coordinator`] for a database that cannot be reached.
    pub async fn connect(options: PostgresOptions) -> Result<Self> {
        let term = options.term;
        let connections = Connections::new(&options)?;
        // Who may use the tables need not be allowed to create any.
        let found = connections.query(statements::TABLES_THERE, &[]).await?;
        let there = found.first().map(|row| get::<bool>(row, "there"));
        if there.transpose()? != Some(true) {
            connections.batch(statements::SCHEMA).await?;
        }
        Ok(Self { connections, term })
    }

    fn seconds(&self) -> f64 {
        self.term.as_secs_f64()
    }

    async fn take(&self, ask: &Ask, resource: &ResourceId) -> Result<Option<(u64, bool)>> {
        let holding = ask.holding.iter().any(|held| held == resource);
        let rows = self
            .connections
            .query(
                statements::CLAIM_RESOURCE,
                &[
                    &ask.store.to_string(),
                    &resource.as_str(),
                    &ask.floor.cast_signed(),
                    &ask.worker.as_str(),
                    &self.seconds(),
                    &holding,
                ],
            )
            .await?;
        rows.first().map(token_and_moved).transpose()
    }

    async fn take_next(&self, ask: &Ask, run: RunId) -> Result<Option<Grant>> {
        let holding: Vec<&str> = ask.holding.iter().map(ResourceId::as_str).collect();
        let rows = self
            .connections
            .query(
                statements::CLAIM_NEXT,
                &[
                    &ask.store.to_string(),
                    &run.to_string(),
                    &ask.floor.cast_signed(),
                    &ask.worker.as_str(),
                    &self.seconds(),
                    &holding,
                ],
            )
            .await?;
        let Some(row) = rows.first() else {
            return Ok(None);
        };
        let (token, moved) = token_and_moved(row)?;
        let work = Work {
            resource: ResourceId::new(get::<String>(row, "resource")?),
            sealed: get(row, "sealed")?,
        };
        let claim = claim(ask, work.resource.clone(), Some(run), token);
        Ok(Some(Grant {
            claim,
            work: Some(work),
            moved,
        }))
    }

    /// Returns when something of `run` may be free, or how it ended.
    async fn rest(&self, store: StoreId, run: RunId) -> Result<Answer> {
        let (store, run) = (store.to_string(), run.to_string());
        let closed = self
            .connections
            .query(statements::CLOSE_RUN, &[&run])
            .await?;
        if !closed.is_empty() {
            let rows = self
                .connections
                .query(statements::STANDING, &[&run])
                .await?;
            let row = rows.first().ok_or_else(|| strange("no counts"))?;
            return Ok(Answer::Done(Standing {
                done: get::<i64>(row, "done")?.cast_unsigned(),
                failed: get::<i64>(row, "failed")?.cast_unsigned(),
            }));
        }
        let rows = self
            .connections
            .query(statements::FIRST_EXPIRY, &[&store, &run])
            .await?;
        let left = rows.first().map(|row| get::<Option<i64>>(row, "left_ms"));
        Ok(Answer::Wait(wait_for(left.transpose()?.flatten())))
    }

    async fn end(&self, claim: &Claim, end: End, cause: Option<&str>) -> Result<bool> {
        let rows = self
            .connections
            .query(
                statements::END_CLAIM,
                &[
                    &claim.store.to_string(),
                    &claim.resource.as_str(),
                    &claim.token.cast_signed(),
                    &claim.worker.as_str(),
                    &claim.run.map(|run| run.to_string()),
                    &(end as i32),
                    &cause,
                ],
            )
            .await?;
        Ok(!rows.is_empty())
    }
}

fn claim(ask: &Ask, resource: ResourceId, run: Option<RunId>, token: u64) -> Claim {
    Claim {
        worker: ask.worker.clone(),
        store: ask.store,
        resource,
        run,
        token,
    }
}

fn token_and_moved(row: &Row) -> Result<(u64, bool)> {
    Ok((
        get::<i64>(row, "token")?.cast_unsigned(),
        get(row, "moved")?,
    ))
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, column: &str) -> Result<T> {
    row.try_get(column)
        .map_err(|cause| strange(column).with_source(cause))
}

fn strange(what: &str) -> Error {
    let message = format!("the coordinator's database gave a strange answer: {what}");
    Error::new(ErrorKind::Coordinator, message)
}

fn run_id(text: &str) -> Result<RunId> {
    text.parse()
        .map_err(|cause: backup_store::Error| strange("a run id").with_source(cause))
}

#[async_trait]
impl Coordinator for PostgresCoordinator {
    fn term(&self) -> Duration {
        self.term
    }

    async fn enter(&self, worker: &WorkerId, budget: &str) -> Result<()> {
        let values: [connection::Value<'_>; 3] = [&worker.as_str(), &budget, &self.seconds()];
        self.connections.query(statements::ENTER, &values).await?;
        Ok(())
    }

    async fn leave(&self, worker: &WorkerId) -> Result<()> {
        self.connections
            .query(statements::LEAVE, &[&worker.as_str()])
            .await?;
        Ok(())
    }

    async fn open_run(&self, store: StoreId, set: &str, opening: Opening) -> Result<SharedRun> {
        let store = store.to_string();
        let run = opening.run.to_string();
        // The second look finds what another worker opened between the two.
        for _ in 0..OPEN_TRIES {
            let found = self
                .connections
                .query(statements::FIND_RUN, &[&store, &set])
                .await?;
            if let Some(row) = found.first() {
                return Ok(SharedRun {
                    run: run_id(get(row, "id")?)?,
                    sync_check: get(row, "sync_check")?,
                    listed: get(row, "listed")?,
                });
            }
            self.connections
                .query(statements::FORGET_RUNS, &[&store, &set])
                .await?;
            self.connections
                .query(
                    statements::OPEN_RUN,
                    &[&run, &store, &set, &opening.sync_check],
                )
                .await?;
        }
        Err(strange("a run that comes and goes"))
    }

    async fn offer(&self, run: RunId, work: Vec<Work>) -> Result<()> {
        let run = run.to_string();
        for some in work.chunks(OFFER_ROWS) {
            let resources: Vec<&str> = some.iter().map(|one| one.resource.as_str()).collect();
            let sealed: Vec<&[u8]> = some.iter().map(|one| &one.sealed[..]).collect();
            self.connections
                .query(statements::OFFER, &[&run, &resources, &sealed])
                .await?;
        }
        Ok(())
    }

    async fn set_listed(&self, run: RunId) -> Result<()> {
        self.connections
            .query(statements::SET_LISTED, &[&run.to_string()])
            .await?;
        Ok(())
    }

    async fn claim(&self, ask: Ask) -> Result<Answer> {
        match &ask.wanted {
            Wanted::Resource(resource) => Ok(match self.take(&ask, resource).await? {
                Some((token, moved)) => Answer::Granted(Grant {
                    claim: claim(&ask, resource.clone(), None, token),
                    work: None,
                    moved,
                }),
                None => Answer::Wait(super::ASK_AGAIN),
            }),
            Wanted::Next(run) => match self.take_next(&ask, *run).await? {
                Some(grant) => Ok(Answer::Granted(grant)),
                None => self.rest(ask.store, *run).await,
            },
        }
    }

    async fn heartbeat(&self, worker: &WorkerId, claims: &[Claim]) -> Result<Vec<Claim>> {
        let stores: Vec<String> = claims.iter().map(|claim| claim.store.to_string()).collect();
        let resources: Vec<&str> = claims.iter().map(|claim| claim.resource.as_str()).collect();
        let tokens: Vec<i64> = claims
            .iter()
            .map(|claim| claim.token.cast_signed())
            .collect();
        let rows = self
            .connections
            .query(
                statements::HEARTBEAT,
                &[
                    &worker.as_str(),
                    &self.seconds(),
                    &stores,
                    &resources,
                    &tokens,
                ],
            )
            .await?;
        let mut kept = std::collections::HashSet::new();
        for row in &rows {
            kept.insert((
                get::<String>(row, "store")?,
                get::<String>(row, "resource")?,
                get::<i64>(row, "token")?.cast_unsigned(),
            ));
        }
        let is_kept = |claim: &&Claim| {
            let resource = claim.resource.as_str().to_owned();
            kept.contains(&(claim.store.to_string(), resource, claim.token))
        };
        Ok(claims
            .iter()
            .filter(|claim| !is_kept(claim))
            .cloned()
            .collect())
    }

    async fn complete(&self, claim: &Claim) -> Result<bool> {
        self.end(claim, End::Done, None).await
    }

    async fn fail(&self, claim: &Claim, cause: &str) -> Result<bool> {
        self.end(claim, End::Failed, Some(cause)).await
    }

    async fn release(&self, claim: &Claim) -> Result<bool> {
        self.end(claim, End::Open, None).await
    }

    async fn share(&self, worker: &WorkerId) -> Result<Share> {
        let rows = self
            .connections
            .query(statements::SHARE, &[&worker.as_str()])
            .await?;
        let row = rows.first().ok_or_else(|| strange("no count"))?;
        let workers = get::<i64>(row, "workers")?;
        Ok(Share::of(u32::try_from(workers).unwrap_or(u32::MAX)))
    }
}

/// Rows in one statement; a tenant of 100,000 users takes a hundred and more of them.
const OFFER_ROWS: usize = 1000;
/// More than two happen only if runs end as fast as they are opened.
const OPEN_TRIES: usize = 5;
