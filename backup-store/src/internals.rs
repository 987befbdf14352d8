//! A synthetic index for the scale bench (feature `internals`); no part of the API.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::error::Result;
use crate::id::{ChunkId, PackId};
use crate::index::sealing::segment_id;
use crate::index::segment::Segment;
use crate::pack::{Location, PackKind};
use crate::store::Store;
use crate::writer::Writer;

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
