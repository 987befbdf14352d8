//! Encodings of MIME: header words, file names, base64 in lines, quoted-printable.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::encoded_word;

/// Bytes of text per encoded word, so that the word stays below 75 characters.
const WORD_BYTES: usize = 42;

/// Bytes that fill a base64 line of 76 characters.
const LINE_BYTES: usize = 57;

/// Characters that file names may keep in RFC 2231 form.
const FILE_NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Writes a header value: as it is, folded, or in encoded words.
pub(super) fn unstructured(text: &str) -> String {
    let plain = text.is_ascii()
        && !text.contains("=?")
        && !text.chars().any(|letter| letter.is_ascii_control())
        && text.trim() == text;
    if !plain {
        return words(text);
    }
    let mut folded = String::with_capacity(text.len() + 8);
    let mut width = 10;
    for (index, word) in text.split(' ').enumerate() {
        if index > 0 {
            // A line must not consist of white space alone.
            let fold = width + word.len() > 74 && !word.is_empty();
            folded.push_str(if fold { "\r\n " } else { " " });
            width = if fold { 1 } else { width + 1 };
        }
        folded.push_str(word);
        width += word.len();
    }
    folded
}

/// Writes the name before an address.
pub(super) fn phrase(text: &str) -> String {
    if !text.is_ascii() || text.contains("=?") {
        return words(text);
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// Writes the parameter that holds a file name.
pub(super) fn file_name(name: &str) -> String {
    let plain = name
        .chars()
        .all(|letter| letter.is_ascii_alphanumeric() || " .-_()".contains(letter));
    if plain && name.len() < 60 {
        return format!("filename=\"{name}\"");
    }
    format!("filename*=utf-8''{}", utf8_percent_encode(name, FILE_NAME))
}

fn words(text: &str) -> String {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(encoded_word(piece));
        rest = after;
    }
    pieces.join("\r\n ")
}

/// Appends base64 in lines of 76 characters.
pub(super) fn base64_lines(bytes: &[u8], out: &mut Vec<u8>) {
    let lines = bytes.len().div_ceil(LINE_BYTES);
    let start = out.len();
    out.resize(start + lines * 78, 0);
    let mut end = start;
    for line in bytes.chunks(LINE_BYTES) {
        // The space above suffices for every line.
        let written = STANDARD.encode_slice(line, &mut out[end..]).unwrap_or(0);
        out[end + written] = b'\r';
        out[end + written + 1] = b'\n';
        end += written + 2;
    }
    out.truncate(end);
}

/// Appends quoted-printable; line ends of the text stay line ends.
pub(super) fn quoted_printable(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for (index, line) in text.split("\r\n").enumerate() {
        if index > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let mut width = 0;
        let bytes = line.as_bytes();
        for (place, byte) in bytes.iter().enumerate() {
            let last = place + 1 == bytes.len();
            let blank_at_end = last && (*byte == b' ' || *byte == b'\t');
            let plain = (matches!(byte, 33..=126) && *byte != b'=')
                || ((*byte == b' ' || *byte == b'\t') && !blank_at_end);
            let needed = if plain { 1 } else { 3 };
            if width + needed > 75 {
                out.extend_from_slice(b"=\r\n");
                width = 0;
            }
            width += needed;
            if plain {
                out.push(*byte);
            } else {
                out.push(b'=');
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_split_between_characters() {
        let text = "件名".repeat(60);
        let encoded = words(&text);
        assert!(
            encoded.lines().all(|line| line.trim().len() <= 75),
            "{encoded}"
        );
    }

    #[test]
    fn quoted_printable_keeps_lines_short_and_blanks_visible() {
        let mut out = Vec::new();
        quoted_printable(&format!("{} \r\nü=", "x".repeat(200)), &mut out);
        let text = String::from_utf8(out).expect("ascii");
        assert!(text.lines().all(|line| line.len() <= 76));
        assert!(text.contains("=20\r\n=C3=BC=3D"), "{text}");
    }
}
