//! Reading packs block by block: every chosen block is opened and inflated, and every chunk in
//! it named anew, once.

use std::sync::Arc;

use bytes::Bytes;

use crate::keys::Keys;
use crate::offload::offload;
use crate::pack::layout::{Table, open_block};
use crate::pack::{HEADER, PackSealer};
use crate::{Error, PackId, Result, Store};

/// Sealed bytes that are read and verified at once, if a block is not larger by itself.
const RANGE_BYTES: u64 = 2 << 20;
/// Packs that are read at once at most, whatever the machine: each holds a range in memory.
const PACKS_AT_ONCE: usize = 8;

/// What reading a pack found.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    pub(crate) blocks: u64,
    /// Sealed bytes of those blocks.
    pub(crate) bytes: u64,
    /// The blocks that are not what they should be, each with the cause.
    pub(crate) bad: Vec<(u32, Error)>,
}

/// Returns how many packs to read at once.
pub(super) fn packs_at_once(store: &Store) -> usize {
    store.offload().width().clamp(1, PACKS_AT_ONCE)
}

/// Verifies a pack, or some of its blocks.
///
/// *Errors*: when header, trailer or table cannot be read, so that nothing was verified.
pub(super) async fn verify_pack(
    store: Store,
    pack: PackId,
    size: u64,
    chosen: Option<Vec<u32>>,
) -> Result<Verified> {
    let (sealer, table) = store.packs().table(&pack, size).await?;
    let table = Arc::new(table);
    let mut found = Verified::default();
    for run in runs(&table, chosen.as_deref()) {
        let range = run.from..run.to;
        found.blocks += run.blocks.len() as u64;
        found.bytes += run.to - run.from;
        let bytes = store.backend().get(&sealer.name, Some(range)).await?;
        let job = Job {
            sealer: Arc::clone(&sealer),
            table: Arc::clone(&table),
            keys: Arc::clone(store.keys()),
            run,
            bytes,
        };
        let bad = offload(store.offload().as_ref(), move || job.verify()).await?;
        found.bad.extend(bad);
    }
    Ok(found)
}

/// Blocks that lie one after the other and are read at once.
struct Run {
    from: u64,
    to: u64,
    /// Each with where it begins.
    blocks: Vec<(u32, u64)>,
}

fn runs(table: &Table, chosen: Option<&[u32]>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let mut offset = HEADER as u64;
    for (number, entry) in (0..).zip(&table.blocks) {
        let (from, to) = (offset, offset.saturating_add(entry.sealed.into()));
        offset = to;
        if chosen.is_some_and(|chosen| chosen.binary_search(&number).is_err()) {
            continue;
        }
        match runs.last_mut() {
            Some(run) if run.to == from && to - run.from <= RANGE_BYTES => {
                run.to = to;
                run.blocks.push((number, from));
            }
            _ => runs.push(Run {
                from,
                to,
                blocks: vec![(number, from)],
            }),
        }
    }
    runs
}

struct Job {
    sealer: Arc<PackSealer>,
    table: Arc<Table>,
    keys: Arc<Keys>,
    run: Run,
    bytes: Bytes,
}

impl Job {
    fn verify(&self) -> Vec<(u32, Error)> {
        let verify = |(number, from): &(u32, u64)| {
            let verified = self.block(*number, *from);
            verified.err().map(|cause| (*number, cause))
        };
        self.run.blocks.iter().filter_map(verify).collect()
    }

    fn block(&self, number: u32, from: u64) -> Result<()> {
        let damaged = |cause: String| self.sealer.damaged(format_args!("block {number}: {cause}"));
        let entry = &self.table.blocks[number as usize];
        let start = usize::try_from(from - self.run.from).unwrap_or(usize::MAX);
        let sealed = start
            .checked_add(entry.sealed as usize)
            .and_then(|end| self.bytes.get(start..end))
            .ok_or_else(|| damaged("it is cut off".to_owned()))?;
        let plain = open_block(&self.sealer, number, entry.plain, sealed.into())?;
        let mut at = 0;
        for (id, length) in &entry.chunks {
            let end = at + *length as usize;
            let chunk = plain.get(at..end).map(|chunk| self.keys.chunk_id(chunk));
            if chunk != Some(*id) {
                return Err(damaged(format!("the bytes of chunk {id} have another id")));
            }
            at = end;
        }
        Ok(())
    }
}
