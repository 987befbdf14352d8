//! Restarting: a machine comes back with the keys it had, and nothing else in memory.

use std::sync::Arc;

use super::{Store, StoreOptions};
use crate::backend::Backend;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::SimulatedDisk;
use crate::keys::Keys;

impl Store {
    /// Opens the store as after a restart of the machine: with the keys it has, but cold caches.
    ///
    /// *Errors*: those of the backend.
    pub async fn restart(
        &self,
        backend: Arc<dyn Backend>,
        disk: &SimulatedDisk,
        environment: Arc<dyn Environment>,
    ) -> Result<Self> {
        let options = StoreOptions {
            environment,
            offload: Arc::clone(self.offload()),
            cache_dir: None,
        };
        let known = self.keys();
        let keys = Keys::new(self.id(), &known.roots(), known.stable());
        let opened = (keys, self.holder(), self.0.config.clone());
        let mut store = Self::assemble(backend, opened, options, self.put_if_absent()).await?;
        match Arc::get_mut(&mut store.0) {
            Some(inner) => inner.disk = Arc::new(disk.clone()),
            None => {
                return Err(Error::new(
                    ErrorKind::Interrupted,
                    "store: shared too early",
                ));
            }
        }
        Ok(store)
    }
}
