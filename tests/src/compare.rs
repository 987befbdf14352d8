//! Compare: what was restored against what it came from, field by field.

mod drive;
mod mail;

pub use drive::drive;
pub use mail::mailbox;

/// Holds what a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comparison {
    /// How many items of the source were looked for and compared.
    pub compared: u64,
    /// One line for each difference, naming the item and the field.
    pub mismatches: Vec<String>,
}

impl Comparison {
    /// Tells whether something was compared and nothing differs.
    pub fn holds(&self) -> bool {
        self.compared > 0 && self.mismatches.is_empty()
    }
}
