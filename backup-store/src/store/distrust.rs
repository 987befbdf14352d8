//! Places that are not relied on: where a check has found damage.
//!
//! A repair records them in the store, in a damage record, before it writes anything else. Whoever
//! reads what the rounds say reads the records too; from then on, on every machine, writers take
//! chunks at such places for absent and store them again, prune prefers every other copy, and
//! readers try these places last. Packs are never written twice, so that a place once bad stays so,
//! and records are never deleted.

use std::collections::BTreeSet;
use std::sync::{PoisonError, RwLockReadGuard, RwLockWriteGuard};

use crate::backend::{ObjectInfo, ObjectName};
use crate::check::BadPlaces;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{PackId, RunId};
use crate::pack::Location;
use crate::rounds::Damage;
use crate::seal::ObjectKind;
use crate::store::{Resolved, Store};

/// How the name of a damage record ends.
const SUFFIX: &str = ".damage";

/// What is known of damage.
#[derive(Debug, Default)]
pub(super) struct Distrusted {
    /// Everything that is not relied on.
    places: BadPlaces,
    /// What the records name of it.
    recorded: BadPlaces,
    /// The records that were read.
    records: BTreeSet<ObjectName>,
}

/// Tells whether an object's name is that of a damage record: `gc/<id>.damage`.
pub(crate) fn is_damage_name(name: &ObjectName) -> bool {
    let rest = name.as_str().strip_prefix("gc/");
    let id = rest.and_then(|rest| rest.strip_suffix(SUFFIX));
    id.is_some_and(|id| {
        id.parse::<RunId>()
            .is_ok_and(|found| found.to_string() == id)
    })
}

impl Store {
    /// Stops relying on places: chunks there count as absent, so that they are stored again.
    pub(crate) fn distrust(&self, places: BadPlaces) {
        self.distrusted_mut().places.extend(places);
    }

    /// Returns the places that are not relied on.
    pub(crate) fn distrusted_places(&self) -> BadPlaces {
        self.distrusted().places.clone()
    }

    /// Tells whether there is any place that is not relied on.
    pub(crate) fn distrusts_any(&self) -> bool {
        !self.distrusted().places.is_empty()
    }

    /// Tells whether a pack is not relied on, as a whole or in part.
    pub(crate) fn is_damaged(&self, pack: &PackId) -> bool {
        self.distrusted().places.names(pack)
    }

    /// Leaves out the places that are not relied on.
    pub(super) fn leave_out_distrusted(&self, found: &mut [Vec<Location>]) {
        let known = self.distrusted();
        if known.places.is_empty() {
            return;
        }
        for places in found {
            places.retain(|place| !known.places.holds(place));
        }
    }

    /// Records in the store what is not to be relied on, unless records say so already.
    pub(crate) async fn record_damage(&self, places: &BadPlaces) -> Result<()> {
        let new = places.without(&self.distrusted().recorded);
        if new.is_empty() {
            return Ok(());
        }
        let id = RunId::random(self.environment().as_ref())?;
        let name = ObjectName::new(format!("gc/{id}{SUFFIX}"))?;
        let plain = Damage::of(&new).encode();
        match self.put_object(ObjectKind::Damage, &name, plain).await? {
            Resolved::Ours => {
                self.note_damage(name, new);
                Ok(())
            }
            Resolved::Other(_) => {
                let words = format!("object {name}: the name of a new damage record is taken");
                Err(Error::new(ErrorKind::Conflict, words))
            }
        }
    }

    /// Lists the damage records, now, and reads those that are new.
    pub(crate) async fn refresh_damage(&self) -> Result<()> {
        let listed = self.backend().list("gc/").await?;
        self.read_damage(&listed).await
    }

    /// Reads the damage records of a listing that are new.
    ///
    /// One that cannot be read is as good as none, as far as this goes: a check names it.
    pub(crate) async fn read_damage(&self, listed: &[ObjectInfo]) -> Result<()> {
        for info in listed.iter().filter(|info| is_damage_name(&info.name)) {
            if self.distrusted().records.contains(&info.name) {
                continue;
            }
            let read = self.get_object(ObjectKind::Damage, &info.name).await;
            let places = match read.and_then(|plain| Damage::decode(&plain)) {
                Ok(damage) => damage.places(),
                Err(cause) if matches!(cause.kind(), ErrorKind::Damaged | ErrorKind::Malformed) => {
                    tracing::warn!(name = %info.name, %cause, "a damage record does not count");
                    BadPlaces::default()
                }
                Err(cause) => return Err(cause),
            };
            self.note_damage(info.name.clone(), places);
        }
        Ok(())
    }

    fn note_damage(&self, record: ObjectName, places: BadPlaces) {
        let mut known = self.distrusted_mut();
        known.records.insert(record);
        known.recorded.extend(places.clone());
        known.places.extend(places);
    }

    fn distrusted(&self) -> RwLockReadGuard<'_, Distrusted> {
        let distrusted = &self.0.distrusted;
        distrusted.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn distrusted_mut(&self) -> RwLockWriteGuard<'_, Distrusted> {
        let distrusted = &self.0.distrusted;
        distrusted.write().unwrap_or_else(PoisonError::into_inner)
    }
}
