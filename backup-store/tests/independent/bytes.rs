//! Section 1: how numbers, strings and lists are written.

use super::Answer;

/// Takes values from bytes, in order.
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How far into `whole`, which it began with, the cursor is.
    pub fn position(&self, whole: &[u8]) -> usize {
        whole.len() - self.0.len()
    }

    pub fn end(self) -> Answer<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(format!("{} bytes are left over", self.0.len()))
        }
    }

    pub fn take(&mut self, count: usize) -> Answer<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("bytes end too early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Answer<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Answer<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub fn u32(&mut self) -> Answer<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub fn u64(&mut self) -> Answer<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Takes a byte that must have this value.
    pub fn expect(&mut self, value: u8) -> Answer<()> {
        let found = self.u8()?;
        if found == value {
            Ok(())
        } else {
            Err(format!("byte {found} where {value} should be"))
        }
    }

    pub fn varint(&mut self) -> Answer<u64> {
        let mut value: u128 = 0;
        for position in 0..10 {
            let byte = self.u8()?;
            value |= u128::from(byte & 127) << (7 * position);
            if byte < 128 {
                if byte == 0 && position > 0 {
                    return Err("a varint is longer than need be".to_owned());
                }
                return u64::try_from(value).map_err(|_| "a varint has over 64 bits".to_owned());
            }
        }
        Err("a varint does not end".to_owned())
    }

    pub fn length(&mut self) -> Answer<usize> {
        usize::try_from(self.varint()?).map_err(|_| "a length is too large".to_owned())
    }

    pub fn signed(&mut self) -> Answer<i64> {
        let n = i128::from(self.varint()?);
        let value = if n % 2 == 0 { n / 2 } else { -(n + 1) / 2 };
        i64::try_from(value).map_err(|_| "a number is too large".to_owned())
    }

    pub fn bytes(&mut self) -> Answer<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub fn text(&mut self) -> Answer<String> {
        text(self.bytes()?)
    }

    pub fn flag(&mut self) -> Answer<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(format!("a flag of {other}")),
        }
    }

    pub fn option<T>(&mut self, take: impl FnOnce(&mut Self) -> Answer<T>) -> Answer<Option<T>> {
        Ok(match self.flag()? {
            true => Some(take(self)?),
            false => None,
        })
    }

    pub fn list<T>(&mut self, mut take: impl FnMut(&mut Self) -> Answer<T>) -> Answer<Vec<T>> {
        let mut list = Vec::new();
        for _ in 0..self.length()? {
            list.push(take(self)?);
        }
        Ok(list)
    }
}

pub fn text(bytes: &[u8]) -> Answer<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "text that is not UTF-8".to_owned())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Answer<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).map_err(|_| "not hex".to_owned())?;
        u8::from_str_radix(pair, 16).map_err(|_| "not hex".to_owned())
    });
    pairs.collect()
}

/// Inflates to exactly `length` bytes if `codec` says so.
pub fn inflate(codec: u8, data: &[u8], length: usize) -> Answer<Vec<u8>> {
    let plain = match codec {
        0 => data.to_vec(),
        1 => zstd::bulk::decompress(data, length).map_err(|cause| cause.to_string())?,
        other => return Err(format!("codec {other}")),
    };
    if plain.len() == length {
        Ok(plain)
    } else {
        Err("inflated to another length".to_owned())
    }
}
