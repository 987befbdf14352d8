//! Content that was put comes back: over crashes, other writers, and other passphrases.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use backup_store::catalog::ResourceId;
use backup_store::{
    Backend, ContentClass, ErrorKind, MemoryBackend, Passphrase, Store, StoreOptions,
};
use common::{World, noise, resource, snapshot};

#[tokio::test]
async fn content_comes_back_after_publishing_and_reopening() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&ResourceId::new("outlook:1"));
    let mail = b"Subject: hello\r\n\r\nhello".as_slice();
    let file = noise(9 << 20, 1);
    let small = gatherer.put(ContentClass::Text, mail).await.unwrap();
    let large = gatherer.put(ContentClass::Binary, &file).await.unwrap();
    let empty = gatherer.put(ContentClass::Metadata, b"").await.unwrap();
    assert!(
        large.chunk_ids().count() > 3
            && small.chunk_ids().count() == 1
            && empty.chunk_ids().next().is_none()
    );
    let receipt = gatherer.commit().await.unwrap();
    assert_eq!(receipt.packs.len(), 1);
    let ids = writer
        .publish(vec![snapshot(&writer, resource("1"))])
        .await
        .unwrap();
    writer.end().await.unwrap();

    let store = world.reopen().await;
    for (content, bytes) in [(&small, mail), (&large, &file), (&empty, b"")] {
        assert!(store.has_content(content).await.unwrap());
        assert_eq!(
            store.open_content(content).collect(1 << 30).await.unwrap(),
            bytes
        );
    }
    let snapshots = store.snapshots().await.unwrap();
    assert_eq!(
        snapshots.iter().map(|entry| entry.id).collect::<Vec<_>>(),
        ids
    );
    let too_large = store.open_content(&large).collect(1000).await.unwrap_err();
    assert_eq!(too_large.kind(), ErrorKind::TooLarge);
}

#[tokio::test]
async fn pages_that_end_with_a_full_block_come_back_from_the_store_alone() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&ResourceId::new("onedrive:1"));
    let mut kept = Vec::new();
    for page in 0..3 {
        for part in 0..4 {
            let bytes = noise(128 << 10, 100 + page * 4 + part);
            let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
            kept.push((content, bytes));
        }
        gatherer.commit().await.unwrap();
    }
    let last = gatherer.put(ContentClass::Text, b"last").await.unwrap();
    kept.push((last, b"last".to_vec()));
    gatherer.commit().await.unwrap();
    writer
        .publish(vec![snapshot(&writer, resource("1"))])
        .await
        .unwrap();
    writer.end().await.unwrap();
    let store = world.reopen().await;
    for (content, bytes) in kept {
        let found = store.open_content(&content).collect(1 << 30).await;
        assert_eq!(found.unwrap(), bytes);
    }
}

#[tokio::test]
async fn equal_content_is_stored_once_across_resources_and_runs() {
    let world = World::new().await;
    let file = noise(3 << 20, 2);
    let writer = world.begin().await;
    let first = writer.gather(&ResourceId::new("onedrive:1"));
    let one = first.put(ContentClass::Binary, &file).await.unwrap();
    let packs = first.commit().await.unwrap();
    let second = writer.gather(&ResourceId::new("onedrive:2"));
    let two = second.put(ContentClass::Binary, &file).await.unwrap();
    assert_eq!(
        second.commit().await.unwrap(),
        packs,
        "the receipt names packs of known content"
    );
    assert_eq!(one, two);
    writer.end().await.unwrap();
    let before = world.stored_bytes("packs/").await;
    assert!(before < 4 << 20, "{before}");

    let writer = world.begin().await;
    let again = writer.gather(&ResourceId::new("onedrive:3"));
    assert_eq!(again.put(ContentClass::Binary, &file).await.unwrap(), one);
    assert_eq!(again.commit().await.unwrap(), packs);
    assert!(writer.packs_present(&packs.packs).await.unwrap());
    assert!(
        !writer
            .packs_present(&["00".repeat(16).parse().unwrap()])
            .await
            .unwrap()
    );
    writer.end().await.unwrap();
    assert_eq!(world.stored_bytes("packs/").await, before, "no new pack");
}

#[tokio::test]
async fn a_content_is_cut_alike_however_it_comes() {
    let world = World::new().await;
    let writer = world.begin().await;
    let file = noise(10 << 20, 3);
    let gatherer = writer.gather(&ResourceId::new("onedrive:1"));
    let whole = gatherer.put(ContentClass::Binary, &file).await.unwrap();
    for piece in [1 << 20, 1_000_003, 64 * 1024 + 1] {
        let mut content = gatherer.content(ContentClass::Binary);
        for part in file.chunks(piece) {
            content.write(part).await.unwrap();
        }
        assert_eq!(content.finish().await.unwrap(), whole, "pieces of {piece}");
    }
    for seed in 0..8 {
        let bytes = noise(1 << 20, 100 + seed);
        let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
        assert_eq!(content.chunk_ids().count(), 1, "up to 1 MiB is one chunk");
    }
}

#[tokio::test]
async fn a_wrong_passphrase_has_an_error_of_its_own() {
    let world = World::new().await;
    let wrong = Passphrase::new("wrong");
    let error = Store::open(world.backend(), &wrong, StoreOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongPassphrase);
}

#[tokio::test]
async fn a_place_holds_one_store_and_an_empty_one_none() {
    let world = World::new().await;
    let error = world.create_again().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StoreExists);
    let nothing: Arc<dyn Backend> = Arc::new(MemoryBackend::new());
    let opened = Store::open(nothing, &common::passphrase(), StoreOptions::default()).await;
    assert_eq!(opened.unwrap_err().kind(), ErrorKind::NotAStore);
}

#[tokio::test]
async fn trees_written_by_one_writer_are_read_by_the_store() {
    let world = World::new().await;
    let writer = world.begin().await;
    let edits = |from: u32, to: u32| -> Vec<_> {
        (from..to)
            .map(|key| (key.to_be_bytes().to_vec(), Some(vec![7; 200])))
            .collect()
    };
    let first = writer
        .apply(&writer.empty_tree(), edits(0, 3000))
        .await
        .unwrap();
    let second = writer.apply(&first, edits(3000, 3100)).await.unwrap();
    assert_eq!(second.entries, 3100);
    assert_eq!(writer.apply(&second, Vec::new()).await.unwrap(), second);
    writer.flush().await.unwrap();
    let store = world.reopen().await;
    let mut scan = backup_store::tree::Scan::new(&store, &second, ..);
    let mut found = 0;
    while let Some(entry) = scan.next().await {
        assert_eq!(entry.unwrap().1, vec![7; 200]);
        found += 1;
    }
    assert_eq!(found, 3100);
}
