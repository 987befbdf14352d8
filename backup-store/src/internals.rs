//! Entry points for the fuzz targets and the scale bench (feature `internals`); no part of the API.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::codec::Decoder;
use crate::content::recipe::{Recipe, Step};
use crate::error::Result;
use crate::id::{ChunkId, LeaseId, PackId};
use crate::index::filter::Shard;
use crate::index::layout::{Directory, Trailer, decode_block};
use crate::index::sealing::segment_id;
use crate::index::segment::Segment;
use crate::pack::layout::{Table, decode_frame_entry, encode_frame_entry};
use crate::pack::{Location, PackKind};
use crate::rounds::RoundNumber;
use crate::rounds::records::{Ack, BrokenLease, Done, Plan, Verdict};
use crate::slots::Slot;
use crate::store::Store;
use crate::writer::Writer;

/// A parser of stored bytes: tells whether it accepted them.
pub type Parser = fn(&[u8]) -> bool;

/// The parsers of what is stored, by name.
pub const PARSERS: &[(&str, Parser)] = &[
    ("segment directory", |bytes| {
        Directory::decode(bytes).is_ok()
    }),
    ("segment trailer", |bytes| Trailer::decode(bytes).is_ok()),
    ("segment block", |bytes| {
        decode_block(bytes, &[PackId::from_bytes([1; 16])]).is_ok()
    }),
    ("filter shard", filter_shard),
    ("pack table", |bytes| Table::decode(bytes).is_ok()),
    ("spool entry", |bytes| decode_frame_entry(bytes).is_ok()),
    ("slot", |bytes| Slot::decode(bytes).is_ok()),
    ("plan", |bytes| Plan::decode(bytes).is_ok()),
    ("verdict", |bytes| Verdict::decode(bytes).is_ok()),
    ("done", |bytes| Done::decode(bytes).is_ok()),
    ("ack", |bytes| Ack::decode(bytes).is_ok()),
    ("broken lease", |bytes| BrokenLease::decode(bytes).is_ok()),
    ("recipe", recipe),
];

/// A filter that decodes answers for any id.
fn filter_shard(bytes: &[u8]) -> bool {
    let Ok(shard) = Shard::decode(bytes) else {
        return false;
    };
    for head in [0u8, 1, 0x7f, 0x80, 0xff] {
        shard.may_hold(&ChunkId::from_bytes([head; 32]), 0);
    }
    true
}

/// Two bytes say how long the content claims to be.
fn recipe(bytes: &[u8]) -> bool {
    let (length, rest) = bytes.split_at(bytes.len().min(2));
    let length = length
        .iter()
        .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Recipe::decode(&mut Decoder::new("recipe", rest), length).is_ok()
}

/// Writes valid records for some parsers, as seeds.
pub fn samples() -> Vec<(&'static str, Vec<u8>)> {
    use crate::index::layout::BlockEntry;
    use crate::pack::layout::BlockEntry as TableEntry;
    let directory = Directory {
        kind: PackKind::Content,
        entries: 300,
        supersedes: vec![crate::SegmentId::from_bytes([2; 16])],
        packs: vec![PackId::from_bytes([1; 16])],
        shards: vec![500, 600],
        blocks: vec![
            BlockEntry {
                head: 1,
                sealed: 9_000,
            },
            BlockEntry {
                head: 9,
                sealed: 700,
            },
        ],
    };
    let trailer = Trailer {
        filters: 70_000,
        directory: 71_100,
        length: 90,
    };
    let mut ids: Vec<_> = (0..40).map(synthetic_id).collect();
    ids.sort_unstable();
    let table = Table {
        blocks: vec![TableEntry {
            sealed: 60,
            plain: 50,
            chunks: vec![(ids[0], 20), (ids[1], 30)],
        }],
    };
    let mut block = crate::codec::Encoder::new();
    for id in &ids[..3] {
        crate::index::layout::encode_entry(
            &mut block,
            0,
            &(*id, place(PackId::from_bytes([1; 16]), 3)),
        );
    }
    let mut samples = vec![
        ("segment directory", directory.encode()),
        ("segment trailer", trailer.encode().to_vec()),
        ("segment block", block.finish()),
        ("filter shard", Shard::encode(&ids, 0)),
        ("pack table", table.encode()),
        ("spool entry", encode_frame_entry(&table.blocks[0])),
        ("slot", Slot::Fence.encode()),
        ("recipe", recipe_sample()),
    ];
    samples.extend(round_samples());
    samples
}

fn recipe_sample() -> Vec<u8> {
    let recipe = Recipe {
        steps: vec![Step::Literal(300)],
    };
    let mut encoder = crate::codec::Encoder::new();
    encoder.raw(&300u16.to_be_bytes());
    Recipe::encode(Some(&recipe), &mut encoder);
    encoder.finish()
}

fn round_samples() -> Vec<(&'static str, Vec<u8>)> {
    let round = RoundNumber::new(1);
    let lease = LeaseId::from_bytes([4; 16]);
    let plan = Plan {
        round,
        packs: [PackId::from_bytes([1; 16])].into(),
        ..Plan::default()
    };
    let verdict = Verdict {
        round,
        slots: [(lease, [0, 3].into())].into(),
        ..Verdict::default()
    };
    let done = Done {
        round,
        dead: plan.packs.clone(),
        ..Done::default()
    };
    let broken = BrokenLease {
        lease,
        at: crate::Timestamp::EPOCH,
        reason: "the machine is gone".to_owned(),
    };
    vec![
        ("plan", plan.encode()),
        ("verdict", verdict.encode()),
        ("done", done.encode()),
        ("ack", Ack { lease, round }.encode()),
        ("broken lease", broken.encode()),
    ]
}

/// The id of a chunk that does not exist.
pub fn synthetic_id(number: u64) -> ChunkId {
    ChunkId::from_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes())
}

fn place(pack: PackId, number: u32) -> Location {
    Location {
        pack,
        block: number / 32,
        offset: 92 + u64::from(number / 32) * 30_000,
        sealed: 30_000,
        plain: 500_000,
        start: number % 32 * 15_000,
        length: 15_000,
    }
}

/// Puts the segment that a flush with these chunks would put, without their packs, merges as a
/// flush does, and deletes what is superseded as prune does; returns the bytes that were written.
pub async fn put_synthetic(writer: &Writer, chunks: Range<u64>) -> Result<u64> {
    const PACK_CHUNKS: u64 = 1500;
    let pack_of = |number: u64| {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&(number / PACK_CHUNKS).to_be_bytes());
        PackId::from_bytes(id)
    };
    let at = |number: u64| u32::try_from(number % PACK_CHUNKS).unwrap_or(0);
    let mut segment = Segment {
        kind: PackKind::Content,
        supersedes: Vec::new(),
        packs: chunks
            .clone()
            .step_by(1000)
            .map(pack_of)
            .chain([pack_of(chunks.end - 1)])
            .collect(),
        chunks: chunks
            .clone()
            .map(|number| (synthetic_id(number), place(pack_of(number), at(number))))
            .collect(),
    };
    segment.sort();
    let store = writer.store();
    let listed = store.backend().list("segments/").await?;
    let before: BTreeSet<_> = listed.into_iter().map(|info| info.name).collect();
    let sealed = segment.seal(store.keys(), store.environment().as_ref())?;
    drop(segment);
    store.put_segment(sealed).await?;
    writer.merge_segments().await?;
    let active = store.active_segments();
    let active: BTreeSet<_> = active.iter().map(|each| each.file.id()).collect();
    let mut written = 0;
    for info in store.backend().list("segments/").await? {
        let is_active = segment_id(&info.name).is_some_and(|id| active.contains(&id));
        if !is_active {
            store.backend().delete(&info.name).await?;
        }
        if !before.contains(&info.name) {
            written += info.size;
        }
    }
    Ok(written)
}

/// Counts the places of each chunk.
pub async fn places(store: &Store, ids: &[ChunkId]) -> Result<Vec<usize>> {
    Ok(store.look_up(ids).await?.iter().map(Vec::len).collect())
}

/// Tells, from filters in memory alone, whether a chunk may be in the index.
pub fn may_hold(store: &Store, id: &ChunkId) -> bool {
    store.may_hold(id)
}

/// Returns the number of segments in use, and of their entries.
pub fn segments(store: &Store) -> (usize, u64) {
    let active = store.active_segments();
    let entries = active.iter().map(|each| each.file.directory.entries).sum();
    (active.len(), entries)
}
