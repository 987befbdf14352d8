//! Index: which chunk lies where. Sealed segments are the truth; SQLite is a cache of them.

pub(crate) mod bloom;
pub(crate) mod builder;
pub(crate) mod cache;
pub(crate) mod file;
pub(crate) mod filter;
pub(crate) mod layout;
pub(crate) mod sealing;
pub(crate) mod segment;
