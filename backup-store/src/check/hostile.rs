//! A hostile store: everything is sealed with the right keys, and made to hurt. It must end in
//! errors, soon, and in bounded memory.

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::catalog::Snapshot;
use crate::codec::Encoder;
use crate::example_store::{run, sample, writer_options};
use crate::index::filter::Shard;
use crate::index::layout::{Directory, Trailer};
use crate::index::sealing::{Role as SegmentRole, SegmentSealer, segment_name};
use crate::pack::layout::{Table, open_table, open_trailer};
use crate::pack::{PackKind, PackSealer, Role, TARGET_BYTES};
use crate::seal::ObjectKind;
use crate::tree::{self, NodeSource, NodeStore, Scan};
use crate::{
    Backend, ChunkId, ErrorKind, LeaseId, ObjectName, RunId, Store, SystemEnvironment, TreeRoot,
    Writer,
};

fn sealer(store: &Store) -> PackSealer {
    let lease = LeaseId::from_bytes([3; 16]);
    PackSealer::create(store.keys(), PackKind::Content, &lease, &SystemEnvironment).unwrap()
}

fn trailer(sealer: &PackSealer, offset: u64, sealed: u32, count: u32) -> Vec<u8> {
    let mut plain = offset.to_le_bytes().to_vec();
    plain.extend_from_slice(&sealed.to_le_bytes());
    plain.extend_from_slice(&count.to_le_bytes());
    sealer.seal(Role::Trailer, 0, &[&plain]).unwrap()
}

/// A pack whose table is these bytes.
fn pack(sealer: &PackSealer, blocks: &[u8], count: u32, table: &[u8]) -> Bytes {
    let mut pack = sealer.header.to_vec();
    pack.extend_from_slice(blocks);
    let offset = pack.len() as u64;
    let sealed = sealer.seal(Role::Table, count, &[table]).unwrap();
    pack.extend_from_slice(&sealed);
    let length = u32::try_from(sealed.len()).unwrap();
    pack.extend_from_slice(&trailer(sealer, offset, length, count));
    pack.into()
}

/// One entry of a table: lengths, and the chunks that it says it has.
fn entry(sealed: u64, plain: u64, chunks: u64, lengths: &[u64]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.varint(sealed);
    encoder.varint(plain);
    encoder.varint(chunks);
    for length in lengths {
        encoder.raw(&[7; 32]);
        encoder.varint(*length);
    }
    encoder.finish()
}

fn table(count: u64, entries: &[Vec<u8>]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    encoder.varint(count);
    entries.iter().for_each(|entry| encoder.raw(entry));
    encoder.finish()
}

#[test]
fn tables_that_count_or_measure_too_much_are_damage() {
    run(async {
        let sample = sample().await;
        let huge = u64::from(u32::MAX);
        let tables = [
            table(huge, &[]),
            table(u64::MAX, &[]),
            table(1, &[entry(100, 100, huge, &[])]),
            table(1, &[entry(huge, 4, 1, &[4])]),
            table(1, &[entry(100, huge, 1, &[huge])]),
            table(1, &[entry(100, 1, 2, &[huge, 2])]),
            table(1, &[entry(100, 9 << 20, 1, &[9 << 20])]),
        ];
        for bytes in tables {
            let backend = sample.backend();
            let store = sample.reopen(&backend, 1).await.unwrap();
            let sealer = sealer(&store);
            let object = pack(&sealer, &[0; 64], 1, &bytes);
            backend.put_new(&sealer.name, object.clone()).await.unwrap();
            let size = object.len() as u64;
            let read = store.packs().table(&sealer.id, size).await;
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Damaged);
            let report = store.check(CheckDepth::AllData, &|_| {}).await.unwrap();
            assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
            // Opening finds a pack in no segment, and goes on without it.
            sample.reopen(&backend, 2).await.unwrap();
        }
    });
}

#[test]
fn trailers_that_point_anywhere_are_damage() {
    run(async {
        let sample = sample().await;
        let store = sample.reopen(&sample.backend(), 1).await.unwrap();
        let sealer = sealer(&store);
        for (offset, sealed, count) in [
            (u64::MAX, 1, 1),
            (u64::MAX, u32::MAX, u32::MAX),
            (0, u32::MAX, 1),
            (TARGET_BYTES, 44, 1),
            (0, 0, 0),
        ] {
            let mut object = sealer.header.to_vec();
            object.extend_from_slice(&trailer(&sealer, offset, sealed, count));
            let (backend, size) = (sample.backend(), object.len() as u64);
            backend.put_new(&sealer.name, object.into()).await.unwrap();
            let store = sample.reopen(&backend, 1).await.unwrap();
            let error = store.packs().table(&sealer.id, size).await.unwrap_err();
            assert_eq!(
                error.kind(),
                ErrorKind::Damaged,
                "{offset} {sealed} {count}"
            );
        }
    });
}

/// A block that says it is small, and one that says it is large, around a bomb.
#[test]
fn a_bomb_in_a_block_is_not_inflated_beyond_what_it_says() {
    run(async {
        let sample = sample().await;
        let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 3).unwrap();
        for plain in [16u32, 8 << 20] {
            let backend = sample.backend();
            let store = sample.reopen(&backend, 1).await.unwrap();
            let sealer = sealer(&store);
            let mut head = vec![1];
            head.extend_from_slice(&plain.to_le_bytes());
            let block = sealer.seal(Role::Block, 0, &[&head, &bomb]).unwrap();
            let sealed = block.len() as u64;
            let table = table(1, &[entry(sealed, plain.into(), 1, &[plain.into()])]);
            let object = pack(&sealer, &block, 1, &table);
            backend.put_new(&sealer.name, object).await.unwrap();
            let report = store.check(CheckDepth::AllData, &|_| {}).await.unwrap();
            let [problem] = &report.problems[..] else {
                panic!("{:?}", report.problems);
            };
            assert!(problem.object.contains(&sealer.id.to_string()), "{problem}");
        }
    });
}

/// A segment that counts entries and has no block that could hold them.
#[test]
fn a_segment_of_entries_without_blocks_is_damage() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        let store = sample.reopen(&backend, 1).await.unwrap();
        let sealer = SegmentSealer::create(store.keys(), &SystemEnvironment).unwrap();
        let mut object = sealer.header.to_vec();
        let filters = object.len() as u64;
        let mut seal = |role, plain: &[u8]| {
            let sealed = sealer.seal_onto(&mut object, role, 0, plain).unwrap();
            (object.len() as u64, u32::try_from(sealed).unwrap())
        };
        let (at, shard) = seal(SegmentRole::Shard, &Shard::encode(&[], 0));
        let directory = Directory {
            kind: PackKind::Content,
            entries: 5,
            supersedes: Vec::new(),
            packs: Vec::new(),
            shards: vec![shard],
            blocks: Vec::new(),
        };
        let (_, length) = seal(SegmentRole::Directory, &directory.encode());
        let trailer = Trailer {
            filters,
            directory: at,
            length,
        };
        seal(SegmentRole::Trailer, &trailer.encode());
        let name = segment_name(&sealer.id).unwrap();
        backend.put_new(&name, object.into()).await.unwrap();
        let store = sample.reopen(&backend, 1).await.unwrap();
        let report = store.check(CheckDepth::AllData, &|_| {}).await.unwrap();
        let [problem] = &report.problems[..] else {
            panic!("{:?}", report.problems);
        };
        assert!(problem.object.contains(name.as_str()), "{problem}");
        let error = store.prune(&crate::PruneOptions::new(), &|_| {}).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Damaged);
    });
}

/// A small object whose payload says how long it is, and is longer.
#[test]
fn a_bomb_in_a_small_object_is_an_error() {
    run(async {
        let sample = sample().await;
        let backend = sample.backend();
        let store = sample.reopen(&backend, 1).await.unwrap();
        // A slot may hold 256 MiB: one byte more is refused before it is sealed.
        let name = ObjectName::new(format!("snaps/{}.0", LeaseId::from_bytes([1; 16]))).unwrap();
        let refused = store
            .seal(ObjectKind::Slot, &name, vec![0; (256 << 20) + 1])
            .await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooLarge);
        // A set that counts more snapshots than it holds.
        let mut encoder = Encoder::new();
        encoder.raw(&[1, 0]);
        encoder.varint(1);
        encoder.varint(u64::from(u32::MAX));
        let sealed = store
            .seal(ObjectKind::Slot, &name, encoder.finish())
            .await
            .unwrap();
        backend.put_new(&name, sealed).await.unwrap();
        let error = store.snapshots().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        assert_eq!(store.snapshot_listing().await.unwrap().snapshots.len(), 4);
    });
}

/// Writes nodes, and publishes a snapshot whose items are the tree with this root.
struct Forger {
    store: Store,
    writer: Writer,
    _spool: tempfile::TempDir,
}

impl Forger {
    async fn begin(store: Store) -> Self {
        let spool = tempfile::tempdir().unwrap();
        let options = writer_options(spool.path(), RunId::from_bytes([66; 16]));
        let writer = store.begin(options).await.unwrap();
        Self {
            store,
            writer,
            _spool: spool,
        }
    }

    async fn node(&self, level: u8, records: &[(&[u8], ChunkId, u64)]) -> ChunkId {
        let mut encoder = Encoder::new();
        encoder.raw(&[b'T', 1, level]);
        for (key, id, entries) in records {
            encoder.bytes(key);
            encoder.raw(id.as_bytes());
            encoder.raw(&entries.to_le_bytes());
        }
        self.writer.put(encoder.finish().into()).await.unwrap()
    }

    async fn leaf(&self, key: &[u8]) -> ChunkId {
        let mut encoder = Encoder::new();
        encoder.raw(&[b'T', 1, 0]);
        encoder.bytes(key);
        encoder.byte(0);
        encoder.bytes(b"value");
        self.writer.put(encoder.finish().into()).await.unwrap()
    }

    async fn publish(self, root: TreeRoot) -> (Store, Snapshot) {
        let mut snapshot = self.store.snapshots().await.unwrap().remove(0).snapshot;
        snapshot.items = root;
        self.writer.publish(vec![snapshot.clone()]).await.unwrap();
        self.writer.end().await.unwrap();
        (self.store, snapshot)
    }
}

/// Reads a tree to its end, or to an error; `None` after more entries than anyone waits for.
async fn scan(store: &Store, root: &TreeRoot) -> Option<Result<u64>> {
    let mut scan = Scan::new(store, root, ..);
    let mut count = 0;
    while let Some(entry) = scan.next().await {
        if let Err(cause) = entry {
            return Some(Err(cause));
        }
        count += 1;
        if count == 100_000 {
            return None;
        }
    }
    Some(Ok(count))
}

#[test]
fn a_tree_that_is_deeper_than_any_is_an_error() {
    run(async {
        let sample = sample().await;
        let forger = Forger::begin(sample.reopen(&sample.backend(), 1).await.unwrap()).await;
        let mut below = forger.leaf(b"k").await;
        for level in 1..=tree::LEVEL_MAX + 10 {
            below = forger.node(level, &[(b"k", below, 1)]).await;
        }
        let level = tree::LEVEL_MAX + 10;
        let root = TreeRoot {
            node: below,
            level,
            entries: 1,
        };
        let (store, _) = forger.publish(root).await;
        let error = scan(&store, &root).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let report = store.check(CheckDepth::Structure, &|_| {}).await.unwrap();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
        assert!(!report.problems[0].dependents.is_empty());
    });
}

/// A node cannot hold its own id: that would need a collision of hashes. What can be forged is a
/// reference to a node of the level it is on, or above.
#[test]
fn a_tree_that_leads_back_is_an_error() {
    run(async {
        let sample = sample().await;
        let forger = Forger::begin(sample.reopen(&sample.backend(), 1).await.unwrap()).await;
        let leaf = forger.leaf(b"k").await;
        let one = forger.node(1, &[(b"k", leaf, 1)]).await;
        let same = forger.node(1, &[(b"k", one, 1)]).await;
        let root = TreeRoot {
            node: same,
            level: 1,
            entries: 1,
        };
        let (store, _) = forger.publish(root).await;
        let error = scan(&store, &root).await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let report = store.check(CheckDepth::Structure, &|_| {}).await.unwrap();
        assert_eq!(report.problems.len(), 1, "{:?}", report.problems);
    });
}

/// Each level refers to the one below many times: few nodes, more entries than atoms.
#[test]
fn a_tree_that_repeats_itself_is_checked_once() {
    run(async {
        let sample = sample().await;
        let forger = Forger::begin(sample.reopen(&sample.backend(), 1).await.unwrap()).await;
        // Nodes that overlap: the second child begins with everything of the first.
        let mut left = forger.leaf(b"a").await;
        let mut whole = forger.leaf(b"b").await;
        let (of_left, mut of_whole) = (1u64, 1u64);
        for level in 1..=tree::LEVEL_MAX {
            let next_left = forger.node(level, &[(b"a", left, of_left)]).await;
            let records: [(&[u8], ChunkId, u64); 2] =
                [(b"a", left, of_left), (b"b", whole, of_whole)];
            whole = forger.node(level, &records).await;
            of_whole += of_left;
            left = next_left;
        }
        let root = TreeRoot {
            node: whole,
            level: tree::LEVEL_MAX,
            entries: of_whole,
        };
        let (store, _) = forger.publish(root).await;
        let report = store.check(CheckDepth::Structure, &|_| {}).await.unwrap();
        let overlap = |problem: &Problem| problem.cause.contains("begins before the end");
        assert!(report.problems.iter().any(overlap), "{:?}", report.problems);
        assert!(report.chunks < 5_000, "{}", report.chunks);
    });
}

#[test]
fn an_honest_table_of_the_forger_is_read() {
    // The tools of these tests make a whole pack when they are asked to.
    run(async {
        let sample = sample().await;
        let store = sample.reopen(&sample.backend(), 1).await.unwrap();
        let sealer = sealer(&store);
        let mut head = vec![0];
        head.extend_from_slice(&4u32.to_le_bytes());
        let block = sealer.seal(Role::Block, 0, &[&head, b"good"]).unwrap();
        let bytes = table(1, &[entry(block.len() as u64, 4, 1, &[4])]);
        let object = pack(&sealer, &block, 1, &bytes);
        let end = object.len() - crate::pack::layout::TRAILER;
        let place = open_trailer(&sealer, &object[end..]).unwrap();
        let from = usize::try_from(place.offset).unwrap();
        let found: Table = open_table(&sealer, &place, &object[from..end]).unwrap();
        assert_eq!(found.blocks.len(), 1);
        let _: Arc<dyn Backend> = Arc::clone(store.backend());
        assert!(
            NodeSource::get(&store, &ChunkId::from_bytes([7; 32]))
                .await
                .is_err()
        );
    });
}
