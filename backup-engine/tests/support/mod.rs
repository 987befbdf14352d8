//! A service in memory, as a [`Source`]: a mailbox of folders, or a drive, with cursors that
//! expire, items that move and are corrupt, and calls that fail.

#![allow(dead_code, reason = "each test target uses a part")]

pub(crate) mod service;
pub(crate) mod world;
