//! The index of an open store: loading segments, looking chunks up, reading the parts it needs.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;

use super::{Resolved, Store, hand_over, put_resolved};
use crate::backend::{ObjectInfo, ObjectName};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ChunkId, PackId, SegmentId};
use crate::index::builder::SealedSegment;
use crate::index::cache::{Answer, Fetched, IndexCache, Loaded};
use crate::index::file::{Part, SegmentFile, TAIL};
use crate::index::object::SegmentObject;
use crate::index::sealing::{HEADER, segment_id, segment_name};
use crate::index::segment::Segment;
use crate::index::side_by_side::SideBySide;
use crate::offload::offload;
use crate::pack::{Location, PackKind, pack_id};

/// Size up to which a segment is read whole, and that up to which it is read part by part, when it
/// is found.
const WHOLE_SEGMENT: u64 = 2 << 20;
const SMALL_SEGMENT: u64 = 16 << 20;
/// Segments, or parts of them, that are read at the same time.
const READS_AT_ONCE: usize = 8;
/// Neighbouring filter shards that are read together.
const SHARD_GROUP: usize = 16;
/// Blocks that are read together at most.
const BLOCK_GROUP: usize = 64;
/// Entries of one segment that is rebuilt from pack tables: bounds memory.
const REBUILT_ENTRIES: usize = 256 * 1024;
/// Chunks that are looked up at once without a thread of their own, where memory has it all.
const LOOKED_UP_INLINE: usize = 16;
/// Times that a lookup may find out that it needs something else.
const LOOKUP_ROUNDS: usize = 256;

/// Parts that lie one behind the other in one segment.
type PartRun = (Arc<Loaded>, Vec<Part>);

/// A segment that cannot be read any more, and why.
type Trouble = (SegmentId, Error);

impl Store {
    /// Loads the segments that are new; returns whether the index has changed.
    ///
    /// Segments that another readable one supersedes are not read. In place of a damaged one, the
    /// tables of the packs that no other segment names are read; a check reports it.
    pub(crate) async fn refresh_index(&self) -> Result<bool> {
        self.refresh_without(BTreeSet::new()).await
    }

    /// As [`refresh_index`](Self::refresh_index), where some segments were found to be damaged.
    async fn refresh_without(&self, mut damaged: BTreeSet<SegmentId>) -> Result<bool> {
        let listed = self.backend().list("segments/").await?;
        let ids: BTreeSet<_> = listed
            .iter()
            .filter_map(|info| segment_id(&info.name))
            .collect();
        let keys = Arc::clone(self.keys());
        self.index(move |index| index.load_cached(&keys)).await?;
        let mut changed = self.forget_gone(ids).await? || !damaged.is_empty();
        let bytes: u64 = listed.iter().map(|info| info.size).sum();
        let whole = self.0.index.reads_whole(bytes);
        // A larger one supersedes smaller ones: those need not be read then.
        let mut unread: Vec<(SegmentId, ObjectInfo)> = listed
            .into_iter()
            .filter_map(|info| Some((segment_id(&info.name)?, info)))
            .collect();
        unread.sort_by_key(|(_, info)| info.size);
        while !unread.is_empty() {
            let mut batch = Vec::new();
            while let Some((id, info)) = unread.pop() {
                if damaged.contains(&id) || self.0.index.knows(&id) {
                    continue;
                }
                batch.push(self.load_segment(id, info, whole));
                if batch.len() == READS_AT_ONCE {
                    break;
                }
            }
            for loaded in join_all(batch).await {
                changed = true;
                match loaded {
                    Ok(()) => {}
                    Err((id, cause)) if cause.kind() == ErrorKind::Damaged => {
                        tracing::warn!(%id, %cause, "read from pack tables instead");
                        damaged.insert(id);
                    }
                    // Superseded and deleted since it was listed.
                    Err((_, cause)) if cause.kind() == ErrorKind::NotFound => {}
                    Err((_, cause)) => return Err(cause),
                }
            }
        }
        self.index(|index| index.forget_superseded()).await?;
        for id in damaged {
            self.rebuild_in_place_of(id).await?;
        }
        Ok(changed)
    }

    /// Forgets the loaded segments that are not there any more.
    async fn forget_gone(&self, there: BTreeSet<SegmentId>) -> Result<bool> {
        self.index(move |index| {
            let mut changed = false;
            for each in index.loaded() {
                let id = each.stands_for.unwrap_or(each.file.id());
                if !there.contains(&id) {
                    index.remove(&id)?;
                    changed = true;
                }
            }
            Ok(changed)
        })
        .await
    }

    /// Loads one segment: all of it if it is small, or its directory.
    async fn load_segment(
        &self,
        id: SegmentId,
        info: ObjectInfo,
        whole: bool,
    ) -> std::result::Result<(), Trouble> {
        let loaded = if whole && info.size <= WHOLE_SEGMENT {
            self.load_whole(id, &info.name).await
        } else if whole && info.size <= SMALL_SEGMENT {
            self.load_parts(id, &info).await
        } else {
            self.load_directory(id, &info).await
        };
        loaded.map_err(|cause| (id, cause))
    }

    /// Loads all of a segment without ever holding all of it.
    async fn load_parts(&self, id: SegmentId, info: &ObjectInfo) -> Result<()> {
        let file = Arc::new(self.read_directory(id, info).await?);
        let numbered = Arc::clone(&file);
        let number = self
            .index(move |index| index.number(&numbered, None))
            .await?;
        for run in file.runs_of_parts() {
            let range = file.range_of_run(&run)?;
            let bytes = self.backend().get(&info.name, Some(range.clone())).await?;
            let file = Arc::clone(&file);
            let take = move |index: &IndexCache| {
                index.take_run((number, &file), run, (range.start, &bytes))
            };
            self.index(take).await?;
        }
        self.index(move |index| index.add(file, None)).await
    }

    async fn load_whole(&self, id: SegmentId, name: &ObjectName) -> Result<()> {
        let object = self.backend().get(name, None).await?;
        let keys = Arc::clone(self.keys());
        self.index(move |index| {
            let file = SegmentFile::open_whole(&keys, id, &object)?;
            index.add_whole(file, &SegmentObject::Memory(object), None)
        })
        .await
    }

    async fn load_directory(&self, id: SegmentId, info: &ObjectInfo) -> Result<()> {
        let file = self.read_directory(id, info).await?;
        self.index(move |index| index.add(file, None)).await
    }

    /// Reads the directory of a segment, and no more of it than that takes.
    ///
    /// *Errors*: [`ErrorKind::Damaged`], [`ErrorKind::NotFound`], and those of the backend.
    pub(crate) async fn read_directory(
        &self,
        id: SegmentId,
        info: &ObjectInfo,
    ) -> Result<SegmentFile> {
        let header = self
            .backend()
            .get(&info.name, Some(0..HEADER as u64))
            .await?;
        let mut from = info.size.saturating_sub(TAIL);
        // Its own end says how far back to begin, once.
        for _ in 0..2 {
            let tail = self
                .backend()
                .get(&info.name, Some(from..info.size))
                .await?;
            let (keys, header, size) = (Arc::clone(self.keys()), header.clone(), info.size);
            let opened = offload(self.offload().as_ref(), move || {
                SegmentFile::open(&keys, id, size, &header, &tail)
            });
            match opened.await?? {
                Ok(file) => return Ok(file),
                Err(earlier) => from = earlier,
            }
        }
        let object = format_args!("object {}", info.name);
        Err(Error::damaged(object, "its directory cannot be read"))
    }

    /// Reads the tables of all packs that are in no segment, in place of a damaged one.
    ///
    /// A pack whose table is damaged is left out.
    async fn rebuild_in_place_of(&self, damaged: SegmentId) -> Result<()> {
        let mut rebuilt = Segment::new(PackKind::Content, std::iter::empty());
        for info in self.backend().list("packs/").await? {
            let Some(pack) = pack_id(&info.name) else {
                continue;
            };
            if self.has_packs(&[pack]) {
                continue;
            }
            match self.packs().table(&pack, info.size).await {
                Ok((sealer, table)) => rebuilt.push(&sealer, &table),
                Err(cause) => tracing::warn!(name = %info.name, %cause, "a pack is left out"),
            }
            if rebuilt.chunks.len() >= REBUILT_ENTRIES {
                let full = std::mem::replace(
                    &mut rebuilt,
                    Segment::new(PackKind::Content, std::iter::empty()),
                );
                self.stand_in(full, damaged).await?;
            }
        }
        self.stand_in(rebuilt, damaged).await
    }

    async fn stand_in(&self, mut segment: Segment, damaged: SegmentId) -> Result<()> {
        let (keys, environment) = (Arc::clone(self.keys()), Arc::clone(self.environment()));
        self.index(move |index| {
            segment.sort();
            let sealed = segment.seal(&keys, environment.as_ref())?;
            index.add_whole(sealed.file, &sealed.object, Some(damaged))
        })
        .await
    }

    /// Tells, without blocking, whether every one of `packs` is in a segment.
    pub(crate) fn has_packs(&self, packs: &[PackId]) -> bool {
        self.0.index.has_packs(packs)
    }

    /// Finds all places of each chunk that the index has, be the packs dead or not.
    pub(crate) async fn look_up(&self, ids: &[ChunkId]) -> Result<Vec<Vec<Location>>> {
        if ids.len() <= LOOKED_UP_INLINE
            && let Some(found) = self.0.index.locate_in_memory(ids)
        {
            return Ok(found);
        }
        let ids: Arc<[ChunkId]> = ids.into();
        let mut fetched = Fetched::new();
        for _ in 0..LOOKUP_ROUNDS {
            let (wanted_ids, known) = (Arc::clone(&ids), fetched);
            let looked = self.index(move |index| {
                let answer = index.locate(&wanted_ids, &known);
                Ok((answer, known))
            });
            let (answer, known) = looked.await?;
            fetched = known;
            let trouble = match answer? {
                Answer::Found(found) => return Ok(found),
                Answer::Wanted(parts) => self.fetch(parts, &mut fetched).await?,
            };
            self.give_up(trouble).await?;
        }
        let words = "index: a lookup needs ever more parts of segments";
        Err(Error::new(ErrorKind::Local, words))
    }

    /// Goes on without segments that cannot be read.
    pub(crate) async fn give_up(&self, trouble: Vec<Trouble>) -> Result<()> {
        if trouble.is_empty() {
            return Ok(());
        }
        let mut damaged = BTreeSet::new();
        for (id, cause) in trouble {
            match cause.kind() {
                ErrorKind::Damaged => {
                    tracing::warn!(%id, %cause, "read from pack tables instead");
                    damaged.insert(id);
                }
                ErrorKind::NotFound => {}
                _ => return Err(cause),
            }
            self.index(move |index| index.remove(&id)).await?;
        }
        self.refresh_without(damaged).await?;
        Ok(())
    }

    /// Reads parts of segments, several at a time; returns the segments that cannot be read.
    async fn fetch(
        &self,
        wanted: Vec<(Arc<Loaded>, Part)>,
        fetched: &mut Fetched,
    ) -> Result<Vec<Trouble>> {
        let reads = runs(wanted).into_iter().map(|run| self.fetch_run(run));
        let mut reads = stream::iter(reads).buffer_unordered(READS_AT_ONCE);
        let mut trouble = Vec::new();
        while let Some(read) = reads.next().await {
            match read {
                Ok((id, parts)) => {
                    let parts = parts.into_iter();
                    fetched.extend(parts.map(|(part, bytes)| ((id, part), bytes)));
                }
                Err((id, cause)) => trouble.push((id, cause)),
            }
        }
        Ok(trouble)
    }

    /// Reads neighbouring parts of one segment, and keeps them in the cache.
    async fn fetch_run(
        &self,
        (each, parts): PartRun,
    ) -> std::result::Result<(SegmentId, Vec<(Part, Vec<u8>)>), Trouble> {
        let id = each.file.id();
        let work = async {
            let range = each.file.range_of_run(&parts)?;
            let name = segment_name(&id)?;
            let bytes = self.backend().get(&name, Some(range.clone())).await?;
            let each = Arc::clone(&each);
            self.index(move |index| {
                let open = |part: &Part| {
                    let plain = each.file.part_of(*part, range.start, &bytes)?;
                    Ok((*part, plain))
                };
                let opened: Vec<_> = parts.iter().map(open).collect::<Result<_>>()?;
                index.keep(&each, &opened)?;
                Ok(opened)
            })
            .await
        };
        match work.await {
            Ok(opened) => Ok((id, opened)),
            Err(cause) => Err((each.stands_for.unwrap_or(id), cause)),
        }
    }

    /// Begins to read segments side by side; those with a number lie in the part cache, perhaps.
    pub(crate) fn side_by_side(
        &self,
        segments: impl Iterator<Item = (Arc<SegmentFile>, Option<i64>)>,
    ) -> SideBySide {
        let (backend, index) = (Arc::clone(self.backend()), Arc::clone(&self.0.index));
        SideBySide::new(segments, backend, index, Arc::clone(self.offload()))
    }

    /// Puts a sealed segment and adds it to the index.
    pub(crate) async fn put_segment(&self, sealed: SealedSegment) -> Result<()> {
        let SealedSegment { file, object } = sealed;
        let name = segment_name(&file.id())?;
        let backend = self.backend().as_ref();
        let taken = match object.path() {
            Some(path) => hand_over(backend, &name, path).await?,
            None => false,
        };
        let object = Arc::new(object);
        if !taken {
            let whole = Arc::clone(&object);
            let bytes = offload(self.offload().as_ref(), move || whole.whole()).await??;
            if let Resolved::Other(_) = put_resolved(backend, &name, bytes).await? {
                let words = format!("object {name}: the name of a new segment is taken");
                return Err(Error::new(ErrorKind::Conflict, words));
            }
        }
        self.index(move |index| {
            index.add_whole(file, &object, None)?;
            index.forget_superseded()
        })
        .await
    }

    /// Seals a segment, puts it, and adds it to the index.
    pub(crate) async fn put_unsealed_segment(&self, segment: Segment) -> Result<()> {
        let (keys, environment) = (Arc::clone(self.keys()), Arc::clone(self.environment()));
        let sealed = offload(self.offload().as_ref(), move || {
            segment.seal(&keys, environment.as_ref())
        });
        self.put_segment(sealed.await??).await
    }

    /// Reads one segment from its beginning to its end, and returns the packs that it indexes.
    ///
    /// *Units and limits*: holds its directory and some of its parts, however long it is.
    ///
    /// *Errors*: [`ErrorKind::Damaged`], [`ErrorKind::NotFound`], and those of the backend.
    pub(crate) async fn verify_segment(&self, info: &ObjectInfo) -> Result<Vec<PackId>> {
        let id = segment_id(&info.name).ok_or_else(|| {
            let object = format_args!("object {}", info.name);
            Error::damaged(object, "not the name of a segment")
        })?;
        let file = Arc::new(self.read_directory(id, info).await?);
        let shards = file.runs_of_parts();
        for run in shards.take_while(|run| run.first().is_some_and(|part| part.is_shard())) {
            let range = file.range_of_run(&run)?;
            let sealed = self.backend().get(&info.name, Some(range.clone())).await?;
            let file = Arc::clone(&file);
            let opened = offload(self.offload().as_ref(), move || {
                let open = |part| file.verify_part(part, range.start, &sealed).map(drop);
                run.into_iter().try_for_each(open)
            });
            opened.await??;
        }
        let mut blocks = self.side_by_side(std::iter::once((Arc::clone(&file), None)));
        while !blocks.next().await?.is_empty() {}
        Ok(file.directory.packs.clone())
    }
}

/// Joins what lies side by side; filter shards come in groups, as neighbours are wanted soon.
fn runs(wanted: Vec<(Arc<Loaded>, Part)>) -> Vec<PartRun> {
    let mut runs: Vec<PartRun> = Vec::new();
    for (each, part) in wanted {
        let last = runs.last_mut().filter(|(run, _)| run.number == each.number);
        let parts: Vec<Part> = match part {
            Part::Block(_) => vec![part],
            Part::Shard(at) => {
                let from = at / SHARD_GROUP * SHARD_GROUP;
                let to = (from + SHARD_GROUP).min(each.file.directory.shards.len());
                (from..to).map(Part::Shard).collect()
            }
        };
        match last {
            Some((_, run)) if run.contains(&part) => {}
            Some((_, run)) if run.len() < BLOCK_GROUP && follows(run.last(), parts[0]) => {
                run.extend(parts);
            }
            _ => runs.push((each, parts)),
        }
    }
    runs
}

fn follows(last: Option<&Part>, next: Part) -> bool {
    match (last, next) {
        (Some(Part::Block(last)), Part::Block(next))
        | (Some(Part::Shard(last)), Part::Shard(next)) => last + 1 == next,
        _ => false,
    }
}
