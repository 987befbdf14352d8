//! Places: in which packs the marked chunks lie, as the segments say that are listed now.
//!
//! Segments are sorted, and so are the marks: all are read side by side, in the order of the chunk
//! ids, each once. All places of a chunk come together.
//!
//! *Units and limits*: a few thousand entries of each segment; which packs have chunks in common.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::decide::SegmentSeen;
use super::marks::{Marks, beginning};
use crate::error::{Error, Result};
use crate::id::PackId;
use crate::index::file::SegmentFile;
use crate::index::layout::Entry;
use crate::index::sealing::{segment_id, segment_name};
use crate::mutant::{Mutant, mutated};
use crate::store::Store;

/// Directories that are read at the same time.
const AT_ONCE: usize = 8;

/// The segments that are listed now.
#[derive(Debug)]
pub(super) struct Segments {
    pub(super) seen: Vec<SegmentSeen>,
    files: Vec<Arc<SegmentFile>>,
}

impl Segments {
    /// Lists the segments, and reads what each is about.
    ///
    /// *Errors*: a segment that cannot be read ends it: what it names would seem unneeded.
    pub(super) async fn list(store: &Store) -> Result<Self> {
        let listed = store.backend().list("segments/").await?;
        let reads = stream::iter(listed).map(|info| async move {
            let id = segment_id(&info.name).ok_or_else(|| {
                let object = format_args!("object {}", info.name);
                Error::damaged(object, "not the name of a segment")
            })?;
            let file = store.read_directory(id, &info).await?;
            let supersedes = file.directory.supersedes.iter().map(segment_name);
            let seen = SegmentSeen {
                name: info.name,
                supersedes: supersedes.collect::<Result<_>>()?,
                packs: file.directory.packs.clone(),
            };
            Ok::<_, Error>((seen, file))
        });
        let mut reads = reads.buffered(AT_ONCE);
        let (mut seen, mut files) = (Vec::new(), Vec::new());
        while let Some(read) = reads.next().await {
            let (one, file) = read?;
            seen.push(one);
            files.push(Arc::new(file));
        }
        // After the packs and segments: a copy that was stored because a record says that another
        // is damaged is then never seen without that record.
        store.refresh_damage().await?;
        Ok(Self { seen, files })
    }

    /// Visits the entries of every segment that no other one supersedes, in order, and whether they
    /// are marked; those of one chunk come together.
    ///
    /// *Errors*: a segment that cannot be read, or is not what it says it is, ends it.
    async fn each(
        &self,
        store: &Store,
        marks: &Marks,
        mut visit: impl FnMut(&[Entry], bool),
    ) -> Result<()> {
        let superseded: HashSet<_> = self.seen.iter().flat_map(|seen| &seen.supersedes).collect();
        let active = self.seen.iter().zip(&self.files);
        let active = active.filter(|(seen, _)| !superseded.contains(&seen.name));
        let files = active.map(|(_, file)| (Arc::clone(file), None));
        let mut entries = store.side_by_side(files);
        loop {
            let next = entries.next().await?;
            if next.is_empty() {
                return Ok(());
            }
            let (next, marked) = marks.among(store, next, |entry| &entry.0).await?;
            let mut marked = &marked[..];
            for same in next.chunk_by(|one, other| one.0 == other.0) {
                let (of_same, rest) = marked.split_at(same.len());
                visit(same, of_same.contains(&true));
                marked = rest;
            }
        }
    }
}

/// Where the marked chunks lie.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Bytes of all chunks of each pack, inflated.
    pub(super) totals: BTreeMap<PackId, u64>,
    /// Bytes of marked chunks that lie in this pack alone.
    pub(super) alone: BTreeMap<PackId, u64>,
    /// Bytes of marked chunks that lie in several packs: in these, and in no others.
    pub(super) several: BTreeMap<Vec<PackId>, u64>,
    /// Packs with a marked chunk that lies where a check has found damage, and nowhere else.
    pub(super) stuck: BTreeSet<PackId>,
    /// How many marked chunks lie in no pack.
    pub(super) missing: u64,
}

impl Places {
    /// Finds the marked chunks in `packs`; what other packs hold does not count. A copy where a
    /// check has found damage counts only where there is no other; then every such copy does.
    pub(super) async fn find(
        store: &Store,
        marks: &Marks,
        segments: &Segments,
        packs: &[PackId],
    ) -> Result<Self> {
        let there: HashSet<&PackId> = packs.iter().collect();
        let mut totals: HashMap<PackId, u64> = HashMap::new();
        let mut alone: HashMap<PackId, u64> = HashMap::new();
        let mut places = Self::default();
        // Two chunks may share a mark.
        let (mut found, mut last) = (0, None);
        let damaged = store.distrusted_places();
        let visit = |same: &[Entry], marked: bool| {
            let (mut whole, mut bad): (Vec<PackId>, Vec<PackId>) = Default::default();
            for (_, place) in same {
                if there.contains(&place.pack) {
                    *totals.entry(place.pack).or_default() += u64::from(place.length);
                    let trusted = mutated(Mutant::DamagedCopyCounts);
                    let holders = if damaged.holds(place) && !trusted {
                        &mut bad
                    } else {
                        &mut whole
                    };
                    if !holders.contains(&place.pack) {
                        holders.push(place.pack);
                    }
                }
            }
            let Some((id, place)) = same.first() else {
                return;
            };
            let length = u64::from(place.length);
            if whole.is_empty() && bad.is_empty() || !marked {
                return;
            }
            let mark = Some(beginning(id));
            found += u64::from(mark != last);
            last = mark;
            match &whole[..] {
                [] => {
                    for pack in bad {
                        *alone.entry(pack).or_default() += length;
                        places.stuck.insert(pack);
                    }
                }
                [pack] => *alone.entry(*pack).or_default() += length,
                _ => {
                    whole.sort_unstable();
                    *places.several.entry(whole).or_default() += length;
                }
            }
        };
        segments.each(store, marks, visit).await?;
        places.missing = marks.count().saturating_sub(found);
        places.totals = totals.into_iter().collect();
        places.alone = alone.into_iter().collect();
        Ok(places)
    }
}
