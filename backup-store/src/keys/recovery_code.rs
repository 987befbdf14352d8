//! Recovery code: 160 random bits that people can write down and type.

use std::fmt;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};

/// Bytes of secret in a recovery code.
const SECRET_BYTES: usize = 20;
/// Symbols that carry the secret, five bits each.
const SECRET_SYMBOLS: usize = SECRET_BYTES * 8 / 5;
/// Symbols that carry the check.
const CHECK_SYMBOLS: usize = 4;
const SYMBOLS: usize = SECRET_SYMBOLS + CHECK_SYMBOLS;
/// Symbols between two hyphens.
const GROUP: usize = 4;
/// Crockford's base 32: no I, L, O, U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const CHECK_CONTEXT: &str = "m365-backup store 2026-11 recovery code check";

/// Opens a store when nothing else does; its `Debug` shows nothing of it.
///
/// *Shape*: nine groups of four symbols `0-9 A-Z` without I, L, O, U, joined by hyphens: 160 bits of
/// secret and 20 bits that notice a mistyped symbol. Read back in any case, with or without hyphens
/// and spaces; O is read as 0, I and L as 1. Being random throughout, it needs no costly derivation.
#[derive(Clone)]
pub struct RecoveryCode(Zeroizing<[u8; SECRET_BYTES]>);

impl RecoveryCode {
    /// Draws a fresh code.
    ///
    /// *Errors*: [`ErrorKind::Environment`] when there is no randomness.
    pub fn generate(environment: &dyn Environment) -> Result<Self> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        environment.fill(secret.as_mut())?;
        Ok(Self(secret))
    }

    /// Returns the code as people write it. It is a secret: show it once, to its owner.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut symbols = Zeroizing::new(Vec::with_capacity(SYMBOLS));
        let mut bits = Zeroizing::new(Vec::with_capacity(SECRET_BYTES + 3));
        bits.extend_from_slice(self.0.as_ref());
        bits.extend_from_slice(&self.check().to_be_bytes()[1..]);
        // The check is 20 bits: the top of the three bytes is not used.
        for at in 0..SYMBOLS {
            let from = if at < SECRET_SYMBOLS {
                at * 5
            } else {
                at * 5 + 4
            };
            let value = (0..5).fold(0usize, |value, bit| {
                let at = from + bit;
                value << 1 | usize::from(bits[at / 8] >> (7 - at % 8) & 1)
            });
            symbols.push(ALPHABET[value]);
        }
        let mut text = Zeroizing::new(String::with_capacity(SYMBOLS + SYMBOLS / GROUP));
        for (at, symbol) in symbols.iter().enumerate() {
            if at > 0 && at % GROUP == 0 {
                text.push('-');
            }
            text.push(char::from(*symbol));
        }
        text
    }

    pub(crate) fn secret(&self) -> &[u8] {
        self.0.as_ref()
    }

    /// The first 20 bits of an unkeyed hash of the secret.
    fn check(&self) -> u32 {
        let hash = Zeroizing::new(blake3::derive_key(CHECK_CONTEXT, self.0.as_ref()));
        u32::from_be_bytes([0, hash[0], hash[1], hash[2]]) >> 4
    }
}

impl FromStr for RecoveryCode {
    type Err = Error;

    /// Reads a code as typed.
    ///
    /// *Errors*: [`ErrorKind::InvalidInput`], saying in which group the first strange symbol is, or
    /// that a symbol is missing or wrong.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |cause: &str| {
            let words = format!("recovery code: {cause}");
            Error::new(ErrorKind::InvalidInput, words)
        };
        let mut values = Zeroizing::new(Vec::with_capacity(SYMBOLS));
        for symbol in text
            .chars()
            .filter(|c| !matches!(c, '-' | ' ' | '\r' | '\n' | '\t'))
        {
            let value = symbol_value(symbol).ok_or_else(|| {
                let group = values.len() / GROUP + 1;
                wrong(&format!("group {group} has a symbol that no code has"))
            })?;
            values.push(value);
        }
        if values.len() != SYMBOLS {
            let words = format!("it has {} symbols, not {SYMBOLS}", values.len());
            return Err(wrong(&words));
        }
        let mut secret = Zeroizing::new([0u8; SECRET_BYTES]);
        for (at, value) in values[..SECRET_SYMBOLS].iter().enumerate() {
            for bit in (0..5).filter(|bit| value >> (4 - bit) & 1 == 1) {
                let at = at * 5 + bit;
                secret[at / 8] |= 1 << (7 - at % 8);
            }
        }
        let check = values[SECRET_SYMBOLS..]
            .iter()
            .fold(0u32, |check, value| check << 5 | u32::from(*value));
        let code = Self(secret);
        if code.check() != check {
            return Err(wrong("a symbol is mistyped"));
        }
        Ok(code)
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(..)")
    }
}

fn symbol_value(symbol: char) -> Option<u8> {
    let symbol = match symbol.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let at = ALPHABET
        .iter()
        .position(|each| char::from(*each) == symbol)?;
    u8::try_from(at).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_code_is_the_text_that_the_format_says() {
        let code = RecoveryCode(Zeroizing::new(*b"0123456789abcdefghij"));
        let text = code.to_text();
        assert_eq!(
            text.as_str(),
            "60RK-4CSM-6MV3-EE1S-C5H6-6S35-CSKP-GTBA-R5F1"
        );
        assert_eq!(format!("{code:?}"), "RecoveryCode(..)");
    }

    proptest! {
        #[test]
        fn a_code_survives_being_written_and_typed(secret: [u8; SECRET_BYTES], sloppy: bool) {
            let code = RecoveryCode(Zeroizing::new(secret));
            let mut text = code.to_text().to_string();
            if sloppy {
                text = text.to_lowercase().replace('-', " ").replace('0', "o").replace('1', "l");
            }
            let typed = text.parse::<RecoveryCode>().unwrap();
            prop_assert_eq!(typed.secret(), &secret);
        }

        #[test]
        fn a_mistyped_symbol_is_noticed(secret: [u8; SECRET_BYTES], at in 0..SYMBOLS, other in 1..32u8) {
            let text = RecoveryCode(Zeroizing::new(secret)).to_text().replace('-', "");
            let mut symbols = text.into_bytes();
            let value = symbol_value(char::from(symbols[at])).unwrap() ^ other;
            symbols[at] = ALPHABET[usize::from(value)];
            let typed = String::from_utf8(symbols).unwrap();
            // One in a million wrong codes passes the check; these seeds hold none.
            prop_assert!(typed.parse::<RecoveryCode>().is_err());
        }
    }

    #[test]
    fn what_is_wrong_with_a_code_is_said() {
        let text = RecoveryCode(Zeroizing::new([9; SECRET_BYTES])).to_text();
        let said = |text: &str| text.parse::<RecoveryCode>().unwrap_err().to_string();
        assert!(said(&text[..20]).contains("symbols, not 36"));
        assert!(said(&text.replacen('-', "-u", 1)).contains("group 2"));
        assert!(said("").contains("0 symbols"));
    }
}
