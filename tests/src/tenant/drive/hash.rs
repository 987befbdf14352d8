//! quickXorHash, the content hash that OneDrive for Business gives for every file.
//!
//! Byte `i` is XORed into a 160-bit register at bit `11 * i mod 160`. That position repeats every
//! 160 bytes, so the bytes are first folded into a row of 160 bytes, word by word, and only the
//! folded row is spread over the register.

const ROW: usize = 160;

/// Computes quickXorHash over bytes given in pieces.
#[derive(Debug, Clone)]
pub struct QuickXor {
    row: [u8; ROW],
    at: usize,
    length: u64,
}

impl QuickXor {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self {
            row: [0; ROW],
            at: 0,
            length: 0,
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        self.length = self.length.wrapping_add(piece.len() as u64);
        if self.at != 0 {
            let take = piece.len().min(ROW - self.at);
            let (head, rest) = piece.split_at(take);
            xor(&mut self.row[self.at..self.at + take], head);
            self.at = (self.at + take) % ROW;
            piece = rest;
        }
        let (rows, tail) = piece.as_chunks::<ROW>();
        for row in rows {
            xor(&mut self.row, row);
        }
        xor(&mut self.row[..tail.len()], tail);
        if self.at == 0 {
            self.at = tail.len();
        }
    }

    /// Returns the 20 bytes of the hash.
    pub fn finish(&self) -> [u8; 20] {
        let mut hash = [0u8; 20];
        for (index, byte) in self.row.iter().enumerate() {
            let bit = index * 11 % 160;
            let spread = u16::from(*byte) << (bit % 8);
            let [low, high] = spread.to_le_bytes();
            hash[bit / 8] ^= low;
            hash[(bit / 8 + 1) % 20] ^= high;
        }
        for (place, byte) in hash[12..].iter_mut().zip(self.length.to_le_bytes()) {
            *place ^= byte;
        }
        hash
    }
}

impl Default for QuickXor {
    fn default() -> Self {
        Self::new()
    }
}

fn xor(into: &mut [u8], from: &[u8]) {
    let (into_words, into_tail) = into.as_chunks_mut::<8>();
    let (from_words, from_tail) = from.as_chunks::<8>();
    for (a, b) in into_words.iter_mut().zip(from_words) {
        *a = (u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b)).to_ne_bytes();
    }
    for (a, b) in into_tail.iter_mut().zip(from_tail) {
        *a ^= b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use proptest::prelude::*;

    fn text(bytes: &[u8]) -> String {
        let mut hash = QuickXor::new();
        hash.update(bytes);
        base64::engine::general_purpose::STANDARD.encode(hash.finish())
    }

    fn by_definition(bytes: &[u8]) -> [u8; 20] {
        let mut bits = [false; 160];
        for (index, byte) in bytes.iter().enumerate() {
            for bit in 0..8 {
                bits[(index * 11 + bit) % 160] ^= byte >> bit & 1 == 1;
            }
        }
        let mut hash = [0u8; 20];
        for (index, bit) in bits.iter().enumerate() {
            hash[index / 8] |= u8::from(*bit) << (index % 8);
        }
        for (place, byte) in hash[12..]
            .iter_mut()
            .zip((bytes.len() as u64).to_le_bytes())
        {
            *place ^= byte;
        }
        hash
    }

    #[test]
    fn the_published_vectors_hold() {
        assert_eq!(text(b""), "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        assert_eq!(text(&[0x4a]), "SgAAAAAAAAAAAAAAAQAAAAAAAAA=");
        assert_eq!(text(&[0xb5, 0xb4]), "taAFAAAAAAAAAAAAAgAAAAAAAAA=");
        assert_eq!(text(&[0xd2, 0x96, 0x4f]), "0rDEEwAAAAAAAAAAAwAAAAAAAAA=");
    }

    proptest! {
        #[test]
        fn folding_equals_the_definition_however_the_bytes_are_cut(
            bytes in prop::collection::vec(any::<u8>(), 0..1500),
            cuts in prop::collection::vec(0usize..1500, 0..5),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let mut hash = QuickXor::new();
            for pair in cuts.windows(2) {
                hash.update(&bytes[pair[0]..pair[1]]);
            }
            prop_assert_eq!(hash.finish(), by_definition(&bytes));
        }
    }
}
