//! Ctrl-C: once asks the work to come to a clean end, twice ends the program at once.

use std::io;

use backup_store::StopSignal;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;

/// Starts to listen for Ctrl-C, and for the request to end that the system sends at shutdown.
///
/// With `graceful`, the first one sets the returned signal and the work goes on to its next safe
/// point; otherwise, and for every second one, the program ends at once. That is harmless: what is
/// committed stays, and what is not is fetched again.
pub(crate) fn watch(output: &Output, graceful: bool) -> Result<StopSignal> {
    let mut interrupts = Interrupts::listen()
        .map_err(|error| Failure::new(Exit::Failed, "cannot listen for Ctrl-C").because(&error))?;
    let stop = StopSignal::new();
    let (output, signal) = (output.clone(), stop.clone());
    tokio::spawn(async move {
        while interrupts.next().await {
            if !graceful || signal.is_requested() {
                // The bars are only a picture; that they cannot be wiped changes nothing.
                let _ = output.bars().clear();
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            signal.request();
            output.warn("stopping after the present page; press Ctrl-C again to stop at once");
        }
    });
    Ok(stop)
}

#[cfg(unix)]
struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Interrupts {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one; `false` when none can come any more.
    async fn next(&mut self) -> bool {
        tokio::select! {
            next = self.interrupt.recv() => next.is_some(),
            next = self.terminate.recv() => next.is_some(),
        }
    }
}

#[cfg(not(unix))]
struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> bool {
        tokio::signal::ctrl_c().await.is_ok()
    }
}
