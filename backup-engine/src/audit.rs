//! Audit: what changed between two snapshots of a resource, container by container, and whether it
//! is so much that somebody should look.

use std::collections::{BTreeMap, HashMap};

use backup_store::catalog::{Alarm, Item, ItemKey, RepresentationKind, Snapshot};
use backup_store::tree::{Differences, NodeSource};

use crate::error::Result;

/// Counts what changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Items that are new.
    pub added: u64,
    /// Items that are otherwise, in the same place.
    pub changed: u64,
    /// Those among the changed and the moved whose content is another one.
    pub rewritten: u64,
    /// Items that came from another container.
    pub moved: u64,
    /// Items that are gone.
    pub removed: u64,
}

impl Changes {
    /// Adds the counts of another container.
    pub fn add(&mut self, other: &Self) {
        self.added += other.added;
        self.changed += other.changed;
        self.rewritten += other.rewritten;
        self.moved += other.moved;
        self.removed += other.removed;
    }

    /// Tells whether nothing changed.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// Tells what changed, by the id of the container in which it shows.
///
/// *Shape*: a moved item counts where it is now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeAudit {
    /// The containers in which something changed.
    pub containers: BTreeMap<String, Changes>,
}

impl ChangeAudit {
    /// Returns the sum over all containers.
    pub fn total(&self) -> Changes {
        let mut total = Changes::default();
        self.containers.values().for_each(|one| total.add(one));
        total
    }

    fn at(&mut self, container: &str) -> &mut Changes {
        self.containers.entry(container.to_owned()).or_default()
    }
}

/// Compares two snapshots of one resource.
///
/// *Units and limits*: reads in proportion to what differs, and holds a few words of each item that
/// was added or removed.
///
/// *Errors*: those of the store.
pub async fn audit_changes(
    nodes: impl NodeSource,
    before: &Snapshot,
    after: &Snapshot,
) -> Result<ChangeAudit> {
    let mut audit = ChangeAudit::default();
    let mut gone: HashMap<String, Brief> = HashMap::new();
    let mut come: HashMap<String, Brief> = HashMap::new();
    let mut differences = Differences::new(nodes, &before.items, &after.items);
    while let Some(difference) = differences.next().await {
        let difference = difference?;
        let read = |record: &[u8]| Item::decode(&difference.key, record);
        let was = difference.before.as_deref().map(read).transpose()?;
        let is = difference.after.as_deref().map(read).transpose()?;
        match (was, is) {
            (Some(was), Some(is)) => audit.changed(&Brief::of(&was), &Brief::of(&is)),
            (Some(was), None) => match come.remove(&was.key.id) {
                Some(is) => audit.changed(&Brief::of(&was), &is),
                None => drop(gone.insert(was.key.id.clone(), Brief::of(&was))),
            },
            (None, Some(is)) => match gone.remove(&is.key.id) {
                Some(was) => audit.changed(&was, &Brief::of(&is)),
                None => drop(come.insert(is.key.id.clone(), Brief::of(&is))),
            },
            (None, None) => {}
        }
    }
    for brief in gone.values() {
        audit.at(&brief.container).removed += 1;
    }
    for brief in come.values() {
        audit.at(&brief.container).added += 1;
    }
    Ok(audit)
}

impl ChangeAudit {
    fn changed(&mut self, was: &Brief, is: &Brief) {
        let changes = self.at(&is.container);
        changes.moved += u64::from(was.container != is.container);
        changes.changed += u64::from(was.container == is.container);
        changes.rewritten += u64::from(was.content != is.content);
    }
}

/// What must be known of an item to tell what became of it.
#[derive(Debug)]
struct Brief {
    container: String,
    /// Stands for the stored forms that are not mere properties.
    content: [u8; 32],
}

impl Brief {
    fn of(item: &Item) -> Self {
        let ItemKey { container, .. } = &item.key;
        let mut hasher = blake3::Hasher::new();
        for form in &item.representations {
            if form.kind != RepresentationKind::GraphJson {
                hasher.update(form.kind.as_str().as_bytes());
                hasher.update(form.content.hash.as_bytes());
            }
        }
        Self {
            container: container.clone(),
            content: *hasher.finalize().as_bytes(),
        }
    }
}

/// Says how much change of one resource between two runs is alarming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmThresholds {
    /// Per cent of its items with another content; 0 is never.
    pub rewritten_percent: u8,
    /// Per cent of its items gone; 0 is never.
    pub removed_percent: u8,
    /// Fewer items than this, rewritten or gone, are no alarm.
    pub items_min: u64,
}

impl Default for AlarmThresholds {
    fn default() -> Self {
        Self {
            rewritten_percent: 50,
            removed_percent: 50,
            items_min: 100,
        }
    }
}

impl AlarmThresholds {
    /// Decides whether changes of a resource that had so many `items` are alarming.
    ///
    /// ```
    /// use backup_engine::audit::{AlarmThresholds, Changes};
    ///
    /// let thresholds = AlarmThresholds::default();
    /// let encrypted = Changes { changed: 900, rewritten: 900, ..Changes::default() };
    /// assert!(thresholds.is_alarming(1000, &encrypted));
    /// let read = Changes { changed: 900, ..Changes::default() };
    /// assert!(!thresholds.is_alarming(1000, &read), "properties only");
    /// ```
    pub fn is_alarming(&self, items: u64, changes: &Changes) -> bool {
        let is_mass = |count: u64, percent: u8| {
            percent > 0
                && count >= self.items_min.max(1)
                && u128::from(count) * 100 >= u128::from(items) * u128::from(percent)
        };
        is_mass(changes.rewritten, self.rewritten_percent)
            || is_mass(changes.removed, self.removed_percent)
    }

    /// Compares two snapshots, and returns the alarm if there is reason for one.
    ///
    /// *Errors*: those of the store.
    pub async fn look(
        &self,
        nodes: impl NodeSource,
        before: &Snapshot,
        after: &Snapshot,
    ) -> Result<Option<Alarm>> {
        let changes = audit_changes(nodes, before, after).await?.total();
        let items = before.items.entries;
        Ok(self.is_alarming(items, &changes).then(|| Alarm {
            resource: after.resource.id.clone(),
            items,
            rewritten: changes.rewritten,
            removed: changes.removed,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_needs_a_share_and_a_number() {
        let thresholds = AlarmThresholds {
            rewritten_percent: 50,
            removed_percent: 30,
            items_min: 10,
        };
        let rewritten = |rewritten| Changes {
            rewritten,
            ..Changes::default()
        };
        let removed = |removed| Changes {
            removed,
            ..Changes::default()
        };
        assert!(thresholds.is_alarming(20, &rewritten(10)));
        assert!(!thresholds.is_alarming(21, &rewritten(10)));
        assert!(!thresholds.is_alarming(9, &rewritten(9)), "too few");
        assert!(thresholds.is_alarming(100, &removed(30)));
        assert!(!thresholds.is_alarming(100, &removed(29)));
        let never = AlarmThresholds {
            rewritten_percent: 0,
            removed_percent: 0,
            ..thresholds
        };
        assert!(!never.is_alarming(100, &rewritten(100)));
        assert!(!never.is_alarming(100, &removed(100)));
    }
}
