//! Crashes and rivals: what was committed survives, and no writer harms another.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "tests"
)]

mod common;

use std::fs;

use backup_store::catalog::ResourceId;
use backup_store::{Backend, ContentClass, ContentRef, ErrorKind, ObjectName, PackId, Store};
use common::{World, noise, resource, snapshot};

/// The files of an open pack.
#[derive(Clone)]
struct Spool {
    pack: PackId,
    blocks: Vec<u8>,
    frames: Vec<u8>,
}

impl Spool {
    fn read(world: &World, pack: PackId) -> Self {
        let read = |end: &str| fs::read(world.spool().join(format!("{pack}.{end}"))).unwrap();
        let (blocks, frames) = (read("spool"), read("frames"));
        Self {
            pack,
            blocks,
            frames,
        }
    }

    /// Writes the files into the spool directory of a world, as a crash may leave them.
    fn leave(&self, world: &World) {
        fs::create_dir_all(world.spool()).unwrap();
        for (end, bytes) in [("spool", &self.blocks), ("frames", &self.frames)] {
            let path = world.spool().join(format!("{}.{end}", self.pack));
            fs::write(path, bytes).unwrap();
        }
    }

    /// Both lengths.
    fn lengths(&self) -> [usize; 2] {
        [self.blocks.len(), self.frames.len()]
    }
}

/// Puts three contents, committing after each; returns them with the spool after each.
async fn spool_of_three(world: &World) -> (Vec<(ContentRef, Vec<u8>)>, Vec<Spool>, PackId) {
    let writer = world.begin().await;
    let gatherer = writer.gather(&ResourceId::new("outlook:1"));
    let (mut contents, mut spools) = (Vec::new(), Vec::new());
    for seed in 0..3 {
        let bytes = noise(40 + usize::from(seed) * 30, seed);
        let content = gatherer.put(ContentClass::Text, &bytes).await.unwrap();
        contents.push((content, bytes));
        let packs = gatherer.commit().await.unwrap().packs;
        spools.push(Spool::read(world, packs[0]));
    }
    let pack = spools[0].pack;
    (contents, spools, pack)
}

async fn readable(store: &Store, content: &ContentRef, bytes: &[u8]) -> bool {
    match store.open_content(content).collect(1 << 20).await {
        Ok(found) => {
            assert_eq!(found, bytes);
            true
        }
        Err(cause) => {
            assert_eq!(cause.kind(), ErrorKind::Missing);
            false
        }
    }
}

#[tokio::test]
async fn whole_blocks_survive_a_crash_at_every_byte_of_the_spool() {
    let original = World::new().await;
    let (contents, spools, pack) = spool_of_three(&original).await;
    let whole = spools.last().unwrap();
    let [blocks, frames] = whole.lengths();
    let cuts = (0..=blocks).map(|cut| [cut, frames]);
    let cuts = cuts.chain((0..=frames).map(|cut| [blocks, cut]));
    let near = |cut: &[usize; 2]| {
        let of = |spool: &Spool| (0..2).any(|file| cut[file].abs_diff(spool.lengths()[file]) <= 2);
        spools[..2].iter().any(of)
    };
    for cut in cuts.filter(|cut| cut[0] % 5 == 0 && cut[1] % 5 == 0 || near(cut)) {
        // A copy of the store, and a spool whose files end here.
        let world = original.copy().await;
        let mut spool = whole.clone();
        spool.blocks.truncate(cut[0]);
        spool.frames.truncate(cut[1]);
        spool.leave(&world);
        let writer = world.begin().await;
        let survives = |spool: &Spool| (0..2).all(|file| cut[file] >= spool.lengths()[file]);
        for ((content, bytes), spool) in contents.iter().zip(&spools) {
            let found = readable(&world.store, content, bytes).await;
            assert_eq!(found, survives(spool), "cut at {cut:?}");
        }
        assert_eq!(
            writer.packs_present(&[pack]).await.unwrap(),
            survives(&spools[0]),
            "cut at {cut:?}"
        );
        let left = fs::read_dir(world.spool()).unwrap().count();
        assert_eq!(
            left, 1,
            "only the lock is left of the spool, cut at {cut:?}"
        );
        writer.end().await.unwrap();
    }
}

#[tokio::test]
async fn one_file_of_a_spool_without_the_other_is_nothing() {
    let original = World::new().await;
    let (contents, spools, pack) = spool_of_three(&original).await;
    for missing in ["spool", "frames"] {
        let world = original.copy().await;
        spools[2].leave(&world);
        fs::remove_file(world.spool().join(format!("{pack}.{missing}"))).unwrap();
        let writer = world.begin().await;
        assert!(!readable(&world.store, &contents[0].0, &contents[0].1).await);
        let left = fs::read_dir(world.spool()).unwrap().count();
        assert_eq!(left, 1, "only the lock is left, without the {missing}");
        writer.end().await.unwrap();
    }
}

#[tokio::test]
async fn a_flipped_byte_in_a_spool_keeps_the_blocks_before_it() {
    let original = World::new().await;
    let (contents, spools, _) = spool_of_three(&original).await;
    for file in 0..2 {
        let [first, last] = [&spools[0], &spools[2]].map(|spool| spool.lengths()[file]);
        for at in (first..last).step_by(7) {
            let world = original.copy().await;
            let mut spool = spools[2].clone();
            [&mut spool.blocks, &mut spool.frames][file][at] ^= 1;
            spool.leave(&world);
            world.begin().await.end().await.unwrap();
            for ((content, bytes), spool) in contents.iter().zip(&spools) {
                let before = at >= spool.lengths()[file];
                assert_eq!(
                    readable(&world.store, content, bytes).await,
                    before,
                    "flip at {at} of file {file}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_pack_that_was_uploaded_before_the_crash_is_uploaded_alike() {
    let original = World::new().await;
    let (contents, spools, pack) = spool_of_three(&original).await;
    let world = original.copy().await;
    spools[2].leave(&world);
    world.begin().await.end().await.unwrap();
    let name = ObjectName::new(format!("packs/{}/{pack}", &pack.to_string()[..2])).unwrap();
    let uploaded = world.memory.get(&name, None).await.unwrap();
    // The machine crashed after the upload: the spool is still there, the segment is not.
    for info in world.memory.list("segments/").await.unwrap() {
        world.memory.delete(&info.name).await.unwrap();
    }
    spools[2].leave(&world);
    world.begin().await.end().await.unwrap();
    assert_eq!(world.memory.get(&name, None).await.unwrap(), uploaded);
    assert_eq!(world.memory.list("packs/").await.unwrap().len(), 1);
    assert!(readable(&world.store, &contents[2].0, &contents[2].1).await);
}

#[tokio::test]
async fn a_pack_whose_name_a_clone_took_is_sealed_anew() {
    let original = World::new().await;
    let (contents, spools, pack) = spool_of_three(&original).await;
    let world = original.copy().await;
    let name = ObjectName::new(format!("packs/{}/{pack}", &pack.to_string()[..2])).unwrap();
    world
        .memory
        .tamper(&name, Some(bytes::Bytes::from_static(b"of the clone")));
    spools[2].leave(&world);
    let writer = world.begin().await;
    assert!(!writer.packs_present(&[pack]).await.unwrap());
    for (content, bytes) in &contents {
        assert!(readable(&world.store, content, bytes).await);
    }
}

#[tokio::test]
async fn an_adopted_lease_is_fenced_and_its_snapshots_stay() {
    let world = World::new().await;
    let old = world.begin().await;
    old.publish(vec![snapshot(&old, resource("1"))])
        .await
        .unwrap();
    let other = World {
        directory: tempfile::tempdir().unwrap(),
        memory: world.memory.clone(),
        store: world.reopen().await,
    };
    let new = other.begin_adopting(vec![old.lease()]).await;
    assert_eq!(new.snapshots().await.unwrap().len(), 1);
    assert_eq!(new.claim_token(), old.claim_token() + 1);
    let refused = old
        .publish(vec![snapshot(&old, resource("2"))])
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Fenced);
    assert_eq!(old.end().await.unwrap_err().kind(), ErrorKind::Fenced);
    new.publish(vec![snapshot(&new, resource("2"))])
        .await
        .unwrap();
    new.end().await.unwrap();
    assert_eq!(world.store.snapshots().await.unwrap().len(), 2);
    // Adopting a lease that has ended takes no further slot.
    let slots = world.memory.list("snaps/").await.unwrap().len();
    let ended = world.store.snapshots().await.unwrap()[0].lease;
    other.begin_adopting(vec![ended]).await.end().await.unwrap();
    assert_eq!(world.memory.list("snaps/").await.unwrap().len(), slots + 1);
}

#[tokio::test]
async fn two_writers_at_once_lose_nothing() {
    let world = World::new().await;
    let other = World {
        directory: tempfile::tempdir().unwrap(),
        memory: world.memory.clone(),
        store: world.reopen().await,
    };
    let (one, two) = (world.begin().await, other.begin().await);
    assert_eq!(one.claim_token(), two.claim_token());
    let mut contents = Vec::new();
    for (writer, owner) in [(&one, "1"), (&two, "2"), (&one, "3"), (&two, "4")] {
        let bytes = noise(5000, owner.as_bytes()[0] % 3);
        let gatherer = writer.gather(&resource(owner).id);
        contents.push((
            gatherer.put(ContentClass::Text, &bytes).await.unwrap(),
            bytes,
        ));
        gatherer.commit().await.unwrap();
        writer
            .publish(vec![snapshot(writer, resource(owner))])
            .await
            .unwrap();
    }
    let (first, second) = tokio::join!(one.end(), two.end());
    first.unwrap();
    second.unwrap();
    let store = world.reopen().await;
    assert_eq!(store.snapshots().await.unwrap().len(), 4);
    for (content, bytes) in &contents {
        assert!(readable(&store, content, bytes).await);
    }
}

#[tokio::test]
async fn a_spool_directory_has_one_writer() {
    let world = World::new().await;
    let writer = world.begin().await;
    let error = world
        .store
        .begin(world.options(Vec::new()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SpoolInUse);
    let gatherer = writer.gather(&ResourceId::new("outlook:1"));
    writer.end().await.unwrap();
    let late = async {
        gatherer.put(ContentClass::Text, b"late").await?;
        gatherer.commit().await
    };
    assert_eq!(late.await.unwrap_err().kind(), ErrorKind::InvalidInput);
    world.begin().await.end().await.unwrap();
}
