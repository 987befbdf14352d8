//! Compares what the independent reader finds with what the crate says: the only file of this
//! folder that knows the crate.

use backup_store::catalog::{Browse, ItemState, Snapshot};
use backup_store::{Backend, MemoryBackend, Store};

use super::{Objects, Reader, Secret};

/// Takes all objects of a store in memory.
pub async fn objects_of(backend: &MemoryBackend) -> Objects {
    let mut objects = Objects::new();
    for info in backend.list("").await.unwrap() {
        let bytes = backend.get(&info.name, None).await.unwrap();
        objects.insert(info.name.to_string(), bytes.to_vec());
    }
    objects
}

/// Opens the store in both ways and compares every snapshot, record and content; returns the
/// number of contents.
///
/// # Panics
///
/// Where the two differ, or the independent reader finds something wrong.
pub async fn agree(store: &Store, objects: &Objects, secret: &Secret) -> usize {
    let reader = Reader::open(objects, secret).unwrap();
    assert!(reader.trouble.is_empty(), "{:?}", reader.trouble);
    reader.check_segments().unwrap();
    let listed = store.snapshots().await.unwrap();
    let mut found = reader.snapshots().unwrap();
    assert_eq!(listed.len(), found.len(), "the number of snapshots");
    let mut contents = 0;
    for entry in listed {
        let at = found.iter().position(|one| one.id == *entry.id.as_bytes());
        let one = found.swap_remove(at.expect("a snapshot that only the crate finds"));
        contents += same_snapshot(store, &reader, &entry.snapshot, &one).await;
    }
    contents
}

async fn same_snapshot(
    store: &Store,
    reader: &Reader<'_>,
    ours: &Snapshot,
    theirs: &super::Snapshot,
) -> usize {
    assert_eq!(ours.resource.id.as_str(), theirs.resource);
    assert_eq!((ours.token, ours.sequence), (theirs.token, theirs.sequence));
    let browse = Browse::new(store, ours);
    let mut contents = 0;
    let containers = browse.containers().await.unwrap();
    let theirs_containers = reader.containers(theirs).unwrap();
    assert_eq!(containers.len(), theirs_containers.len());
    for (ours, theirs) in containers.iter().zip(&theirs_containers) {
        assert_eq!((&ours.id, &ours.name), (&theirs.id, &theirs.name));
        assert_eq!(
            (&ours.parent, ours.kind.as_str()),
            (&theirs.parent, theirs.kind.as_str())
        );
        assert_eq!(ours.properties.is_some(), theirs.properties.is_some());
        if let (Some(ours), Some(theirs)) = (&ours.properties, &theirs.properties) {
            same_content(store, reader, ours, theirs).await;
            contents += 1;
        }
    }
    let mut items = browse.items();
    for theirs in reader.items(theirs).unwrap() {
        let ours = items
            .next()
            .await
            .expect("an item that only the reader finds")
            .unwrap();
        assert_eq!(ours.key.container, theirs.container);
        assert_eq!(
            (ours.key.created.as_millis(), &ours.key.id),
            (theirs.created, &theirs.id)
        );
        assert_eq!(
            (ours.kind.as_str(), &ours.name),
            (theirs.kind.as_str(), &theirs.name)
        );
        let state = match ours.state {
            ItemState::Stored => 0,
            ItemState::Skipped { .. } => 1,
            ItemState::Quarantined { .. } => 2,
            _ => 9,
        };
        assert_eq!((ours.size_bytes, state), (theirs.size, theirs.state));
        assert_eq!(ours.representations.len(), theirs.representations.len());
        for (ours, (kind, theirs)) in ours.representations.iter().zip(&theirs.representations) {
            assert_eq!(ours.kind.as_str(), kind);
            same_content(store, reader, &ours.content, theirs).await;
            contents += 1;
        }
    }
    assert!(
        items.next().await.is_none(),
        "an item that only the crate finds"
    );
    for (key, theirs) in reader.notes(theirs).unwrap() {
        let key = backup_store::catalog::ItemKey::decode(&key).unwrap();
        let ours = browse
            .note(&key)
            .await
            .unwrap()
            .expect("a note that only the reader finds");
        assert_eq!(ours.first_seen.as_millis(), theirs.first_seen);
        assert_eq!(
            (u64::from(ours.tries), ours.content_assumed),
            (theirs.tries, theirs.content_assumed)
        );
        assert_eq!(ours.route, theirs.route);
    }
    contents
}

async fn same_content(
    store: &Store,
    reader: &Reader<'_>,
    ours: &backup_store::ContentRef,
    theirs: &super::Content,
) {
    let theirs = reader.content(theirs).unwrap();
    let ours = store.open_content(ours).collect(u64::MAX).await.unwrap();
    assert!(
        ours == theirs,
        "a content of {} bytes differs",
        theirs.len()
    );
}
