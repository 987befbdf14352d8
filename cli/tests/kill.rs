//! `kill -9` of a real backup: whatever the moment, the next run completes, fetches nothing again
//! that was committed, and ends where an uninterrupted run ends.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use crate::support::{World, copy};

const MOMENTS: u64 = 20;

#[test]
fn a_backup_killed_at_any_moment_is_completed_by_the_next_one() {
    let world = World::new(9);
    world.configure("empty", "users = \"all\"");
    world.run(&["init"]).assert(0);
    let (expected, lines, messages) = uninterrupted(&world);
    let mut cut_short = 0;
    for seed in 0..MOMENTS {
        let mut random = fastrand::Rng::with_seed(seed);
        let moment = Moment {
            lines: random.usize(0..lines),
            then: Duration::from_micros(random.u64(0..20_000)),
        };
        let store = format!("store{seed}");
        copy(&world.path("empty"), &world.path(&store));
        world.configure(&store, "users = \"all\"");
        let committed = kill(&world, &moment);
        let before = settled(&world);
        let rerun = world.run(&["backup", "--json"]).assert(0).summary();
        assert_eq!(rerun["outcome"], "complete", "seed {seed}");
        let fetched = mime_requests(&world) - before;
        assert!(
            fetched + committed <= messages,
            "seed {seed}, {moment:?}: {committed} of {messages} messages were committed, and \
             {fetched} fetched again",
        );
        cut_short += u64::from(fetched > 0);
        assert_eq!(world.contents(), expected, "seed {seed}, {moment:?}");
        world.run(&["check", "--all-data", "-q"]).assert(0);
    }
    assert!(
        cut_short >= MOMENTS / 4,
        "most kills came too late to prove anything: {cut_short}"
    );
}

/// When to kill: so long after so many lines of progress.
#[derive(Debug)]
struct Moment {
    lines: usize,
    then: Duration,
}

/// Backs up in peace; returns the contents, the lines of progress and the messages fetched.
fn uninterrupted(world: &World) -> (Vec<Value>, usize, u64) {
    copy(&world.path("empty"), &world.path("peace"));
    world.configure("peace", "users = \"all\"");
    let before = mime_requests(world);
    let said = world.run(&["backup", "--json"]).assert(0);
    let messages = mime_requests(world) - before;
    assert!(messages > 0);
    (world.contents(), said.out.lines().count(), messages)
}

/// Starts a backup and kills it; returns how many messages it had reported as committed.
fn kill(world: &World, moment: &Moment) -> u64 {
    let mut child = world
        .command(&["backup", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut committed = std::collections::BTreeMap::new();
    let mut take = |line: &str| {
        let object: Value = serde_json::from_str(line).unwrap_or_default();
        let resource = object["resource"].as_str().unwrap_or_default();
        if object["message_type"] == "page_committed" && resource.starts_with("outlook:") {
            committed.insert(
                resource.to_owned(),
                object["totals"]["stored"].as_u64().unwrap(),
            );
        }
    };
    for line in lines.by_ref().take(moment.lines) {
        take(&line.unwrap());
    }
    #[allow(
        clippy::disallowed_methods,
        reason = "the process to kill runs in real time"
    )]
    std::thread::sleep(moment.then);
    child.kill().unwrap();
    child.wait().unwrap();
    // What it had written by then, it had said after doing it.
    for line in lines {
        take(&line.unwrap());
    }
    committed.values().sum()
}

/// Counts once what the killed process had still sent has been counted.
#[allow(clippy::disallowed_methods, reason = "the tenant serves in real time")]
fn settled(world: &World) -> u64 {
    let mut count = mime_requests(world);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let later = mime_requests(world);
        if later == count {
            return count;
        }
        count = later;
    }
}

fn mime_requests(world: &World) -> u64 {
    let counters = world.tenant().counters();
    let mime = counters
        .routes()
        .filter(|(route, _)| route.ends_with("/$value"));
    mime.map(|(_, count)| count).sum()
}
