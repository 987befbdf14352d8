//! Key file: 32 random bytes in a short text file.

use std::fmt;

use zeroize::Zeroizing;

use super::{KEY_LENGTH, Key};
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};

const FIRST_LINE: &str = "m365-backup key file 1";
const LAST_WORD: &str = "blake3";
/// Hex digits of the check in the last line.
const CHECK_DIGITS: usize = 16;

/// A secret that lies in a file: for machines, and for safes. Its `Debug` shows nothing of it.
///
/// *Shape*: three lines of text: `m365-backup key file 1`; 64 hex digits; `blake3` and the first 16
/// hex digits of the unkeyed BLAKE3 of the two lines before, each ended by a line feed.
#[derive(Clone)]
pub struct KeyFile(Key);

impl KeyFile {
    /// Longest text that is read.
    pub const MAX_BYTES: usize = 4096;

    /// Draws a fresh secret.
    ///
    /// *Errors*: [`ErrorKind::Environment`] when there is no randomness.
    pub fn generate(environment: &dyn Environment) -> Result<Self> {
        Key::random(environment).map(Self)
    }

    /// Returns the text of the file. It is a secret: write it where only its owner can read.
    pub fn to_text(&self) -> Zeroizing<String> {
        let hex: Zeroizing<String> = Zeroizing::new(
            self.0
                .bytes()
                .iter()
                .flat_map(|byte| [byte >> 4, byte & 15])
                .map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0'))
                .collect(),
        );
        let mut text = Zeroizing::new(format!("{FIRST_LINE}\n{}\n", hex.as_str()));
        let check = check(&text);
        text.push_str(&check);
        text
    }

    /// Reads the text of a key file; line ends may have been changed.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`] when it is not a key file, or was damaged.
    pub fn from_text(text: &str) -> Result<Self> {
        let wrong = |cause: &str| {
            let words = format!("key file: {cause}");
            Error::new(ErrorKind::InvalidInput, words)
        };
        if text.len() > Self::MAX_BYTES {
            return Err(wrong("it is longer than key files are"));
        }
        let mut lines = text.lines().map(str::trim_end);
        match lines.next() {
            Some(FIRST_LINE) => {}
            Some(line) if line.starts_with("m365-backup key file") => {
                return Err(wrong("it is of a version that is not known"));
            }
            _ => return Err(wrong("it is not one of m365-backup")),
        }
        let (Some(hex), Some(last)) = (lines.next(), lines.next()) else {
            return Err(wrong("it is cut off"));
        };
        let body = Zeroizing::new(format!("{FIRST_LINE}\n{hex}\n"));
        if last != check(&body).trim_end() || lines.any(|line| !line.is_empty()) {
            return Err(wrong("its check does not match; it was changed"));
        }
        let mut bytes = Zeroizing::new([0; KEY_LENGTH]);
        crate::id::read_hex(hex, bytes.as_mut()).ok_or_else(|| wrong("its key is not hex"))?;
        Key::from_slice(bytes.as_ref())
            .map(Self)
            .ok_or_else(|| wrong("its key has the wrong length"))
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFile(..)")
    }
}

fn check(body: &str) -> String {
    let hash = blake3::hash(body.as_bytes()).to_hex();
    format!("{LAST_WORD} {}\n", &hash.as_str()[..CHECK_DIGITS])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemEnvironment;

    #[test]
    fn a_key_file_survives_being_written_and_read() {
        let file = KeyFile::generate(&SystemEnvironment).unwrap();
        let text = file.to_text();
        assert_eq!(KeyFile::from_text(&text).unwrap().secret(), file.secret());
        let dos = text.replace('\n', "\r\n") + "\r\n";
        assert_eq!(KeyFile::from_text(&dos).unwrap().secret(), file.secret());
        assert_eq!(format!("{file:?}"), "KeyFile(..)");
    }

    #[test]
    fn every_changed_byte_and_every_cut_is_noticed() {
        let text = KeyFile::generate(&SystemEnvironment).unwrap().to_text();
        for at in 0..text.len() - 1 {
            let mut changed = text.as_bytes().to_vec();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            for text in [&changed[..], &text[..at]] {
                let error = KeyFile::from_text(text).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "byte {at}");
            }
        }
    }

    #[test]
    fn another_version_is_named_as_such() {
        let error = KeyFile::from_text("m365-backup key file 2\n00\n").unwrap_err();
        assert!(error.to_string().contains("version"), "{error}");
    }
}
