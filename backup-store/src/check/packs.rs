//! Checking packs and segments: what is stored, whatever snapshots lead to.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt};

use super::Checker;
use super::blocks::{Verified, packs_at_once, verify_pack};
use super::report::{CheckPhase, RemarkKind, Unreferenced, chain};
use super::sample::{Dice, Memory, Remembered, choose, summary};
use super::share::Share;
use crate::pack::pack_name;
use crate::{Error, ErrorKind, PackId, Result};

/// What is read of a pack: which, its size, and the blocks if not all of them.
type Wanted = (PackId, u64, Option<Vec<u32>>);

impl Checker<'_> {
    /// Reads every segment as it is stored, whatever the cache holds.
    pub(super) async fn segments(&mut self) -> Result<()> {
        let listed = self.store.backend().list("segments/").await?;
        let total = Some(listed.len() as u64);
        let mut indexed = HashSet::new();
        for (done, info) in (1..).zip(&listed) {
            match self.store.verify_segment(info).await {
                Ok(packs) => indexed.extend(packs),
                Err(cause) => {
                    self.findings
                        .note(format!("object {}", info.name), chain(&cause));
                }
            }
            self.report_progress(CheckPhase::Segments, done, total);
        }
        let mut missing: Vec<_> = self.pack_sizes.keys().copied().collect();
        missing.retain(|pack| !indexed.contains(pack));
        missing.sort_unstable();
        for pack in missing {
            self.findings
                .remark(&pack_name(&pack)?, RemarkKind::NotIndexed);
        }
        Ok(())
    }

    /// Reads every block of every pack.
    pub(super) async fn packs(&mut self) {
        let mut wanted: Vec<Wanted> = Vec::with_capacity(self.pack_sizes.len());
        wanted.extend(
            self.pack_sizes
                .iter()
                .map(|(pack, size)| (*pack, *size, None)),
        );
        wanted.sort_unstable();
        self.read(wanted).await;
    }

    /// Reads a sample of blocks.
    pub(super) async fn sample(&mut self, share: Share) -> Result<()> {
        let mut memory = self.store.recall_samples().await?;
        memory.retain(|pack, _| self.pack_sizes.contains_key(pack));
        self.count_blocks(&mut memory).await;
        let environment = self.store.environment();
        let mut dice = Dice::new(environment.as_ref())?;
        let chosen = choose(&mut memory, share, environment.now(), &mut dice);
        let wanted = chosen.into_iter().filter_map(|(pack, blocks)| {
            let size = self.pack_sizes.get(&pack)?;
            Some((pack, *size, Some(blocks)))
        });
        let wanted = wanted.collect();
        let before = self.findings.report.blocks;
        self.read(wanted).await;
        let read = self.findings.report.blocks - before;
        self.findings.report.sample = Some(summary(&memory, read));
        self.store.remember_samples(&memory).await
    }

    /// Reads the tables of the packs of which nothing is remembered.
    async fn count_blocks(&mut self, memory: &mut Memory) {
        let new = self.pack_sizes.iter();
        let mut new: Vec<_> = new
            .filter(|(pack, _)| !memory.contains_key(pack))
            .map(|(pack, size)| (*pack, *size))
            .collect();
        new.sort_unstable();
        let store = self.store.clone();
        let tables = new.into_iter().map(move |(pack, size)| {
            let store = store.clone();
            async move { (pack, store.packs().table(&pack, size).await) }
        });
        let mut tables = stream::iter(tables).buffer_unordered(packs_at_once(self.store));
        while let Some((pack, table)) = tables.next().await {
            match table {
                Ok((_, table)) => {
                    let blocks = u32::try_from(table.blocks.len()).unwrap_or(u32::MAX);
                    memory.insert(pack, Remembered::new(blocks));
                }
                Err(cause) => self.unreadable(pack, &cause),
            }
        }
    }

    /// Reads packs, several at once.
    async fn read(&mut self, wanted: Vec<Wanted>) {
        let total = Some(wanted.len() as u64);
        let store = self.store.clone();
        let packs = wanted.into_iter().map(move |(pack, size, blocks)| {
            let store = store.clone();
            async move { (pack, verify_pack(store, pack, size, blocks).await) }
        });
        let mut packs = stream::iter(packs).buffer_unordered(packs_at_once(self.store));
        let mut done = 0;
        while let Some((pack, verified)) = packs.next().await {
            self.findings.report.packs += 1;
            match verified {
                Ok(verified) => self.verified(pack, verified),
                Err(cause) => self.unreadable(pack, &cause),
            }
            done += 1;
            self.report_progress(CheckPhase::Packs, done, total);
        }
    }

    fn verified(&mut self, pack: PackId, verified: Verified) {
        let report = &mut self.findings.report;
        report.blocks += verified.blocks;
        report.read_bytes += verified.bytes;
        for (block, cause) in verified.bad {
            let object = format!("pack {pack}, block {block}");
            let number = self.findings.note(object, chain(&cause));
            self.trouble.block(pack, block, number);
        }
    }

    /// Notes a pack whose table cannot be read; its blocks may still be whole.
    fn unreadable(&mut self, pack: PackId, cause: &Error) {
        if cause.kind() == ErrorKind::NotFound {
            // Deleted since the listing: whoever needs it will say so.
            self.pack_sizes.remove(&pack);
            return;
        }
        self.findings.note(format!("pack {pack}"), chain(cause));
        self.trouble.table(pack);
    }

    /// Counts the packs that nothing needs.
    pub(super) fn unreferenced(&mut self) {
        if self.blind {
            return;
        }
        let mut found = Unreferenced::default();
        for (pack, size) in &self.pack_sizes {
            if !self.needed.contains(pack) {
                found.packs += 1;
                found.bytes += size;
            }
        }
        self.findings.report.unreferenced = Some(found);
    }
}
