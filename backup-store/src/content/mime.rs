//! MIME split: finds runs of base64 lines in a stream and decodes them, without parsing MIME.
//!
//! Linear in the input and bounded in memory: what is looked at twice is at most one run that may
//! begin, or one line. Every decoded piece is encoded again by the joiner that readers use, and
//! compared; what would not come back byte by byte stays literal.

mod candidate;
mod run;

#[cfg(test)]
mod laws;

use memchr::memchr;

use self::candidate::{Candidate, Verdict};
use self::run::{Ended, Run, Step};
use super::base64_lines::Lines;
use crate::error::Result;

/// Shortest run that is decoded, in encoded bytes.
pub(crate) const RUN_MIN: usize = 4096;
/// Input that is looked at in one go; bounds the memory of a splitter.
const WINDOW: usize = 64 * 1024;

/// Takes what a splitter finds, in order.
pub(crate) trait Pieces {
    /// The next literal bytes.
    fn literal(&mut self, bytes: &[u8]);
    /// The next decoded bytes of the part that is open; the first of them open it.
    fn part(&mut self, bytes: &[u8]);
    /// Ends the open part.
    fn end_part(&mut self, lines: Lines, final_ending: bool);
}

/// Splits one content that comes in pieces of any size; the sizes make no difference.
#[derive(Debug)]
pub(crate) struct Splitter {
    state: State,
    /// Bytes that cannot be decided yet.
    carry: Vec<u8>,
}

#[derive(Debug)]
enum State {
    /// Within a line that is literal.
    Literal,
    /// At the beginning of lines that may become a run.
    Candidate(Candidate),
    Run(Box<Run>),
}

impl Splitter {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Candidate(Candidate::default()),
            carry: Vec::new(),
        }
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], into: &mut impl Pieces) -> Result<()> {
        for bytes in bytes.chunks(WINDOW) {
            if self.carry.is_empty() {
                let used = self.scan(bytes, false, into)?;
                self.carry.extend_from_slice(&bytes[used..]);
            } else {
                self.carry.extend_from_slice(bytes);
                let mut carry = std::mem::take(&mut self.carry);
                let used = self.scan(&carry, false, into)?;
                carry.drain(..used);
                self.carry = carry;
            }
        }
        Ok(())
    }

    /// Ends the content.
    pub(crate) fn finish(mut self, into: &mut impl Pieces) -> Result<()> {
        let carry = std::mem::take(&mut self.carry);
        self.scan(&carry, true, into)?;
        Ok(())
    }

    /// Decides as much of `bytes` as can be, and returns how much that was; at the end, all.
    fn scan(&mut self, bytes: &[u8], end: bool, into: &mut impl Pieces) -> Result<usize> {
        // Literal bytes from here to `at` are not handed on yet.
        let mut from = 0;
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Literal => match memchr(b'\n', rest) {
                    Some(length) => {
                        at += length + 1;
                        self.state = State::Candidate(Candidate::default());
                    }
                    None => {
                        literal(&bytes[from..], into);
                        return Ok(bytes.len());
                    }
                },
                State::Candidate(candidate) => match candidate.look(rest, end) {
                    Verdict::Undecided => {
                        literal(&bytes[from..at], into);
                        return Ok(at);
                    }
                    Verdict::Literal(length) => {
                        at += length;
                        self.state = State::Literal;
                    }
                    Verdict::Again(length) => {
                        at += length;
                        self.state = State::Candidate(Candidate::default());
                    }
                    Verdict::Run(lines) => {
                        literal(&bytes[from..at], into);
                        from = at;
                        self.state = State::Run(Box::new(Run::new(lines)));
                    }
                },
                State::Run(run) => {
                    let (used, step) = run.take(rest, end, into)?;
                    at += used;
                    from = at;
                    match step {
                        Step::Undecided => return Ok(at),
                        Step::Ended(Ended::AtLine) => {
                            self.state = State::Candidate(Candidate::default());
                        }
                        Step::Ended(Ended::WithinLine) => self.state = State::Literal,
                    }
                }
            }
        }
    }
}

fn literal(bytes: &[u8], into: &mut impl Pieces) {
    if !bytes.is_empty() {
        into.literal(bytes);
    }
}
