//! Environment: the only place where this crate meets the wall clock and random bytes.

use std::fmt;
use std::time::SystemTime;

use crate::error::{Error, ErrorKind, Result};

/// Supplies the wall clock and random bytes.
///
/// The operating system in production, a fixed epoch and a seeded generator in simulation.
/// Monotonic time and sleep are `tokio::time`, which a test can pause.
pub trait Environment: fmt::Debug + Send + Sync {
    /// Returns the present wall-clock time.
    fn now(&self) -> SystemTime;

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
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<()> {
        getrandom::fill(bytes).map_err(|cause| {
            Error::new(ErrorKind::Environment, "the system gave no random bytes").with_source(cause)
        })
    }
}
