//! Mutants: rules of the store that a test can switch off, to show that a harness notices.
//!
//! Without the feature `fault-injection` no rule can be switched off.

#[cfg(feature = "fault-injection")]
use std::cell::Cell;

#[cfg_attr(
    not(feature = "fault-injection"),
    allow(unreachable_pub, reason = "public with the feature")
)]
/// Names one rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mutant {
    /// A page is called durable though its spool was not synced.
    SyncLeftOut,
    /// A snapshot set is put before the packs and segments that it refers to.
    SlotBeforePacks,
    /// A spool file is deleted before the segment that names its pack is acknowledged.
    SpoolDeletedEarly,
    /// The last frame of a crashed spool is kept without being opened.
    TornTailAccepted,
    /// A spool file is handed over to the backend before it was synced.
    HandedOverUnsynced,
    /// A salt is drawn without regard to what it will seal.
    SaltIgnoresMessage,
    /// The nonce of a message is made from its place alone.
    NonceIgnoresMessage,
}

#[cfg(feature = "fault-injection")]
impl Mutant {
    /// Those that show when a nonce is watched.
    pub const OF_NONCES: [Self; 2] = [Self::SaltIgnoresMessage, Self::NonceIgnoresMessage];
    /// Those that a crash brings to light.
    pub const ALL: [Self; 5] = [
        Self::SyncLeftOut,
        Self::SlotBeforePacks,
        Self::SpoolDeletedEarly,
        Self::TornTailAccepted,
        Self::HandedOverUnsynced,
    ];

    /// Breaks this rule on the calling thread until the answer is dropped.
    pub fn activate(self) -> ActiveMutant {
        ActiveMutant(ACTIVE.replace(Some(self)))
    }
}

/// Keeps a rule broken until it is dropped.
#[cfg(feature = "fault-injection")]
#[derive(Debug)]
#[must_use]
pub struct ActiveMutant(Option<Mutant>);

#[cfg(feature = "fault-injection")]
impl Drop for ActiveMutant {
    fn drop(&mut self) {
        ACTIVE.set(self.0);
    }
}

#[cfg(feature = "fault-injection")]
thread_local! {
    static ACTIVE: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Tells whether a rule is broken here and now.
#[cfg(feature = "fault-injection")]
pub(crate) fn mutated(mutant: Mutant) -> bool {
    ACTIVE.get() == Some(mutant)
}

/// Tells that no rule is broken.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn mutated(_mutant: Mutant) -> bool {
    false
}
