//! The lower bound: the least time in which anybody could have read the tenant, by the limits of the
//! service and the latency of its answers, every mandatory request included.

use std::time::Duration;

use crate::shape::{Shape, WELL_KNOWN};

/// What nobody can change.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Physics {
    /// From a request to its answer.
    pub(crate) latency: Duration,
    /// Requests to one mailbox at once, and in ten minutes.
    pub(crate) at_once: u32,
    pub(crate) in_ten_minutes: u64,
    /// Messages, and users, in one page.
    pub(crate) page: u64,
    /// Bytes of content that the line brings in a second.
    pub(crate) line: f64,
}

/// Where the time goes at least.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) largest_mailbox: Duration,
    pub(crate) line: Duration,
    /// Requests that cannot be left out.
    pub(crate) requests: u64,
}

impl Bound {
    pub(crate) fn time(&self) -> Duration {
        self.largest_mailbox.max(self.line)
    }

    pub(crate) fn cause(&self) -> &'static str {
        if self.line > self.largest_mailbox {
            "the line"
        } else {
            "the largest mailbox"
        }
    }
}

/// Computes the bound of a first backup through MIME. `bytes` are those of all content.
pub(crate) fn first_backup(shape: &Shape, physics: &Physics, bytes: u64) -> Bound {
    let users = shape.mailboxes.len() as u64;
    // A token, then pages of users; the first mailbox can begin after the first page.
    let user_pages = users.div_ceil(physics.page).max(1);
    let before = physics.latency * 2;
    let mut requests = 1 + user_pages;
    let mut largest = Duration::ZERO;
    for mailbox in &shape.mailboxes {
        let pages: u64 = mailbox
            .folders
            .iter()
            .map(|messages| messages.div_ceil(physics.page).max(1))
            .sum();
        let messages: u64 = mailbox.folders.iter().sum();
        // Its settings, its folders one after the other; then names of folders, pages, messages.
        let parallel = WELL_KNOWN + pages + messages;
        requests += 2 + parallel;
        let rounds = parallel.div_ceil(u64::from(physics.at_once));
        let by_latency = physics.latency * u32::try_from(rounds).unwrap_or(u32::MAX);
        let windows = (2 + parallel).saturating_sub(1) / physics.in_ten_minutes;
        let by_window = Duration::from_secs(600 * windows);
        largest = largest.max(physics.latency * 2 + by_latency.max(by_window));
    }
    let line = Duration::from_secs_f64(bytes as f64 / physics.line);
    Bound {
        largest_mailbox: before + largest,
        line: before + line,
        requests,
    }
}
