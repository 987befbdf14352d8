//! Messages: what they carry in base64 is stored once, and they come back byte by byte.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;

use backup_store::{ChunkId, ContentClass, ContentRef};
use common::{World, message, noise, resource};

fn ids(content: &ContentRef) -> BTreeSet<ChunkId> {
    content.chunk_ids().copied().collect()
}

#[tokio::test]
async fn an_attachment_is_stored_once_for_messages_mailboxes_and_drives() {
    let world = World::new().await;
    let writer = world.begin().await;
    let (small, large) = (noise(40_000, 1), noise(5 << 20, 2));
    let [one, two, drive] = ["1", "2", "drive"].map(|owner| writer.gather(&resource(owner).id));
    let first = message(&[&small, &large]);
    let first_ref = one.put(ContentClass::Mail, &first).await.unwrap();
    one.commit().await.unwrap();
    writer.flush().await.unwrap();
    let before = world.stored_bytes("packs/").await;

    let second = [b"To: somebody else\r\n", &message(&[&large, &small])[..]].concat();
    let second_ref = two.put(ContentClass::Mail, &second).await.unwrap();
    let small_file = drive.put(ContentClass::Binary, &small).await.unwrap();
    let large_file = drive.put(ContentClass::Binary, &large).await.unwrap();
    for gatherer in [&two, &drive] {
        gatherer.commit().await.unwrap();
    }
    writer.end().await.unwrap();
    let added = world.stored_bytes("packs/").await - before;
    assert!(
        added < 100_000,
        "nothing but the second message's own words: {added}"
    );
    for content in [&first_ref, &second_ref] {
        assert!(ids(content).is_superset(&ids(&small_file)));
        assert!(ids(content).is_superset(&ids(&large_file)));
    }
    let store = world.reopen().await;
    for (content, bytes) in [(&first_ref, &first), (&second_ref, &second)] {
        assert_eq!(content.length, bytes.len() as u64);
        let found = store.open_content(content).collect(1 << 30).await.unwrap();
        assert!(found == *bytes, "byte by byte");
    }
}

#[tokio::test]
async fn a_message_without_base64_is_kept_like_text() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&resource("1").id);
    for length in [0, 10, 50_000, 3 << 20] {
        let words = b"Lorem ipsum. ".iter().copied().cycle().take(length);
        let words: Vec<u8> = words.collect();
        let mail = gatherer.put(ContentClass::Mail, &words).await.unwrap();
        let text = gatherer.put(ContentClass::Text, &words).await.unwrap();
        assert_eq!(mail, text);
    }
    gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
}

#[tokio::test]
async fn pieces_of_any_size_make_the_same_message() {
    let world = World::new().await;
    let writer = world.begin().await;
    let gatherer = writer.gather(&resource("1").id);
    let mail = message(&[&noise(700_000, 3), b"short", &noise(300_000, 4)]);
    let whole = gatherer.put(ContentClass::Mail, &mail).await.unwrap();
    for piece in [313, 65_536, 1 << 20] {
        let mut content = gatherer.content(ContentClass::Mail);
        for piece in mail.chunks(piece) {
            content.write(piece).await.unwrap();
        }
        assert_eq!(content.finish().await.unwrap(), whole, "pieces of {piece}");
    }
    gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
}
