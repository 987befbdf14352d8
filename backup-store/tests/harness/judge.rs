//! The judge: restores every snapshot of a world, byte for byte, with a cold cache.

use std::collections::BTreeSet;
use std::sync::Arc;

use backup_store::fault::SeededEnvironment;
use backup_store::{Backend, SnapshotId};

use super::backup::{fingerprint, items_of, resource};
use super::world::{Template, World, bytes_of};

/// What a judgement found to be in order.
#[derive(Debug, Default, Clone)]
pub struct Verdict {
    pub snapshots: usize,
    pub contents: usize,
    /// What the newest snapshot of our resource says it holds.
    pub newest: Option<String>,
}

/// Restores everything; every acknowledged snapshot must be there, and every snapshot that is
/// there must be whole.
pub async fn judge(template: &Template, world: &World) -> Result<Verdict, String> {
    let backend: Arc<dyn Backend> = Arc::new(world.memory.clone());
    let environment = Arc::new(SeededEnvironment::new(2));
    let store = template.open(backend, environment).await;
    let store = store.map_err(|cause| format!("the store does not open: {cause}"))?;
    let entries = store.snapshots().await;
    let entries = entries.map_err(|cause| format!("the snapshots cannot be listed: {cause}"))?;
    let there: BTreeSet<SnapshotId> = entries.iter().map(|entry| entry.id).collect();
    if let Some(id) = world.published.iter().find(|id| !there.contains(id)) {
        return Err(format!("acknowledged snapshot {id} is gone"));
    }
    let mut verdict = Verdict::default();
    let mut newest = None;
    for entry in &entries {
        let torn = |cause| format!("snapshot {}: {cause}", entry.id);
        let items = items_of(&store, Some(entry)).await.map_err(torn)?;
        let numbers = items.iter().map(|(item, (number, _))| (*item, *number));
        if fingerprint(numbers) != entry.snapshot.set {
            return Err(format!(
                "snapshot {} holds other items than it says",
                entry.id
            ));
        }
        for (item, (number, content)) in &items {
            let bytes = store.open_content(content).collect(1 << 20).await;
            let bytes =
                bytes.map_err(|cause| format!("snapshot {}, item {item}: {cause}", entry.id))?;
            if bytes != bytes_of(*number) {
                return Err(format!("snapshot {}, item {item}: other bytes", entry.id));
            }
            verdict.contents += 1;
        }
        verdict.snapshots += 1;
        let age = (entry.snapshot.token, entry.snapshot.sequence);
        let ours = entry.snapshot.resource.id == resource().id;
        if ours && newest.as_ref().is_none_or(|(known, _)| *known < age) {
            newest = Some((age, entry.snapshot.set.clone()));
        }
    }
    verdict.newest = newest.map(|(_, set)| set);
    Ok(verdict)
}
