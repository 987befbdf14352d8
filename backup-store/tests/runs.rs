//! Run records: whoever looks for the newest reads no others, however many there are.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use backup_store::backend::CountingBackend;
use backup_store::catalog::{Findings, Outcome, RunRecord, Totals};
use backup_store::{Backend, Environment, Error, RunId, Store, StoreOptions, Timestamp};
use common::World;

/// A clock that stands where it was put.
#[derive(Debug)]
struct At(i64);

impl Environment for At {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0)
    }

    fn fill(&self, bytes: &mut [u8]) -> Result<(), Error> {
        backup_store::SystemEnvironment.fill(bytes)
    }
}

fn record(hour: i64) -> RunRecord {
    let at = 1_790_000_000_000 + hour * 3_600_000;
    RunRecord {
        run: RunId::begin(&At(at)).unwrap(),
        set: "nightly".to_owned(),
        started: Timestamp::from_millis(at),
        finished: Timestamp::from_millis(at + 60_000),
        outcome: Outcome::Complete,
        totals: Totals::default(),
        snapshots: Vec::new(),
        unchanged: Vec::new(),
        failed: Vec::new(),
        drift: None,
        findings: Findings::default(),
    }
}

#[tokio::test]
async fn the_newest_runs_are_read_and_no_others() {
    let world = World::new().await;
    let writer = world.begin().await;
    for hour in [3, 0, 99, 50, 1, 2].into_iter().chain(4..50) {
        writer.put_run(&record(hour)).await.unwrap();
    }
    writer.end().await.unwrap();
    let backend = Arc::new(CountingBackend::new(
        Arc::new(world.memory.clone()) as Arc<dyn Backend>
    ));
    let passphrase = common::passphrase();
    let store = Store::open(backend.clone(), &passphrase, StoreOptions::default());
    let store = store.await.unwrap();
    let before = backend.counts();
    let mut newest = store.newest_runs().await.unwrap();
    let mut hours = Vec::new();
    for _ in 0..3 {
        let run = newest.next().await.unwrap().unwrap();
        hours.push((run.started.as_millis() - 1_790_000_000_000) / 3_600_000);
    }
    let after = backend.counts();
    assert_eq!(hours, [99, 50, 49]);
    assert_eq!(after.get.requests - before.get.requests, 3);
    assert_eq!(after.list.requests - before.list.requests, 1);
    let all = store.runs().await.unwrap();
    assert_eq!(all.len(), 52);
    assert!(all.is_sorted_by_key(|run| run.started));
}
