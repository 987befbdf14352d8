//! Token store: the seam behind which tokens outlive a program, and the one that keeps them in
//! memory.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::error::Result;
use crate::secret::Secret;

/// Keeps tokens by name.
///
/// *Shape*: names are chosen by the providers of this crate and hold ids, never a secret; values
/// are secrets, whose protection is the store's affair.
///
/// *Errors*: [`ErrorKind::TokenStore`](crate::ErrorKind::TokenStore).
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync {
    /// Returns what is kept under `name`.
    async fn load(&self, name: &str) -> Result<Option<Secret>>;

    /// Keeps `value` under `name`, in the place of what was there; kept for good when this returns.
    async fn save(&self, name: &str, value: &Secret) -> Result<()>;

    /// Removes what is kept under `name`, if anything is.
    async fn remove(&self, name: &str) -> Result<()>;
}

/// Keeps tokens in memory; they end with the program.
#[derive(Default)]
pub struct MemoryTokenStore(Mutex<HashMap<String, Secret>>);

impl MemoryTokenStore {
    /// Creates an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Secret>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl TokenStore for MemoryTokenStore {
    async fn load(&self, name: &str) -> Result<Option<Secret>> {
        Ok(self.with(|map| map.get(name).cloned()))
    }

    async fn save(&self, name: &str, value: &Secret) -> Result<()> {
        self.with(|map| map.insert(name.to_owned(), value.clone()));
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<()> {
        self.with(|map| map.remove(name));
        Ok(())
    }
}

impl fmt::Debug for MemoryTokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryTokenStore")
    }
}
