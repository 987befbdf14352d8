//! Stop signal: asks running work to end at the next good place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Asks work to stop at the next place where nothing is lost; clones share one signal.
#[derive(Debug, Clone, Default)]
pub struct StopSignal(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    requested: AtomicBool,
    wake: Notify,
}

impl StopSignal {
    /// Creates a signal that has not been given.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the signal; giving it again changes nothing.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::SeqCst);
        self.0.wake.notify_waiters();
    }

    /// Tells whether the signal has been given.
    pub fn is_requested(&self) -> bool {
        self.0.requested.load(Ordering::SeqCst)
    }

    /// Waits until the signal is given.
    ///
    /// *Cancel safety*: may be dropped and called again at any time.
    pub async fn requested(&self) {
        loop {
            let woken = self.0.wake.notified();
            if self.is_requested() {
                return;
            }
            woken.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_clones_hear_the_signal() {
        let signal = StopSignal::new();
        let other = signal.clone();
        assert!(!other.is_requested());
        let (waited, ()) = tokio::join!(other.requested(), async { signal.request() });
        assert_eq!(waited, ());
        other.requested().await;
    }
}
