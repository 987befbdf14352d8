//! Changing the root key: a new key epoch, given to the recipients who stay.
//!
//! The slots of the new epoch are put first, then the present ones are listed once more, then the
//! epoch itself is put, contested by name, then the old slots are deleted. Before the epoch exists
//! nothing has changed; from then on every recipient who stays has its slot. Wherever this stops,
//! all of them can open the store.

use super::key_slots::{KeySlot, Present, SlotOptions, describe, put_slot, seal_slot};
use super::unlock::{Derivation, Holder};
use super::{Resolved, Store, put_resolved};
use crate::backend::ObjectName;
use crate::error::{Error, ErrorKind, Result};
use crate::id::RecipientId;
use crate::keys::Key;
use crate::keys::epoch::{self, EpochContent, EpochPlace};
use crate::keys::slot::{self, Info, Recipient};
use crate::keys::unlock::Unlock;

/// Says who gets the new root key. Every recipient of the present one must be kept or removed.
///
/// A recipient can only be kept by its secret: what one recipient could read for another, a removed
/// one could read as well. Where a secret is not at hand (a recovery code in a safe), remove that
/// recipient and add a new one.
#[derive(Debug, Clone, Default)]
pub struct Rotation {
    /// The secrets of recipients who stay; at least one, unless some are added.
    pub keep: Vec<Unlock>,
    /// New recipients.
    pub add: Vec<(Unlock, SlotOptions)>,
    /// Recipients who go.
    pub remove: Vec<RecipientId>,
}

/// Says what changing the root key did.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Rotated {
    /// The new key epoch.
    pub epoch: u32,
    /// Its key slots.
    pub slots: Vec<KeySlot>,
    /// Old key slots that could not be deleted. They open what was written before, nothing newer.
    pub undeleted: Vec<ObjectName>,
}

/// A recipient of the new root key.
struct Chosen {
    recipient: Recipient,
    key: Key,
    info: Info,
}

impl Store {
    /// Begins a new key epoch: draws a fresh root key, gives it to those who stay, and deletes the
    /// slots of those who go. What was written before stays as it is and stays readable to those
    /// who stay; what is written from now on is closed to those who go, even if they kept the old
    /// root key.
    ///
    /// Clients that run meanwhile go on under the old root key until they begin to write again.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] when a recipient is neither kept nor removed, or
    /// nobody would be left; [`ErrorKind::NotFound`] when one to remove does not exist;
    /// [`ErrorKind::WrongPassphrase`] and the like when a secret to keep opens no slot;
    /// [`ErrorKind::Conflict`] when someone else changes keys at the same time: nothing was changed
    /// then.
    ///
    /// *Cancel safety*: when dropped, the change was made or not; every recipient who stays can
    /// open the store in both cases.
    pub async fn rotate_keys(&self, rotation: Rotation) -> Result<Rotated> {
        self.learn_epochs().await?;
        let listed = self.read_key_slots().await?;
        if listed.iter().any(|one| matches!(one.slot, Ok(Err(_)))) {
            let words = "key change: some key slots are of kinds that this program does not know";
            return Err(Error::new(ErrorKind::Unsupported, words));
        }
        let seen: Vec<ObjectName> = listed.iter().map(|one| one.name.clone()).collect();
        let present = self.present(listed)?;
        let chosen = self.choose(&present, &rotation).await?;
        let new = self.key_epoch() + 1;
        let environment = self.environment().as_ref();
        let mut content = EpochContent {
            stable: self.keys().stable().clone(),
            roots: self.keys().roots(),
        };
        let root = Key::random(environment)?;
        content.roots.push(root.clone());
        let place = self.epoch_place(new);
        let object = epoch::wrap(&content, &place, environment)?;
        let slots = self.put_new_slots(&place, &root, &chosen, &seen).await?;
        let name = ObjectName::new(place.name())?;
        match put_resolved(self.backend().as_ref(), &name, object.into()).await? {
            Resolved::Ours => {}
            Resolved::Other(_) => {
                self.take_back(&slots).await?;
                let words = format!("object {name}: someone else changed the root key first");
                return Err(Error::new(ErrorKind::Conflict, words));
            }
        }
        self.keys().advance(&content.roots, &content.stable)?;
        self.hold(&chosen);
        let undeleted = self.sweep_key_slots().await?;
        Ok(Rotated {
            epoch: new,
            slots,
            undeleted,
        })
    }

    /// Puts the slots of the new epoch, then looks whether the present ones are still those that
    /// the choice was made from: whoever adds one looks for ours afterwards, so that one of the two
    /// sees the other and takes its own back.
    async fn put_new_slots(
        &self,
        place: &EpochPlace<'_>,
        root: &Key,
        chosen: &[Chosen],
        seen: &[ObjectName],
    ) -> Result<Vec<KeySlot>> {
        let environment = self.environment().as_ref();
        let mut slots = Vec::new();
        for Chosen {
            recipient,
            key,
            info,
        } in chosen
        {
            let (name, bytes) = seal_slot(
                self.id(),
                place.epoch,
                root,
                recipient,
                key,
                info,
                environment,
            )?;
            put_slot(self.backend().as_ref(), &name, bytes).await?;
            slots.push(describe(name, recipient, info));
        }
        let now = self.read_key_slots().await?;
        if !now.iter().map(|one| &one.name).eq(seen) {
            self.take_back(&slots).await?;
            let words = "key change: someone else changed the key slots meanwhile; try again";
            return Err(Error::new(ErrorKind::Conflict, words));
        }
        Ok(slots)
    }

    async fn take_back(&self, slots: &[KeySlot]) -> Result<()> {
        for slot in slots {
            self.backend().delete(&slot.name).await?;
        }
        Ok(())
    }

    /// Deletes key slots that interrupted changes of keys left: those of earlier key epochs, and
    /// those of the present one that do not belong to its root. Returns the names of those that
    /// could not be deleted.
    pub async fn tidy_key_slots(&self) -> Result<Vec<ObjectName>> {
        self.learn_epochs().await?;
        self.sweep_key_slots().await
    }

    /// Finds who gets the new root: everyone must be accounted for.
    async fn choose(&self, present: &[Present], rotation: &Rotation) -> Result<Vec<Chosen>> {
        let invalid = |words: String| Error::new(ErrorKind::InvalidInput, words);
        let mut chosen: Vec<Chosen> = Vec::new();
        for unlock in &rotation.keep {
            let opened = self.opened_by(present, unlock).await?;
            let Some((slot, key)) = opened.into_iter().next() else {
                let words = format!(
                    "key change: no key slot opens with a {} to keep",
                    unlock.kind()
                );
                return Err(unlock.refused(words));
            };
            let recipient = slot.slot.recipient.clone();
            if chosen.iter().all(|one| one.recipient.id != recipient.id) {
                let info = slot.info.clone();
                chosen.push(Chosen {
                    recipient,
                    key,
                    info,
                });
            }
        }
        for id in &rotation.remove {
            if chosen.iter().any(|one| one.recipient.id == *id) {
                return Err(invalid(format!(
                    "key change: recipient {id} is both kept and removed"
                )));
            }
            if present.iter().all(|one| one.slot.recipient.id != *id) {
                let words = format!("key change: there is no recipient {id}");
                return Err(Error::new(ErrorKind::NotFound, words));
            }
        }
        for one in present {
            let id = one.slot.recipient.id;
            let kept = chosen.iter().any(|one| one.recipient.id == id);
            if !kept && !rotation.remove.contains(&id) {
                let words = format!(
                    "key change: recipient {id} ({}, {:?}) is neither kept nor removed",
                    one.slot.recipient.kind, one.info.label
                );
                return Err(invalid(words));
            }
        }
        let environment = self.environment().as_ref();
        for (unlock, options) in &rotation.add {
            let recipient = Recipient::new(unlock, options.kdf, None, environment)?;
            let key = Derivation::new(self.offload().as_ref(), self.id(), unlock)
                .key(&recipient)
                .await?;
            let info = Info {
                label: options.label.clone(),
                created: environment.now(),
            };
            chosen.push(Chosen {
                recipient,
                key,
                info,
            });
        }
        if chosen.is_empty() {
            return Err(invalid(
                "key change: nobody could open the store any more".to_owned(),
            ));
        }
        Ok(chosen)
    }

    /// Goes on as a recipient of the new root key: the same as before, if that one stays.
    fn hold(&self, chosen: &[Chosen]) {
        let id = self.holder().id;
        let same = chosen.iter().find(|one| one.recipient.id == id);
        if let Some(one) = same.or(chosen.first()) {
            let (id, key) = (one.recipient.id, one.key.clone());
            self.set_holder(Holder { id, key });
        }
    }

    async fn sweep_key_slots(&self) -> Result<Vec<ObjectName>> {
        let mut surplus = Vec::new();
        for info in self.backend().list("keys/").await? {
            let epoch = slot::parse_epoch(info.name.as_str());
            // Slots of a later epoch belong to a change of keys that may still be under way.
            if epoch.is_some_and(|epoch| epoch < self.key_epoch()) {
                surplus.push(info.name);
            }
        }
        let listed = self.read_key_slots().await?;
        // A slot that cannot be read, or is of another kind, is no proof of anything.
        let read = listed
            .into_iter()
            .filter(|one| matches!(one.slot, Ok(Ok(_))));
        let read: Vec<_> = read.collect();
        let names: Vec<ObjectName> = read.iter().map(|one| one.name.clone()).collect();
        let present = self.present(read)?;
        let is_present = |name: &ObjectName| present.iter().any(|one| one.name == *name);
        surplus.extend(names.into_iter().filter(|name| !is_present(name)));
        let mut undeleted = Vec::new();
        for name in surplus {
            if let Err(cause) = self.backend().delete(&name).await {
                tracing::warn!(%name, %cause, "an old key slot cannot be deleted");
                undeleted.push(name);
            }
        }
        Ok(undeleted)
    }
}
