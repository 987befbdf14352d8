//! Beginning to write: the lease first, then the listings, then what a crash left behind.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::rules::{BeginStep, References, begin_order};
use super::slot_writer::{SlotWriter, fence};
use super::{Inner, Writer, WriterOptions};
use crate::backend::ObjectName;
use crate::disk::{Disk, DiskLock};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, RunId};
use crate::offload::offload;
use crate::pack::spools::Spools;
use crate::seal::ObjectKind;
use crate::slots::SlotListing;
use crate::store::{Resolved, Store};

/// What a lease object says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lease {
    lease: LeaseId,
    run: RunId,
    pub(crate) adopts: Vec<LeaseId>,
}

impl Lease {
    /// Reads a lease object.
    pub(crate) fn decode(name: &ObjectName, plain: &[u8]) -> Result<Self> {
        serde_json::from_slice(plain).map_err(|cause| {
            Error::damaged(format_args!("object {name}"), "its record").with_source(cause)
        })
    }
}

impl Store {
    /// Begins to write: puts a lease, fences the adopted ones, lists what is published, and
    /// uploads what a crashed run left in the spool directory. A change of the root key shows here:
    /// what is written from now on is sealed under the newest.
    ///
    /// *Errors*: [`ErrorKind::SpoolInUse`] when another process has the spool directory;
    /// [`ErrorKind::RecipientRemoved`] when the root key was changed without the recipient that
    /// opened this store;
    /// [`ErrorKind::RolledBack`] when the store is older than what this machine has seen of it;
    /// [`ErrorKind::Unsupported`] when leases are to be fenced in a store whose backend has no
    /// honest create-only put.
    pub async fn begin(&self, options: WriterOptions) -> Result<Writer> {
        let (disk, directory) = (Arc::clone(self.disk()), options.spool_dir.clone());
        let lock = move || lock_spool(disk.as_ref(), &directory);
        let spool_lock = offload(self.offload().as_ref(), lock).await??;
        self.learn_epochs().await?;
        let lease = LeaseId::random(self.environment().as_ref())?;
        let mut references = References::default();
        let mut listing = SlotListing::default();
        for step in begin_order() {
            match step {
                BeginStep::PutLease => self.put_lease(lease, &options).await?,
                BeginStep::FenceAdopted => {
                    for adopted in &options.adopts {
                        fence(self, adopted).await?;
                    }
                }
                BeginStep::ReadRounds => references = References::new(self.read_rounds().await?),
                BeginStep::Acknowledge => {
                    if let Some(round) = references.unacknowledged() {
                        self.put_ack(lease, round).await?;
                        references.acknowledged(round);
                    }
                }
                BeginStep::ListSlots => listing = self.list_slots().await?,
            }
        }
        self.refuse_older_with(lease, &listing, &references).await?;
        self.refresh_index().await?;
        let spools = self.recover_spools(options.spool_dir, lease).await?;
        let token = listing.greatest_token().saturating_add(1);
        let writer = Writer(Arc::new(Inner {
            store: self.clone(),
            lease,
            token,
            listing,
            newest: tokio::sync::OnceCell::new(),
            references: std::sync::Mutex::new(references),
            spools: Arc::new(spools),
            uploading: tokio::sync::Mutex::new(()),
            slots: tokio::sync::Mutex::new(SlotWriter::new(lease)),
            spool_lock: std::sync::Mutex::new(Some(spool_lock)),
        }));
        writer.reseal_absent().await?;
        writer.flush().await?;
        Ok(writer)
    }

    /// Ends the new lease when the store is older than what this machine has seen.
    async fn refuse_older_with(
        &self,
        lease: LeaseId,
        listing: &SlotListing,
        references: &References,
    ) -> Result<()> {
        let refused = self.refuse_older(listing, references.rounds()).await;
        if refused.is_err() && self.put_if_absent() {
            fence(self, &lease).await?;
        }
        refused
    }

    async fn put_lease(&self, lease: LeaseId, options: &WriterOptions) -> Result<()> {
        let object = Lease {
            lease,
            run: options.run,
            adopts: options.adopts.clone(),
        };
        let name = ObjectName::new(format!("leases/{lease}"))?;
        let plain = serde_json::to_vec(&object).map_err(|cause| {
            let words = format!("object {name}: cannot be written");
            Error::new(ErrorKind::Malformed, words).with_source(cause)
        })?;
        match self.put_object(ObjectKind::Lease, &name, plain).await? {
            Resolved::Ours => Ok(()),
            Resolved::Other(_) => {
                let words = format!("object {name}: the name of a new lease is taken");
                Err(Error::new(ErrorKind::Conflict, words))
            }
        }
    }

    async fn recover_spools(&self, directory: PathBuf, lease: LeaseId) -> Result<Spools> {
        let (disk, keys) = (Arc::clone(self.disk()), Arc::clone(self.keys()));
        let environment = Arc::clone(self.environment());
        offload(self.offload().as_ref(), move || {
            Spools::recover(disk, directory, lease, keys, environment)
        })
        .await?
    }
}

fn lock_spool(disk: &dyn Disk, directory: &Path) -> Result<DiskLock> {
    let object = format!("spool directory {}", directory.display());
    let failed = |cause| Error::from_io(ErrorKind::Local, &object, cause);
    disk.create_directories(directory).map_err(failed)?;
    match disk.lock(&directory.join("lock")) {
        Ok(lock) => Ok(lock),
        Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {
            let words = format!("{object}: in use by another process or writer");
            Err(Error::new(ErrorKind::SpoolInUse, words))
        }
        Err(cause) => Err(failed(cause)),
    }
}
