//! Run: base64 lines of one shape, decoded, with the joiner in step.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use memchr::memchr;

use super::Pieces;
use super::candidate::alphabet;
use crate::content::base64_lines::{Ending, Joiner, Lines};
use crate::error::Result;

/// Lines that are decoded at once.
const BATCH: usize = 128;
/// Characters of one long line that are decoded at once; a multiple of 4.
const LONG_BATCH: usize = 16 * 1024;

/// A run that has begun.
#[derive(Debug)]
pub(super) struct Run {
    lines: Lines,
    joiner: Joiner,
    /// Whether anything was decoded; until then there is no part.
    begun: bool,
    characters: Vec<u8>,
    decoded: Vec<u8>,
    joined: Vec<u8>,
}

/// What to do after what was taken.
pub(super) enum Step {
    /// More bytes are needed.
    Undecided,
    /// The run has ended.
    Ended(Ended),
}

/// Where a run has ended.
pub(super) enum Ended {
    /// A line begins here.
    AtLine,
    /// What follows belongs to a line that is literal.
    WithinLine,
}

/// Whether characters could be taken.
enum Taken {
    Yes,
    /// They are no base64, or would not come back as they were.
    No,
}

impl Run {
    pub(super) fn new(lines: Lines) -> Self {
        Self {
            lines,
            joiner: Joiner::new(lines),
            begun: false,
            characters: Vec::new(),
            decoded: Vec::new(),
            joined: Vec::new(),
        }
    }

    /// Takes what belongs to the run from the beginning of `window`; returns its length.
    pub(super) fn take(
        &mut self,
        window: &[u8],
        end: bool,
        into: &mut impl Pieces,
    ) -> Result<(usize, Step)> {
        if self.lines.width == 0 {
            self.one_line(window, end, into)
        } else {
            self.many_lines(window, end, into)
        }
    }

    fn many_lines(
        &mut self,
        window: &[u8],
        end: bool,
        into: &mut impl Pieces,
    ) -> Result<(usize, Step)> {
        let ending = self.lines.ending.bytes();
        let stride = usize::from(self.lines.width) + ending.len();
        let mut at = 0;
        let mut batch = BATCH;
        loop {
            let whole = window[at..].chunks_exact(stride).take(batch);
            let count = whole.take_while(|line| line.ends_with(ending)).count();
            if count == 0 {
                break;
            }
            let text = &window[at..at + count * stride];
            let padded = text[text.len() - ending.len() - 1] == b'=';
            match self.take_text(text, padded.then_some(true), into)? {
                Taken::Yes if padded => {
                    into.end_part(self.lines, true);
                    return Ok((at + text.len(), Step::Ended(Ended::AtLine)));
                }
                Taken::Yes => at += text.len(),
                // One by one, up to the line that is wrong or ends the run.
                Taken::No if count > 1 => batch = 1,
                // What looks like a whole line may be a shorter one and what follows it.
                Taken::No => break,
            }
        }
        self.last_line(&window[at..], end, into)
            .map(|(used, step)| (at + used, step))
    }

    /// Looks at a line that is not of full width, or not there as a whole.
    fn last_line(
        &mut self,
        rest: &[u8],
        end: bool,
        into: &mut impl Pieces,
    ) -> Result<(usize, Step)> {
        let ending = self.lines.ending.bytes();
        let width = usize::from(self.lines.width);
        let visible = &rest[..rest.len().min(width + ending.len())];
        let (length, ended) = match memchr(b'\n', visible) {
            Some(at) => match visible[..=at].strip_suffix(ending) {
                Some(line) => (line.len(), true),
                None => return Ok((0, self.end_before(into))),
            },
            None if visible.len() == width + ending.len() => return Ok((0, self.end_before(into))),
            None if end => (visible.len(), false),
            None => return Ok((0, Step::Undecided)),
        };
        if length == 0 || length > width || length % 4 != 0 {
            return Ok((0, self.end_before(into)));
        }
        let text = &rest[..length + if ended { ending.len() } else { 0 }];
        match self.take_text(text, Some(ended), into)? {
            Taken::Yes => {
                into.end_part(self.lines, ended);
                Ok((text.len(), Step::Ended(Ended::AtLine)))
            }
            Taken::No => Ok((0, self.end_before(into))),
        }
    }

    /// Ends the run before a line that does not belong to it.
    fn end_before(&self, into: &mut impl Pieces) -> Step {
        if self.begun {
            into.end_part(self.lines, true);
            return Step::Ended(Ended::AtLine);
        }
        // The very first line was refused: looking at it again would find the same run.
        Step::Ended(Ended::WithinLine)
    }

    fn one_line(
        &mut self,
        window: &[u8],
        end: bool,
        into: &mut impl Pieces,
    ) -> Result<(usize, Step)> {
        let mut at = 0;
        let body = loop {
            let visible = &window[at..];
            let body = alphabet(&visible[..visible.len().min(LONG_BATCH)]);
            let whole = body / 4 * 4;
            if whole == 0 {
                break body;
            }
            match self.take_text(&visible[..whole], None, into)? {
                Taken::Yes => at += whole,
                Taken::No => return Ok((at, self.end_within(into))),
            }
        };
        // Fewer than four characters are left, and perhaps their padding and an ending.
        let rest = &window[at..];
        let padding = rest[body..]
            .iter()
            .take(2)
            .take_while(|byte| **byte == b'=');
        let length = body + padding.count();
        let ending = match &rest[length..] {
            [b'\n', ..] => Some(Ending::Lf),
            [b'\r', b'\n', ..] => Some(Ending::CrLf),
            [] | [b'\r'] if !end => return Ok((at, Step::Undecided)),
            _ => None,
        };
        let used = length + ending.map_or(0, |ending| ending.bytes().len());
        self.lines.ending = ending.unwrap_or(Ending::Lf);
        self.joiner.set_ending(self.lines.ending);
        let taken = match length {
            0 => Taken::Yes,
            4 => self.take_text(&rest[..used], Some(ending.is_some()), into)?,
            _ => Taken::No,
        };
        match taken {
            Taken::Yes if ending.is_some() => {
                into.end_part(self.lines, true);
                Ok((at + used, Step::Ended(Ended::AtLine)))
            }
            Taken::Yes => Ok((at + used, self.end_within(into))),
            Taken::No => {
                self.lines.ending = Ending::Lf;
                Ok((at, self.end_within(into)))
            }
        }
    }

    /// Ends a run of one line where its line goes on with something else, or the content ends.
    fn end_within(&self, into: &mut impl Pieces) -> Step {
        if self.begun {
            into.end_part(self.lines, false);
        }
        Step::Ended(Ended::WithinLine)
    }

    /// Decodes lines with their endings, and compares what the joiner makes of them again.
    ///
    /// `last` says that they end the run, and whether with an ending; otherwise they are whole.
    fn take_text(
        &mut self,
        text: &[u8],
        last: Option<bool>,
        into: &mut impl Pieces,
    ) -> Result<Taken> {
        let width = usize::from(self.lines.width);
        let ending = self.lines.ending.bytes();
        let characters = if width == 0 {
            let ended = if last == Some(true) { ending.len() } else { 0 };
            &text[..text.len() - ended]
        } else {
            self.characters.clear();
            for line in text.chunks(width + ending.len()) {
                let line = line.strip_suffix(ending).unwrap_or(line);
                self.characters.extend_from_slice(line);
            }
            &self.characters
        };
        self.decoded.resize(characters.len() / 4 * 3, 0);
        let Ok(length) = STANDARD.decode_slice(characters, &mut self.decoded) else {
            return Ok(Taken::No);
        };
        self.decoded.truncate(length);
        let mut joiner = self.joiner.clone();
        self.joined.clear();
        joiner.push(&self.decoded, &mut self.joined)?;
        if let Some(ended) = last {
            joiner.clone().finish(ended, &mut self.joined)?;
        }
        // The joiner writes an ending before the line that follows it, and so one behind.
        let before = if width > 0 && self.begun { ending } else { &[] };
        let behind = if width > 0 && last.is_none() {
            ending
        } else {
            &[]
        };
        let expected = &text[..text.len() - behind.len()];
        if self.joined.strip_prefix(before) != Some(expected) {
            return Ok(Taken::No);
        }
        self.joiner = joiner;
        self.begun = true;
        into.part(&self.decoded);
        Ok(Taken::Yes)
    }
}
