//! Keys of a replica: slots before the key epochs they belong to, so that wherever filling stops
//! the replica opens.

use super::replica::Filler;
use crate::keys::epoch;
use crate::keys::slot;
use crate::{ObjectInfo, Result};

impl Filler<'_> {
    /// Copies key slots, then those key epochs that have one there.
    pub(super) async fn copy_keys(&mut self) -> Result<()> {
        let epochs = self.missing("epochs/").await?;
        let slots = self.missing("keys/").await?;
        self.copy(slots, |report| &mut report.other).await?;
        // A change of the root key may have deleted slots since they were listed.
        let there = self.to.backend().list("keys/").await?;
        let has_slot = |info: &ObjectInfo| {
            let epoch = epoch::parse_name(info.name.as_str());
            let mut slots = there
                .iter()
                .map(|slot| slot::parse_epoch(slot.name.as_str()));
            epoch.is_some() && slots.any(|found| found == epoch)
        };
        let epochs = epochs.into_iter().filter(has_slot).collect();
        self.copy(epochs, |report| &mut report.other).await?;
        Ok(())
    }

    /// Deletes key slots that the primary has deleted, as long as one that it kept opens the
    /// newest key epoch there.
    pub(super) async fn follow_keys(&mut self) -> Result<()> {
        let epochs = self.to.backend().list("epochs/").await?;
        let newest = epochs
            .iter()
            .filter_map(|info| epoch::parse_name(info.name.as_str()))
            .max();
        let kept = self.from.backend().list("keys/").await?;
        let there = self.to.backend().list("keys/").await?;
        let is_kept = |info: &ObjectInfo| kept.iter().any(|found| found.name == info.name);
        let opens = |info: &ObjectInfo| slot::parse_epoch(info.name.as_str()) == newest;
        if !there.iter().any(|info| opens(info) && is_kept(info)) {
            return Ok(()); // The root key is being changed: the next call follows that.
        }
        for info in there {
            if !is_kept(&info) && slot::parse_epoch(info.name.as_str()) <= newest {
                self.delete(info).await?;
            }
        }
        Ok(())
    }
}
