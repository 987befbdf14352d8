//! Laws of the split: whatever goes in comes back, however it is cut into pieces.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::content::base64_lines::{Ending, Joiner};

/// What a splitter found.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    Literal(Vec<u8>),
    Part(Vec<u8>, Lines, bool),
}

#[derive(Default)]
struct Collected {
    found: Vec<Found>,
    open: Vec<u8>,
}

impl Pieces for Collected {
    fn literal(&mut self, bytes: &[u8]) {
        assert!(self.open.is_empty(), "a part is open");
        assert!(!bytes.is_empty());
        match self.found.last_mut() {
            Some(Found::Literal(before)) => before.extend_from_slice(bytes),
            _ => self.found.push(Found::Literal(bytes.to_vec())),
        }
    }

    fn part(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
    }

    fn end_part(&mut self, lines: Lines, final_ending: bool) {
        let part = std::mem::take(&mut self.open);
        assert!(!part.is_empty());
        self.found.push(Found::Part(part, lines, final_ending));
    }
}

fn split<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Found> {
    let (mut splitter, mut collected) = (Splitter::new(), Collected::default());
    for piece in pieces {
        splitter.push(piece, &mut collected).unwrap();
        assert!(
            splitter.carry.len() <= 2 * RUN_MIN,
            "the carry is bounded: {}",
            splitter.carry.len()
        );
    }
    splitter.finish(&mut collected).unwrap();
    assert!(collected.open.is_empty());
    collected.found
}

fn join(found: &[Found]) -> Vec<u8> {
    let mut joined = Vec::new();
    for each in found {
        match each {
            Found::Literal(bytes) => joined.extend_from_slice(bytes),
            Found::Part(bytes, lines, final_ending) => {
                let before = joined.len() as u64;
                let mut joiner = Joiner::new(*lines);
                // A reader joins chunk by chunk, not as the writer did.
                for piece in bytes.chunks(1000) {
                    joiner.push(piece, &mut joined).unwrap();
                }
                joiner.finish(*final_ending, &mut joined).unwrap();
                let length = lines.encoded_length(bytes.len() as u64, *final_ending);
                assert_eq!(length, Some(joined.len() as u64 - before));
            }
        }
    }
    joined
}

fn parts(found: &[Found]) -> Vec<&[u8]> {
    let part = |found| match found {
        &Found::Literal(_) => None,
        Found::Part(bytes, ..) => Some(bytes.as_slice()),
    };
    found.iter().filter_map(part).collect()
}

fn lines(bytes: &[u8], width: usize, ending: &str) -> Vec<u8> {
    let text = STANDARD.encode(bytes);
    let lines = text.as_bytes().chunks(width);
    lines
        .flat_map(|line| [line, ending.as_bytes()].concat())
        .collect()
}

fn noise(length: usize, seed: u8) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut stream = blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof();
    stream.fill(&mut bytes);
    bytes
}

const HEAD: &[u8] = b"From: a@contoso.example\r\nContent-Transfer-Encoding: base64\r\n\r\n";

#[test]
fn an_attachment_is_found_and_comes_back() {
    for (width, ending) in [
        (76, "\r\n"),
        (76, "\n"),
        (4, "\n"),
        (996, "\r\n"),
        (64, "\r\n"),
    ] {
        for length in [3072, 4096, 5000, 5001, 5002, 100_000] {
            let attachment = noise(length, 1);
            let body = lines(&attachment, width, ending);
            let mail = [HEAD, &body, b"\r\n--boundary--\r\n"].concat();
            let found = split([&mail[..]]);
            assert_eq!(join(&found), mail);
            if body.len() >= RUN_MIN {
                assert!(
                    parts(&found) == [&attachment[..]],
                    "{width} {length} {:?}",
                    parts(&found).iter().map(|p| p.len()).collect::<Vec<_>>()
                );
                assert_eq!(found[0], Found::Literal(HEAD.to_vec()));
            } else {
                assert_eq!(parts(&found).len(), 0);
            }
        }
    }
}

#[test]
fn one_line_of_any_length_is_a_run() {
    let attachment = noise(90_001, 2);
    for ending in ["\r\n", "\n", ""] {
        let mail = [HEAD, &lines(&attachment, usize::MAX, ending)].concat();
        let found = split([&mail[..]]);
        assert_eq!(parts(&found), [&attachment[..]]);
        assert_eq!(join(&found), mail);
    }
    let bare = lines(&attachment, usize::MAX, "");
    assert_eq!(
        parts(&split([&bare[..]])),
        [&attachment[..]],
        "nothing but a line"
    );
}

#[test]
fn a_missing_last_ending_is_kept_missing() {
    let attachment = noise(9_000, 3);
    let mut mail = lines(&attachment, 76, "\r\n");
    mail.truncate(mail.len() - 2);
    let found = split([&mail[..]]);
    assert_eq!(parts(&found), [&attachment[..]]);
    assert_eq!(join(&found), mail);
}

/// Changes one thing in a good body; what is right before it may be decoded, all comes back.
#[test]
fn near_misses_come_back_byte_by_byte() {
    let good = lines(&noise(9_000, 4), 76, "\r\n");
    let at = |line: usize, column: usize| line * 78 + column;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let cases: Vec<(&str, Change)> = vec![
        (
            "a longer line",
            Box::new(move |b| b.splice(at(70, 9)..at(70, 9), *b"AAAA").for_each(drop)),
        ),
        (
            "a shorter line",
            Box::new(move |b| drop(b.drain(at(70, 8)..at(70, 12)))),
        ),
        (
            "a character too few",
            Box::new(move |b| drop(b.drain(at(70, 8)..=at(70, 8)))),
        ),
        (
            "padding in the middle",
            Box::new(move |b| b[at(70, 75)] = b'='),
        ),
        (
            "padding within a line",
            Box::new(move |b| b[at(70, 40)] = b'='),
        ),
        (
            "another ending",
            Box::new(move |b| drop(b.drain(at(70, 76)..=at(70, 76)))),
        ),
        ("a bare CR", Box::new(move |b| b[at(70, 77)] = b'A')),
        ("a blank", Box::new(move |b| b[at(70, 30)] = b' ')),
        (
            "an empty line",
            Box::new(move |b| b.splice(at(70, 0)..at(70, 0), *b"\r\n").for_each(drop)),
        ),
        ("another alphabet", Box::new(move |b| b[at(70, 30)] = b'-')),
        ("a zero byte", Box::new(move |b| b[at(70, 30)] = 0)),
    ];
    for (what, change) in cases {
        let mut mail = good.clone();
        change(&mut mail);
        assert_ne!(mail, good);
        let found = split([&mail[..]]);
        assert_eq!(join(&found), mail, "{what}");
        let decoded: usize = parts(&found).iter().map(|part| part.len()).sum();
        assert!(
            decoded >= 70 * 57,
            "{what}: what was right before is decoded"
        );
        // An empty line parts two runs; anything else makes its line literal.
        assert_eq!(decoded == 9_000, what == "an empty line", "{what}");
    }
}

#[test]
fn unused_bits_that_are_not_zero_stay_literal() {
    // One byte is left over: four unused bits, which decoders forgive and encoders never write.
    let mut mail = lines(&noise(5_701, 5), 76, "\n");
    let last = mail.len() - 4;
    assert_eq!(&mail[last + 1..], b"==\n");
    mail[last] += 1;
    let found = split([&mail[..]]);
    assert_eq!(join(&found), mail);
    assert_eq!(parts(&found)[0].len(), 5_700);
    assert!(matches!(found.last(), Some(Found::Literal(line)) if line.len() == 5));
}

#[test]
fn lines_beyond_the_widest_are_literal_unless_one_is_a_run_by_itself() {
    for width in [1000, 4000] {
        let mail = lines(&noise(30_000, 6), width, "\r\n");
        let found = split([&mail[..]]);
        assert_eq!((join(&found), parts(&found).len()), (mail, 0));
    }
    let mail = lines(&noise(30_000, 6), 8000, "\r\n");
    let found = split([&mail[..]]);
    assert_eq!((join(&found), parts(&found).len()), (mail, 5));
}

#[test]
fn two_runs_of_other_widths_are_two_parts() {
    let (one, two) = (noise(54 * 100, 7), noise(57 * 100, 8));
    let mail = [lines(&one, 72, "\r\n"), lines(&two, 76, "\r\n")].concat();
    let found = split([&mail[..]]);
    assert_eq!(parts(&found), [&one[..], &two[..]]);
    assert_eq!(join(&found), mail);
}

/// Bytes that are nearly, or truly, what a splitter looks for.
fn block() -> impl Strategy<Value = Vec<u8>> {
    let width = prop_oneof![
        3 => Just(76usize), 1 => Just(64), 1 => Just(4), 1 => Just(77), 1 => Just(996),
        1 => Just(1000), 1 => Just(usize::MAX)
    ];
    let ending = prop_oneof![3 => Just("\r\n"), 2 => Just("\n"), 1 => Just("\r"), 1 => Just("")];
    let base64 = (0usize..9_000, any::<u8>(), width, ending)
        .prop_map(|(length, seed, width, ending)| lines(&noise(length, seed), width, ending));
    let words = prop::collection::vec("[ -~]{0,90}(\r\n|\n|=\r\n|)", 0..6)
        .prop_map(|lines| lines.concat().into_bytes());
    let repeated = ("[A-Za-z0-9+/=\r\n]{1,6}", 0usize..3_000)
        .prop_map(|(text, count)| text.repeat(count).into_bytes());
    prop_oneof![
        6 => base64, 2 => words, 1 => repeated, 1 => prop::collection::vec(any::<u8>(), 0..300)
    ]
}

#[derive(Debug, Clone)]
enum Edit {
    Set(u8),
    Remove(usize),
    Insert(Vec<u8>),
}

fn edit() -> impl Strategy<Value = (prop::sample::Index, Edit)> {
    let byte = prop_oneof![
        Just(b'='),
        Just(b'\r'),
        Just(b'\n'),
        Just(b'A'),
        Just(b'+'),
        any::<u8>()
    ];
    let edit = prop_oneof![
        byte.clone().prop_map(Edit::Set),
        (1usize..90).prop_map(Edit::Remove),
        prop::collection::vec(byte, 1..6).prop_map(Edit::Insert)
    ];
    (any::<prop::sample::Index>(), edit)
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let blocks = prop::collection::vec(block(), 0..5);
    (blocks, prop::collection::vec(edit(), 0..4)).prop_map(|(blocks, edits)| {
        let mut bytes = blocks.concat();
        for (at, edit) in edits {
            let at = at.index(bytes.len() + 1);
            match edit {
                Edit::Set(byte) => {
                    if let Some(found) = bytes.get_mut(at) {
                        *found = byte;
                    }
                }
                Edit::Remove(count) => drop(bytes.drain(at..(at + count).min(bytes.len()))),
                Edit::Insert(more) => drop(bytes.splice(at..at, more)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_goes_in_comes_back(
        bytes in message(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9),
    ) {
        let whole = split([&bytes[..]]);
        prop_assert_eq!(&join(&whole), &bytes);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let mut from = 0;
        let pieces: Vec<&[u8]> = ends.map(|to| { let piece = &bytes[from..to]; from = to; piece }).collect();
        prop_assert_eq!(split(pieces), whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, ..ProptestConfig::default() })]

    #[test]
    fn byte_by_byte_is_split_the_same(bytes in message()) {
        prop_assert_eq!(split(bytes.chunks(1)), split([&bytes[..]]));
    }
}

#[test]
fn a_joiner_makes_the_same_of_any_pieces() {
    let bytes = noise(10_000, 9);
    for (width, ending) in [(0, Ending::CrLf), (76, Ending::CrLf), (4, Ending::Lf)] {
        let whole = join(&[Found::Part(bytes.clone(), Lines { width, ending }, true)]);
        for piece in [1, 2, 3, 57, 58, 4096] {
            let mut joiner = Joiner::new(Lines { width, ending });
            let mut joined = Vec::new();
            for piece in bytes.chunks(piece) {
                joiner.push(piece, &mut joined).unwrap();
            }
            joiner.finish(true, &mut joined).unwrap();
            assert_eq!(joined, whole);
        }
    }
}
