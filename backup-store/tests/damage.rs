//! Damage: every flipped byte that matters is noticed, and a wrong chunk is never returned.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use backup_store::catalog::ResourceId;
use backup_store::{Backend, ContentClass, ErrorKind, ObjectName};
use bytes::Bytes;
use common::{World, noise, resource, snapshot};

fn flip(bytes: &Bytes, at: usize) -> Bytes {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x20;
    Bytes::from(bytes)
}

#[tokio::test]
async fn flipped_bytes_of_a_pack_never_lead_to_wrong_content() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&ResourceId::new("outlook:1"));
    let bytes = noise(3000, 1);
    let content = gatherer.put(ContentClass::Text, &bytes).await.unwrap();
    gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
    let pack = world.memory.list("packs/").await.unwrap().remove(0);
    let whole = world.memory.get(&pack.name, None).await.unwrap();
    let mut noticed = 0;
    let (head, tail) = (3200, whole.len() - 300);
    let padding = (head..tail).step_by(4999);
    for at in (0..head)
        .step_by(17)
        .chain(padding)
        .chain((tail..whole.len()).step_by(17))
    {
        world.memory.tamper(&pack.name, Some(flip(&whole, at)));
        let store = world.reopen().await;
        match store.open_content(&content).collect(1 << 20).await {
            Ok(found) => assert_eq!(found, bytes, "flip at {at}"),
            Err(cause) => {
                assert_eq!(cause.kind(), ErrorKind::Damaged, "flip at {at}: {cause}");
                assert!(
                    cause
                        .to_string()
                        .contains(pack.name.as_str().rsplit('/').next().unwrap()),
                    "{cause} names the pack"
                );
                noticed += 1;
            }
        }
    }
    assert!(noticed > 3000 / 17, "header and block: {noticed}");
    world.memory.tamper(&pack.name, None);
    let gone = world
        .reopen()
        .await
        .open_content(&content)
        .collect(1 << 20)
        .await
        .unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::Damaged);
}

#[tokio::test]
async fn a_damaged_segment_is_read_from_pack_tables_instead() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&ResourceId::new("outlook:1"));
    let content = gatherer
        .put(ContentClass::Text, b"still here")
        .await
        .unwrap();
    gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
    let segment = world.memory.list("segments/").await.unwrap().remove(0);
    let whole = world.memory.get(&segment.name, None).await.unwrap();
    world.memory.tamper(&segment.name, Some(flip(&whole, 100)));
    let store = world.reopen().await;
    assert_eq!(
        store.open_content(&content).collect(100).await.unwrap(),
        b"still here"
    );
}

#[tokio::test]
async fn a_damaged_snapshot_set_is_named_and_the_others_are_listed() {
    let world = World::new().await;
    let writer = world.begin().await;
    writer
        .publish(vec![snapshot(&writer, resource("1"))])
        .await
        .unwrap();
    writer
        .publish(vec![snapshot(&writer, resource("2"))])
        .await
        .unwrap();
    let name = ObjectName::new(format!("snaps/{}.0", writer.lease())).unwrap();
    writer.end().await.unwrap();
    let whole = world.memory.get(&name, None).await.unwrap();
    for at in (0..whole.len()).step_by(4999) {
        world.memory.tamper(&name, Some(flip(&whole, at)));
        let store = world.reopen().await;
        let error = store.snapshots().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert!(error.to_string().contains(name.as_str()), "{error}");
        let listing = store.snapshot_listing().await.unwrap();
        assert_eq!((listing.snapshots.len(), listing.damaged.len()), (1, 1));
    }
}

#[tokio::test]
async fn flipped_bytes_of_config_epoch_and_key_slot_are_damage() {
    let world = World::new().await;
    let mut names = vec![
        ObjectName::new("config").unwrap(),
        ObjectName::new("epochs/0").unwrap(),
    ];
    names.push(world.memory.list("keys/").await.unwrap().remove(0).name);
    for name in names {
        let whole = world.memory.get(&name, None).await.unwrap();
        for at in (0..whole.len()).step_by(13) {
            world.memory.tamper(&name, Some(flip(&whole, at)));
            let error = world.try_reopen().await.unwrap_err();
            let expected = [ErrorKind::Damaged, ErrorKind::NotAStore];
            assert!(expected.contains(&error.kind()), "{name} at {at}: {error}");
        }
        world.memory.tamper(&name, Some(whole));
    }
    world.reopen().await;
}

#[tokio::test]
async fn a_swapped_pack_is_noticed() {
    let world = World::new().await;
    let mut contents = Vec::new();
    for seed in 0..2 {
        let writer = world.begin().await;
        let gatherer = writer.gather(&ResourceId::new("outlook:1"));
        contents.push(
            gatherer
                .put(ContentClass::Text, &noise(900, seed))
                .await
                .unwrap(),
        );
        gatherer.commit().await.unwrap();
        writer.end().await.unwrap();
    }
    let packs = world.memory.list("packs/").await.unwrap();
    let other = world.memory.get(&packs[1].name, None).await.unwrap();
    world.memory.tamper(&packs[0].name, Some(other));
    let store = world.reopen().await;
    let mut damaged = 0;
    for content in &contents {
        if let Err(cause) = store.open_content(content).collect(10_000).await {
            assert_eq!(cause.kind(), ErrorKind::Damaged);
            damaged += 1;
        }
    }
    assert_eq!(damaged, 1);
}
