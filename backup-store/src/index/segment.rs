//! Segments: sorted lists of chunks and their places, for one or more packs of one kind.
//!
//! A segment can be rebuilt from the tables of its packs at any time. It may supersede others:
//! then every entry of theirs is in it, so that they need not be read once it can be.

use super::builder::{SealedSegment, SegmentBuilder};
use super::layout::{Entry, order};
use super::sealing::SegmentSealer;
use crate::environment::Environment;
use crate::error::Result;
use crate::id::{PackId, SegmentId};
use crate::keys::Keys;
use crate::pack::layout::Table;
use crate::pack::{PackKind, PackSealer};

/// A segment in memory: its chunks are sorted by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) kind: PackKind,
    /// Segments whose every entry is in this one.
    pub(crate) supersedes: Vec<SegmentId>,
    pub(crate) packs: Vec<PackId>,
    pub(crate) chunks: Vec<Entry>,
}

impl Segment {
    /// Makes the segment of some packs from their tables.
    pub(crate) fn new<'a>(
        kind: PackKind,
        packs: impl Iterator<Item = (&'a PackSealer, Table)>,
    ) -> Self {
        let mut segment = Self {
            kind,
            supersedes: Vec::new(),
            packs: Vec::new(),
            chunks: Vec::new(),
        };
        for (sealer, table) in packs {
            segment.push(sealer, &table);
        }
        segment.sort();
        segment
    }

    /// Adds a pack by its table; [`sort`](Self::sort) follows the last one.
    pub(crate) fn push(&mut self, sealer: &PackSealer, table: &Table) {
        self.packs.push(sealer.id);
        self.chunks.extend(table.locations(sealer));
    }

    /// Sorts packs and chunks, and leaves out what is said twice.
    pub(crate) fn sort(&mut self) {
        self.packs.sort_unstable();
        self.packs.dedup();
        self.chunks.sort_by_key(order);
        self.chunks.dedup_by_key(|entry| order(entry));
    }

    /// Seals the segment under a fresh id.
    pub(crate) fn seal(&self, keys: &Keys, environment: &dyn Environment) -> Result<SealedSegment> {
        let sealer = SegmentSealer::create(keys, environment)?;
        let (packs, supersedes) = (self.packs.clone(), self.supersedes.clone());
        let bound = self.chunks.len() as u64;
        let mut builder = SegmentBuilder::new(sealer, self.kind, packs, supersedes, bound, None)?;
        for entry in &self.chunks {
            builder.push(entry)?;
        }
        builder.finish()
    }

    /// Opens a segment that was read whole; every byte of it that matters is checked.
    #[cfg(test)]
    pub(crate) fn open(keys: &Keys, id: SegmentId, object: &[u8]) -> Result<Self> {
        let file = super::file::SegmentFile::open_whole(keys, id, object)?;
        file.verify_whole(object)?;
        let parts = file.parts();
        let chunks: Result<Vec<_>> = parts
            .map(|part| file.verify_part(part, 0, object))
            .collect();
        let directory = &file.directory;
        Ok(Self {
            kind: directory.kind,
            supersedes: directory.supersedes.clone(),
            packs: directory.packs.clone(),
            chunks: chunks?.concat(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::file::{Part, SegmentFile};
    use super::super::layout::{Directory, Trailer, decode_block};
    use super::super::object::SegmentSpool;
    use super::*;
    use crate::ErrorKind;
    use crate::disk::SystemDisk;
    use crate::environment::SystemEnvironment;
    use crate::id::{ChunkId, LeaseId};
    use crate::keys::tests::test_keys;
    use crate::pack::Location;
    use crate::pack::layout::BlockEntry;

    const LEASE: LeaseId = LeaseId::from_bytes([9; 16]);

    fn table(blocks: &[Vec<u32>], next: &mut u32) -> Table {
        let mut entry = |lengths: &Vec<u32>| BlockEntry {
            sealed: 33 + lengths.iter().sum::<u32>() / 2,
            plain: lengths.iter().sum(),
            chunks: lengths
                .iter()
                .map(|length| {
                    // A few chunks come twice: they lie in several places.
                    *next = (*next + 1) % 97;
                    let hash = blake3::hash(&next.to_le_bytes());
                    (ChunkId::from_bytes(hash.into()), *length)
                })
                .collect(),
        };
        Table {
            blocks: blocks.iter().map(&mut entry).collect(),
        }
    }

    pub(crate) fn segment(packs: &[Vec<Vec<u32>>]) -> Segment {
        let keys = test_keys();
        let sealers: Vec<_> = packs
            .iter()
            .map(|_| {
                PackSealer::create(&keys, PackKind::Content, &LEASE, &SystemEnvironment).unwrap()
            })
            .collect();
        let mut next = 0;
        let tables = packs.iter().map(|blocks| table(blocks, &mut next));
        Segment::new(PackKind::Content, sealers.iter().zip(tables))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn a_segment_survives_being_sealed_and_opened(
            packs in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(0u32..5000, 0..90), 1..6), 0..4),
            supersedes in prop::collection::btree_set(any::<[u8; 16]>(), 0..4),
        ) {
            let keys = test_keys();
            let mut segment = segment(&packs);
            segment.supersedes = supersedes.into_iter().map(SegmentId::from_bytes).collect();
            let sealed = segment.seal(&keys, &SystemEnvironment).unwrap();
            let id = sealed.file.id();
            let opened = Segment::open(&keys, id, &sealed.object.whole().unwrap()).unwrap();
            prop_assert_eq!(&opened, &segment);
            let cached = SegmentFile::from_cache(&keys, id, &sealed.file.to_cache()).unwrap();
            prop_assert_eq!(&cached.directory, &sealed.file.directory);
            let directory = Directory::decode(&cached.directory.encode()).unwrap();
            prop_assert_eq!(&directory, &cached.directory);
        }

        #[test]
        fn any_bytes_are_decoded_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Directory::decode(&bytes);
            let _ = Trailer::decode(&bytes);
            let _ = decode_block(&bytes, &[PackId::from_bytes([1; 16])]);
            let _ = Table::decode(&bytes);
        }
    }

    #[test]
    fn every_flipped_byte_but_padding_is_damage_and_so_is_every_cut() {
        let keys = test_keys();
        let segment = segment(&[vec![vec![10; 60], vec![20; 30]]]);
        let sealed = segment.seal(&keys, &SystemEnvironment).unwrap();
        let (id, object) = (sealed.file.id(), sealed.object.whole().unwrap());
        let ends = sealed.file.range(Part::Block(0)).unwrap().end;
        let begins = sealed.file.range(Part::Shard(0)).unwrap().start;
        let matter = (0..ends).chain(begins..object.len() as u64);
        for at in matter.step_by(7) {
            let at = usize::try_from(at).unwrap();
            let mut flipped = object.to_vec();
            flipped[at] ^= 0x10;
            for bytes in [&flipped[..], &object[..at]] {
                let error = Segment::open(&keys, id, bytes).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Damaged, "byte {at}");
            }
        }
        let other = SegmentId::from_bytes([3; 16]);
        assert!(Segment::open(&keys, other, &object).is_err());
    }

    #[test]
    fn a_segment_begins_at_its_end() {
        let keys = test_keys();
        let sealed = segment(&[vec![vec![10; 60]]]).seal(&keys, &SystemEnvironment);
        let SealedSegment { file, object } = sealed.unwrap();
        let object = object.whole().unwrap();
        let size = object.len() as u64;
        let header = &object[..super::super::sealing::HEADER];
        let tail = &object[object.len() - 100..];
        let from = SegmentFile::open(&keys, file.id(), size, header, tail).unwrap();
        let from = usize::try_from(from.unwrap_err()).unwrap();
        let opened = SegmentFile::open(&keys, file.id(), size, header, &object[from..]).unwrap();
        assert_eq!(opened.unwrap().directory, file.directory);
        // Of another size, it is another segment.
        assert!(SegmentFile::open(&keys, file.id(), size + 1, header, tail).is_err());
    }

    #[test]
    fn a_segment_that_grows_in_a_file_is_the_one_that_grows_in_memory() {
        let (keys, directory) = (test_keys(), tempfile::tempdir().unwrap());
        let entry = |number: u32| {
            let place = Location {
                pack: PackId::from_bytes([4; 16]),
                block: number / 32,
                offset: 92,
                sealed: 30_000,
                plain: 500_000,
                start: number % 32 * 15_000,
                length: 15_000,
            };
            let id = blake3::hash(&number.to_le_bytes());
            (ChunkId::from_bytes(id.into()), place)
        };
        let segment = Segment {
            kind: PackKind::Content,
            supersedes: Vec::new(),
            packs: vec![PackId::from_bytes([4; 16])],
            // More than is written to the file at once.
            chunks: {
                let mut chunks: Vec<_> = (0..60_000).map(entry).collect();
                chunks.sort_unstable_by_key(order);
                chunks
            },
        };
        let sealer = SegmentSealer::create(&keys, &SystemEnvironment).unwrap();
        let spool = SegmentSpool::new(Arc::new(SystemDisk), directory.path().join("a.segment"));
        let packs = segment.packs.clone();
        let builder = SegmentBuilder::new(
            sealer,
            PackKind::Content,
            packs,
            Vec::new(),
            60_000,
            Some(spool),
        );
        let mut builder = builder.unwrap();
        for entry in &segment.chunks {
            builder.push(entry).unwrap();
        }
        let SealedSegment { file, object } = builder.finish().unwrap();
        let whole = object.whole().unwrap();
        assert_eq!(whole, std::fs::read(object.path().unwrap()).unwrap());
        assert_eq!(Segment::open(&keys, file.id(), &whole).unwrap(), segment);
        for run in file.runs_of_parts() {
            let range = file.range_of_run(&run).unwrap();
            let bytes = object.read(range.clone()).unwrap();
            for part in run {
                file.verify_part(part, range.start, &bytes).unwrap();
            }
        }
        drop(object);
        let left = std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 0, "the file is let go with the object");
    }
}
