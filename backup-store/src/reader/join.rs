//! Join: follows the steps of a recipe while its chunks are read.

use bytes::{Buf, Bytes};

use super::damaged;
use super::row::Row;
use crate::content::ContentRef;
use crate::content::base64_lines::Joiner;
use crate::content::recipe::{Recipe, Step};
use crate::error::Result;
use crate::id::ContentHash;
use crate::offload::offload;
use crate::store::{HASHED_INLINE, Store};

/// Size from which on a piece is handed out.
const PIECE: usize = 512 * 1024;

/// A content with a recipe, on its way from chunks to bytes.
///
/// *Units and limits*: holds one chunk, and about twice as much of what was joined.
#[derive(Debug)]
pub(super) struct Join {
    content: ContentHash,
    steps: std::vec::IntoIter<Next>,
    /// The step under way.
    step: Option<Next>,
    literals: Row,
    /// What is left of the literal chunk that was read last.
    literal: Bytes,
    piece: Vec<u8>,
}

#[derive(Debug)]
enum Next {
    /// So many literal bytes.
    Literal(u64),
    Part(Box<OpenPart>),
}

/// A part, as far as it is joined.
#[derive(Debug)]
struct OpenPart {
    /// Decoded bytes that are left.
    left: u64,
    final_ending: bool,
    joiner: Joiner,
    row: Row,
}

impl Join {
    /// Begins to join a content, and looks up where its chunks are.
    pub(super) async fn new(store: &Store, content: &ContentRef, recipe: &Recipe) -> Result<Self> {
        let next = |step: &Step| match step {
            Step::Literal(length) => Next::Literal(*length),
            Step::Base64(part) => Next::Part(Box::new(OpenPart {
                left: part.length,
                final_ending: part.final_ending,
                joiner: Joiner::new(part.lines),
                row: Row::new(part.chunks.clone()),
            })),
        };
        let mut steps: Vec<Next> = recipe.steps.iter().map(next).collect();
        let mut literals = Row::new(content.chunks.clone());
        let parts = steps.iter_mut().filter_map(|step| match step {
            Next::Literal(_) => None,
            Next::Part(part) => Some(&mut part.row),
        });
        let mut rows: Vec<&mut Row> = std::iter::once(&mut literals).chain(parts).collect();
        Row::look_up(&mut rows, store).await?;
        Ok(Self {
            content: content.hash,
            steps: steps.into_iter(),
            step: None,
            literals,
            literal: Bytes::new(),
            piece: Vec::new(),
        })
    }

    /// Joins the next piece; `None` at the end.
    pub(super) async fn next(&mut self, store: &Store) -> Result<Option<Bytes>> {
        while self.piece.len() < PIECE {
            match self.step.take().or_else(|| self.steps.next()) {
                Some(Next::Literal(left)) => self.literal(store, left).await?,
                Some(Next::Part(part)) => self.part(store, part).await?,
                None => {
                    if !self.literal.is_empty() || self.literals.next(store).await?.is_some() {
                        return Err(damaged(&self.content, "it is longer than it should be"));
                    }
                    break;
                }
            }
        }
        let piece = std::mem::take(&mut self.piece);
        Ok((!piece.is_empty()).then(|| piece.into()))
    }

    /// Copies literal bytes, up to the end of one chunk.
    async fn literal(&mut self, store: &Store, left: u64) -> Result<()> {
        if left == 0 {
            return Ok(());
        }
        if self.literal.is_empty() {
            let chunk = self.literals.next(store).await?;
            self.literal = chunk.ok_or_else(|| self.shorter())?;
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX);
        let length = length.min(self.literal.len());
        self.piece.extend_from_slice(&self.literal[..length]);
        self.literal.advance(length);
        self.step = Some(Next::Literal(left - length as u64));
        Ok(())
    }

    /// Encodes the next chunk of a part, or its end.
    async fn part(&mut self, store: &Store, mut part: Box<OpenPart>) -> Result<()> {
        let Some(chunk) = part.row.next(store).await? else {
            if part.left > 0 {
                return Err(self.shorter());
            }
            return part.joiner.finish(part.final_ending, &mut self.piece);
        };
        part.left = part
            .left
            .checked_sub(chunk.len() as u64)
            .ok_or_else(|| damaged(&self.content, "it is longer than it should be"))?;
        if chunk.len() <= HASHED_INLINE {
            part.joiner.push(&chunk, &mut self.piece)?;
        } else {
            let mut piece = std::mem::take(&mut self.piece);
            let encoded = offload(store.offload().as_ref(), move || {
                part.joiner.push(&chunk, &mut piece)?;
                Ok::<_, crate::Error>((part, piece))
            });
            (part, self.piece) = encoded.await??;
        }
        self.step = Some(Next::Part(part));
        Ok(())
    }

    fn shorter(&self) -> crate::Error {
        damaged(&self.content, "it is shorter than it should be")
    }
}
