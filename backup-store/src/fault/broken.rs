//! The rule that a test has broken on the calling thread, of whichever crate it is.

use std::any::TypeId;
use std::cell::Cell;

/// A rule: the enum that names it, and its number there.
type Rule = (TypeId, usize);

thread_local! {
    static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
}

/// Breaks rule number `rule` of those that `M` names, on the calling thread, until the answer is
/// dropped; another that was broken there is kept meanwhile.
pub fn break_rule<M: 'static>(rule: usize) -> ActiveMutant {
    ActiveMutant(BROKEN.replace(Some((TypeId::of::<M>(), rule))))
}

/// Tells whether rule number `rule` of those that `M` names is broken here and now.
pub fn is_broken<M: 'static>(rule: usize) -> bool {
    BROKEN.get() == Some((TypeId::of::<M>(), rule))
}

/// Keeps a rule broken until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct ActiveMutant(Option<Rule>);

impl Drop for ActiveMutant {
    fn drop(&mut self) {
        BROKEN.set(self.0);
    }
}
