//! Charges: at which nodes a request counts, and for how much.

use super::Unit;
use super::path::{Key, Path};

/// Says at which nodes a request counts and for how much; attached to a request as an extension.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Charge {
    path: Path,
    requests: u32,
    units: u64,
    bytes: u64,
    sent: u64,
    paused_depth: usize,
    left: u8,
}

impl Charge {
    /// Charges one request at every node from the topmost down to the last one named.
    pub fn at<N: Into<String>>(path: impl IntoIterator<Item = N>) -> Self {
        let path: Path = path.into_iter().map(Into::into).collect();
        Self {
            paused_depth: path.names().len(),
            path,
            requests: 1,
            units: 0,
            bytes: 0,
            left: 0,
            sent: 0,
        }
    }

    /// Sets how many requests the service counts: the parts of a batch, which it also works on side
    /// by side. They take as many places under way, or all that a node has when those are fewer.
    #[must_use]
    pub fn with_requests(mut self, requests: u32) -> Self {
        self.requests = requests.max(1);
        self
    }

    /// Sets what the service bills the request with, in its own units.
    #[must_use]
    pub fn with_units(mut self, units: u64) -> Self {
        self.units = units;
        self
    }

    /// Sets how many bytes are known to go over the line.
    #[must_use]
    pub fn with_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how many of the bytes go to the service; they come on top of those of
    /// [`with_bytes`](Self::with_bytes).
    #[must_use]
    pub fn with_sent_bytes(mut self, bytes: u64) -> Self {
        self.sent = bytes;
        self
    }

    /// Says at which node a refusal of the service pauses: the `depth` topmost names of the path.
    /// Without this, at the last one.
    #[must_use]
    pub fn pausing_at(mut self, depth: usize) -> Self {
        self.paused_depth = depth.min(self.path.names().len());
        self
    }

    /// Sets which share of every budget must stay free for others, in percent; a budget is a window
    /// of a day or more.
    #[must_use]
    pub fn leaving(mut self, percent: u8) -> Self {
        self.left = percent.min(100);
        self
    }

    /// Returns the names of the nodes, from the topmost down.
    pub fn path(&self) -> &[String] {
        self.path.names()
    }

    /// Returns the path of the node that a refusal of the service pauses.
    pub fn paused_path(&self) -> &[String] {
        &self.path.names()[..self.paused_depth]
    }

    /// Returns the keys of the nodes, from the topmost down.
    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = Key> + ExactSizeIterator {
        (0..self.path.names().len()).map(|place| self.path.key(place + 1))
    }

    /// Returns the key of the node that a refusal of the service pauses.
    pub(super) fn paused_key(&self) -> Key {
        self.path.key(self.paused_depth)
    }

    pub(super) fn left(&self) -> u8 {
        self.left
    }

    /// Returns how many names from the top lead to the node that a refusal of the service pauses.
    pub(super) fn paused_depth(&self) -> usize {
        self.paused_depth
    }

    /// Returns how many requests the service counts.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// Returns what a window of that unit is charged with.
    pub fn amount(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Requests => u64::from(self.requests),
            Unit::Units => self.units,
            Unit::Bytes => self.bytes.saturating_add(self.sent),
            Unit::SentBytes => self.sent,
            Unit::ReceivedBytes => self.bytes,
        }
    }
}
