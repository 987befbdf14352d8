//! Connect: builds the store and the clients from options, config and secrets.

mod backend;
mod identity;
mod tenant;

use std::path::PathBuf;

use backup_store::backend::BackendPlace;
use backup_store::catalog::SnapshotEntry;
use backup_store::{ErrorKind, StopSignal, Store, StoreOptions, Unlock};

use crate::args::GlobalArgs;
use crate::config::Config;
use crate::failure::{Failure, Result, from_store};
use crate::output::Output;
use crate::{platform, secrets};

pub(crate) use backend::{create_backend, open_backend};
pub(crate) use identity::{certificate, token_file, token_store};
pub(crate) use tenant::{
    Connection, Purpose, app, graph_client, graph_client_for_restore, scheduler, sign_in, transport,
};
#[cfg(feature = "demo")]
pub(crate) use tenant::{Login, client};

/// What every command works with.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) global: GlobalArgs,
    pub(crate) output: Output,
    pub(crate) stop: StopSignal,
}

impl Context {
    /// Gathers what every command works with.
    pub(crate) fn new(global: GlobalArgs, output: Output, stop: StopSignal) -> Self {
        Self {
            global,
            output,
            stop,
        }
    }

    /// Reads the config, if one is named.
    pub(crate) fn config(&self) -> Result<Option<Config>> {
        self.global.config.as_deref().map(Config::read).transpose()
    }

    /// Reads the config of a command that cannot do without.
    pub(crate) fn required_config(&self) -> Result<Config> {
        self.config()?.ok_or_else(|| {
            Failure::usage("this command needs the config of a backup set").next(
                "name it with --config FILE; write one with: m365-backup init --write-config FILE",
            )
        })
    }

    /// Returns where the store is, by option or config.
    pub(crate) fn store_path(&self, config: Option<&Config>) -> Result<BackendPlace> {
        let named = self.global.store.as_ref();
        named
            .or_else(|| config.and_then(|config| config.store.as_ref()))
            .cloned()
            .ok_or_else(|| {
                Failure::usage("no store is named")
                    .next("name it with --store PLACE, or in the config with --config FILE")
            })
    }

    /// Opens the store; with a config, its index is cached on this machine.
    pub(crate) async fn open_store(&self, config: Option<&Config>) -> Result<OpenStore> {
        let place = self.store_path(config)?;
        let unlock = || secrets::unlock(&self.global, config);
        self.open_store_at(place, unlock, config).await
    }

    /// Opens the store in `place`; the secret is asked for once it is known that there is a store.
    pub(crate) async fn open_store_at(
        &self,
        place: BackendPlace,
        unlock: impl FnOnce() -> Result<Unlock>,
        config: Option<&Config>,
    ) -> Result<OpenStore> {
        let backend = open_backend(&place)?;
        let unlock = unlock()?;
        let options = StoreOptions {
            cache_dir: config.and_then(state_base).map(|base| base.join("cache")),
            ..StoreOptions::default()
        };
        let store = Store::open(backend, unlock, options)
            .await
            .map_err(|error| from_store("open", &place, &error))?;
        Ok(self.opened(store, place))
    }

    /// Takes note of where an open store is.
    pub(crate) fn opened(&self, store: Store, place: BackendPlace) -> OpenStore {
        OpenStore {
            store,
            place,
            output: self.output.clone(),
        }
    }
}

/// A store together with where it is, which every message about it names.
#[derive(Debug, Clone)]
pub(crate) struct OpenStore {
    pub(crate) store: Store,
    pub(crate) place: BackendPlace,
    output: Output,
}

impl OpenStore {
    /// Lists the snapshots, oldest first, and warns of those that cannot be read. Their cursors,
    /// by far the longest part of them, are left out: nothing here goes on from one.
    pub(crate) async fn snapshots(&self) -> Result<Vec<SnapshotEntry>> {
        let scan = self.store.scan_snapshots().await;
        let mut scan = scan.map_err(self.failed("read"))?;
        let mut entries = Vec::new();
        while let Some(next) = scan.next().await {
            match next {
                Ok(mut entry) => {
                    entry.snapshot.cursors = Vec::new();
                    entries.push(entry);
                }
                Err(error) if error.kind() == ErrorKind::Damaged => {
                    let words = format!("a set of snapshots cannot be read: {error}");
                    self.output.warn(&words);
                }
                Err(error) => return Err(self.failed("read")(error)),
            }
        }
        entries.sort_by_key(|entry| (entry.snapshot.finished, entry.snapshot.token, entry.id));
        Ok(entries)
    }

    /// Explains a failure of this store.
    pub(crate) fn failed(&self, doing: &str) -> impl Fn(backup_store::Error) -> Failure + '_ {
        let doing = doing.to_owned();
        move |error| from_store(&doing, &self.place, &error)
    }
}

/// Returns the folder where this machine keeps what makes runs of this set cheap to resume.
///
/// *Shape*: the config's `state`, else a folder of the platform, with the store's id below it: a
/// journal belongs to one store.
pub(crate) fn state_folder(config: Option<&Config>, store: &Store) -> Result<PathBuf> {
    let base = config.map_or_else(platform::state_folder, state_base);
    let base = base.ok_or_else(|| {
        Failure::usage("this platform names no folder for the state of programs")
            .next("set `state` in the config")
    })?;
    Ok(base.join(store.id().to_string()))
}

/// Returns where this machine keeps caches and journals of a set: all of it may be lost.
pub(crate) fn state_base(config: &Config) -> Option<PathBuf> {
    config.state.clone().or_else(platform::state_folder)
}
