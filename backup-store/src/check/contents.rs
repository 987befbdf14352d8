//! Checking contents: are their chunks where the index says, and what they should be?

use super::Checker;
use super::report::{CheckDepth, Dependent, ProblemNumber, chain};
use super::seen::add;
use crate::codec::Encoder;
use crate::content::recipe::Recipe;
use crate::pack::Location;
use crate::pack::layout::TRAILER;
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
            self.findings.report.chunks += content.chunk_ids().count() as u64;
            self.findings.report.bytes += content.length;
            let mut problems = Vec::new();
            let chunks: Vec<ChunkId> = content.chunk_ids().copied().collect();
            for chunks in chunks.chunks(BATCH) {
                let found = self.places(chunks).await;
                add(&mut problems, &found);
            }
            // What is known to be missing is not read as well.
            if self.depth == CheckDepth::AllData
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
            if places.is_empty() {
                let number = self
                    .findings
                    .note(format!("chunk {chunk}"), "not in the index");
                add(&mut problems, number.as_slice());
            }
            let mut lost = Vec::new();
            for place in places {
                lost.extend(self.lost(place));
            }
            // With another place that is whole, nothing depends on this one.
            if lost.len() == places.len() {
                add(&mut problems, &lost);
            }
            if self.depth == CheckDepth::AllData {
                self.visited.mark(places);
            }
        }
        problems
    }

    /// Notes a problem if the pack of a place is gone or too short for it.
    fn lost(&mut self, place: &Location) -> Option<ProblemNumber> {
        let end = place.offset + u64::from(place.sealed) + TRAILER as u64;
        let cause = match self.pack_sizes.get(&place.pack) {
            None => "missing",
            Some(size) if *size < end => "cut off",
            Some(_) => return None,
        };
        self.findings.note(format!("pack {}", place.pack), cause)
    }

    async fn read_whole(&mut self, content: &ContentRef) -> Result<()> {
        let mut reader = self.store.open_content(content);
        while let Some(chunk) = reader.next_chunk().await {
            chunk?;
        }
        Ok(())
    }
}

fn seen_key(content: &ContentRef) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&content.length.to_le_bytes());
    hasher.update(content.hash.as_bytes());
    for chunk in content.chunk_ids() {
        hasher.update(chunk.as_bytes());
    }
    let mut recipe = Encoder::new();
    Recipe::encode(content.recipe.as_ref(), &mut recipe);
    hasher.update(&recipe.finish());
    *hasher.finalize().as_bytes()
}
