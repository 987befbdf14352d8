//! Checking packs: what lies in them beside what snapshots have led to.

use std::collections::HashMap;

use super::Checker;
use super::report::{CheckPhase, chain};
use crate::pack::{Location, pack_id};
use crate::{ChunkId, Error, PackId, Result};

/// The blocks that were opened, one bit each.
#[derive(Debug, Default)]
pub(super) struct Visited(HashMap<PackId, Vec<u64>>);

impl Visited {
    /// Marks the place of a chunk that is read; with several places it is open which.
    pub(super) fn mark(&mut self, places: &[Location]) {
        if let [place] = places {
            let bits = self.0.entry(place.pack).or_default();
            let word = place.block as usize / 64;
            if bits.len() <= word {
                bits.resize(word + 1, 0);
            }
            bits[word] |= 1 << (place.block % 64);
        }
    }

    fn contains(&self, place: &Location) -> bool {
        let bits = self.0.get(&place.pack);
        let word = bits.and_then(|bits| bits.get(place.block as usize / 64));
        word.is_some_and(|word| word >> (place.block % 64) & 1 == 1)
    }
}

impl Checker<'_> {
    /// Lists the packs that exist.
    pub(super) async fn list_packs(&mut self) -> Result<()> {
        for info in self.store.backend().list("packs/").await? {
            match pack_id(&info.name) {
                Some(pack) => {
                    self.pack_sizes.insert(pack, info.size);
                }
                None => {
                    self.findings
                        .note(format!("object {}", info.name), "not the name of a pack");
                }
            }
        }
        Ok(())
    }

    /// Reads every segment as it is stored, whatever the cache holds.
    pub(super) async fn segments(&mut self) -> Result<()> {
        let listed = self.store.backend().list("segments/").await?;
        let total = Some(listed.len() as u64);
        for (done, info) in (1..).zip(&listed) {
            if let Err(cause) = self.store.read_segment(&info.name).await {
                self.findings
                    .note(format!("object {}", info.name), chain(&cause));
            }
            self.report_progress(CheckPhase::Segments, done, total);
        }
        Ok(())
    }

    /// Reads the table of every pack, and every block that was not read yet.
    pub(super) async fn packs(&mut self) {
        let mut packs: Vec<(PackId, u64)> = self
            .pack_sizes
            .iter()
            .map(|(pack, size)| (*pack, *size))
            .collect();
        packs.sort_unstable();
        let total = Some(packs.len() as u64);
        for (done, (pack, size)) in (1..).zip(packs) {
            if let Err(cause) = self.pack(&pack, size).await {
                self.findings.note(format!("pack {pack}"), chain(&cause));
            }
            self.report_progress(CheckPhase::Packs, done, total);
        }
    }

    async fn pack(&mut self, pack: &PackId, size: u64) -> Result<()> {
        let (sealer, table) = self.store.packs().table(pack, size).await?;
        let mut found = Ok(());
        for (id, place) in table.locations(&sealer) {
            if self.visited.contains(&place) {
                continue;
            }
            self.findings.report.chunks += 1;
            // One bad block does not keep the others from being read; the first is named.
            found = found.and(self.chunk(&id, &place).await);
        }
        found
    }

    async fn chunk(&self, id: &ChunkId, place: &Location) -> Result<()> {
        let block = self.store.packs().block(place, &[]).await?;
        let start = place.start as usize;
        let chunk = block.get(start..start + place.length as usize);
        if chunk.map(|bytes| self.store.keys().chunk_id(bytes)) == Some(*id) {
            return Ok(());
        }
        let object = format!("chunk {id} in pack {}", place.pack);
        Err(Error::damaged(object, "its bytes have another id"))
    }
}
