//! Entry points for fuzzing of what is not public.

mod parsers;
mod samples;

pub use parsers::{PARSERS, Parser};
pub use samples::samples;

use crate::content::base64_lines::{Joiner, Lines};
use crate::content::mime::{Pieces, Splitter};

/// Splits a message that comes in pieces, joins it again, and returns what came back.
///
/// *Errors*: those of the splitter and joiner, which no input should cause.
pub fn mime_there_and_back(message: &[u8], piece: usize) -> crate::Result<Vec<u8>> {
    let mut found = Found::default();
    let mut splitter = Splitter::new();
    for piece in message.chunks(piece.max(1)) {
        splitter.push(piece, &mut found)?;
    }
    splitter.finish(&mut found)?;
    let mut joined = Vec::new();
    for step in found.steps {
        match step {
            Step::Literal(bytes) => joined.extend_from_slice(&bytes),
            Step::Part(bytes, lines, final_ending) => {
                let mut joiner = Joiner::new(lines);
                joiner.push(&bytes, &mut joined)?;
                joiner.finish(final_ending, &mut joined)?;
            }
        }
    }
    Ok(joined)
}

#[derive(Default)]
struct Found {
    steps: Vec<Step>,
    part: Vec<u8>,
}

enum Step {
    Literal(Vec<u8>),
    Part(Vec<u8>, Lines, bool),
}

impl Pieces for Found {
    fn literal(&mut self, bytes: &[u8]) {
        self.steps.push(Step::Literal(bytes.to_vec()));
    }

    fn part(&mut self, bytes: &[u8]) {
        self.part.extend_from_slice(bytes);
    }

    fn end_part(&mut self, lines: Lines, final_ending: bool) {
        let part = std::mem::take(&mut self.part);
        self.steps.push(Step::Part(part, lines, final_ending));
    }
}
