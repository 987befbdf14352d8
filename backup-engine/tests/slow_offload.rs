//! Calls under way hold locks of the store while their work runs elsewhere: a commit that waits for
//! such a lock must keep them going.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backup_engine::ResourceOutcome;
use backup_store::{Job, Offload};
use support::service::{Layout, MemorySource};
use support::world::World;

/// Runs each job on this thread, but only after everybody else had a turn.
#[derive(Debug)]
struct SlowOffload;

#[async_trait]
impl Offload for SlowOffload {
    async fn run(&self, job: Job) {
        let late = async {
            tokio::time::sleep(Duration::from_millis(5)).await;
            job();
        };
        tokio::spawn(late).await.unwrap();
    }
}

/// Bytes that no compression makes smaller.
fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[tokio::test(start_paused = true)]
async fn a_commit_never_waits_for_a_call_that_nobody_polls() {
    let source = MemorySource::new(Layout::Mailbox, 8);
    source.with(|state| {
        for folder in 0..4_u32 {
            state.add_container(&folder.to_string(), "folder");
            for item in 0..=folder * 2 {
                // Blocks of their own: more of them than are sealed at one time.
                let content = noise(folder * 100 + item + 1, 300 * 1024);
                state.put(&format!("{folder}-{item}"), &folder.to_string(), &content);
            }
        }
    });
    let mut world = World::with_offload(&source, Arc::new(SlowOffload)).await;
    world.options.requests_per_resource = 4;
    // On paused time a run that stands still for ever is one that an hour ends at once.
    let run = tokio::time::timeout(Duration::from_secs(3600), world.backup());
    let report = run.await.expect("the run stands still");
    assert_eq!(report.resources[0].outcome, ResourceOutcome::Complete);
    assert_eq!(report.resources[0].totals.stored, 16);
}
