//! Environment: the only place where this crate meets the wall clock and random bytes.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// Supplies the wall clock and random bytes.
///
/// The operating system in production, a fixed epoch and a seeded generator in simulation.
/// Monotonic time and sleep are `tokio::time`, which a test can pause.
pub trait Environment: fmt::Debug + Send + Sync {
    /// Returns the present wall-clock time.
    fn now(&self) -> Timestamp;

    /// Fills `bytes` with random bytes that an attacker cannot predict.
    ///
    /// *Errors*: [`ErrorKind::Environment`] when the source of randomness is not available.
    fn fill(&self, bytes: &mut [u8]) -> Result<()>;
}

/// Takes time and randomness from the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnvironment;

impl Environment for SystemEnvironment {
    #[allow(clippy::disallowed_methods, reason = "this is the seam")]
    fn now(&self) -> Timestamp {
        let now = SystemTime::now();
        let millis = match now.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
            }
        };
        Timestamp::from_millis(millis)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes).map_err(|cause| {
            Error::new(ErrorKind::Environment, "the system gave no random bytes").with_source(cause)
        })
    }
}
