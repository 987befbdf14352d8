//! Publish: prepared snapshots become visible, many at once, each set in one atomic step.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_store::catalog::{ResourceId, Snapshot};
use backup_store::{KeptUp, SnapshotId, Writer};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::claims::{Claims, Hold, Verdict};
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Observer};
use crate::journal::{Header, Journal};

/// A snapshot whose trees are written, and what of the journal it covers.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) header: Header,
    pub(crate) through: u64,
    pub(crate) snapshot: Snapshot,
    pub(crate) hold: Hold,
    /// What becomes of the claim once this is published; `None` for a stop on the way.
    pub(crate) verdict: Option<Verdict>,
}

/// What goes through the outbox.
#[derive(Debug)]
enum Parcel {
    Snapshot(Box<Prepared>),
    Flush,
}

/// Where prepared snapshots are put.
#[derive(Debug)]
pub(crate) struct Outbox {
    sender: mpsc::UnboundedSender<Parcel>,
    bases: Bases,
}

/// The snapshots whose trees are being continued, and that nothing of this run has replaced yet.
type Bases = Arc<Mutex<BTreeMap<ResourceId, SnapshotId>>>;

/// Publishes what comes through the outbox.
#[derive(Debug)]
pub(crate) struct Publisher<'a> {
    writer: &'a Writer,
    journal: Journal,
    observer: &'a dyn Observer,
    claims: &'a Claims<'a>,
    inbox: mpsc::UnboundedReceiver<Parcel>,
    /// At most one snapshot of a resource: a newer one takes the place of an older one.
    waiting: BTreeMap<ResourceId, Prepared>,
    published: HashMap<ResourceId, Published>,
    bases: Bases,
}

/// What this run has published of a resource last, and under which claim token.
#[derive(Debug, Clone, Copy)]
struct Published {
    id: SnapshotId,
    token: u64,
}

impl Outbox {
    /// Takes note that a resource is worked on from this snapshot.
    pub(crate) fn continues(&self, resource: &ResourceId, base: Option<SnapshotId>) {
        if let Some(base) = base {
            lock(&self.bases).insert(resource.clone(), base);
        }
    }

    /// Takes note that a resource is done without a new snapshot.
    pub(crate) fn leaves(&self, resource: &ResourceId) {
        lock(&self.bases).remove(resource);
    }

    pub(crate) fn send(&self, prepared: Prepared) -> Result<()> {
        let parcel = Parcel::Snapshot(Box::new(prepared));
        self.sender.send(parcel).map_err(|_| {
            Error::new(
                ErrorKind::Store,
                "the snapshot could not be handed on: publishing has ended",
            )
        })
    }

    /// Asks to publish at once what is ready.
    pub(crate) fn flush(&self) {
        // Where publishing has ended, the next snapshot says so.
        let _ = self.sender.send(Parcel::Flush);
    }
}

impl<'a> Publisher<'a> {
    /// Creates a publisher and its outbox; it ends when the outbox is dropped.
    pub(crate) fn new(
        writer: &'a Writer,
        journal: Journal,
        observer: &'a dyn Observer,
        claims: &'a Claims<'a>,
    ) -> (Self, Outbox) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let bases = Bases::default();
        let publisher = Self {
            writer,
            journal,
            observer,
            claims,
            inbox,
            waiting: BTreeMap::new(),
            published: HashMap::new(),
            bases: bases.clone(),
        };
        (publisher, Outbox { sender, bases })
    }

    /// Publishes until the outbox is gone, and returns the newest snapshot of each resource.
    pub(crate) async fn run(mut self) -> Result<HashMap<ResourceId, SnapshotId>> {
        let mut due = None;
        loop {
            let deadline = due.unwrap_or_else(|| Instant::now() + SET_OPEN_MAX);
            tokio::select! {
                // What happens depends on what came, never on a lot.
                biased;
                parcel = self.inbox.recv() => match parcel {
                    Some(Parcel::Snapshot(prepared)) => {
                        due.get_or_insert(Instant::now() + SET_OPEN_MAX);
                        self.waiting.insert(prepared.header.resource.clone(), *prepared);
                        if self.waiting.len() < SET_MAX {
                            continue;
                        }
                    }
                    Some(Parcel::Flush) if self.waiting.is_empty() => continue,
                    Some(Parcel::Flush) => {}
                    None => break,
                },
                () = tokio::time::sleep_until(deadline) => {}
            }
            self.flush().await?;
            self.keep_up().await?;
            due = None;
        }
        self.flush().await?;
        let ids = self.published.into_iter();
        Ok(ids
            .map(|(resource, published)| (resource, published.id))
            .collect())
    }

    /// Does what a prune on another machine asks of writers at work, so that it need not wait.
    async fn keep_up(&self) -> Result<()> {
        let bases: Vec<_> = lock(&self.bases).values().copied().collect();
        match self.writer.keep_up(&bases).await? {
            KeptUp::Acknowledged { round, copied } => {
                tracing::info!(%round, copied, "a round of prune is acknowledged");
            }
            KeptUp::ParentCondemned(parents) => {
                let count = parents.len();
                tracing::info!(count, "prune waits until what continues these is published");
            }
            _ => {}
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let mut prepared = self.take_held().await?;
        if prepared.is_empty() {
            return Ok(());
        }
        self.name_parents(&mut prepared).await?;
        let snapshots = prepared
            .iter()
            .map(|prepared| prepared.snapshot.clone())
            .collect();
        let published = self.writer.publish(snapshots).await?;
        for (prepared, id) in prepared.into_iter().zip(published) {
            let Prepared {
                mut header,
                through,
                hold,
                verdict,
                ..
            } = prepared;
            let token = hold.token();
            let published = Published { id, token };
            self.published.insert(header.resource.clone(), published);
            lock(&self.bases).remove(&header.resource);
            header.base = Some(id);
            self.journal.cover(&header, through).await?;
            if let Some(verdict) = verdict {
                self.claims.settle(&hold, &verdict).await?;
            }
            self.observer.event(&Event::Checkpoint {
                resource: header.resource,
            });
        }
        Ok(())
    }

    /// Takes what waits, but for what another worker has taken over: its state is newer.
    async fn take_held(&mut self) -> Result<Vec<Prepared>> {
        self.claims
            .confirm(self.waiting.values().map(|it| &it.hold))
            .await;
        let waiting = std::mem::take(&mut self.waiting).into_values();
        let (lost, held): (Vec<_>, Vec<_>) = waiting.partition(|it| it.hold.is_lost());
        for prepared in lost {
            lock(&self.bases).remove(&prepared.header.resource);
            if let Some(verdict) = prepared.verdict {
                self.claims.settle(&prepared.hold, &verdict).await?;
            }
        }
        Ok(held)
    }

    /// Names as parent what this run itself has published of a resource: it was not yet known when
    /// the snapshot was prepared.
    async fn name_parents(&self, prepared: &mut [Prepared]) -> Result<()> {
        let again = |prepared: &Prepared| self.published.contains_key(&prepared.header.resource);
        if !prepared.iter().any(again) {
            return Ok(());
        }
        let own = prepared.iter();
        let own = own.filter_map(|prepared| self.published.get(&prepared.header.resource));
        let own: Vec<_> = own.map(|own| own.id).collect();
        let found = self.writer.store().find_snapshots(&own).await?;
        for Prepared {
            header, snapshot, ..
        } in prepared
        {
            // Under another token it is from a claim that was lost in between.
            let own = self.published.get(&header.resource);
            let own = own.filter(|published| published.token == snapshot.token);
            if let Some(parent) =
                own.and_then(|own| found.snapshots.iter().find(|e| e.id == own.id))
            {
                snapshot.parent = Some(parent.id);
                snapshot.parent_hash = Some(parent.hash);
            }
        }
        Ok(())
    }
}

fn lock(bases: &Bases) -> MutexGuard<'_, BTreeMap<ResourceId, SnapshotId>> {
    // Each change is whole, whatever panicked elsewhere.
    bases.lock().unwrap_or_else(PoisonError::into_inner)
}

/// So many snapshots fit into one set (`PROTOCOL`: 1 to 256).
const SET_MAX: usize = 256;
/// A set is closed after this long, full or not.
const SET_OPEN_MAX: Duration = Duration::from_secs(5 * 60);
