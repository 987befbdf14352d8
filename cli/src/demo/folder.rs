//! The folder of a demo: a store, the passphrase beside it, and state that goes at the end.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_store::{
    CreateOptions, Environment, LocalBackend, Passphrase, Store, StoreOptions, SystemEnvironment,
};

use crate::exit::Exit;
use crate::failure::{Failure, Result, from_store};
use crate::{secrets, words};

/// Where a demo keeps what it makes.
#[derive(Debug)]
pub(super) struct Folder {
    store: PathBuf,
    passphrase: PathBuf,
    state: PathBuf,
    base: PathBuf,
}

impl Folder {
    /// Takes `keep`, which must be new or empty, or a new folder for temporary files.
    pub(super) fn create(keep: Option<&Path>) -> Result<Self> {
        let base = match keep {
            Some(folder) => folder.to_owned(),
            None => std::env::temp_dir().join(format!("m365-backup-demo-{}", random_name()?)),
        };
        fs::create_dir_all(&base)
            .map_err(|error| Failure::file("make the folder", &base, &error))?;
        let base = base
            .canonicalize()
            .map_err(|error| Failure::file("find the folder", &base, &error))?;
        let mut entries =
            fs::read_dir(&base).map_err(|error| Failure::file("read the folder", &base, &error))?;
        if entries.next().is_some() {
            return Err(Failure::usage(format!("{} is not empty", base.display()))
                .next("give --keep a new or empty folder"));
        }
        Ok(Self {
            store: base.join("store"),
            passphrase: base.join("passphrase"),
            state: base.join("state"),
            base,
        })
    }

    /// Creates an encrypted store with a random passphrase.
    pub(super) async fn create_store(&self) -> Result<Store> {
        let passphrase = secrets::generate_passphrase(&self.passphrase)?;
        let explain = |error| from_store("create", self.store.display(), &error);
        let backend = Arc::new(LocalBackend::create(&self.store).map_err(explain)?);
        Store::create(
            backend,
            &passphrase,
            CreateOptions::default(),
            StoreOptions::default(),
        )
        .await
        .map_err(explain)
    }

    /// Opens the store as the next process will: from its objects and the passphrase file alone.
    pub(super) async fn reopen_store(&self) -> Result<Store> {
        let text = fs::read_to_string(&self.passphrase)
            .map_err(|error| Failure::file("read the passphrase", &self.passphrase, &error))?;
        let explain = |error| from_store("open", self.store.display(), &error);
        let backend = Arc::new(LocalBackend::open(&self.store).map_err(explain)?);
        let passphrase = Passphrase::new(text.trim_end());
        Store::open(backend, &passphrase, StoreOptions::default())
            .await
            .map_err(explain)
    }

    /// Returns where the store is.
    pub(super) fn store(&self) -> &Path {
        &self.store
    }

    /// Returns where the passphrase is.
    pub(super) fn passphrase(&self) -> &Path {
        &self.passphrase
    }

    /// Returns where journals and spools are.
    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    /// Removes what only a next run would need.
    pub(super) fn tidy(&self) -> Result<()> {
        match fs::remove_dir_all(&self.state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::file("remove the folder", &self.state, &error))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.base.display().fmt(f)
    }
}

fn random_name() -> Result<String> {
    let mut random = [0; 6];
    SystemEnvironment
        .fill(&mut random)
        .map_err(|error| Failure::new(Exit::Failed, "cannot name a folder").because(&error))?;
    Ok(words::hex(&random))
}
