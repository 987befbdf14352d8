//! The layout of records: little-endian numbers, varints, length-prefixed bytes.
//!
//! Decoding is total: it never panics, allocates no more than the input is long, accepts one
//! encoding per value, and refuses what is left over.

use crate::{Error, Result};

/// Appends values to a record.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Makes room for what is about to come.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Seven bits a byte, lowest first; the high bit says that another byte follows.
    pub(crate) fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.bytes.push(value.to_le_bytes()[0]);
    }

    /// A signed number, small absolute values short: 0, -1, 1, -2, …
    pub(crate) fn signed(&mut self, value: i64) {
        self.varint(((value << 1) ^ (value >> 63)) as u64);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.byte(u8::from(flag));
    }

    pub(crate) fn option<T>(&mut self, value: Option<T>, encode: impl FnOnce(&mut Self, T)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            encode(self, value);
        }
    }

    pub(crate) fn list<T>(&mut self, values: &[T], mut encode: impl FnMut(&mut Self, &T)) {
        self.varint(values.len() as u64);
        for value in values {
            encode(self, value);
        }
    }
}

/// Takes values from a record, in the order in which they were appended.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Starts at the beginning of `bytes`; `what` names the record in errors.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(crate) fn what(&self) -> &'static str {
        self.what
    }

    /// Builds the error for a record that breaks a rule.
    pub(crate) fn malformed(&self, cause: &str) -> Error {
        Error::damaged(self.what, cause)
    }

    /// Ends decoding; bytes left over are an error.
    pub(crate) fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("has bytes after its end"))
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn raw(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.malformed("ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// Returns everything that is left, and leaves nothing.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.raw(N)?);
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn varint(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(self.malformed("holds a number over 64 bits"));
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                if byte == 0 && shift > 0 {
                    return Err(self.malformed("holds a number written too long"));
                }
                return Ok(value);
            }
        }
        Err(self.malformed("holds a number over 64 bits"))
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.malformed("holds a number over 32 bits"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A count of values that take at least `each` bytes: never more than the input can hold.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize> {
        let count = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        if count > self.rest.len() / each.max(1) {
            return Err(self.malformed("counts more than it holds"));
        }
        Ok(count)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let count = self.count(1)?;
        self.raw(count)
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        let bytes = self.bytes()?;
        let text = std::str::from_utf8(bytes);
        Ok(text
            .map_err(|_| self.malformed("holds text that is not UTF-8"))?
            .to_owned())
    }

    pub(crate) fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.malformed("holds a flag that is neither 0 nor 1")),
        }
    }

    pub(crate) fn option<T>(
        &mut self,
        decode: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        Ok(if self.flag()? {
            Some(decode(self)?)
        } else {
            None
        })
    }

    /// A list of values that take at least `each` bytes.
    pub(crate) fn list<T>(
        &mut self,
        each: usize,
        mut decode: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.count(each)?;
        // Grows as values decode: one byte of input must not reserve a large value each.
        let mut list = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            list.push(decode(self)?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn number_written_too_long_is_refused() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0xff, 0x80, 0x00],
            &[0xff; 10],
            &[0x80; 11],
        ] {
            assert!(Decoder::new("number", bytes).varint().is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn count_over_the_input_is_refused_before_allocating() {
        let mut encoder = Encoder::new();
        encoder.varint(u64::MAX);
        let bytes = encoder.finish();
        let list = Decoder::new("list", &bytes).list(1, |decoder| decoder.byte());
        assert!(list.is_err());
    }

    proptest! {
        #[test]
        fn numbers_round_trip(unsigned: u64, signed: i64) {
            let mut encoder = Encoder::new();
            encoder.varint(unsigned);
            encoder.signed(signed);
            let bytes = encoder.finish();
            let mut decoder = Decoder::new("numbers", &bytes);
            prop_assert_eq!(decoder.varint().unwrap(), unsigned);
            prop_assert_eq!(decoder.signed().unwrap(), signed);
            decoder.finish().unwrap();
        }

        #[test]
        fn accepted_number_has_one_encoding(bytes in prop::collection::vec(any::<u8>(), 1..12)) {
            let mut decoder = Decoder::new("number", &bytes);
            if let Ok(value) = decoder.varint() {
                let taken = bytes.len() - decoder.rest().len();
                let mut encoder = Encoder::new();
                encoder.varint(value);
                prop_assert_eq!(encoder.finish(), &bytes[..taken]);
            }
        }
    }
}
