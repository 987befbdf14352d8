//! Unlocking: from a secret to the keys of the newest key epoch, and on to newer ones.

use std::sync::PoisonError;

use bytes::Bytes;

use super::Store;
use crate::backend::{Backend, ObjectName};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RecipientId, StoreId};
use crate::keys::epoch::{self, EpochContent, EpochPlace};
use crate::keys::slot::{self, Recipient, Slot, SlotPlace};
use crate::keys::unlock::{RecipientKind, Unlock};
use crate::keys::{Key, Keys};
use crate::offload::{Offload, offload};

/// Key slots that an epoch may have; each may cost one key derivation.
pub(crate) const SLOTS_LIMIT: usize = 64;

/// Who opened a store: enough to open the slot of the same recipient in a later key epoch.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) id: RecipientId,
    pub(crate) key: Key,
}

/// Reads a whole object.
pub(super) async fn get(backend: &dyn Backend, name: &str) -> Result<Bytes> {
    backend.get(&ObjectName::new(name)?, None).await
}

/// Finds the present key epoch: the highest there is.
pub(super) async fn newest_epoch(backend: &dyn Backend) -> Result<u32> {
    let listed = backend.list("epochs/").await?;
    let epochs = listed
        .iter()
        .filter_map(|info| epoch::parse_name(info.name.as_str()));
    epochs.max().ok_or_else(|| {
        let cause = "it is missing, and so is every other key epoch";
        Error::damaged("object epochs/0", cause)
    })
}

/// A slot of a key epoch, as it lies in the store.
#[derive(Debug)]
pub(super) struct ListedSlot {
    pub(super) name: ObjectName,
    pub(super) slot: Result<Result<Slot, RecipientKind>>,
}

/// Reads the slots of a key epoch, whole or not; those that go meanwhile are left out.
pub(super) async fn read_slots(
    backend: &dyn Backend,
    store: StoreId,
    epoch: u32,
) -> Result<Vec<ListedSlot>> {
    let mut slots = Vec::new();
    for info in backend.list(&slot::prefix(epoch)).await? {
        if slots.len() == SLOTS_LIMIT {
            tracing::warn!(
                epoch,
                "more key slots than a key epoch may have: the rest is not tried"
            );
            break;
        }
        let bytes = match backend.get(&info.name, Some(0..slot::MAX_BYTES)).await {
            Ok(bytes) => bytes,
            Err(cause) if cause.kind() == ErrorKind::NotFound => continue,
            Err(cause) => return Err(cause),
        };
        let place = SlotPlace {
            store,
            epoch,
            name: info.name.as_str(),
        };
        let slot = Slot::parse(&bytes, &place);
        slots.push(ListedSlot {
            name: info.name,
            slot,
        });
    }
    Ok(slots)
}

/// Turns one secret into the keys of many slots; slots of one recipient cost one derivation.
pub(super) struct Derivation<'a> {
    pub(super) offload: &'a dyn Offload,
    pub(super) store: StoreId,
    unlock: &'a Unlock,
    known: Vec<(Recipient, Key)>,
}

impl<'a> Derivation<'a> {
    pub(super) fn new(offload: &'a dyn Offload, store: StoreId, unlock: &'a Unlock) -> Self {
        Self {
            offload,
            store,
            unlock,
            known: Vec::new(),
        }
    }

    pub(super) async fn key(&mut self, recipient: &Recipient) -> Result<Key> {
        let mut known = self.known.iter();
        if let Some((_, key)) = known.find(|(one, _)| one == recipient) {
            return Ok(key.clone());
        }
        let (store, unlock, wanted) = (self.store, self.unlock.clone(), recipient.clone());
        let key = offload(self.offload, move || wanted.key(store, &unlock)).await??;
        self.known.push((recipient.clone(), key.clone()));
        Ok(key)
    }
}

/// What trying a secret on the slots of a key epoch gave.
#[derive(Debug, Default)]
struct Tried {
    /// A whole slot of the secret's kind was for another secret.
    refused: bool,
    /// There are slots of kinds that only another program can open.
    foreign: bool,
    /// The last damaged object.
    trouble: Option<Error>,
}

/// Opens all keys of a store with a secret.
pub(super) async fn open_keys(
    backend: &dyn Backend,
    offload: &dyn Offload,
    store: StoreId,
    config: &[u8],
    unlock: &Unlock,
) -> Result<(Keys, Holder)> {
    let mut derivation = Derivation::new(offload, store, unlock);
    let mut epoch = newest_epoch(backend).await?;
    loop {
        let mut tried = Tried::default();
        let place = EpochPlace {
            store,
            epoch,
            config,
        };
        if let Some((content, holder)) =
            try_epoch(backend, &place, unlock, &mut derivation, &mut tried).await?
        {
            let keys = Keys::new(store, &content.roots, &content.stable);
            return Ok((keys, holder));
        }
        // The root key may have been changed since the listing, and the old slots deleted.
        match newest_epoch(backend).await? {
            newer if newer > epoch => epoch = newer,
            _ => return Err(explain(backend, epoch, unlock, &mut derivation, tried).await?),
        }
    }
}

/// Tries the secret on every slot of an epoch. A slot whose root is not that of the epoch was left
/// by a change of the root key that another one overtook.
async fn try_epoch(
    backend: &dyn Backend,
    place: &EpochPlace<'_>,
    unlock: &Unlock,
    derivation: &mut Derivation<'_>,
    tried: &mut Tried,
) -> Result<Option<(EpochContent, Holder)>> {
    let object = get(backend, &place.name()).await?;
    for listed in read_slots(backend, place.store, place.epoch).await? {
        let slot = match listed.slot {
            Ok(Ok(slot)) if slot.recipient.kind == unlock.kind() => slot,
            Ok(found) => {
                tried.foreign |= found.is_err();
                continue;
            }
            Err(cause) => {
                tried.trouble = Some(cause);
                continue;
            }
        };
        let of_slot = SlotPlace {
            store: place.store,
            epoch: place.epoch,
            name: listed.name.as_str(),
        };
        let key = derivation.key(&slot.recipient).await?;
        match slot.open(&key, &of_slot) {
            Ok(Some(root)) => {
                if let Some(content) = epoch::unwrap(&object, &root, place)? {
                    let id = slot.recipient.id;
                    return Ok(Some((content, Holder { id, key })));
                }
            }
            Ok(None) => tried.refused = true,
            Err(cause) => tried.trouble = Some(cause),
        }
    }
    Ok(None)
}

/// Says why no slot of the present epoch opened.
async fn explain(
    backend: &dyn Backend,
    present: u32,
    unlock: &Unlock,
    derivation: &mut Derivation<'_>,
    tried: Tried,
) -> Result<Error> {
    for epoch in (0..present).rev() {
        for listed in read_slots(backend, derivation.store, epoch).await? {
            let Ok(Ok(slot)) = listed.slot else { continue };
            if slot.recipient.kind != unlock.kind() {
                continue;
            }
            let place = SlotPlace {
                store: derivation.store,
                epoch,
                name: listed.name.as_str(),
            };
            let key = derivation.key(&slot.recipient).await?;
            if matches!(slot.open(&key, &place), Ok(Some(_))) {
                return Ok(removed(present));
            }
        }
    }
    let kind = unlock.kind();
    Ok(match tried {
        // A whole slot said no: that the secret is wrong is likelier than damage to another slot.
        Tried { refused: true, .. } => {
            unlock.refused(format!("store: no key slot opens with this {kind}"))
        }
        Tried {
            trouble: Some(cause), ..
        } => cause,
        Tried { foreign: true, .. } => unlock.refused(format!(
            "store: it has no key slot for a {kind}, and some of kinds that this program cannot open"
        )),
        _ => unlock.refused(format!("store: it has no key slot for a {kind}")),
    })
}

fn removed(epoch: u32) -> Error {
    let words = format!(
        "store: the root key was changed (key epoch {epoch}), and this secret was not among those \
         that it was given to"
    );
    Error::new(ErrorKind::RecipientRemoved, words)
}

impl Store {
    /// Learns the keys of key epochs that were begun since the store was opened.
    ///
    /// *Errors*: [`ErrorKind::RecipientRemoved`] when they were not given to the recipient that
    /// opened this store.
    pub(crate) async fn learn_epochs(&self) -> Result<()> {
        let backend = self.backend().as_ref();
        let newest = newest_epoch(backend).await?;
        if newest <= self.keys().epoch() {
            return Ok(());
        }
        let place = self.epoch_place(newest);
        let object = get(backend, &place.name()).await?;
        let holder = self.holder();
        for listed in read_slots(backend, self.id(), newest).await? {
            let Ok(Ok(slot)) = listed.slot else { continue };
            if slot.recipient.id != holder.id {
                continue;
            }
            let of_slot = SlotPlace {
                store: self.id(),
                epoch: newest,
                name: listed.name.as_str(),
            };
            let Ok(Some(root)) = slot.open(&holder.key, &of_slot) else {
                continue;
            };
            if let Some(content) = epoch::unwrap(&object, &root, &place)? {
                return self.keys().advance(&content.roots, &content.stable);
            }
        }
        Err(removed(newest))
    }

    pub(super) fn epoch_place(&self, epoch: u32) -> EpochPlace<'_> {
        EpochPlace {
            store: self.id(),
            epoch,
            config: &self.0.config,
        }
    }

    pub(super) fn holder(&self) -> Holder {
        let holder = self.0.holder.read();
        holder.unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_holder(&self, holder: Holder) {
        let mut held = self
            .0
            .holder
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = holder;
    }
}
