//! Creating and opening a store: config, key slots, epochs.

use std::sync::{Arc, RwLock};

use bytes::Bytes;

use super::key_slots::seal_slot;
use super::unlock::{Holder, get, open_keys};
use super::{CreateOptions, Inner, Resolved, Store, StoreOptions, put_resolved};
use crate::backend::{Backend, ObjectName};
use crate::copy::replica_id;
use crate::disk::SystemDisk;
use crate::error::{Error, ErrorKind, Result};
use crate::id::StoreId;
use crate::index::cache::IndexCache;
use crate::keys::config::{Config, MAX_BYTES};
use crate::keys::epoch::{self, EpochContent, EpochPlace};
use crate::keys::slot::{Info, Recipient};
use crate::keys::unlock::Unlock;
use crate::keys::{Key, Keys, StableKeys};
use crate::offload::offload;
use crate::pack::reader::PackReader;
use crate::slots::SlotCache;

/// What the first recipient is called unless it is told otherwise.
const FIRST_LABEL: &str = "first";

impl Store {
    /// Creates a store in an empty place and opens it; `unlock` becomes its first key slot.
    ///
    /// The place is probed first. The epoch is put first, contested by name, and `config` last: a
    /// store exists when its `config` exists.
    ///
    /// *Errors*: [`ErrorKind::StoreExists`], and those of the backend.
    pub async fn create(
        backend: Arc<dyn Backend>,
        unlock: impl Into<Unlock>,
        create: CreateOptions,
        options: StoreOptions,
    ) -> Result<Self> {
        let unlock = unlock.into();
        refuse_existing(backend.as_ref()).await?;
        let found = backend.probe().await?;
        let environment = options.environment.as_ref();
        let store = StoreId::random(environment)?;
        let config = Bytes::from(Config::new(store, environment.now(), found).encode()?);
        let content = EpochContent {
            stable: StableKeys {
                chunk_id: Key::random(environment)?,
                chunker: Key::random(environment)?,
            },
            roots: vec![Key::random(environment)?],
        };
        let place = EpochPlace {
            store,
            epoch: 0,
            config: &config,
        };
        let wrapped = epoch::wrap(&content, &place, environment)?;
        put_own(backend.as_ref(), &place.name(), wrapped.into()).await?;
        let keys = Keys::new(store, &content.roots, &content.stable);
        let recipient = Recipient::new(&unlock, create.kdf, None, environment)?;
        let key = {
            let recipient = recipient.clone();
            let work = move || recipient.key(store, &unlock);
            offload(options.offload.as_ref(), work).await??
        };
        let info = Info {
            label: FIRST_LABEL.to_owned(),
            created: environment.now(),
        };
        let (name, slot) = seal_slot(
            store,
            0,
            &content.roots[0],
            &recipient,
            &key,
            &info,
            environment,
        )?;
        put_own(backend.as_ref(), name.as_str(), slot).await?;
        put_own(backend.as_ref(), "config", config.clone()).await?;
        let holder = Holder {
            id: recipient.id,
            key,
        };
        Self::assemble(
            backend,
            (keys, holder, config),
            options,
            found.put_if_absent,
        )
        .await
    }

    /// Opens a store with any secret that has a key slot.
    ///
    /// *Errors*: [`ErrorKind::NotAStore`], [`ErrorKind::UnsupportedFormat`],
    /// [`ErrorKind::WrongPassphrase`], [`ErrorKind::WrongRecoveryCode`],
    /// [`ErrorKind::WrongKeyFile`], [`ErrorKind::RecipientRemoved`], [`ErrorKind::Damaged`], and
    /// those of the backend.
    pub async fn open(
        backend: Arc<dyn Backend>,
        unlock: impl Into<Unlock>,
        options: StoreOptions,
    ) -> Result<Self> {
        let config = read_config(backend.as_ref()).await?;
        let parsed = Config::decode(&config)?;
        let unlock = unlock.into();
        let opened = open_keys(
            backend.as_ref(),
            options.offload.as_ref(),
            parsed.store_id,
            &config,
            &unlock,
        );
        let (keys, holder) = opened.await?;
        Self::assemble(
            backend,
            (keys, holder, config),
            options,
            parsed.put_if_absent,
        )
        .await
    }

    pub(super) async fn assemble(
        backend: Arc<dyn Backend>,
        (keys, holder, config): (Keys, Holder, Bytes),
        options: StoreOptions,
        put_if_absent: bool,
    ) -> Result<Self> {
        let keys = Arc::new(keys);
        let store = keys.store;
        // A replica has the same id, and a cache of its own.
        let place = match replica_id(backend.as_ref()).await? {
            Some(replica) => format!("{store}-{replica}"),
            None => store.to_string(),
        };
        let cache_dir = options.cache_dir.as_ref().map(|dir| dir.join(place));
        let directory = cache_dir.clone();
        let index = offload(options.offload.as_ref(), move || {
            IndexCache::open(directory.as_deref(), &store)
        })
        .await??;
        let packs = PackReader::new(
            Arc::clone(&backend),
            Arc::clone(&keys),
            Arc::clone(&options.offload),
        );
        let store = Self(Arc::new(Inner {
            backend,
            keys,
            holder: RwLock::new(holder),
            config,
            options,
            disk: Arc::new(SystemDisk),
            cache_dir,
            put_if_absent,
            index: Arc::new(index),
            packs,
            slots: SlotCache::default(),
            rounds: RwLock::default(),
            distrusted: RwLock::default(),
            remembered: std::sync::Mutex::default(),
        }));
        store.refresh_index().await?;
        Ok(store)
    }
}

pub(crate) async fn refuse_existing(backend: &dyn Backend) -> Result<()> {
    let exists = |words: &str| Err(Error::new(ErrorKind::StoreExists, words));
    match get(backend, "config").await {
        Ok(_) => return exists("store: there is one at this place already"),
        Err(cause) if cause.kind() == ErrorKind::NotFound => {}
        Err(cause) => return Err(cause),
    }
    if !backend.list("epochs/").await?.is_empty() {
        return exists(
            "store: creating one at this place was interrupted, or is under way; use another \
             place, or empty this one",
        );
    }
    Ok(())
}

async fn put_own(backend: &dyn Backend, name: &str, bytes: Bytes) -> Result<()> {
    match put_resolved(backend, &ObjectName::new(name)?, bytes).await? {
        Resolved::Ours => Ok(()),
        Resolved::Other(_) => {
            let words = format!("object {name}: someone else creates a store at this place");
            Err(Error::new(ErrorKind::StoreExists, words))
        }
    }
}

async fn read_config(backend: &dyn Backend) -> Result<Bytes> {
    let config = backend
        .get(&ObjectName::new("config")?, Some(0..MAX_BYTES))
        .await;
    config.map_err(|cause| {
        if cause.kind() == ErrorKind::NotFound {
            let words = "store: there is none at this place (it has no config)";
            Error::new(ErrorKind::NotAStore, words).with_source(cause)
        } else {
            cause
        }
    })
}

#[cfg(test)]
impl Store {
    /// Opens another place of the same store with the keys at hand and cold caches.
    pub(crate) async fn reopen_at(
        &self,
        backend: Arc<dyn Backend>,
        options: StoreOptions,
    ) -> Result<Self> {
        let known = self.keys();
        let keys = Keys::new(self.id(), &known.roots(), known.stable());
        let opened = (keys, self.holder(), self.0.config.clone());
        Self::assemble(backend, opened, options, self.put_if_absent()).await
    }
}
