//! Checking contents: are their chunks where the index says, and can they be read there?

use super::Checker;
use super::places::{Verdict, least_size};
use super::report::{CheckDepth, Dependent, ProblemNumber, chain};
use super::seen::{add, short};
use crate::codec::Encoder;
use crate::content::recipe::Recipe;
use crate::pack::Location;
use crate::{ChunkId, ContentRef, Result};

/// Chunks that are looked up at once.
const BATCH: usize = 1_000;

impl Checker<'_> {
    /// Checks a content; returns the problems found there, now or before.
    pub(super) async fn content(
        &mut self,
        content: &ContentRef,
        dependent: &Dependent,
    ) -> Vec<ProblemNumber> {
        let key = seen_key(content);
        let problems = if self.contents.insert(key) {
            let chunks: Vec<ChunkId> = content.chunk_ids().copied().collect();
            self.findings.report.chunks += chunks.len() as u64;
            self.findings.report.bytes += content.length;
            let mut problems = Vec::new();
            for chunks in chunks.chunks(BATCH) {
                let found = self.places(chunks).await;
                add(&mut problems, &found);
            }
            // What is known to be missing is not read as well.
            if self.depth == CheckDepth::Contents
                && problems.is_empty()
                && let Err(cause) = self.read_whole(content).await
            {
                let object = format!("content {}", content.hash);
                problems.extend(self.findings.note(object, chain(&cause)));
            }
            self.contents.note_problems(key, &problems);
            problems
        } else {
            self.contents.problems(&key)
        };
        for number in &problems {
            self.findings.depends(*number, dependent.clone());
        }
        problems
    }

    /// Checks that each chunk lies whole in a pack that exists.
    async fn places(&mut self, chunks: &[ChunkId]) -> Vec<ProblemNumber> {
        let located = match self.store.locate_with_refresh(chunks).await {
            Ok(located) => located,
            Err(cause) => {
                return self
                    .findings
                    .note("index", chain(&cause))
                    .into_iter()
                    .collect();
            }
        };
        let mut problems = Vec::new();
        for (chunk, places) in chunks.iter().zip(&located) {
            let found = self.chunk(chunk, places).await;
            add(&mut problems, &found);
        }
        problems
    }

    async fn chunk(&mut self, chunk: &ChunkId, places: &[Location]) -> Vec<ProblemNumber> {
        self.needed.extend(places.iter().map(|place| place.pack));
        if places.is_empty() {
            let cause = if self.store.distrusts_any() {
                "in no place that can be relied on"
            } else {
                "not in the index"
            };
            let number = self.findings.note(format!("chunk {chunk}"), cause);
            return number.into_iter().collect();
        }
        let mut lost = Vec::new();
        let (mut good, mut unread) = (false, false);
        for place in places {
            match self.judge(place) {
                Verdict::Good => good = true,
                Verdict::Unread => unread = true,
                Verdict::Lost(number) => lost.extend(number),
            }
        }
        // With another place that is whole, nothing depends on a lost one.
        if good {
            return Vec::new();
        }
        if unread {
            return match self.store.read_chunk_at(chunk, places, &[]).await {
                Ok(_) => Vec::new(),
                Err(cause) => {
                    let number = self.findings.note(format!("chunk {chunk}"), chain(&cause));
                    number.into_iter().collect()
                }
            };
        }
        lost
    }

    /// Tells whether a place can be relied on; notes a problem if its pack is gone or too short.
    pub(super) fn judge(&mut self, place: &Location) -> Verdict {
        let cause = match self.pack_sizes.get(&place.pack) {
            None => "missing",
            Some(size) if *size < least_size(place) => "cut off",
            Some(_) => return self.trouble.judge(place),
        };
        let number = self.findings.note(format!("pack {}", place.pack), cause);
        if cause == "missing" {
            self.trouble.pack(place.pack, number);
        } else {
            self.trouble.block(place.pack, place.block, number);
        }
        Verdict::Lost(number)
    }

    async fn read_whole(&mut self, content: &ContentRef) -> Result<()> {
        let mut reader = self.store.open_content(content);
        while let Some(chunk) = reader.next_chunk().await {
            chunk?;
        }
        Ok(())
    }
}

fn seen_key(content: &ContentRef) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&content.length.to_le_bytes());
    hasher.update(content.hash.as_bytes());
    for chunk in content.chunk_ids() {
        hasher.update(chunk.as_bytes());
    }
    let mut recipe = Encoder::new();
    Recipe::encode(content.recipe.as_ref(), &mut recipe);
    hasher.update(&recipe.finish());
    short(&hasher)
}
