//! Index: which chunk lies where. Sealed segments are the truth; SQLite is a cache of them.

pub(crate) mod builder;
pub(crate) mod cache;
pub(crate) mod file;
pub(crate) mod filter;
#[cfg(test)]
mod laws;
pub(crate) mod layout;
pub(crate) mod merge;
pub(crate) mod object;
pub(crate) mod parts;
pub(crate) mod sealing;
pub(crate) mod segment;
pub(crate) mod side_by_side;
