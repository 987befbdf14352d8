//! Nonces: in tests, watches whether one key and nonce ever seal two different messages.
//!
//! Without the feature `fault-injection` nothing is watched.

#[cfg(feature = "fault-injection")]
use std::cell::RefCell;
#[cfg(feature = "fault-injection")]
use std::collections::HashMap;

#[cfg(feature = "fault-injection")]
type Digest = [u8; 32];

/// Counts what was sealed while a watch was on.
#[cfg(feature = "fault-injection")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NonceCounts {
    /// Messages sealed.
    pub sealed: u64,
    /// Messages sealed again exactly as before: same key, nonce, associated data and content.
    pub repeated: u64,
    /// Messages sealed under the key and nonce of a different one: each is a broken promise.
    pub reused: u64,
}

#[cfg(feature = "fault-injection")]
#[derive(Default)]
struct Seen {
    messages: HashMap<Digest, Digest>,
    counts: NonceCounts,
}

#[cfg(feature = "fault-injection")]
thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// Watches every message that is sealed on the calling thread, until it is dropped.
#[cfg(feature = "fault-injection")]
#[derive(Debug)]
#[must_use]
pub struct NonceWatch(());

#[cfg(feature = "fault-injection")]
impl NonceWatch {
    /// Begins to watch; forgets what an earlier watch saw.
    pub fn begin() -> Self {
        SEEN.set(Some(Seen::default()));
        Self(())
    }

    /// Returns what was seen so far.
    pub fn counts(&self) -> NonceCounts {
        SEEN.with_borrow(|seen| seen.as_ref().map(|seen| seen.counts).unwrap_or_default())
    }
}

#[cfg(feature = "fault-injection")]
impl Drop for NonceWatch {
    fn drop(&mut self) {
        SEEN.set(None);
    }
}

/// Notes a message that is about to be sealed. `key` may be any value that stands for the key.
#[cfg(feature = "fault-injection")]
pub(crate) fn observe(key: &[u8], nonce: &[u8], associated: &[u8], plain: &[&[u8]]) {
    SEEN.with_borrow_mut(|seen| {
        let Some(seen) = seen.as_mut() else { return };
        let mut place = blake3::Hasher::new();
        place.update(key);
        place.update(nonce);
        let mut message = blake3::Hasher::new();
        message.update(&(associated.len() as u64).to_le_bytes());
        message.update(associated);
        plain.iter().for_each(|part| {
            message.update(part);
        });
        let message = message.finalize().into();
        let known = seen.messages.insert(place.finalize().into(), message);
        seen.counts.sealed += 1;
        match known {
            Some(known) if known == message => seen.counts.repeated += 1,
            Some(_) => seen.counts.reused += 1,
            None => {}
        }
    });
}

/// Notes nothing.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn observe(_key: &[u8], _nonce: &[u8], _associated: &[u8], _plain: &[&[u8]]) {}

#[cfg(all(test, feature = "fault-injection"))]
mod tests {
    use super::*;

    #[test]
    fn a_second_message_under_one_key_and_nonce_is_told_from_the_same_one_again() {
        observe(b"key", b"nonce", b"", &[b"unseen"]);
        let watch = NonceWatch::begin();
        observe(b"key", b"nonce", b"a", &[b"b"]);
        observe(b"key", b"nonce", b"a", &[b"b"]);
        observe(b"key", b"other", b"a", &[b"c"]);
        let fine = watch.counts();
        assert_eq!((fine.sealed, fine.repeated, fine.reused), (3, 1, 0));
        observe(b"key", b"nonce", b"", &[b"ab"]);
        assert_eq!(watch.counts().reused, 1);
    }
}
