//! A message as large as the service allows, in bounded memory; alone in its process, so that the
//! peak is its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::sync::Arc;

use backup_store::{
    Backend, ContentClass, CreateOptions, InlineOffload, KdfParams, LocalBackend, RunId, Store,
    StoreOptions, WriterOptions,
};
use common::{noise, resource};

/// Pieces of one attachment, generated one at a time, and the bytes in each.
const PIECES: u32 = 600;
const PIECE: usize = 57 * 10_000;
/// What all of it may take beyond what the process had before; the message has 468 MB.
const LIMIT_KIB: u64 = 128 * 1024;

/// Makes the message piece by piece; pieces differ in their first line.
struct Pieces {
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Pieces {
    fn new() -> Self {
        let mut head = common::message(&[&noise(PIECE, 1)]);
        head.truncate(head.len() - b"--b--\r\n".len());
        let body = head.split_off(head.len() - PIECE / 57 * 78);
        Self { head, body }
    }

    fn piece(&self, number: u32) -> Vec<u8> {
        let mut piece = if number == 0 {
            self.head.clone()
        } else {
            Vec::new()
        };
        let at = piece.len();
        piece.extend_from_slice(&self.body);
        piece[at..at + 8].copy_from_slice(format!("{number:08}").as_bytes());
        piece
    }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_message_far_larger_than_150_mb_is_kept_and_read_in_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> =
        Arc::new(LocalBackend::create(directory.path().join("store")).unwrap());
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    // One thread: what several take at the same time is not what is measured here.
    let options = StoreOptions {
        offload: Arc::new(InlineOffload),
        ..StoreOptions::default()
    };
    let store = Store::create(backend, &common::passphrase(), create, options)
        .await
        .unwrap();
    let begun = WriterOptions {
        run: RunId::from_bytes([1; 16]),
        spool_dir: directory.path().join("spool"),
        adopts: Vec::new(),
    };
    let writer = store.begin(begun).await.unwrap();
    let pieces = Pieces::new();
    let before = peak_kib();
    let gatherer = writer.gather(&resource("1").id);
    let mut content = gatherer.content(ContentClass::Mail);
    for number in 0..PIECES {
        content.write(&pieces.piece(number)).await.unwrap();
    }
    let content = content.finish().await.unwrap();
    gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
    assert!(content.length > 450_000_000);
    assert!(
        content.chunk_ids().count() < 1_200,
        "decoded, and cut in large chunks"
    );

    let mut reader = store.open_content(&content);
    let (mut number, mut expected, mut at) = (0, Vec::new(), 0);
    while let Some(found) = reader.next_chunk().await {
        let found = found.unwrap();
        let mut found = &found[..];
        while !found.is_empty() {
            if at == expected.len() {
                (expected, at) = (pieces.piece(number), 0);
                number += 1;
            }
            let length = found.len().min(expected.len() - at);
            assert!(found[..length] == expected[at..at + length]);
            at += length;
            found = &found[length..];
        }
    }
    assert_eq!((number, at), (PIECES, expected.len()));
    let taken = peak_kib() - before;
    println!("{} bytes in {taken} KiB", content.length);
    assert!(taken < LIMIT_KIB, "took {taken} KiB");
}
