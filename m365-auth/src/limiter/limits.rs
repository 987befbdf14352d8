//! Limits: what nodes may hold, as data; the clients of the services own the numbers.

use std::time::Duration;

/// Names what a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Requests.
    Requests,
    /// What the service bills, such as resource units.
    Units,
    /// Bytes over the line, in both directions.
    Bytes,
    /// Bytes that go to the service.
    SentBytes,
    /// Bytes that come from the service.
    ReceivedBytes,
}

/// Holds the limits of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    pub(super) concurrency: Option<u32>,
    /// What each window counts, its limit on each rung (one where it is known), its period.
    pub(super) windows: Vec<(Unit, Vec<u64>, Duration)>,
}

impl Limits {
    /// Limits nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Sets how many requests may be under way at once.
    #[must_use]
    pub fn with_concurrency(mut self, requests: u32) -> Self {
        self.concurrency = Some(requests);
        self
    }

    /// Adds a window: at most `amount` of `unit` in any span of `period`.
    #[must_use]
    pub fn with_window(mut self, unit: Unit, amount: u64, period: Duration) -> Self {
        self.windows.push((unit, vec![amount], period));
        self
    }

    /// Adds a window whose amount is one of `rungs`, which grow; which one is found out.
    ///
    /// *Shape*: all windows of a node with rungs stand on the same one. The lowest is where it
    /// begins; an answer that names the limit sets the rung, and so does use without a word: a
    /// service that speaks of its limit from 80 % on and keeps silent has a higher one.
    #[must_use]
    pub fn with_rungs(
        mut self,
        unit: Unit,
        rungs: impl IntoIterator<Item = u64>,
        period: Duration,
    ) -> Self {
        let mut rungs: Vec<u64> = rungs.into_iter().collect();
        rungs.sort_unstable();
        if !rungs.is_empty() {
            self.windows.push((unit, rungs, period));
        }
        self
    }
}

/// Says which limits the nodes have, by their names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitTable {
    rules: Vec<(Vec<String>, Limits)>,
}

impl LimitTable {
    /// Limits nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives limits to the nodes whose path fits `pattern`, in which `*` stands for any one name.
    ///
    /// Where several patterns fit, the one added last decides.
    #[must_use]
    pub fn with<N: Into<String>>(
        mut self,
        pattern: impl IntoIterator<Item = N>,
        limits: Limits,
    ) -> Self {
        let pattern = pattern.into_iter().map(Into::into).collect();
        self.rules.push((pattern, limits));
        self
    }

    pub(super) fn limits_of(&self, path: &[String]) -> Limits {
        let fits = |pattern: &Vec<String>| {
            let mut pairs = pattern.iter().zip(path);
            pattern.len() == path.len()
                && pairs.all(|(wanted, name)| wanted == "*" || wanted == name)
        };
        let rule = self.rules.iter().rev().find(|(pattern, _)| fits(pattern));
        rule.map(|(_, limits)| limits.clone()).unwrap_or_default()
    }
}
