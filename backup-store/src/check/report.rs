//! What a check reports.

use std::collections::HashMap;
use std::fmt;

use crate::catalog::{ItemKey, ResourceId};
use crate::{Error, SnapshotId};

/// Problems that are listed; the rest are counted.
const PROBLEMS_MAX: usize = 1_000;
/// Dependents of one problem that are listed; the rest are counted.
const DEPENDENTS_MAX: usize = 20;

/// Says how much a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckDepth {
    /// Segments, snapshots and trees; chunks are looked up, not read.
    Structure,
    /// Every byte.
    AllData,
}

/// Says what a check is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckPhase {
    /// Reading the index.
    Segments,
    /// Following what snapshots refer to.
    Snapshots,
    /// Reading what no snapshot has led to.
    Packs,
}

/// Tells how far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckProgress {
    /// What it is doing.
    pub phase: CheckPhase,
    /// Objects of this phase that are done.
    pub done: u64,
    /// Objects of this phase, where that is known.
    pub total: Option<u64>,
    /// Items checked so far.
    pub items: u64,
    /// Bytes of contents checked so far.
    pub bytes: u64,
    /// Problems found so far.
    pub problems: u64,
}

/// Names something that depends on a damaged object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependent {
    /// The resource; absent where the snapshot itself cannot be read.
    pub resource: ResourceId,
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The item, where one alone is concerned.
    pub item: Option<ItemKey>,
    /// The name of the item or container.
    pub name: Option<String>,
}

/// Describes one thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The object, as in `pack 1f…` or `chunk 02…`.
    pub object: String,
    /// What is wrong with it.
    pub cause: String,
    /// What depends on it; empty if nothing that is known.
    pub dependents: Vec<Dependent>,
    /// How many more depend on it.
    pub more_dependents: u64,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.object, self.cause)
    }
}

/// Reports what a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Snapshots that were checked.
    pub snapshots: u64,
    /// Item records that were checked; one that several snapshots share counts once.
    pub items: u64,
    /// Chunks that were looked up or read.
    pub chunks: u64,
    /// Bytes of the contents that were looked up or read.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// How many more things are wrong.
    pub more_problems: u64,
}

impl CheckReport {
    /// Tells whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.more_problems == 0
    }
}

/// Refers to a problem that was found.
pub(super) type ProblemNumber = usize;

/// Collects what a check finds; one problem per object.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) report: CheckReport,
    numbers: HashMap<String, ProblemNumber>,
}

impl Findings {
    /// Notes a problem; the first cause given for an object stands.
    pub(super) fn note(
        &mut self,
        object: impl fmt::Display,
        cause: impl fmt::Display,
    ) -> Option<ProblemNumber> {
        let object = object.to_string();
        if let Some(number) = self.numbers.get(&object) {
            return Some(*number);
        }
        let problems = &mut self.report.problems;
        if problems.len() == PROBLEMS_MAX {
            self.report.more_problems += 1;
            return None;
        }
        let number = problems.len();
        self.numbers.insert(object.clone(), number);
        problems.push(Problem {
            object,
            cause: cause.to_string(),
            dependents: Vec::new(),
            more_dependents: 0,
        });
        Some(number)
    }

    /// Adds what depends on a problem.
    pub(super) fn depends(&mut self, number: ProblemNumber, dependent: Dependent) {
        let Some(problem) = self.report.problems.get_mut(number) else {
            return;
        };
        if problem.dependents.contains(&dependent) {
            return;
        }
        if problem.dependents.len() < DEPENDENTS_MAX {
            problem.dependents.push(dependent);
        } else {
            problem.more_dependents += 1;
        }
    }

    pub(super) fn progress(
        &self,
        phase: CheckPhase,
        done: u64,
        total: Option<u64>,
    ) -> CheckProgress {
        let CheckReport {
            items,
            bytes,
            more_problems,
            ..
        } = self.report;
        let problems = self.report.problems.len() as u64 + more_problems;
        CheckProgress {
            phase,
            done,
            total,
            items,
            bytes,
            problems,
        }
    }

    pub(super) fn finish(self) -> CheckReport {
        self.report
    }
}

/// Writes an error with its chain of causes.
pub(super) fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
