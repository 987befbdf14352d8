//! Everything but backups that writes to a store: changing keys, copying from another store.

use std::sync::Arc;

use backup_store::{
    Backend, CopyOptions, Error, ErrorKind, KeyFile, Result, Rotation, SlotOptions, Store,
};

use super::backup::options;
use super::world::{Life, Note};

/// Begins a new key epoch without whoever was there besides us, then lets somebody new in.
pub async fn change_keys(life: &Life<'_>) -> Result<()> {
    let store = life.open().await?;
    // What a dead process put may land meanwhile: nothing is changed then, and one is told to try
    // again. Once must do.
    match rotate(life, &store).await {
        Err(error) if error.kind() == ErrorKind::Conflict => rotate(life, &store).await?,
        rotated => rotated?,
    }
    let guest = KeyFile::generate(life.environment.as_ref())?;
    store
        .add_key(&guest, SlotOptions::labelled("guest"))
        .await?;
    Ok(())
}

/// Changes the root key, and keeps nobody but the first recipient.
async fn rotate(life: &Life<'_>, store: &Store) -> Result<()> {
    let ours = backup_store::Unlock::from(&life.template.key);
    let mut rotation = Rotation {
        keep: vec![ours],
        ..Rotation::default()
    };
    for slot in store.key_slots().await? {
        if slot.label != "first" {
            rotation.remove.extend(slot.recipient);
        }
    }
    store.rotate_keys(rotation).await.map(drop)
}

/// Copies what the other store holds in this round.
pub async fn copy(life: &Life<'_>, round: u64) -> Result<()> {
    let world = life.world();
    let nothing = || Error::new(ErrorKind::InvalidInput, "there is no other store");
    let source = world.sources.get(round as usize).ok_or_else(nothing)?;
    let other = life.template.other.as_deref().ok_or_else(nothing)?;
    let backend: Arc<dyn Backend> = Arc::new(source.clone());
    let source = other.open(backend, Arc::clone(&life.environment)).await?;
    let target = life.open().await?;
    let wanted = CopyOptions {
        resources: None,
        snapshots: None,
        writer: options(&world.journal),
    };
    let report = source.copy_to(&target, wanted, &|_| ()).await?;
    if let Some(damage) = report.damaged.first() {
        return Err(Error::new(ErrorKind::Damaged, damage.cause.clone()));
    }
    for (_, id) in report.copied {
        life.note(Note::Published(id));
    }
    Ok(())
}
