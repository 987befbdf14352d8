//! Laws of the index: whatever was written, merged, cached or damaged, a lookup finds every place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::segment::Segment;
use crate::backend::{Backend, MemoryBackend, ObjectInfo, ObjectName};
use crate::index::file::Part;
use crate::index::sealing::segment_name;
use crate::keys::passphrase::{KdfParams, Passphrase};
use crate::pack::{Location, PackKind};
use crate::{
    ChunkId, CreateOptions, ErrorKind, InlineOffload, PackId, RunId, SegmentId, Store,
    StoreOptions, Writer, WriterOptions,
};

type Model = BTreeMap<ChunkId, BTreeSet<(PackId, u32)>>;

struct World {
    memory: MemoryBackend,
    directory: tempfile::TempDir,
    model: Model,
}

fn chunk(number: u32) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

impl World {
    async fn new() -> (Self, Writer) {
        let world = Self {
            memory: MemoryBackend::new(),
            directory: tempfile::tempdir().unwrap(),
            model: Model::new(),
        };
        let create = CreateOptions {
            kdf: KdfParams::minimum(),
        };
        let backend: Arc<dyn Backend> = Arc::new(world.memory.clone());
        let words = Passphrase::new("words");
        let store = Store::create(backend, &words, create, world.options(false)).await;
        let options = WriterOptions {
            run: RunId::from_bytes([1; 16]),
            spool_dir: world.directory.path().join("spool"),
            adopts: Vec::new(),
        };
        let writer = store.unwrap().begin(options).await.unwrap();
        (world, writer)
    }

    fn options(&self, cached: bool) -> StoreOptions {
        StoreOptions {
            offload: Arc::new(InlineOffload),
            cache_dir: cached.then(|| self.directory.path().join("cache")),
            ..StoreOptions::default()
        }
    }

    async fn reopen(&self, cached: bool) -> Store {
        let backend: Arc<dyn Backend> = Arc::new(self.memory.clone());
        let words = Passphrase::new("words");
        Store::open(backend, &words, self.options(cached))
            .await
            .unwrap()
    }

    /// Puts a segment of one pack with these chunks.
    async fn put(&mut self, store: &Store, pack: u8, chunks: impl Iterator<Item = u32>) {
        let pack = PackId::from_bytes([pack; 16]);
        let place = |block: u32| Location {
            pack,
            block,
            offset: 100 + u64::from(block) * 50,
            sealed: 50,
            plain: 40,
            start: 10,
            length: 30,
        };
        let chunks = chunks
            .zip(0..)
            .map(|(number, block)| (chunk(number), place(block)));
        let mut segment = Segment {
            kind: PackKind::Content,
            supersedes: Vec::new(),
            packs: vec![pack],
            chunks: chunks.collect(),
        };
        for (id, place) in &segment.chunks {
            self.model
                .entry(*id)
                .or_default()
                .insert((place.pack, place.block));
        }
        segment.sort();
        let sealed = segment.seal(store.keys(), store.environment().as_ref());
        store.put_segment(sealed.unwrap()).await.unwrap();
    }

    /// Looks up everything, and as much that was never there.
    async fn check(&self, store: &Store, what: &str) {
        let known: Vec<ChunkId> = self.model.keys().copied().collect();
        for ids in known.chunks(97) {
            let found = store.look_up(ids).await.unwrap();
            for (id, places) in ids.iter().zip(found) {
                let places: BTreeSet<_> = places
                    .iter()
                    .map(|place| (place.pack, place.block))
                    .collect();
                assert_eq!(places, self.model[id], "{what}: {id}");
                assert!(store.may_hold(id), "{what}: {id}");
            }
        }
        let unknown: Vec<ChunkId> = (1_000_000..1_000_200).map(chunk).collect();
        let found = store.look_up(&unknown).await.unwrap();
        assert!(found.iter().all(Vec::is_empty), "{what}");
        let perhaps = unknown.iter().filter(|id| store.may_hold(id)).count();
        assert!(perhaps < 20, "{what}: {perhaps} of 200");
    }

    /// A store that reads nothing it does not need.
    async fn lazily(&self, cached: bool) -> Store {
        let store = self.reopen(cached).await;
        store
            .index(|index| {
                index.read_by_parts();
                for each in index.loaded() {
                    index.remove(&each.file.id())?;
                }
                Ok(())
            })
            .await
            .unwrap();
        store.refresh_index().await.unwrap();
        store
    }

    async fn segments(&self) -> Vec<ObjectName> {
        let listed = self.memory.list("segments/").await.unwrap();
        listed.into_iter().map(|info| info.name).collect()
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5))]

    #[test]
    fn a_lookup_finds_every_place_however_segments_were_merged_and_read(
        puts in prop::collection::vec((0u32..3000, 1u32..400), 1..9),
    ) {
        run(async {
            let (mut world, writer) = World::new().await;
            let store = writer.store().clone();
            for (pack, (first, count)) in (1..).zip(&puts) {
                world.put(&store, pack, *first..first + count).await;
            }
            world.check(&store, "written").await;
            let before = world.segments().await;
            let merges = writer.merge_segments().await.unwrap();
            let after = world.segments().await;
            assert!(before.iter().all(|name| after.contains(name)), "merging deletes nothing");
            assert_eq!(after.len(), before.len() + merges);
            assert_eq!(merges, usize::from(puts.len() >= 4) + usize::from(puts.len() >= 7));
            world.check(&store, "merged").await;
            world.check(&world.reopen(true).await, "read whole").await;
            world.check(&world.reopen(true).await, "from its cache").await;
            let lazy = world.lazily(false).await;
            assert_eq!(lazy.active_segments().len(), puts.len() - 3 * merges);
            world.check(&lazy, "read by parts").await;
        });
    }
}

#[test]
fn a_segment_is_ignored_only_while_what_supersedes_it_can_be_read() {
    run(async {
        let (mut world, writer) = World::new().await;
        let store = writer.store().clone();
        for pack in 1..5 {
            let first = u32::from(pack) * 500;
            world.put(&store, pack, first..first + 600).await;
        }
        assert_eq!(writer.merge_segments().await.unwrap(), 1);
        let merged = store.active_segments();
        assert_eq!(merged.len(), 1);
        let file = &merged[0].file;
        let name = segment_name(&file.id()).unwrap();
        let whole = world.memory.get(&name, None).await.unwrap();
        let places = [
            whole.len() as u64 - 5,
            file.range(Part::Shard(0)).unwrap().start + 20,
            file.range(Part::Block(3)).unwrap().start + 20,
        ];
        for at in places {
            let mut flipped = whole.to_vec();
            flipped[usize::try_from(at).unwrap()] ^= 1;
            world.memory.tamper(&name, Some(Bytes::from(flipped)));
            world.check(&world.reopen(false).await, "read whole").await;
            world
                .check(&world.lazily(false).await, "read by parts")
                .await;
        }
        world.memory.tamper(&name, None);
        world.check(&world.lazily(true).await, "gone").await;
        world.check(&store, "gone under a running process").await;
    });
}

#[test]
fn prune_may_delete_what_is_superseded_while_readers_run() {
    run(async {
        let (mut world, writer) = World::new().await;
        let store = writer.store().clone();
        for pack in 1..5 {
            world.put(&store, pack, 0..300).await;
        }
        let reader = world.lazily(false).await;
        assert_eq!(reader.active_segments().len(), 4);
        assert_eq!(writer.merge_segments().await.unwrap(), 1);
        let merged = store.active_segments()[0].file.id();
        for name in world.segments().await {
            if name != segment_name(&merged).unwrap() {
                world.memory.delete(&name).await.unwrap();
            }
        }
        world.check(&reader, "superseded segments are gone").await;
        assert_eq!(reader.active_segments().len(), 1);
    });
}

#[test]
fn a_second_merge_names_what_the_first_superseded() {
    run(async {
        let (mut world, writer) = World::new().await;
        let store = writer.store().clone();
        let mut first: BTreeSet<SegmentId> = BTreeSet::new();
        for pack in 1..32 {
            world
                .put(
                    &store,
                    pack,
                    u32::from(pack) * 400..u32::from(pack) * 400 + 390,
                )
                .await;
            first.extend(store.active_segments().iter().map(|each| each.file.id()));
            writer.merge_segments().await.unwrap();
        }
        world.check(&store, "merged twice").await;
        // Whatever is there and not in use is named by what is in use.
        let active = store.active_segments();
        let named: BTreeSet<_> = active
            .iter()
            .flat_map(|each| each.file.directory.supersedes.clone())
            .chain(active.iter().map(|each| each.file.id()))
            .collect();
        assert_eq!(named.len(), world.segments().await.len());
        assert!(first.is_subset(&named));
    });
}

#[test]
fn a_rebuilt_index_becomes_a_segment_by_a_writer() {
    run(async {
        let (world, writer) = World::new().await;
        let gatherer = writer.gatherer();
        let class = crate::ContentClass::Text;
        let content = gatherer.put(class, &[7; 5000]).await.unwrap();
        gatherer.commit().await.unwrap();
        writer.flush().await.unwrap();
        let name = world.segments().await.remove(0);
        let mut bytes = world.memory.get(&name, None).await.unwrap().to_vec();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        world.memory.tamper(&name, Some(bytes.into()));
        let store = world.reopen(true).await;
        assert!(store.has_content(&content).await.unwrap());
        let options = WriterOptions {
            run: RunId::from_bytes([1; 16]),
            spool_dir: world.directory.path().join("other"),
            adopts: Vec::new(),
        };
        let writer = store.begin(options).await.unwrap();
        assert_eq!(writer.rebuild_index().await.unwrap(), 1);
        assert_eq!(writer.rebuild_index().await.unwrap(), 0);
        // The damaged one may go now: what supersedes it stands alone.
        world.memory.tamper(&name, None);
        let reader = world.lazily(false).await;
        assert!(reader.has_content(&content).await.unwrap());
        assert!(
            reader
                .active_segments()
                .iter()
                .all(|each| each.stands_for.is_none())
        );
        let gone = ObjectInfo { name, size: 1 };
        let error = reader.verify_segment(&gone).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn a_cache_that_lost_its_parts_reads_them_again() {
    run(async {
        let (mut world, writer) = World::new().await;
        let store = writer.store().clone();
        world.put(&store, 1, 0..2000).await;
        drop(world.reopen(true).await);
        let cache = world.directory.path().join("cache");
        let cache = std::fs::read_dir(cache)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let file = cache.join("index.sqlite");
        let connection = rusqlite::Connection::open(&file).unwrap();
        let spoil =
            "UPDATE parts SET bytes = substr(bytes, 2); DELETE FROM parts WHERE key % 3 = 0";
        connection.execute_batch(spoil).unwrap();
        drop(connection);
        world.check(&world.reopen(true).await, "spoilt parts").await;
        std::fs::write(
            &file,
            b"not a database at all, but long enough to look like one",
        )
        .unwrap();
        world.check(&world.reopen(true).await, "spoilt file").await;
    });
}
