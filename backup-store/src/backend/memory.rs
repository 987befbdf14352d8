//! Memory backend: objects in a map, for tests and simulation; clones share them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use super::{Backend, Capabilities, ObjectInfo, ObjectName, Put, clamp};
use crate::error::{Error, ErrorKind, Result};

/// Keeps objects in memory; clones share them.
#[derive(Clone, Default)]
pub struct MemoryBackend {
    objects: Arc<Mutex<BTreeMap<ObjectName, Bytes>>>,
}

impl MemoryBackend {
    /// Creates an empty place.
    pub fn new() -> Self {
        Self::default()
    }

    /// Copies all objects as they are now into a place of its own.
    #[must_use]
    pub fn fork(&self) -> Self {
        let objects = self.lock().clone();
        Self {
            objects: Arc::new(Mutex::new(objects)),
        }
    }

    /// Replaces an object's bytes, as damage would; `None` takes the object away.
    ///
    /// For tests of damage: a real backend has no such operation.
    pub fn tamper(&self, name: &ObjectName, bytes: Option<Bytes>) {
        let mut objects = self.lock();
        match bytes {
            Some(bytes) => objects.insert(name.clone(), bytes),
            None => objects.remove(name),
        };
    }

    /// Creates an object whose name is free.
    pub(crate) fn insert_new(&self, name: &ObjectName, bytes: Bytes) -> Put {
        match self.lock().entry(name.clone()) {
            Entry::Occupied(_) => Put::AlreadyExists,
            Entry::Vacant(place) => {
                place.insert(bytes);
                Put::Created
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Bytes>> {
        // A panic elsewhere cannot leave the map half changed: each change is one call.
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBackend({} objects)", self.lock().len())
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    async fn put_new(&self, name: &ObjectName, bytes: Bytes) -> Result<Put> {
        Ok(self.insert_new(name, bytes))
    }

    async fn get(&self, name: &ObjectName, range: Option<Range<u64>>) -> Result<Bytes> {
        let objects = self.lock();
        let bytes = objects.get(name).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("object {name}: not in the backend"),
            )
        })?;
        let range = clamp(range, bytes.len() as u64);
        // The range lies within a slice in memory.
        let index = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
        Ok(bytes.slice(index(range.start)..index(range.end)))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>> {
        let info = |(name, bytes): (&ObjectName, &Bytes)| {
            name.as_str().starts_with(prefix).then(|| ObjectInfo {
                name: name.clone(),
                size: bytes.len() as u64,
            })
        };
        Ok(self.lock().iter().filter_map(info).collect())
    }

    async fn delete(&self, name: &ObjectName) -> Result<()> {
        self.lock().remove(name);
        Ok(())
    }

    async fn probe(&self) -> Result<Capabilities> {
        Ok(Capabilities {
            put_if_absent: true,
            listed_after_put: true,
        })
    }
}
