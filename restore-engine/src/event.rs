//! Events: what a user interface may want to show while a restore runs.

use std::fmt;
use std::time::Duration;

use crate::conflict::SkipReason;
use crate::report::RestoreReport;

/// Says what just happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The restore begins.
    Started {
        /// Items that will be written.
        items: u64,
        /// Bytes that will be written.
        bytes: u64,
    },
    /// A container is there and its items follow.
    ContainerReady {
        /// Its path at the destination.
        path: &'a str,
        /// Whether it was created now.
        created: bool,
    },
    /// An item was written.
    ItemWritten {
        /// Its container's path.
        path: &'a str,
        /// Subject or file name.
        name: &'a str,
        /// Bytes of content.
        bytes: u64,
    },
    /// An item was left alone.
    ItemSkipped {
        /// Its container's path.
        path: &'a str,
        /// Subject or file name.
        name: &'a str,
        /// Why.
        reason: SkipReason,
    },
    /// An item could not be written.
    ItemFailed {
        /// Its container's path.
        path: &'a str,
        /// Subject or file name.
        name: &'a str,
        /// Why.
        cause: &'a str,
    },
    /// An item reads back different from what is stored.
    ItemDiffers {
        /// Its container's path.
        path: &'a str,
        /// Subject or file name.
        name: &'a str,
        /// The fields that differ.
        fields: &'a [String],
    },
    /// An item was written and could not be read back.
    ItemUnread {
        /// Its container's path.
        path: &'a str,
        /// Subject or file name.
        name: &'a str,
        /// Why.
        cause: &'a str,
    },
    /// The service asked to wait, or failed; nothing is sent for so long.
    Paused {
        /// How long.
        wait: Duration,
    },
    /// The restore has ended.
    Finished {
        /// What it did.
        report: &'a RestoreReport,
    },
}

/// Hears what happens; called often, so it returns at once.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Takes note of `event`.
    fn event(&self, event: &Event<'_>);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
#[allow(clippy::exhaustive_structs, reason = "it has no fields")]
pub struct NoObserver;

impl Observer for NoObserver {
    fn event(&self, _: &Event<'_>) {}
}
