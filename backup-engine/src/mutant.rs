//! Mutants: rules of the page commit that a test can switch off, to show that a harness notices.
//!
//! Without the feature `fault-injection` no rule can be switched off.

#[cfg(feature = "fault-injection")]
use std::cell::Cell;

#[cfg_attr(
    not(feature = "fault-injection"),
    allow(unreachable_pub, reason = "public with the feature")
)]
/// Names one rule that is broken on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Mutant {
    /// The cursor of a page is journalled before the content of the page is durable.
    CursorBeforeContent,
    /// What could not be stored is known to the journal alone.
    QuarantineOutsideSnapshot,
    /// The change key is read after the content, not before.
    LaterChangeKey,
    /// The cursors of journalled pages are kept whatever snapshot they build on.
    MixedBase,
    /// What an enumeration did not show is deleted unread.
    DeletionByAbsence,
    /// The last of several items of a page is left out.
    ItemDropped,
}

#[cfg(feature = "fault-injection")]
impl Mutant {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::CursorBeforeContent,
        Self::QuarantineOutsideSnapshot,
        Self::LaterChangeKey,
        Self::MixedBase,
        Self::DeletionByAbsence,
        Self::ItemDropped,
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
