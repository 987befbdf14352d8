//! Index: which chunk lies where. Sealed segments are the truth; SQLite is a cache of them.

pub(crate) mod cache;
pub(crate) mod filter;
pub(crate) mod segment;
