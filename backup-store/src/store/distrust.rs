//! Places that this open store does not rely on: what a check has found damaged there.

use std::sync::PoisonError;

use crate::check::BadPlaces;
use crate::pack::Location;
use crate::store::Store;

impl Store {
    /// Stops relying on places: chunks there count as absent, so that they are stored again.
    pub(crate) fn distrust(&self, places: BadPlaces) {
        let distrusted = &self.0.distrusted;
        let mut known = distrusted.write().unwrap_or_else(PoisonError::into_inner);
        known.packs.extend(places.packs);
        known.blocks.extend(places.blocks);
        known.tables.extend(places.tables);
    }

    /// Leaves out the places that are not relied on.
    pub(crate) fn leave_out_distrusted(&self, found: &mut [Vec<Location>]) {
        let distrusted = &self.0.distrusted;
        let known = distrusted.read().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return;
        }
        for places in found {
            places.retain(|place| !known.holds(place));
        }
    }
}
