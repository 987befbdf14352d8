//! Key slots of an open store: listing, adding, changing, and the recovery kit.

use bytes::Bytes;

use super::unlock::{Derivation, Holder, ListedSlot, SLOTS_LIMIT, newest_epoch, read_slots};
use super::{Resolved, Store, put_resolved};
use crate::backend::{Backend, ObjectName};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{RecipientId, RunId, StoreId};
use crate::keys::Key;
use crate::keys::kit::RecoveryKit;
use crate::keys::passphrase::KdfParams;
use crate::keys::recovery_code::RecoveryCode;
use crate::keys::slot::{self, Info, Recipient, Slot, SlotPlace};
use crate::keys::unlock::{RecipientKind, Unlock};
use crate::time::Timestamp;

/// What is said of a key slot when it is made.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct SlotOptions {
    /// What people call the recipient; at most 64 bytes. Whoever can open the store can read it.
    pub label: String,
    /// Cost of guessing a passphrase; of no meaning for other secrets.
    pub kdf: KdfParams,
}

impl SlotOptions {
    /// Makes options with a label and the default cost.
    pub fn labelled(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }
}

/// A key slot of the present key epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySlot {
    /// Who it is for; absent for a kind that this program does not know.
    pub recipient: Option<RecipientId>,
    /// What opens it.
    pub kind: RecipientKind,
    /// What people call the recipient.
    pub label: String,
    /// When the recipient was added, or its secret changed.
    pub created: Option<Timestamp>,
    /// Name of the object.
    pub name: ObjectName,
}

/// A slot that belongs to the present root key.
#[derive(Debug)]
pub(super) struct Present {
    pub(super) name: ObjectName,
    pub(super) slot: Slot,
    pub(super) info: Info,
}

impl Present {
    pub(super) fn describe(&self) -> KeySlot {
        describe(self.name.clone(), &self.slot.recipient, &self.info)
    }
}

pub(super) fn describe(name: ObjectName, recipient: &Recipient, info: &Info) -> KeySlot {
    KeySlot {
        recipient: Some(recipient.id),
        kind: recipient.kind,
        label: info.label.clone(),
        created: Some(info.created),
        name,
    }
}

/// Names and seals a slot.
pub(super) fn seal_slot(
    store: StoreId,
    epoch: u32,
    root: &Key,
    recipient: &Recipient,
    key: &Key,
    info: &Info,
    environment: &dyn Environment,
) -> Result<(ObjectName, Bytes)> {
    let id = RunId::random(environment)?;
    let name = ObjectName::new(format!("{}{id}", slot::prefix(epoch)))?;
    let place = SlotPlace {
        store,
        epoch,
        name: name.as_str(),
    };
    let bytes = slot::wrap(root, recipient, key, info, &place, environment)?;
    Ok((name, Bytes::from(bytes)))
}

/// Puts a slot under the name that was drawn for it.
pub(super) async fn put_slot(backend: &dyn Backend, name: &ObjectName, slot: Bytes) -> Result<()> {
    match put_resolved(backend, name, slot).await? {
        Resolved::Ours => Ok(()),
        Resolved::Other(_) => {
            let words = format!("object {name}: the name of a new key slot is taken");
            Err(Error::new(ErrorKind::Conflict, words))
        }
    }
}

impl Store {
    /// Returns the key epoch under which new objects are sealed.
    pub fn key_epoch(&self) -> u32 {
        self.keys().epoch()
    }

    /// Lists the key slots of the present key epoch. Damaged slots, and slots that an interrupted
    /// change of keys left, are not among them.
    ///
    /// *Errors*: [`ErrorKind::RecipientRemoved`], and those of the backend.
    pub async fn key_slots(&self) -> Result<Vec<KeySlot>> {
        self.learn_epochs().await?;
        let listed = self.read_key_slots().await?;
        let foreign = listed.iter().filter_map(|listed| match &listed.slot {
            Ok(Err(kind)) => Some(KeySlot {
                recipient: None,
                kind: *kind,
                label: String::new(),
                created: None,
                name: listed.name.clone(),
            }),
            _ => None,
        });
        let mut slots: Vec<KeySlot> = foreign.collect();
        slots.extend(self.present(listed)?.iter().map(Present::describe));
        slots.sort_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
        Ok(slots)
    }

    /// Gives a secret a key slot, so that it opens the store from now on. A secret that has one
    /// already gets no second one.
    ///
    /// *Errors*: [`ErrorKind::Conflict`] while the root key is being changed, or when such a change
    /// was interrupted and not yet made again.
    ///
    /// *Cancel safety*: when dropped, the slot exists whole or not at all; try again.
    pub async fn add_key(
        &self,
        unlock: impl Into<Unlock>,
        options: SlotOptions,
    ) -> Result<KeySlot> {
        let unlock = unlock.into();
        self.learn_epochs().await?;
        let present = self.present(self.read_key_slots().await?)?;
        if let Some((slot, _)) = self.opened_by(&present, &unlock).await?.first() {
            return Ok(slot.describe());
        }
        if present.len() >= SLOTS_LIMIT / 2 {
            let words = format!(
                "store: it has {} key slots; no more are allowed",
                present.len()
            );
            return Err(Error::new(ErrorKind::TooLarge, words));
        }
        let environment = self.environment().as_ref();
        let recipient = Recipient::new(&unlock, options.kdf, None, environment)?;
        let info = Info {
            label: options.label,
            created: environment.now(),
        };
        let (slot, _) = self.add_slot(&unlock, recipient, info).await?;
        Ok(slot)
    }

    /// Replaces the secret of a recipient: puts a new key slot, then deletes the old one. Nothing
    /// else is written: the root key stays, and whoever held it still does.
    ///
    /// After a crash both secrets may open the store; the same call again finishes the change.
    ///
    /// *Errors*: [`ErrorKind::WrongPassphrase`] and the like when `old` opens no key slot;
    /// [`ErrorKind::InvalidInput`] when `new` is another recipient's secret;
    /// [`ErrorKind::Conflict`] as for [`add_key`](Self::add_key).
    pub async fn change_key(
        &self,
        old: impl Into<Unlock>,
        new: impl Into<Unlock>,
        kdf: KdfParams,
    ) -> Result<KeySlot> {
        let (old, new) = (old.into(), new.into());
        self.learn_epochs().await?;
        let present = self.present(self.read_key_slots().await?)?;
        let replaced = self.opened_by(&present, &old).await?;
        let Some((first, _)) = replaced.first() else {
            let words = format!("store: no key slot opens with the old {}", old.kind());
            return Err(old.refused(words));
        };
        let id = first.slot.recipient.id;
        let mut opened = self.opened_by(&present, &new).await?.into_iter();
        let is_old = |name: &ObjectName| replaced.iter().any(|(old, _)| old.name == *name);
        let (slot, holder) = match opened.find(|(slot, _)| !is_old(&slot.name)) {
            Some((slot, _)) if slot.slot.recipient.id != id => {
                let words = "new secret: another recipient has it already";
                return Err(Error::new(ErrorKind::InvalidInput, words));
            }
            Some((slot, key)) => (slot.describe(), Holder { id, key }),
            None => {
                let environment = self.environment().as_ref();
                let recipient = Recipient::new(&new, kdf, Some(id), environment)?;
                let info = Info {
                    label: first.info.label.clone(),
                    created: environment.now(),
                };
                self.add_slot(&new, recipient, info).await?
            }
        };
        if self.holder().id == id {
            self.set_holder(holder);
        }
        for (old, _) in &replaced {
            if old.slot.recipient.id == id {
                self.backend().delete(&old.name).await?;
            }
        }
        Ok(slot)
    }

    /// Puts together what is needed to open this store when nobody remembers anything: to be
    /// printed and kept in a safe place. `place` says where the store lies, in words.
    ///
    /// *Errors*: [`ErrorKind::WrongRecoveryCode`] when the code does not open this store: then it
    /// would be of no use.
    pub async fn recovery_kit(
        &self,
        place: impl Into<String>,
        code: &RecoveryCode,
    ) -> Result<RecoveryKit> {
        let unlock = Unlock::from(code);
        self.learn_epochs().await?;
        let present = self.present(self.read_key_slots().await?)?;
        if self.opened_by(&present, &unlock).await?.is_empty() {
            let words = "recovery kit: its code does not open this store; add it as a key first";
            return Err(unlock.refused(words));
        }
        Ok(RecoveryKit {
            store: self.id(),
            place: place.into(),
            made: self.environment().now(),
            key_epoch: self.key_epoch(),
            slots: self.key_slots().await?,
            code: code.clone(),
        })
    }

    /// Seals and puts a slot of the present key epoch; takes it back when that is over.
    async fn add_slot(
        &self,
        unlock: &Unlock,
        recipient: Recipient,
        info: Info,
    ) -> Result<(KeySlot, Holder)> {
        let key = Derivation::new(self.offload().as_ref(), self.id(), unlock)
            .key(&recipient)
            .await?;
        let (epoch, environment) = (self.key_epoch(), self.environment().as_ref());
        let root = self.root()?;
        let (name, bytes) = seal_slot(
            self.id(),
            epoch,
            &root,
            &recipient,
            &key,
            &info,
            environment,
        )?;
        let backend = self.backend().as_ref();
        put_slot(backend, &name, bytes).await?;
        // Whoever changes the root key puts the slots of the next epoch, then looks at the present
        // ones again: one of the two sees the other. What an interrupted change left may still
        // become an epoch (a put that lands late), in which this recipient would have no slot.
        let slots = backend.list("keys/").await?;
        let mut epochs = slots
            .iter()
            .filter_map(|info| slot::parse_epoch(info.name.as_str()));
        if epochs.any(|other| other > epoch) || newest_epoch(backend).await? > epoch {
            backend.delete(&name).await?;
            let words = "key slot: the root key is being changed, or such a change was \
                         interrupted: finish that first, by changing the root key";
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        let id = recipient.id;
        Ok((describe(name, &recipient, &info), Holder { id, key }))
    }

    pub(super) async fn read_key_slots(&self) -> Result<Vec<ListedSlot>> {
        read_slots(self.backend().as_ref(), self.id(), self.key_epoch()).await
    }

    /// Keeps the slots that belong to the present root key.
    pub(super) fn present(&self, listed: Vec<ListedSlot>) -> Result<Vec<Present>> {
        let (root, epoch) = (self.root()?, self.key_epoch());
        let mut present = Vec::new();
        for ListedSlot { name, slot } in listed {
            let slot = match slot {
                Ok(Ok(slot)) => slot,
                Ok(Err(_)) => continue,
                Err(cause) => {
                    tracing::warn!(%name, %cause, "a key slot cannot be read");
                    continue;
                }
            };
            let place = SlotPlace {
                store: self.id(),
                epoch,
                name: name.as_str(),
            };
            if let Some(info) = slot.info(&root, &place) {
                present.push(Present { name, slot, info });
            }
        }
        Ok(present)
    }

    /// Finds the slots that a secret opens, with the key of each recipient.
    pub(super) async fn opened_by<'a>(
        &self,
        present: &'a [Present],
        unlock: &Unlock,
    ) -> Result<Vec<(&'a Present, Key)>> {
        let mut derivation = Derivation::new(self.offload().as_ref(), self.id(), unlock);
        let mut opened = Vec::new();
        for one in present {
            if one.slot.recipient.kind != unlock.kind() {
                continue;
            }
            let place = SlotPlace {
                store: self.id(),
                epoch: self.key_epoch(),
                name: one.name.as_str(),
            };
            let key = derivation.key(&one.slot.recipient).await?;
            if one.slot.open(&key, &place)?.is_some() {
                opened.push((one, key));
            }
        }
        Ok(opened)
    }

    /// Returns the present root key.
    pub(super) fn root(&self) -> Result<Key> {
        self.keys()
            .roots()
            .pop()
            .ok_or_else(|| Error::new(ErrorKind::InvalidInput, "store: it has no key epoch"))
    }
}
