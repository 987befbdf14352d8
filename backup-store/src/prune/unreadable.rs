//! A snapshot set that cannot be read is not one that is not there: what it needs is not known, and
//! nothing may be taken for unneeded.

use std::collections::BTreeSet;

use super::PruneOptions;
use crate::example_store::{run, sample};
use crate::{Backend, ErrorKind, MemoryBackend, ObjectName, SnapshotId};

async fn names(backend: &MemoryBackend) -> BTreeSet<ObjectName> {
    let mut names = BTreeSet::new();
    for prefix in ["packs/", "segments/", "snaps/", "gc/"] {
        let listed = backend.list(prefix).await.unwrap();
        names.extend(listed.into_iter().map(|info| info.name));
    }
    names
}

#[test]
fn a_set_that_cannot_be_read_ends_a_prune_and_nothing_is_deleted() {
    run(async {
        let sample = sample().await;
        let whole = sample.backend();
        let sets: Vec<_> = whole.list("snaps/").await.unwrap();
        let mut refused = 0;
        for info in sets {
            let bytes = whole.get(&info.name, None).await.unwrap();
            for at in [0, 9, 50, bytes.len() / 2, bytes.len() - 1] {
                let backend = sample.backend();
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 4;
                backend.tamper(&info.name, Some(damaged.into()));
                let store = sample.reopen(&backend, 3).await.unwrap();
                let before = names(&backend).await;
                let pruned = store.prune(&PruneOptions::new(), &|_| {}).await;
                let Err(cause) = pruned else {
                    // Where it was damaged is padding, or the set is whole in another way.
                    assert_eq!(store.snapshots().await.unwrap().len(), 4, "{}", info.name);
                    continue;
                };
                assert_eq!(cause.kind(), ErrorKind::Damaged, "{cause}");
                assert_eq!(names(&backend).await, before, "{}, byte {at}", info.name);
                refused += 1;
            }
        }
        assert!(refused >= 6, "{refused} damages mattered");
    });
}

#[test]
fn a_snapshot_of_an_unreadable_set_is_not_said_to_be_gone() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        let store = sample.reopen(&backend, 3).await.unwrap();
        let snapshots = store.snapshots().await.unwrap();
        let wanted = &snapshots[0];
        let found = store.find_snapshots(&[wanted.id]).await.unwrap();
        assert_eq!(found.snapshots[0].id, wanted.id);
        assert!(found.damaged.is_empty());
        let nobody = [SnapshotId::from_bytes([0xee; 16])];
        let found = store.find_snapshots(&nobody).await.unwrap();
        assert!(found.snapshots.is_empty() && found.damaged.is_empty());
        let name = crate::slots::slot_name(&wanted.lease, wanted.slot).unwrap();
        let mut bytes = backend.get(&name, None).await.unwrap().to_vec();
        bytes[50] ^= 1;
        backend.tamper(&name, Some(bytes.into()));
        let store = sample.reopen(&backend, 4).await.unwrap();
        let found = store.find_snapshots(&[wanted.id]).await.unwrap();
        assert!(found.snapshots.is_empty());
        let (damaged, cause) = &found.damaged[0];
        assert_eq!((damaged, cause.kind()), (&name, ErrorKind::Damaged));
    });
}
