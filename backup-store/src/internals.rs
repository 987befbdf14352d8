//! A synthetic index for the scale bench (feature `internals`); no part of the API.

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;

use crate::content::ContentRef;
use crate::error::Result;
use crate::id::{ChunkId, ContentHash, PackId};
use crate::index::layout::Entry;
use crate::index::sealing::segment_id;
use crate::index::segment::Segment;
use crate::pack::{Location, PackKind, PackSealer};
use crate::store::Store;
use crate::writer::Writer;

/// Chunks of a pack.
const PACK_CHUNKS: usize = 1500;
/// Bytes of a chunk.
const CHUNK_BYTES: u32 = 15_000;

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
        start: number % 32 * CHUNK_BYTES,
        length: CHUNK_BYTES,
    }
}

/// A content that is made of chunks that do not exist.
pub fn synthetic_content(chunks: Range<u64>) -> ContentRef {
    ContentRef {
        length: (chunks.end - chunks.start) * u64::from(CHUNK_BYTES),
        hash: ContentHash::from_bytes(*synthetic_id(chunks.start).as_bytes()),
        chunks: chunks.map(synthetic_id).collect(),
        recipe: None,
    }
}

/// Puts packs that begin as those of a writer do and hold nothing, and the segment and merges of a
/// flush that says that these chunks lie there.
pub async fn put_synthetic_packs(writer: &Writer, chunks: Range<u64>) -> Result<()> {
    let store = writer.store();
    let mut packs = Vec::new();
    for _ in chunks.clone().step_by(PACK_CHUNKS) {
        let (keys, environment) = (store.keys(), store.environment());
        let kind = PackKind::Content;
        let pack = PackSealer::create(keys, kind, &writer.lease(), environment.as_ref())?;
        let header = Bytes::copy_from_slice(&pack.header);
        store.backend().put_new(&pack.name, header).await?;
        packs.push(pack.id);
    }
    let numbered = chunks.clone().zip(packs.iter().flat_map(|pack| {
        let places = 0..u32::try_from(PACK_CHUNKS).unwrap_or(0);
        places.map(move |at| place(*pack, at))
    }));
    let entries = numbered.map(|(number, place)| (synthetic_id(number), place));
    let segment = synthetic_segment(packs.clone(), entries.collect());
    store.put_unsealed_segment(segment).await?;
    writer.merge_segments().await?;
    Ok(())
}

fn synthetic_segment(packs: Vec<PackId>, chunks: Vec<Entry>) -> Segment {
    let mut segment = Segment {
        kind: PackKind::Content,
        supersedes: Vec::new(),
        packs,
        chunks,
    };
    segment.sort();
    segment
}

/// Puts the segment that a flush with these chunks would put, without their packs, merges as a
/// flush does, and deletes what is superseded as prune does; returns the bytes that were written.
pub async fn put_synthetic(writer: &Writer, chunks: Range<u64>) -> Result<u64> {
    let in_pack = PACK_CHUNKS as u64;
    let pack_of = |number: u64| {
        let mut id = [7; 16];
        id[..8].copy_from_slice(&(number / in_pack).to_be_bytes());
        PackId::from_bytes(id)
    };
    let at = |number: u64| u32::try_from(number % in_pack).unwrap_or(0);
    let packs = chunks.clone().step_by(1000).map(pack_of);
    let packs = packs.chain([pack_of(chunks.end - 1)]);
    let entry = |number| (synthetic_id(number), place(pack_of(number), at(number)));
    let segment = synthetic_segment(packs.collect(), chunks.clone().map(entry).collect());
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
