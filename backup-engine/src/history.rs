//! History: the runs of a set, each whole, from the records that its workers wrote.

use std::collections::BTreeMap;

use backup_store::RunId;
use backup_store::catalog::{Outcome, RunRecord};

/// Brings the records of workers that shared a run together: one record for each run, by start.
///
/// *Shape*: a run has ended when one of its workers saw its end; what a worker that was killed did
/// of it is in no record, only in the snapshots. A run was checked when every worker that did
/// something checked what it did.
pub fn merge_runs(records: impl IntoIterator<Item = RunRecord>) -> Vec<RunRecord> {
    let mut runs: BTreeMap<RunId, RunRecord> = BTreeMap::new();
    for record in records {
        match runs.remove(&record.run) {
            None => runs.insert(record.run, record),
            Some(before) => runs.insert(record.run, merge(before, record)),
        };
    }
    let mut runs: Vec<RunRecord> = runs.into_values().collect();
    runs.sort_by_key(|run| (run.started, run.run));
    runs
}

fn merge(mut whole: RunRecord, part: RunRecord) -> RunRecord {
    whole.drift = match (worked(&whole), worked(&part)) {
        (_, false) => whole.drift,
        (false, true) => part.drift,
        (true, true) => whole.drift.zip(part.drift).map(|(mut sum, drift)| {
            sum.add(&drift);
            sum
        }),
    };
    whole.started = whole.started.min(part.started);
    whole.finished = whole.finished.max(part.finished);
    whole.outcome = both(whole.outcome, part.outcome);
    whole.totals.add(&part.totals);
    whole.snapshots.extend(part.snapshots);
    whole.unchanged.extend(part.unchanged);
    whole.failed.extend(part.failed);
    whole.findings.part |= part.findings.part;
    whole.findings.gaps.extend(part.findings.gaps);
    whole.findings.alarms.extend(part.findings.alarms);
    whole
}

fn worked(part: &RunRecord) -> bool {
    !(part.snapshots.is_empty() && part.unchanged.is_empty() && part.failed.is_empty())
}

/// A worker that stopped early left its work to the others; else the worse of two counts.
fn both(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Checkpoint, outcome) | (outcome, Outcome::Checkpoint) => outcome,
        (Outcome::Partial, _) | (_, Outcome::Partial) => Outcome::Partial,
        (Outcome::CompleteWithQuarantine, _) | (_, Outcome::CompleteWithQuarantine) => {
            Outcome::CompleteWithQuarantine
        }
        _ => Outcome::Complete,
    }
}

#[cfg(test)]
mod tests {
    use backup_store::catalog::{Drift, Findings, ResourceId, Totals};
    use backup_store::{SnapshotId, Timestamp};

    use super::*;

    fn record(run: u8, at: i64, outcome: Outcome, work: u8) -> RunRecord {
        RunRecord {
            run: RunId::from_bytes([run; 16]),
            set: "set".to_owned(),
            started: Timestamp::from_millis(at),
            finished: Timestamp::from_millis(at + 10),
            outcome,
            totals: Totals {
                seen: u64::from(work),
                stored: u64::from(work),
                ..Totals::default()
            },
            snapshots: (0..work).map(|n| SnapshotId::from_bytes([n; 16])).collect(),
            unchanged: Vec::new(),
            failed: Vec::<(ResourceId, String)>::new(),
            drift: None,
            findings: Findings::default(),
        }
    }

    #[test]
    fn parts_of_a_run_become_one_and_other_runs_stay() {
        let parts = [
            record(2, 50, Outcome::Complete, 1),
            record(1, 5, Outcome::Checkpoint, 2),
            record(1, 3, Outcome::CompleteWithQuarantine, 3),
        ];
        let runs = merge_runs(parts);
        assert_eq!(runs.len(), 2);
        let first = &runs[0];
        assert_eq!(first.outcome, Outcome::CompleteWithQuarantine);
        assert_eq!(first.started, Timestamp::from_millis(3));
        assert_eq!(first.finished, Timestamp::from_millis(15));
        assert_eq!(first.totals.seen, 5);
        assert!(first.totals.check());
        assert_eq!(first.snapshots.len(), 5);
    }

    #[test]
    fn a_run_is_checked_when_all_who_worked_have_checked() {
        let checked = |work| RunRecord {
            drift: Some(Drift {
                listed: 7,
                ..Drift::default()
            }),
            ..record(1, 0, Outcome::Complete, work)
        };
        let unchecked = |work| record(1, 0, Outcome::Complete, work);
        let drift = |parts: [RunRecord; 2]| merge_runs(parts)[0].drift.map(|drift| drift.listed);
        assert_eq!(drift([checked(1), checked(1)]), Some(14));
        assert_eq!(drift([checked(1), unchecked(1)]), None);
        assert_eq!(drift([checked(1), unchecked(0)]), Some(7), "it did nothing");
        assert_eq!(drift([unchecked(0), checked(1)]), Some(7));
    }
}
