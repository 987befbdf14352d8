//! Probe: finds out by trying what a backend guarantees.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{Backend, Capabilities, ObjectName, Put};
use crate::environment::{Environment, SystemEnvironment};
use crate::error::{ErrorKind, Result};
use crate::id::RunId;

/// Creators that race for one name.
const RACERS: u8 = 16;
/// Races run; some servers lose only now and then.
const RACES: u8 = 3;

/// Tries a backend through its own trait, under names of its own.
///
/// For implementations of [`Backend::probe`]. A sequential try is not enough: some servers answer
/// it rightly and still let two racing creators win.
pub async fn probe(backend: &dyn Backend) -> Result<Capabilities> {
    let place = RunId::random(&SystemEnvironment as &dyn Environment)?;
    let mut names = Vec::new();
    let mut honest = true;
    let mut listed = true;
    for race in 0..RACES {
        let name = ObjectName::new(format!("probe/{place}.{race}"))?;
        names.push(name.clone());
        let racers = (0..RACERS).map(|racer| backend.put_new(&name, Bytes::from(vec![racer; 64])));
        let mut winners = Vec::new();
        for (racer, put) in (0..RACERS).zip(join_all(racers).await) {
            if put? == Put::Created {
                winners.push(racer);
            }
        }
        let stored = backend.get(&name, None).await?;
        honest &= matches!(winners[..], [winner] if stored[..] == [winner; 64]);
        honest &= backend.put_new(&name, Bytes::from_static(b"late")).await? == Put::AlreadyExists;
        honest &= backend.get(&name, None).await? == stored;
        listed &= backend
            .list("probe/")
            .await?
            .iter()
            .any(|info| info.name == name);
    }
    for name in names {
        match backend.delete(&name).await {
            // Backups need no right to delete: the traces stay, and are never read.
            Err(cause) if cause.kind() == ErrorKind::PermissionDenied => break,
            deleted => deleted?,
        }
    }
    Ok(Capabilities {
        put_if_absent: honest,
        listed_after_put: listed,
    })
}
