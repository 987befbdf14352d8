//! Cutter: hashes a content, splits a message, cuts chunks and names them. It computes and never
//! waits, so that whoever drives it chooses the thread.

use std::sync::Arc;

use crate::chunker::{AVERAGE_BYTES, MAX_BYTES};
use crate::content::base64_lines::Lines;
use crate::content::mime::{Pieces, Splitter};
use crate::content::recipe::{Part, Recipe, Step};
use crate::content::{ContentClass, ContentRef};
use crate::error::Result;
use crate::id::{ChunkId, ContentHash};
use crate::keys::Keys;

/// Bytes of a message that are split in one go.
const SPLIT_BYTES: usize = 256 * 1024;
/// Bytes of a part by which text is told from anything else.
const SNIFFED: usize = 512;

/// A chunk that is to be stored.
pub(super) struct Chunk {
    pub(super) class: ContentClass,
    pub(super) id: ChunkId,
    pub(super) bytes: Vec<u8>,
}

/// One content on its way from bytes to chunks.
pub(super) struct Cutter {
    hasher: blake3::Hasher,
    length: u64,
    /// A message that is not split yet.
    message: Option<Message>,
    streams: Streams,
}

struct Message {
    splitter: Splitter,
    input: Vec<u8>,
}

/// What the bytes of a content are sorted into.
struct Streams {
    keys: Arc<Keys>,
    class: ContentClass,
    /// The content, or the literals of a message.
    literals: Stream,
    part: Stream,
    steps: Vec<Step>,
    ready: Vec<Chunk>,
}

impl Cutter {
    pub(super) fn new(keys: Arc<Keys>, class: ContentClass) -> Self {
        let message = (class == ContentClass::Mail).then(|| Message {
            splitter: Splitter::new(),
            input: Vec::new(),
        });
        Self {
            hasher: keys.content_hasher(),
            length: 0,
            message,
            streams: Streams {
                keys,
                class: class.of_literals(),
                literals: Stream::default(),
                part: Stream::default(),
                steps: Vec::new(),
                ready: Vec::new(),
            },
        }
    }

    /// Takes some of `bytes` without computing anything; returns how many.
    ///
    /// When that is not all of them, [`work`](Self::work) is due.
    pub(super) fn accept(&mut self, bytes: &[u8]) -> usize {
        let room = match &mut self.message {
            Some(message) => {
                let room = SPLIT_BYTES.saturating_sub(message.input.len());
                let taken = &bytes[..room.min(bytes.len())];
                message.input.extend_from_slice(taken);
                taken.len()
            }
            None => self.streams.literals.fill(bytes),
        };
        self.length += room as u64;
        room
    }

    /// Counts the bytes that the next work, or the end, has to go through.
    pub(super) fn waiting(&self) -> usize {
        let input = self
            .message
            .as_ref()
            .map_or(0, |message| message.input.len());
        input + self.streams.literals.waiting().len() + self.streams.part.waiting().len()
    }

    /// Computes with what was accepted.
    pub(super) fn work(&mut self) -> Result<()> {
        match &mut self.message {
            Some(message) => {
                self.hasher.update(&message.input);
                message.splitter.push(&message.input, &mut self.streams)?;
                message.input.clear();
            }
            None => {
                let (streams, hasher) = (&mut self.streams, &mut self.hasher);
                streams.cut_full(|chunk| {
                    hasher.update(chunk);
                });
            }
        }
        Ok(())
    }

    /// Takes the chunks that are ready.
    pub(super) fn take_ready(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.streams.ready)
    }

    /// Splits a message that is here as a whole; returns its reference and its chunks.
    pub(super) fn split(mut self, message: &[u8]) -> Result<(ContentRef, Vec<Chunk>)> {
        self.length = message.len() as u64;
        self.finish_with(message)
    }

    /// Ends the content; returns its reference and its last chunks.
    pub(super) fn finish(mut self) -> Result<(ContentRef, Vec<Chunk>)> {
        let message = self.message.as_mut();
        let rest = message.map(|message| std::mem::take(&mut message.input));
        self.finish_with(&rest.unwrap_or_default())
    }

    /// Ends the content with the rest of its message, if it is one.
    fn finish_with(mut self, rest: &[u8]) -> Result<(ContentRef, Vec<Chunk>)> {
        let mut streams = self.streams;
        let is_message = self.message.is_some();
        if let Some(mut message) = self.message {
            streams
                .literals
                .buffer
                .reserve(rest.len().min(AVERAGE_BYTES));
            message.splitter.push(rest, &mut streams)?;
            message.splitter.finish(&mut streams)?;
        }
        let one_chunk = streams.literals.is_whole(self.length);
        if !one_chunk {
            self.hasher.update(match is_message {
                true => rest,
                false => streams.literals.waiting(),
            });
        }
        let (keys, ready) = (&streams.keys, &mut streams.ready);
        let chunks = streams.literals.finish(keys, streams.class, ready);
        let split = streams
            .steps
            .iter()
            .any(|step| matches!(step, Step::Base64(_)));
        let hash = match chunks.first() {
            Some(id) if one_chunk => ContentHash::of_one_chunk(id),
            _ => ContentHash::from_bytes(self.hasher.finalize().into()),
        };
        let content = ContentRef {
            length: self.length,
            hash,
            chunks,
            recipe: split.then_some(Recipe {
                steps: streams.steps,
            }),
        };
        Ok((content, streams.ready))
    }
}

impl Streams {
    /// Cuts the content while it holds enough to know where.
    fn cut_full(&mut self, mut each: impl FnMut(&[u8])) {
        while self.literals.waiting().len() >= MAX_BYTES {
            let length = self.keys.gear.cut(self.literals.waiting());
            each(&self.literals.waiting()[..length]);
            let chunk = self.literals.cut(&self.keys, self.class, length);
            self.ready.push(chunk);
        }
    }
}

impl Pieces for Streams {
    fn literal(&mut self, bytes: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::Literal(length)) => *length += bytes.len() as u64,
            _ => self.steps.push(Step::Literal(bytes.len() as u64)),
        }
        self.literals
            .push(bytes, &self.keys, Some(self.class), &mut self.ready);
    }

    fn part(&mut self, bytes: &[u8]) {
        self.part.push(bytes, &self.keys, None, &mut self.ready);
    }

    fn end_part(&mut self, lines: Lines, final_ending: bool) {
        let length = self.part.length;
        let class = self.part.class();
        let chunks = self.part.finish(&self.keys, class, &mut self.ready);
        self.steps.push(Step::Base64(Part {
            length,
            lines,
            final_ending,
            chunks,
        }));
    }
}

/// Bytes in a row that are cut into chunks.
#[derive(Default)]
struct Stream {
    buffer: Vec<u8>,
    /// Where in the buffer the next chunk begins.
    start: usize,
    length: u64,
    chunks: Vec<ChunkId>,
    /// Class of a part, once one of its chunks was cut.
    class: Option<ContentClass>,
}

impl Stream {
    fn waiting(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Tells whether a content of `length` bytes is all here, and will be one chunk.
    fn is_whole(&self, length: u64) -> bool {
        let waiting = self.waiting().len();
        self.chunks.is_empty() && waiting as u64 == length && (1..=AVERAGE_BYTES).contains(&waiting)
    }

    /// Takes bytes up to the largest chunk; returns how many.
    fn fill(&mut self, bytes: &[u8]) -> usize {
        let room = MAX_BYTES.saturating_sub(self.waiting().len());
        let taken = &bytes[..room.min(bytes.len())];
        // Moved to the front once in a largest chunk's worth of bytes, not at every cut.
        if self.start >= MAX_BYTES {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(taken);
        self.length += taken.len() as u64;
        taken.len()
    }

    /// Takes all bytes and cuts where it is full.
    fn push(
        &mut self,
        mut bytes: &[u8],
        keys: &Keys,
        class: Option<ContentClass>,
        ready: &mut Vec<Chunk>,
    ) {
        loop {
            let taken = self.fill(bytes);
            bytes = &bytes[taken..];
            if self.waiting().len() < MAX_BYTES {
                return;
            }
            let class = class.unwrap_or_else(|| self.class());
            ready.push(self.cut(keys, class, keys.gear.cut(self.waiting())));
        }
    }

    /// Cuts the next `length` bytes off.
    fn cut(&mut self, keys: &Keys, class: ContentClass, length: usize) -> Chunk {
        let bytes = if self.start == 0 && length == self.buffer.len() {
            std::mem::take(&mut self.buffer) // All of it: nothing need be copied.
        } else {
            let bytes = self.waiting()[..length].to_vec();
            self.start += length;
            bytes
        };
        let id = keys.chunk_id(&bytes);
        self.chunks.push(id);
        Chunk { class, id, bytes }
    }

    /// Cuts the rest, and is as new afterwards.
    fn finish(&mut self, keys: &Keys, class: ContentClass, ready: &mut Vec<Chunk>) -> Vec<ChunkId> {
        let whole = self.chunks.is_empty() && self.waiting().len() <= AVERAGE_BYTES;
        while !self.waiting().is_empty() {
            let length = if whole {
                self.waiting().len()
            } else {
                keys.gear.cut(self.waiting())
            };
            ready.push(self.cut(keys, class, length));
        }
        self.buffer.clear();
        self.start = 0;
        self.length = 0;
        self.class = None;
        std::mem::take(&mut self.chunks)
    }

    /// Tells text from anything else by the first bytes, once for the whole part.
    fn class(&mut self) -> ContentClass {
        let first = &self.buffer[self.start..];
        let first = &first[..first.len().min(SNIFFED)];
        *self.class.get_or_insert_with(|| match is_text(first) {
            true => ContentClass::Text,
            false => ContentClass::Binary,
        })
    }
}

/// Tells whether bytes look like text in UTF-8, or in an encoding that holds ASCII.
fn is_text(bytes: &[u8]) -> bool {
    let control = |byte: &u8| matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31 | 127);
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        // Cut off within a character.
        Err(cause) => cause.error_len().is_none(),
    };
    valid && !bytes.iter().any(control)
}
