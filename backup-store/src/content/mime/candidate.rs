//! Candidate: lines at the beginning of a window that may become a run.

use super::RUN_MIN;
use crate::content::base64_lines::{Ending, Lines, WIDTH_MAX};

/// What is known about the lines so far; offsets count from the first of them.
#[derive(Debug, Default)]
pub(super) struct Candidate {
    /// Width and ending of the lines before the current one, once there are any.
    lines: Option<(usize, Ending)>,
    /// Where the current line begins.
    line: usize,
    /// Bytes of the current line that are known to be of the alphabet.
    scanned: usize,
}

/// What became of a candidate.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// More bytes are needed.
    Undecided,
    /// So many bytes are literal, and so is the line that follows them.
    Literal(usize),
    /// So many bytes are literal; another candidate begins after them.
    Again(usize),
    /// A run of this shape begins here.
    Run(Lines),
}

/// How a line ends.
enum LineEnd {
    With(Ending),
    AtEndOfContent,
}

impl Candidate {
    /// Looks at the lines in `window`, which begins where the candidate does; `end` says that
    /// nothing follows it.
    pub(super) fn look(&mut self, window: &[u8], end: bool) -> Verdict {
        loop {
            let rest = &window[self.line..];
            self.scanned += alphabet(&rest[self.scanned..]);
            let body = self.scanned;
            match self.lines {
                None if body >= RUN_MIN => return Verdict::Run(one_line()),
                Some((width, _)) if body > width => return Verdict::Again(self.line),
                _ => {}
            }
            let padding = rest[body..]
                .iter()
                .take(2)
                .take_while(|byte| **byte == b'=');
            let length = body + padding.count();
            let line_end = match &rest[length..] {
                [b'\n', ..] => LineEnd::With(Ending::Lf),
                [b'\r', b'\n', ..] => LineEnd::With(Ending::CrLf),
                [] if end => LineEnd::AtEndOfContent,
                [] | [b'\r'] if !end => return Verdict::Undecided,
                _ => return Verdict::Literal(self.line),
            };
            if length == 0 || !length.is_multiple_of(4) {
                return Verdict::Literal(self.line);
            }
            if let Some(verdict) = self.add_line(length, length > body, &line_end) {
                return verdict;
            }
        }
    }

    /// Adds a line that is base64 by its looks; `None` when it does not decide anything.
    fn add_line(&mut self, length: usize, padded: bool, line_end: &LineEnd) -> Option<Verdict> {
        let ending = match line_end {
            LineEnd::With(ending) => Some(*ending),
            LineEnd::AtEndOfContent => None,
        };
        let after = self.line + length + ending.map_or(0, |ending| ending.bytes().len());
        let (width, first_ending) = match (self.lines, ending) {
            (Some(lines), _) => lines,
            // A first line that can have no other after it is shorter than a run.
            (None, Some(ending)) if !padded && length <= WIDTH_MAX => (length, ending),
            (None, _) => return Some(Verdict::Again(after)),
        };
        if length > width || ending.is_some_and(|ending| ending != first_ending) {
            return Some(Verdict::Again(self.line));
        }
        if after >= RUN_MIN {
            return Some(Verdict::Run(Lines {
                width: u16::try_from(width).unwrap_or(0),
                ending: first_ending,
            }));
        }
        if padded || ending.is_none() || length < width {
            // It would end a run that is too short.
            return Some(Verdict::Again(self.line));
        }
        self.lines = Some((width, first_ending));
        self.line = after;
        self.scanned = 0;
        None
    }
}

/// The shape of one line of any length; the ending that it may have is found at its end.
fn one_line() -> Lines {
    Lines {
        width: 0,
        ending: Ending::Lf,
    }
}

/// Counts the bytes at the beginning that are of the base64 alphabet.
pub(super) fn alphabet(bytes: &[u8]) -> usize {
    let outside = bytes.iter().position(|byte| !ALPHABET[usize::from(*byte)]);
    outside.unwrap_or(bytes.len())
}

const ALPHABET: [bool; 256] = {
    let mut table = [false; 256];
    let characters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut at = 0;
    while at < characters.len() {
        table[characters[at] as usize] = true;
        at += 1;
    }
    table
};
