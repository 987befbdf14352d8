//! Noise: tells by a sample that a compressor would not make a block shorter, without asking it.

/// Shortest block that is sampled: a smaller one is compressed almost as fast.
const LEAST: usize = 128 * 1024;
/// Windows that are looked at, and the bytes in each.
const WINDOWS: usize = 16;
const WINDOW: usize = 2048;
/// The most that the squares of the counts of a window may add up to: a tenth above what is expected
/// of noise, which a compressor of single bytes would make shorter by 1 %.
const LIMIT: usize = {
    let expected = WINDOW + WINDOW * (WINDOW - 1) / 256;
    expected + expected / 10
};

/// Tells whether every window of a block looks like noise, as what is compressed or encrypted does.
///
/// What repeats only over long distances looks like noise as well: it is then stored as it is.
pub(crate) fn is_noise(bytes: &[u8]) -> bool {
    if bytes.len() < LEAST {
        return false;
    }
    let step = (bytes.len() - WINDOW) / (WINDOWS - 1);
    (0..WINDOWS).all(|number| is_flat(&bytes[number * step..][..WINDOW]))
}

/// Tells whether all bytes are about equally frequent.
fn is_flat(window: &[u8]) -> bool {
    let mut counts = [0usize; 256];
    for byte in window {
        counts[usize::from(*byte)] += 1;
    }
    counts.iter().map(|count| count * count).sum::<usize>() <= LIMIT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(length: usize, seed: u8) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let mut stream = blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof();
        stream.fill(&mut bytes);
        bytes
    }

    #[test]
    fn noise_is_told_from_everything_that_compresses() {
        for seed in 0..50 {
            assert!(is_noise(&noise(LEAST + usize::from(seed) * 4_321, seed)));
        }
        let text: Vec<u8> = b"the quick brown fox ".repeat(20_000);
        let base64: Vec<u8> = noise(400_000, 1)
            .iter()
            .map(|byte| b'0' + byte % 64)
            .collect();
        let zeros = vec![0; 400_000];
        let counter: Vec<u8> = (0u32..100_000).flat_map(u32::to_le_bytes).collect();
        for bytes in [text, base64, zeros, counter] {
            assert!(!is_noise(&bytes));
        }
    }

    #[test]
    fn a_stretch_of_text_within_noise_is_found_wherever_it_is() {
        let length = 1 << 20;
        let text = b"<p>words and words</p>".repeat(length / 15 / 22 + 200);
        for at in (0..length - text.len()).step_by(9_973) {
            let mut bytes = noise(length, 7);
            bytes[at..at + text.len()].copy_from_slice(&text);
            assert!(!is_noise(&bytes), "at {at}");
        }
    }

    #[test]
    fn short_blocks_are_left_to_the_compressor() {
        assert!(!is_noise(&noise(LEAST - 1, 3)));
        assert!(!is_noise(&[]));
    }
}
