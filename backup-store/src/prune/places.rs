//! Places: in which packs the marked chunks lie, as the segments say that are listed now.
//!
//! *Units and limits*: 8 bytes a marked chunk, and one segment at a time; chunks that lie in
//! several packs are looked at by their whole ids, in a second reading.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::decide::SegmentSeen;
use super::mark::Marks;
use crate::error::Result;
use crate::id::{ChunkId, PackId};
use crate::index::sealing::segment_name;
use crate::index::segment::Segment;
use crate::mutant::{Mutant, mutated};
use crate::store::Store;

const NOWHERE: u32 = u32::MAX;
const SEVERAL: u32 = u32::MAX - 1;

/// The segments that are listed now.
#[derive(Debug)]
pub(super) struct Segments {
    pub(super) seen: Vec<SegmentSeen>,
}

impl Segments {
    /// Lists the segments, and reads what each is about.
    ///
    /// *Errors*: a segment that cannot be read ends it: what it names would seem unneeded.
    pub(super) async fn list(store: &Store) -> Result<Self> {
        let mut seen = Vec::new();
        for info in store.backend().list("segments/").await? {
            let segment = store.read_segment(&info.name).await?;
            let supersedes = segment.supersedes.iter().map(segment_name);
            seen.push(SegmentSeen {
                name: info.name,
                supersedes: supersedes.collect::<Result<_>>()?,
                packs: segment.packs,
            });
        }
        // After the packs and segments: a copy that was stored because a record says that another
        // is damaged is then never seen without that record.
        store.refresh_damage().await?;
        Ok(Self { seen })
    }

    /// Visits every segment that no other one supersedes.
    async fn each(&self, store: &Store, mut visit: impl FnMut(&Segment)) -> Result<()> {
        let superseded: HashSet<_> = self.seen.iter().flat_map(|seen| &seen.supersedes).collect();
        for seen in &self.seen {
            if !superseded.contains(&seen.name) {
                visit(&store.read_segment(&seen.name).await?);
            }
        }
        Ok(())
    }
}

/// Where the marked chunks lie.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Bytes of all chunks of each pack, inflated.
    pub(super) totals: BTreeMap<PackId, u64>,
    /// Bytes of marked chunks that lie in this pack alone.
    pub(super) alone: BTreeMap<PackId, u64>,
    /// Marked chunks that lie in several packs: the packs, and the length.
    pub(super) several: Vec<(Vec<PackId>, u64)>,
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
        let numbers: HashMap<&PackId, u32> = packs.iter().zip(0..).collect();
        let mut first = vec![(NOWHERE, 0u32); marks.len()];
        let mut places = Self::default();
        let damaged = store.distrusted_places();
        let mut doubtful = Vec::new();
        let visit = |segment: &Segment| {
            for (id, place) in &segment.chunks {
                let Some(number) = numbers.get(&place.pack) else {
                    continue;
                };
                *places.totals.entry(place.pack).or_default() += u64::from(place.length);
                if let Some(at) = marks.find(id) {
                    if damaged.holds(place) {
                        doubtful.push((at, *number));
                    }
                    let slot = &mut first[at];
                    match slot.0 {
                        NOWHERE => *slot = (*number, place.length),
                        found if found == *number => {}
                        _ => slot.0 = SEVERAL,
                    }
                }
            }
        };
        segments.each(store, visit).await?;
        for (number, length) in &first {
            match *number {
                NOWHERE => places.missing += 1,
                SEVERAL => {}
                number => {
                    let alone = places.alone.entry(packs[number as usize]).or_default();
                    *alone += u64::from(*length);
                }
            }
        }
        let stuck = doubtful
            .iter()
            .filter(|(at, number)| first[*at].0 == *number);
        places
            .stuck
            .extend(stuck.map(|(_, number)| packs[*number as usize]));
        if first.iter().any(|(number, _)| *number == SEVERAL) {
            let mut several: HashMap<ChunkId, Copies> = HashMap::new();
            let visit = |segment: &Segment| {
                for (id, place) in &segment.chunks {
                    let marked = marks.find(id).is_some_and(|at| first[at].0 == SEVERAL);
                    if marked && numbers.contains_key(&place.pack) {
                        let found = several.entry(*id).or_default();
                        found.length = place.length.into();
                        let trusted = mutated(Mutant::DamagedCopyCounts);
                        let packs = if damaged.holds(place) && !trusted {
                            &mut found.damaged
                        } else {
                            &mut found.whole
                        };
                        if !packs.contains(&place.pack) {
                            packs.push(place.pack);
                        }
                    }
                }
            };
            segments.each(store, visit).await?;
            let mut several: Vec<_> = several.into_iter().collect();
            several.sort_unstable_by_key(|(id, _)| *id);
            for (_, copies) in several {
                places.several(copies);
            }
        }
        Ok(places)
    }

    fn several(&mut self, copies: Copies) {
        if !copies.whole.is_empty() {
            self.several.push((copies.whole, copies.length));
            return;
        }
        for pack in copies.damaged {
            *self.alone.entry(pack).or_default() += copies.length;
            self.stuck.insert(pack);
        }
    }
}

/// The packs that hold one chunk.
#[derive(Debug, Default)]
struct Copies {
    whole: Vec<PackId>,
    damaged: Vec<PackId>,
    length: u64,
}
