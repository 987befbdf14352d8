//! Another disk: a store that was just opened spools its packs on a simulated one.

use std::sync::Arc;

use super::Store;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::SimulatedDisk;

impl Store {
    /// Spools on a simulated disk from now on.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] once the store has clones, or a writer.
    pub fn on_disk(mut self, disk: &SimulatedDisk) -> Result<Self> {
        match Arc::get_mut(&mut self.0) {
            Some(inner) => inner.disk = Arc::new(disk.clone()),
            None => {
                let words = "store: in use already; a disk is chosen first";
                return Err(Error::new(ErrorKind::InvalidInput, words));
            }
        }
        Ok(self)
    }
}
