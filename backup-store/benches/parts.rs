//! The parts of a store, one at a time: naming and cutting, splitting, sealing, reading, trees.
//!
//! `cargo bench -p backup-store --features fuzzing`
#![allow(missing_docs, clippy::unwrap_used, reason = "benches")]

use std::hint::black_box;
use std::sync::Arc;

use backup_store::catalog::ResourceId;
use backup_store::{
    ContentClass, ContentRef, CreateOptions, Gatherer, KdfParams, MemoryBackend, Passphrase, RunId,
    Store, StoreOptions, Writer, WriterOptions,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

struct World {
    runtime: Runtime,
    store: Store,
    writer: Writer,
    _spool: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let spool = tempfile::tempdir().unwrap();
        let mut create = CreateOptions::default();
        create.kdf = KdfParams::minimum();
        let (store, writer) = runtime.block_on(async {
            let backend = Arc::new(MemoryBackend::new());
            let passphrase = Passphrase::new("a bench");
            let options = StoreOptions::default();
            let store = Store::create(backend, &passphrase, create, options)
                .await
                .unwrap();
            let begun = WriterOptions {
                run: RunId::from_bytes([1; 16]),
                spool_dir: spool.path().to_path_buf(),
                adopts: Vec::new(),
            };
            let writer = store.begin(begun).await.unwrap();
            (store, writer)
        });
        Self {
            runtime,
            store,
            writer,
            _spool: spool,
        }
    }

    fn gatherer(&self) -> Gatherer {
        self.writer.gather(&ResourceId::new("bench:1"))
    }

    fn put(&self, class: ContentClass, bytes: &[u8]) -> ContentRef {
        let gatherer = self.gatherer();
        self.runtime.block_on(async {
            let content = gatherer.put(class, bytes).await.unwrap();
            gatherer.commit().await.unwrap();
            content
        })
    }
}

/// Bytes that do not compress; other bytes for every number.
fn noise(length: usize, number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next)
        .flatten()
        .take(length)
        .collect()
}

/// A message with an attachment of about 3/4 of `length` bytes.
fn message(length: usize, number: u64) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut message = b"Subject: minutes\r\n\r\nSee the attachment.\r\n".to_vec();
    for (at, byte) in noise(length / 78 * 76, number).into_iter().enumerate() {
        if at > 0 && at % 76 == 0 {
            message.extend_from_slice(b"\r\n");
        }
        message.push(ALPHABET[usize::from(byte % 64)]);
    }
    message.extend_from_slice(b"\r\n--b--\r\n");
    message
}

fn writing(criterion: &mut Criterion) {
    let world = World::new();
    let mut group = criterion.benchmark_group("put");
    let mut number = 0;
    for (name, class, length) in [
        ("mail of 64 KiB", ContentClass::Mail, 64 << 10),
        ("file of 64 KiB", ContentClass::Binary, 64 << 10),
        ("file of 8 MiB", ContentClass::Binary, 8 << 20),
    ] {
        group.throughput(Throughput::Bytes(length as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    match class {
                        ContentClass::Mail => message(length, number),
                        _ => noise(length, number),
                    }
                },
                |bytes| world.put(class, &bytes),
                BatchSize::LargeInput,
            );
        });
    }
    let known = noise(64 << 10, 0);
    world.put(ContentClass::Binary, &known);
    group.throughput(Throughput::Bytes(64 << 10));
    group.bench_function("known file of 64 KiB", |bencher| {
        bencher.iter(|| world.put(ContentClass::Binary, black_box(&known)));
    });
    group.finish();
}

fn reading(criterion: &mut Criterion) {
    let world = World::new();
    let mut group = criterion.benchmark_group("read");
    for (name, class, bytes) in [
        ("mail of 64 KiB", ContentClass::Mail, message(64 << 10, 1)),
        ("file of 8 MiB", ContentClass::Binary, noise(8 << 20, 2)),
    ] {
        let content = world.put(class, &bytes);
        world.runtime.block_on(world.writer.flush()).unwrap();
        group.throughput(Throughput::Bytes(content.length));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let reader = world.store.open_content(&content);
                world.runtime.block_on(reader.collect(u64::MAX)).unwrap()
            });
        });
    }
    group.finish();
}

fn trees(criterion: &mut Criterion) {
    let world = World::new();
    let edit = |number: u32| {
        (
            number.to_be_bytes().to_vec(),
            Some(noise(150, number.into())),
        )
    };
    let all = (0..20_000).map(edit);
    let empty = world.writer.empty_tree();
    let root = world
        .runtime
        .block_on(world.writer.apply(&empty, all))
        .unwrap();
    criterion.bench_function("apply 100 changes to 20,000 records", |bencher| {
        let mut round = 0;
        bencher.iter(|| {
            round += 1;
            let edits = (0..100u32).map(|each| {
                let (key, _) = edit(each * 200);
                (key, Some(noise(150, round)))
            });
            world
                .runtime
                .block_on(world.writer.apply(&root, edits))
                .unwrap()
        });
    });
}

#[cfg(feature = "fuzzing")]
fn splitting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("split and join");
    let text = b"Lorem ipsum dolor sit amet, consectetur adipisici elit.\r\n".repeat(20_000);
    for (name, bytes) in [("base64", message(1 << 20, 1)), ("text", text)] {
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| backup_store::fuzzing::mime_there_and_back(&bytes, 65_536).unwrap());
        });
    }
    group.finish();
}

#[cfg(not(feature = "fuzzing"))]
fn splitting(_criterion: &mut Criterion) {}

criterion_group!(benches, writing, reading, trees, splitting);
criterion_main!(benches);
