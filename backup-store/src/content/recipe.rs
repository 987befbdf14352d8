//! Recipe: how a content is joined from its literals and from parts that are kept decoded.

use super::base64_lines::Lines;
use crate::codec::{Decoder, Encoder};
use crate::error::Result;
use crate::id::ChunkId;

/// The steps that make a content, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Recipe {
    pub(crate) steps: Vec<Step>,
}

/// One step of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Step {
    /// So many bytes of the literal stream.
    Literal(u64),
    /// A part, encoded again.
    Base64(Part),
}

/// A part that is kept decoded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Part {
    /// Decoded length in bytes.
    pub(crate) length: u64,
    pub(crate) lines: Lines,
    /// Whether the last line is ended too.
    pub(crate) final_ending: bool,
    /// Chunks of the decoded bytes.
    pub(crate) chunks: Vec<ChunkId>,
}

const LITERAL: u8 = 0;
const BASE64: u8 = 1;

impl Recipe {
    /// Lists the parts, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> + Clone {
        self.steps.iter().filter_map(|step| match step {
            Step::Literal(_) => None,
            Step::Base64(part) => Some(part),
        })
    }

    /// Length of what the steps make; `None` beyond what a number holds.
    pub(crate) fn joined_length(&self) -> Option<u64> {
        self.steps.iter().try_fold(0u64, |sum, step| {
            sum.checked_add(match step {
                Step::Literal(length) => *length,
                Step::Base64(part) => part.lines.encoded_length(part.length, part.final_ending)?,
            })
        })
    }

    /// Encodes an optional recipe; none is an empty list of steps.
    pub(crate) fn encode(recipe: Option<&Self>, encoder: &mut Encoder) {
        let steps = recipe.map_or(&[][..], |recipe| &recipe.steps);
        encoder.list(steps, |encoder, step| match step {
            Step::Literal(length) => {
                encoder.byte(LITERAL);
                encoder.varint(*length);
            }
            Step::Base64(part) => {
                encoder.byte(BASE64);
                encoder.varint(part.length);
                part.lines.encode(part.final_ending, encoder);
                encoder.list(&part.chunks, |encoder, chunk| encoder.raw(chunk.as_bytes()));
            }
        });
    }

    /// Decodes an optional recipe of a content of `length` bytes.
    ///
    /// *Errors*: `Damaged` when its steps do not make that length: so a reader that follows it
    /// never puts out more than was authenticated.
    pub(crate) fn decode(decoder: &mut Decoder<'_>, length: u64) -> Result<Option<Self>> {
        let steps = decoder.list(2, |decoder| match decoder.byte()? {
            LITERAL => Ok(Step::Literal(decoder.varint()?)),
            BASE64 => {
                let length = decoder.varint()?;
                let (lines, final_ending) = Lines::decode(decoder)?;
                Ok(Step::Base64(Part {
                    length,
                    lines,
                    final_ending,
                    chunks: decoder
                        .list(32, |decoder| Ok(ChunkId::from_bytes(decoder.array()?)))?,
                }))
            }
            _ => Err(decoder.malformed("has an unknown step in a recipe")),
        })?;
        if steps.is_empty() {
            return Ok(None);
        }
        let recipe = Self { steps };
        if recipe.joined_length() != Some(length) {
            return Err(decoder.malformed("has a recipe for another length"));
        }
        Ok(Some(recipe))
    }
}
