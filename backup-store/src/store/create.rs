//! Creating and opening a store: config, key slots, epochs.

use std::sync::{Arc, RwLock};

use bytes::Bytes;

use super::{CreateOptions, Inner, Resolved, Store, StoreOptions, put_resolved};
use crate::backend::{Backend, ObjectName};
use crate::disk::SystemDisk;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RunId, StoreId};
use crate::index::cache::IndexCache;
use crate::keys::config::{Config, MAX_BYTES};
use crate::keys::epoch::{self, EpochPlace};
use crate::keys::passphrase::{self, Opened, Passphrase, SlotPlace};
use crate::keys::{Key, Keys, StableKeys};
use crate::offload::offload;
use crate::pack::reader::PackReader;
use crate::slots::SlotCache;

/// The only key epoch until recipients can be removed.
const EPOCH: u32 = 0;
/// Key slots that are tried at most; each costs one key derivation.
const SLOTS_LIMIT: usize = 64;

impl Store {
    /// Creates a store in an empty place and opens it.
    ///
    /// The place is probed first. The epoch is put first, contested by name, and `config` last: a
    /// store exists when its `config` exists.
    ///
    /// *Errors*: [`ErrorKind::StoreExists`], and those of the backend.
    pub async fn create(
        backend: Arc<dyn Backend>,
        passphrase: &Passphrase,
        create: CreateOptions,
        options: StoreOptions,
    ) -> Result<Self> {
        refuse_existing(backend.as_ref()).await?;
        let found = backend.probe().await?;
        let environment = options.environment.as_ref();
        let store = StoreId::random(environment)?;
        let config = Config::new(store, environment.now(), found).encode()?;
        let root = Key::random(environment)?;
        let stable = StableKeys {
            chunk_id: Key::random(environment)?,
            chunker: Key::random(environment)?,
        };
        let place = EpochPlace {
            store,
            epoch: EPOCH,
            config: &config,
        };
        let wrapped = epoch::wrap(&root, &stable, &place, environment)?;
        put_own(backend.as_ref(), &place.name(), wrapped).await?;
        let slot_name = format!("keys/{EPOCH}.{}", RunId::random(environment)?);
        let slot = {
            let (passphrase, shared) = (passphrase.clone(), Arc::clone(&options.environment));
            let (root, name) = (root.clone(), slot_name.clone());
            offload(options.offload.as_ref(), move || {
                let place = SlotPlace { store, name: &name };
                passphrase::wrap(
                    &root,
                    EPOCH,
                    &passphrase,
                    create.kdf,
                    &place,
                    shared.as_ref(),
                )
            })
            .await??
        };
        put_own(backend.as_ref(), &slot_name, slot).await?;
        put_own(backend.as_ref(), "config", config.clone()).await?;
        let keys = Keys::new(store, EPOCH, &root, &stable);
        Self::assemble(backend, keys, options, found.put_if_absent).await
    }

    /// Opens a store.
    ///
    /// *Errors*: [`ErrorKind::NotAStore`], [`ErrorKind::UnsupportedFormat`],
    /// [`ErrorKind::WrongPassphrase`], [`ErrorKind::Damaged`], and those of the backend.
    pub async fn open(
        backend: Arc<dyn Backend>,
        passphrase: &Passphrase,
        options: StoreOptions,
    ) -> Result<Self> {
        let bytes = read_config(backend.as_ref()).await?;
        let config = Config::decode(&bytes)?;
        let place = EpochPlace {
            store: config.store_id,
            epoch: EPOCH,
            config: &bytes,
        };
        let epoch = get(backend.as_ref(), &place.name())
            .await
            .map_err(|cause| {
                if cause.kind() == ErrorKind::NotFound {
                    Error::damaged(format_args!("object {}", place.name()), "it is missing")
                        .with_source(cause)
                } else {
                    cause
                }
            })?;
        let mut trouble = None;
        for root in unlock(
            backend.as_ref(),
            &config,
            passphrase,
            &options,
            &mut trouble,
        )
        .await?
        {
            if let Some(stable) = epoch::unwrap(&epoch, &root, &place)? {
                let keys = Keys::new(config.store_id, EPOCH, &root, &stable);
                return Self::assemble(backend, keys, options, config.put_if_absent).await;
            }
        }
        Err(trouble.unwrap_or_else(|| {
            let words = "store: no key slot opens with this passphrase";
            Error::new(ErrorKind::WrongPassphrase, words)
        }))
    }

    pub(super) async fn assemble(
        backend: Arc<dyn Backend>,
        keys: impl Into<Arc<Keys>>,
        options: StoreOptions,
        put_if_absent: bool,
    ) -> Result<Self> {
        let keys: Arc<Keys> = keys.into();
        let store = keys.store;
        let cache_dir = options
            .cache_dir
            .as_ref()
            .map(|dir| dir.join(store.to_string()));
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
            options,
            disk: Arc::new(SystemDisk),
            cache_dir,
            put_if_absent,
            index: Arc::new(index),
            packs,
            slots: SlotCache::default(),
            rounds: RwLock::default(),
        }));
        store.refresh_index().await?;
        Ok(store)
    }
}

async fn refuse_existing(backend: &dyn Backend) -> Result<()> {
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

async fn get(backend: &dyn Backend, name: &str) -> Result<Bytes> {
    backend.get(&ObjectName::new(name)?, None).await
}

async fn put_own(backend: &dyn Backend, name: &str, bytes: Vec<u8>) -> Result<()> {
    match put_resolved(backend, &ObjectName::new(name)?, Bytes::from(bytes)).await? {
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

/// Tries the passphrase on every slot; damage to a slot is reported only if none opens.
async fn unlock(
    backend: &dyn Backend,
    config: &Config,
    passphrase: &Passphrase,
    options: &StoreOptions,
    trouble: &mut Option<Error>,
) -> Result<Vec<Key>> {
    let mut roots = Vec::new();
    let mut refused = false;
    let slots = backend.list(&format!("keys/{EPOCH}.")).await?;
    for info in slots.into_iter().take(SLOTS_LIMIT) {
        let slot = backend.get(&info.name, None).await?;
        let (passphrase, store) = (passphrase.clone(), config.store_id);
        let opened = offload(options.offload.as_ref(), move || {
            let place = SlotPlace {
                store,
                name: info.name.as_str(),
            };
            passphrase::unwrap(&slot, EPOCH, &passphrase, &place)
        })
        .await?;
        match opened {
            Ok(Opened::Root(root)) => roots.push(root),
            Ok(Opened::NotOurs) => refused = true,
            Ok(Opened::OtherKind) => {}
            Err(cause) => *trouble = Some(cause),
        }
    }
    if refused {
        *trouble = None; // A whole slot said no: the passphrase is the likelier cause.
    } else if roots.is_empty() && trouble.is_none() {
        *trouble = Some(Error::damaged("store", "it has no passphrase key slot"));
    }
    Ok(roots)
}
