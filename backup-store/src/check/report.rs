//! What a check reports.

use std::collections::HashMap;
use std::fmt;

use super::share::{SampleReport, Share};
use crate::catalog::{ItemKey, ResourceId};
use crate::{Error, ObjectName, SnapshotId};

/// Problems that are listed; the rest are counted.
const PROBLEMS_MAX: usize = 1_000;
/// Remarks that are listed; the rest are counted.
const REMARKS_MAX: usize = 100;
/// Dependents of one problem that are listed; the rest are counted.
const DEPENDENTS_MAX: usize = 20;

/// Says how much a check reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckDepth {
    /// Segments, snapshots and trees; chunks are looked up, not read.
    Structure,
    /// The structure, and a share of all blocks: some of every pack in turn, those first that
    /// were left alone longest.
    Sample(Share),
    /// The structure, and every block of every pack: opened, inflated, and every chunk in it
    /// named anew.
    AllData,
    /// All data, and then every content as a restore reads it: joined, and compared with the hash
    /// of the whole. Takes about twice as long; it finds mistakes of the program, not of storage.
    Contents,
}

/// Says what a check is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckPhase {
    /// Looking at the names of all objects, and at the small ones.
    Objects,
    /// Reading the index.
    Segments,
    /// Reading blocks.
    Packs,
    /// Following what snapshots refer to.
    Snapshots,
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
    /// Bytes of blocks read so far.
    pub read_bytes: u64,
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

/// Says what is noteworthy about an object, though it is no damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemarkKind {
    /// Its name is not one that a store gives.
    ForeignName,
    /// The backend keeps more than one version of it: something wrote it twice.
    SeveralVersions,
    /// A pack whose chunks are in no readable segment: left by an interrupted writer, or its
    /// segment is lost. Repair puts it into the index.
    NotIndexed,
}

impl RemarkKind {
    /// Returns the remark in words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ForeignName => "not a name of this store",
            Self::SeveralVersions => "the backend keeps more than one version of it",
            Self::NotIndexed => "in no segment of the index",
        }
    }
}

/// Notes something about an object that is no damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The object.
    pub object: ObjectName,
    /// What is noteworthy.
    pub kind: RemarkKind,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "object {}: {}", self.object, self.kind.as_str())
    }
}

/// Counts packs that no snapshot needs: garbage, or the work of a writer that has not published
/// yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unreferenced {
    /// Number of packs.
    pub packs: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

/// Reports what a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Snapshots that were checked.
    pub snapshots: u64,
    /// Item records that were checked; one that several snapshots share counts once.
    pub items: u64,
    /// Chunks that were looked up.
    pub chunks: u64,
    /// Bytes of the contents whose chunks were looked up.
    pub bytes: u64,
    /// Packs that were read from, tables included.
    pub packs: u64,
    /// Blocks that were read.
    pub blocks: u64,
    /// Sealed bytes of those blocks.
    pub read_bytes: u64,
    /// What the sample was, where one was drawn.
    pub sample: Option<SampleReport>,
    /// What no snapshot needs; absent where damage hides what is needed.
    pub unreferenced: Option<Unreferenced>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// How many more things are wrong.
    pub more_problems: u64,
    /// What is noteworthy, though no damage.
    pub remarks: Vec<Remark>,
    /// How many more things are noteworthy.
    pub more_remarks: u64,
}

impl CheckReport {
    /// Tells whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty() && self.more_problems == 0
    }

    /// Tells whether nothing that is wrong concerns a snapshot: what is damaged is not needed, or
    /// lies elsewhere too.
    pub fn harms_nothing(&self) -> bool {
        let harmless = |problem: &Problem| problem.dependents.is_empty();
        self.more_problems == 0 && self.problems.iter().all(harmless)
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

    /// Notes what is no damage.
    pub(super) fn remark(&mut self, object: &ObjectName, kind: RemarkKind) {
        if self.report.remarks.len() == REMARKS_MAX {
            self.report.more_remarks += 1;
            return;
        }
        let object = object.clone();
        self.report.remarks.push(Remark { object, kind });
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
            read_bytes,
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
            read_bytes,
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
