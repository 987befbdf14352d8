//! Beginning to write: the lease first, then the listings, then what a crash left behind.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::slot_writer::{SlotWriter, fence};
use super::{Inner, Writer, WriterOptions};
use crate::backend::{ObjectName, create_directories};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{LeaseId, RunId};
use crate::offload::offload;
use crate::pack::spools::Spools;
use crate::seal::ObjectKind;
use crate::store::{Resolved, Store};

/// What a lease object says.
#[derive(Debug, Serialize, Deserialize)]
struct Lease {
    lease: LeaseId,
    run: RunId,
    adopts: Vec<LeaseId>,
}

impl Store {
    /// Begins to write: puts a lease, fences the adopted ones, lists what is published, and
    /// uploads what a crashed run left in the spool directory.
    ///
    /// *Errors*: [`ErrorKind::SpoolInUse`] when another process has the spool directory;
    /// [`ErrorKind::Unsupported`] when leases are to be fenced in a store whose backend has no
    /// honest create-only put.
    pub async fn begin(&self, options: WriterOptions) -> Result<Writer> {
        let directory = options.spool_dir.clone();
        let spool_lock = offload(self.offload().as_ref(), move || lock_spool(&directory)).await??;
        let lease = LeaseId::random(self.environment().as_ref())?;
        self.put_lease(lease, &options).await?;
        for adopted in &options.adopts {
            fence(self, adopted).await?;
        }
        let listing = self.list_slots().await?;
        self.refresh_index().await?;
        let spools = self.recover_spools(options.spool_dir, lease).await?;
        let token = listing.greatest_token().saturating_add(1);
        let writer = Writer(Arc::new(Inner {
            store: self.clone(),
            lease,
            token,
            listing,
            spools: Arc::new(spools),
            uploading: tokio::sync::Mutex::new(()),
            slots: tokio::sync::Mutex::new(SlotWriter::new(lease)),
            spool_lock: std::sync::Mutex::new(Some(spool_lock)),
        }));
        writer.flush().await?;
        Ok(writer)
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
        let (keys, environment) = (Arc::clone(self.keys()), Arc::clone(self.environment()));
        offload(self.offload().as_ref(), move || {
            Spools::recover(directory, lease, keys, environment)
        })
        .await?
    }
}

fn lock_spool(directory: &Path) -> Result<File> {
    let object = format!("spool directory {}", directory.display());
    let failed = |cause| Error::from_io(ErrorKind::Local, &object, cause);
    create_directories(directory).map_err(failed)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let words = format!("{object}: in use by another process or writer");
            Err(Error::new(ErrorKind::SpoolInUse, words))
        }
        Err(TryLockError::Error(cause)) => Err(failed(cause)),
    }
}
