//! Mutants: rules of the page commit that a test can switch off, to show that a harness notices.
//!
//! Without the feature `fault-injection` no rule can be switched off.

#[cfg(feature = "fault-injection")]
use backup_store::fault::{ActiveMutant, break_rule, is_broken};

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
        break_rule::<Self>(self as usize)
    }
}

/// Tells whether a rule is broken here and now.
#[cfg(feature = "fault-injection")]
pub(crate) fn mutated(mutant: Mutant) -> bool {
    is_broken::<Mutant>(mutant as usize)
}

/// Tells that no rule is broken.
#[cfg(not(feature = "fault-injection"))]
pub(crate) const fn mutated(_mutant: Mutant) -> bool {
    false
}
