#![doc = include_str!("../README.md")]

pub mod error;
pub mod events;
pub mod options;
pub mod report;
pub mod selection;

pub use error::{Error, ErrorKind, Result};
pub use events::{Event, Observer, Silent};
pub use options::{BackupOptions, RetryLimits};
pub use selection::{Selection, Users};
