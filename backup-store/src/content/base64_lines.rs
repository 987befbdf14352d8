//! Lines of base64: their shape, and the joiner that writes them again from decoded bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::codec::{Decoder, Encoder};
use crate::error::{Error, ErrorKind, Result};

/// Longest line of a run of several, without its ending.
pub(crate) const WIDTH_MAX: usize = 996;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    Lf,
    CrLf,
}

impl Ending {
    pub(crate) fn bytes(self) -> &'static [u8] {
        match self {
            Self::Lf => b"\n",
            Self::CrLf => b"\r\n",
        }
    }
}

/// Shape of a run of base64 lines; the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Lines {
    /// Characters in a line, a multiple of 4 up to [`WIDTH_MAX`]; 0 for one line of any length.
    pub(crate) width: u16,
    pub(crate) ending: Ending,
}

const CRLF: u8 = 1;
const FINAL: u8 = 2;

impl Lines {
    /// Length of `length` bytes in this shape; `None` beyond what a number holds.
    pub(crate) fn encoded_length(self, length: u64, final_ending: bool) -> Option<u64> {
        let characters = length.div_ceil(3).checked_mul(4)?;
        let lines = match self.width {
            0 => u64::from(characters > 0),
            width => characters.div_ceil(width.into()),
        };
        let endings = (lines + u64::from(final_ending)).saturating_sub(1);
        characters.checked_add(endings.checked_mul(self.ending.bytes().len() as u64)?)
    }

    pub(crate) fn encode(self, final_ending: bool, encoder: &mut Encoder) {
        encoder.varint(self.width.into());
        let crlf = if self.ending == Ending::CrLf { CRLF } else { 0 };
        encoder.byte(crlf | if final_ending { FINAL } else { 0 });
    }

    pub(crate) fn decode(decoder: &mut Decoder<'_>) -> Result<(Self, bool)> {
        let width = u16::try_from(decoder.varint()?).ok();
        let width = width.filter(|width| width % 4 == 0 && usize::from(*width) <= WIDTH_MAX);
        let (Some(width), flags @ 0..=3) = (width, decoder.byte()?) else {
            return Err(decoder.malformed("has base64 lines of an unknown shape"));
        };
        let ending = if flags & CRLF == 0 {
            Ending::Lf
        } else {
            Ending::CrLf
        };
        Ok((Self { width, ending }, flags & FINAL != 0))
    }
}

/// Writes decoded bytes as base64 lines, in pieces of any size.
///
/// An ending is written before the line that follows it, so that the last one can be left out.
#[derive(Debug, Clone)]
pub(crate) struct Joiner {
    lines: Lines,
    /// Characters in the current line.
    column: usize,
    /// Bytes that do not fill a group of three yet.
    rest: [u8; 2],
    rest_length: usize,
}

impl Joiner {
    pub(crate) fn new(lines: Lines) -> Self {
        Self {
            lines,
            column: 0,
            rest: [0; 2],
            rest_length: 0,
        }
    }

    /// Sets the ending of a single line, which is known only at its end.
    pub(crate) fn set_ending(&mut self, ending: Ending) {
        self.lines.ending = ending;
    }

    /// Appends the next bytes, encoded, to `out`.
    pub(crate) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        out.reserve(bytes.len() / 2 * 3);
        while self.rest_length > 0 && !bytes.is_empty() {
            if self.rest_length == 2 {
                let group = [self.rest[0], self.rest[1], bytes[0]];
                self.rest_length = 0;
                self.groups(&group, out)?;
            } else {
                self.rest[1] = bytes[0];
                self.rest_length = 2;
            }
            bytes = &bytes[1..];
        }
        let (whole, rest) = bytes.split_at(bytes.len() / 3 * 3);
        self.groups(whole, out)?;
        if !rest.is_empty() {
            self.rest[..rest.len()].copy_from_slice(rest);
            self.rest_length = rest.len();
        }
        Ok(())
    }

    /// Writes what is left, and the last ending if there is one.
    pub(crate) fn finish(mut self, final_ending: bool, out: &mut Vec<u8>) -> Result<()> {
        let rest = self.rest;
        self.groups(&rest[..self.rest_length], out)?;
        if final_ending {
            out.extend_from_slice(self.lines.ending.bytes());
        }
        Ok(())
    }

    /// Writes whole groups of three bytes, or the last bytes with their padding.
    fn groups(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let width = match self.lines.width {
            0 => usize::MAX,
            width => usize::from(width),
        };
        while !bytes.is_empty() {
            if self.column == width {
                out.extend_from_slice(self.lines.ending.bytes());
                self.column = 0;
            }
            let room = (width - self.column) / 4 * 3;
            let (line, later) = bytes.split_at(room.min(bytes.len()));
            let before = out.len();
            let length = line.len().div_ceil(3) * 4;
            out.resize(before + length, 0);
            STANDARD
                .encode_slice(line, &mut out[before..])
                .map_err(|cause| {
                    Error::new(ErrorKind::InvalidInput, "base64: too long").with_source(cause)
                })?;
            // One line of any length never ends.
            self.column = if width == usize::MAX {
                0
            } else {
                self.column + length
            };
            bytes = later;
        }
        Ok(())
    }
}
