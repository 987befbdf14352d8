//! A message as large as the service allows, in bounded memory; alone in its process, so that the
//! peak is its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod common;

use std::sync::Arc;

use backup_store::{
    Backend, ContentClass, CreateOptions, KdfParams, LocalBackend, RunId, Store, StoreOptions,
    WriterOptions,
};
use common::{noise, resource};

/// Pieces of 64 attachments' worth of lines, generated one at a time.
const PIECES: u32 = 200;
const PIECE: usize = 57 * 10_000;
/// What all of it may take beyond what the process had before; the message has 156 MB.
const LIMIT_KIB: u64 = 100 * 1024;

fn piece(number: u32) -> Vec<u8> {
    let mut bytes = noise(PIECE, 1);
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    let mail = common::message(&[&bytes]);
    // One body of all the pieces: only the first has a head.
    let lines = mail.split_inclusive(|byte| *byte == b'\n');
    let head = lines
        .take_while(|line| line.len() != 78)
        .map(<[u8]>::len)
        .sum();
    let end = mail.len() - b"--b--\r\n".len();
    mail[if number == 0 { 0 } else { head }..end].to_vec()
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_150_mb_is_kept_and_read_in_bounded_memory() {
    let directory = tempfile::tempdir().unwrap();
    let backend: Arc<dyn Backend> =
        Arc::new(LocalBackend::create(directory.path().join("store")).unwrap());
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    let options = StoreOptions::default();
    let store = Store::create(backend, &common::passphrase(), create, options)
        .await
        .unwrap();
    let begun = WriterOptions {
        run: RunId::from_bytes([1; 16]),
        spool_dir: directory.path().join("spool"),
        adopts: Vec::new(),
    };
    let writer = store.begin(begun).await.unwrap();
    let before = peak_kib();
    let gatherer = writer.gather(&resource("1").id);
    let mut content = gatherer.content(ContentClass::Mail);
    for number in 0..PIECES {
        content.write(&piece(number)).await.unwrap();
    }
    let content = content.finish().await.unwrap();
    gatherer.commit().await.unwrap();
    writer.end().await.unwrap();
    assert!(content.length > 150_000_000);
    assert!(
        content.chunk_ids().count() < 400,
        "decoded, and cut in large chunks"
    );

    let mut reader = store.open_content(&content);
    let (mut number, mut expected) = (0, Vec::new());
    while let Some(found) = reader.next_chunk().await {
        let found = found.unwrap();
        let mut found = &found[..];
        while !found.is_empty() {
            if expected.is_empty() {
                expected = piece(number);
                number += 1;
            }
            let length = found.len().min(expected.len());
            assert!(found[..length] == expected[..length]);
            expected.drain(..length);
            found = &found[length..];
        }
    }
    assert_eq!((number, expected.len()), (PIECES, 0));
    let taken = peak_kib() - before;
    println!("{} bytes in {taken} KiB", content.length);
    assert!(taken < LIMIT_KIB, "took {taken} KiB");
}
