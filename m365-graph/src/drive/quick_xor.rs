//! quickXorHash: the hash that SharePoint and OneDrive for Business give for every file.
//!
//! *Source*: the OneDrive API documentation's description of the algorithm (2024-10).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Computes a quickXorHash of bytes given piece by piece.
///
/// *Shape*: byte i is combined, at bit 11·i modulo 160, into a register of 160 bits; the length
/// goes into the last 8 of its 20 bytes. It detects damage, not forgery.
#[derive(Clone)]
pub struct QuickXorHash {
    // Bytes whose place in the register is the same are combined first: lane i modulo 160.
    lanes: [u8; LANES],
    lane: usize,
    length: u64,
}

impl QuickXorHash {
    /// Begins with no bytes.
    pub fn new() -> Self {
        Self {
            lanes: [0; LANES],
            lane: 0,
            length: 0,
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        let begin = self.lane;
        self.lane = (begin + bytes.len() % LANES) % LANES;
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if begin > 0 {
            let (first, rest) = bytes.split_at(bytes.len().min(LANES - begin));
            xor(&mut self.lanes[begin..], first);
            bytes = rest;
        }
        for piece in bytes.chunks(LANES) {
            xor(&mut self.lanes, piece);
        }
    }

    /// Returns the hash in base64, as the service gives it.
    pub fn finish_base64(&self) -> String {
        let mut register = [0u8; BYTES];
        for (lane, byte) in self.lanes.iter().enumerate() {
            let bit = lane * SHIFT % (BYTES * 8);
            let (index, shift) = (bit / 8, bit % 8);
            let [low, high] = (u16::from(*byte) << shift).to_le_bytes();
            register[index] ^= low;
            register[(index + 1) % BYTES] ^= high;
        }
        for (byte, length) in register[BYTES - 8..]
            .iter_mut()
            .zip(self.length.to_le_bytes())
        {
            *byte ^= length;
        }
        STANDARD.encode(register)
    }
}

fn xor(lanes: &mut [u8], bytes: &[u8]) {
    for (lane, byte) in lanes.iter_mut().zip(bytes) {
        *lane ^= byte;
    }
}

impl Default for QuickXorHash {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for QuickXorHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuickXorHash({} bytes)", self.length)
    }
}

/// The length of the register, in bytes.
const BYTES: usize = 20;
/// How far the place of each byte is from that of the one before, in bits.
const SHIFT: usize = 11;
/// After so many bytes the places repeat, as 11 and 160 have no common divisor.
const LANES: usize = 160;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::QuickXorHash;

    fn check(bytes: &[u8], expected: &str) {
        let mut hash = QuickXorHash::new();
        hash.update(bytes);
        assert_eq!(hash.finish_base64(), expected);
    }

    #[test]
    fn published_values_are_met() {
        check(b"", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        check(&[0x4A], "SgAAAAAAAAAAAAAAAQAAAAAAAAA=");
        check(&[0xB5, 0xB4], "taAFAAAAAAAAAAAAAgAAAAAAAAA=");
        check(&[0xD2, 0x96, 0x4F], "0rDEEwAAAAAAAAAAAwAAAAAAAAA=");
        let pattern: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        check(&pattern, "HdE6CZEtWr3VHJPlFJtbLXBwV0c=");
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            bytes in prop::collection::vec(any::<u8>(), 0..1_000), cuts: Vec<u8>
        ) {
            let mut whole = QuickXorHash::new();
            whole.update(&bytes);
            let mut pieces = QuickXorHash::new();
            let mut rest = bytes.as_slice();
            for cut in cuts {
                let (first, later) = rest.split_at(rest.len().min(usize::from(cut)));
                pieces.update(first);
                rest = later;
            }
            pieces.update(rest);
            prop_assert_eq!(whole.finish_base64(), pieces.finish_base64());
        }

        #[test]
        fn one_changed_bit_is_seen(
            mut bytes in prop::collection::vec(any::<u8>(), 1..500),
            at: prop::sample::Index,
            bit in 0u8..8
        ) {
            let mut before = QuickXorHash::new();
            before.update(&bytes);
            let index = at.index(bytes.len());
            bytes[index] ^= 1 << bit;
            let mut after = QuickXorHash::new();
            after.update(&bytes);
            prop_assert_ne!(before.finish_base64(), after.finish_base64());
        }
    }
}
