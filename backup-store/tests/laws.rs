//! Laws: whatever is put, in whatever pieces and order, comes back, once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use backup_store::{Backend, ContentClass, ContentRef};
use common::{World, noise, resource};
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Put {
    length: usize,
    seed: u8,
    class: usize,
    /// 0: in one piece.
    piece: usize,
    /// Commit afterwards, flush afterwards.
    commit: bool,
    flush: bool,
}

const CLASSES: [ContentClass; 4] = [
    ContentClass::Text,
    ContentClass::Binary,
    ContentClass::Metadata,
    ContentClass::Mail,
];

fn put() -> impl Strategy<Value = Put> {
    let length = prop_oneof![4 => 0usize..20_000, 2 => 100_000usize..700_000, 1 => 0usize..6 << 20];
    (
        length,
        0u8..3,
        0usize..4,
        prop_oneof![Just(0usize), 1000usize..3 << 20],
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(length, seed, class, piece, commit, flush)| Put {
            length,
            seed,
            class,
            piece,
            commit,
            flush: commit && flush,
        })
}

async fn run(puts: &[Put]) {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherers = ["1", "2"].map(|owner| writer.gather(&resource(owner).id));
    let mut stored: Vec<(ContentRef, Vec<u8>)> = Vec::new();
    for (number, put) in puts.iter().enumerate() {
        let gatherer = &gatherers[number % 2];
        // Half of the bytes compress well.
        let mut bytes = noise(put.length, put.seed);
        bytes
            .iter_mut()
            .skip(put.length / 2)
            .for_each(|byte| *byte &= 3);
        let class = CLASSES[put.class];
        if class == ContentClass::Mail {
            bytes = common::message(&[&bytes]);
        }
        let content = if put.piece == 0 {
            gatherer.put(class, &bytes).await.unwrap()
        } else {
            let mut content = gatherer.content(class);
            for piece in bytes.chunks(put.piece) {
                content.write(piece).await.unwrap();
            }
            content.finish().await.unwrap()
        };
        stored.push((content, bytes));
        if put.commit {
            let receipt = gatherer.commit().await.unwrap();
            assert!(writer.packs_present(&receipt.packs).await.unwrap());
        }
        if put.flush {
            writer.flush().await.unwrap();
        }
    }
    for gatherer in &gatherers {
        gatherer.commit().await.unwrap();
    }
    writer.end().await.unwrap();
    let store = world.reopen().await;
    let mut distinct = BTreeSet::new();
    for (content, bytes) in stored.iter().rev() {
        assert_eq!(
            &store.open_content(content).collect(1 << 30).await.unwrap(),
            bytes
        );
        distinct.extend(content.chunk_ids().copied());
    }
    let left: Vec<_> = std::fs::read_dir(world.spool()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the lock is left");
    let packs = world.memory.list("packs/").await.unwrap();
    assert_eq!(packs.is_empty(), distinct.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_contents_in_any_pieces_come_back(puts in prop::collection::vec(put(), 0..12)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(run(&puts));
    }
}

#[test]
fn everything_runs_on_one_thread_with_work_done_inline() {
    let options = backup_store::StoreOptions {
        offload: std::sync::Arc::new(backup_store::InlineOffload),
        ..backup_store::StoreOptions::default()
    };
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap().block_on(async {
        let world = World::with(options).await;
        let writer = world.begin().await;
        let gatherer = writer.gather(&resource("1").id);
        let bytes = noise(6 << 20, 9);
        let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
        gatherer.commit().await.unwrap();
        writer.end().await.unwrap();
        let found = world
            .store
            .open_content(&content)
            .collect(1 << 30)
            .await
            .unwrap();
        assert_eq!(found, bytes);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn clones_of_a_gatherer_may_be_used_at_once() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&resource("1").id);
    let tasks = (0..16u8).map(|seed| {
        let gatherer = gatherer.clone();
        tokio::spawn(async move {
            let bytes = noise(300_000 + usize::from(seed) * 1000, seed % 5);
            let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
            gatherer.commit().await.unwrap();
            (content, bytes)
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut stored = Vec::new();
    for task in tasks {
        stored.push(task.await.unwrap());
    }
    writer.end().await.unwrap();
    for (content, bytes) in &stored {
        let found = world
            .store
            .open_content(content)
            .collect(1 << 30)
            .await
            .unwrap();
        assert_eq!(&found, bytes);
    }
}

#[tokio::test]
async fn a_cancelled_content_is_lost_alone() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&resource("1").id);
    let mut content = gatherer.content(ContentClass::Binary);
    let bytes = noise(9 << 20, 4);
    {
        let mut write = Box::pin(content.write(&bytes));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(write.as_mut().poll(&mut context).is_pending());
    }
    assert!(content.write(b"more").await.is_err());
    assert!(content.finish().await.is_err());
    // The content is lost, the page is not: nothing of it is referred to.
    gatherer.put(ContentClass::Text, b"other").await.unwrap();
    gatherer.commit().await.unwrap();
}

#[tokio::test]
async fn an_index_cache_on_disk_is_read_again_and_replaced_when_it_is_no_database() {
    let directory = tempfile::tempdir().unwrap();
    let options = || backup_store::StoreOptions {
        cache_dir: Some(directory.path().to_path_buf()),
        ..backup_store::StoreOptions::default()
    };
    let world = World::with(options()).await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&resource("1").id);
    let content = gatherer.put(ContentClass::Text, b"cached").await.unwrap();
    gatherer.commit().await.unwrap();
    writer
        .publish(vec![common::snapshot(&writer, resource("1"))])
        .await
        .unwrap();
    writer.end().await.unwrap();
    let cache = directory.path().join(world.store.id().to_string());
    drop(world.store);
    for breakage in [
        None,
        Some("not a database, but long enough to be looked at".repeat(9)),
    ] {
        if let Some(text) = breakage {
            std::fs::write(cache.join("index.sqlite"), text).unwrap();
        }
        let backend: std::sync::Arc<dyn Backend> = std::sync::Arc::new(world.memory.clone());
        let passphrase = common::passphrase();
        let store = backup_store::Store::open(backend, &passphrase, options())
            .await
            .unwrap();
        assert_eq!(
            store.open_content(&content).collect(100).await.unwrap(),
            b"cached"
        );
        assert_eq!(store.snapshots().await.unwrap().len(), 1);
    }
}
