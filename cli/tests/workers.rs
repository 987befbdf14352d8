//! Two workers, one PostgreSQL, one store: kill either, cut their connections, pause one past its
//! claim, at any moment: the set completes, nothing twice, nothing lost.
//!
//! A few moments are ordinary tests; many of them, from any seed on:
//! `M365_BACKUP_MOMENTS=200 M365_BACKUP_SEED=1 cargo test -p m365-backup --test cli moments -- --nocapture`

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use m365_simulator::TenantSpec;
use serde_json::Value;

use crate::postgres::{Postgres, pause};
use crate::support::{Said, World, copy};

/// What is done to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    Nothing,
    /// It is killed, and another one finishes.
    Kill,
    /// Both are killed; one is started again.
    KillBoth,
    /// Every connection to the database is cut.
    Cut,
    /// It is stopped for longer than its claims last, then goes on.
    Pause,
}

const HARMS: [Harm; 5] = [
    Harm::Nothing,
    Harm::Cut,
    Harm::Pause,
    Harm::Kill,
    Harm::KillBoth,
];
/// Short, so that what a dead worker held is soon another's.
const CLAIM: Duration = Duration::from_secs(2);
/// So long that no machine is too busy to keep it.
const LONG_CLAIM: Duration = Duration::from_secs(300);

impl Harm {
    /// Tells whether every worker keeps what it has claimed.
    fn keeps_claims(self) -> bool {
        matches!(self, Self::Nothing | Self::Cut)
    }
}

fn world(server: &Postgres) -> World {
    let world = World::of(TenantSpec {
        seed: 77,
        users: 5,
        messages_per_user: 24,
        files_per_user: 4,
        logical_bytes: 2 << 20,
        ..TenantSpec::default()
    });
    fs::write(world.path("database"), server.address() + "\n").unwrap();
    world
}

fn configure(world: &World, store: &str, claim: Duration) {
    let coordinator = format!(
        "users = \"all\"\n\n[coordinator]\npostgres = {{ file = 'database' }}\nclaim-seconds = {}",
        claim.as_secs()
    );
    world.configure(store, &coordinator);
}

/// A worker, and what it says.
struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    said: Vec<String>,
}

impl Worker {
    fn start(world: &World) -> Self {
        let mut child = world
            .command(&["worker", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = Vec::new();
        Self { child, lines, said }
    }

    /// Hears so many lines, or all that there are.
    fn hear(&mut self, count: usize) {
        let heard = self.lines.by_ref().take(count).map(Result::unwrap);
        self.said.extend(heard);
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(sent.success());
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end, and returns its summary.
    #[track_caller]
    fn finish(mut self) -> Value {
        self.hear(usize::MAX);
        let mut output = self.child.wait_with_output().unwrap();
        output.stdout = self.said.join("\n").into_bytes();
        Said::of(&output).assert(0).summary()
    }
}

fn mime_requests(world: &World) -> u64 {
    let counters = world.tenant().counters();
    let mime = counters
        .routes()
        .filter(|(route, _)| route.ends_with("/$value"));
    mime.map(|(_, count)| count).sum()
}

/// Backs up alone and in peace: the contents, the messages, the lines of progress.
fn in_peace(world: &World) -> (Vec<Value>, u64, usize) {
    world.configure("empty", "users = \"all\"");
    world.run(&["init"]).assert(0);
    copy(&world.path("empty"), &world.path("peace"));
    world.configure("peace", "users = \"all\"");
    let before = mime_requests(world);
    let said = world.run(&["backup", "--json"]).assert(0);
    let messages = mime_requests(world) - before;
    (world.contents(), messages, said.out.lines().count())
}

/// Runs two workers on a fresh store, with one harm at one moment; returns the messages fetched.
fn moment(world: &World, server: &Postgres, harm: Harm, random: &mut fastrand::Rng, lines: usize) {
    let mut first = Worker::start(world);
    let second = Worker::start(world);
    first.hear(random.usize(1..lines));
    pause(Duration::from_micros(random.u64(0..20_000)));
    let runs = match harm {
        Harm::Nothing => vec![first, second],
        Harm::Cut => {
            server.cut();
            vec![first, second]
        }
        Harm::Pause => {
            first.signal("-STOP");
            pause(CLAIM + Duration::from_millis(500));
            first.signal("-CONT");
            vec![first, second]
        }
        Harm::Kill => {
            first.kill();
            vec![second]
        }
        Harm::KillBoth => {
            first.kill();
            second.kill();
            vec![Worker::start(world)]
        }
    };
    let ended: Vec<Value> = runs.into_iter().map(Worker::finish).collect();
    assert!(
        ended.iter().all(|summary| summary["outcome"] == "complete"),
        "{ended:?}"
    );
}

#[test]
fn two_workers_complete_the_set_whatever_is_done_to_them_at_any_moments() {
    let Some(server) = Postgres::start() else {
        return;
    };
    let world = world(&server);
    let (expected, messages, lines) = in_peace(&world);
    let moments = number("M365_BACKUP_MOMENTS").unwrap_or(HARMS.len() as u64);
    let seed = number("M365_BACKUP_SEED").unwrap_or(0);
    let mut again = 0;
    for number in seed..seed + moments {
        let mut random = fastrand::Rng::with_seed(number);
        let harm = HARMS[usize::try_from(number).unwrap() % HARMS.len()];
        let store = format!("store{number}");
        copy(&world.path("empty"), &world.path(&store));
        server.psql("DROP SCHEMA IF EXISTS m365_backup CASCADE");
        let claim = if harm.keeps_claims() {
            LONG_CLAIM
        } else {
            CLAIM
        };
        configure(&world, &store, claim);
        let before = mime_requests(&world);
        // Each worker says about half of what one says alone.
        moment(&world, &server, harm, &mut random, lines / 2);
        let fetched = mime_requests(&world) - before;
        assert!(
            fetched >= messages,
            "{number} {harm:?}: {fetched} of {messages}"
        );
        if harm.keeps_claims() {
            assert_eq!(
                fetched, messages,
                "{number} {harm:?}: something was fetched twice"
            );
        }
        again += fetched - messages;
        assert_eq!(world.contents(), expected, "{number} {harm:?}");
        each_snapshot_is_continued_at_most_once(&world);
        world.run(&["check", "--all-data", "-q"]).assert(0);
        fs::remove_dir_all(world.path(&store)).unwrap();
    }
    println!("{moments} moments, {messages} messages each: complete; {again} fetched again in all");
}

/// A worker that came back must not have put a snapshot beside that of the one that took over:
/// where it did, the newest is still the one that was made last.
fn each_snapshot_is_continued_at_most_once(world: &World) {
    let said = world.run(&["snapshots", "--json", "--latest"]).assert(0);
    let mut resources: Vec<String> = Vec::new();
    for object in said.objects() {
        if object["message_type"] == "snapshot" {
            assert_eq!(object["outcome"], "complete", "{object}");
            resources.push(object["resource"].as_str().unwrap().to_owned());
        }
    }
    let all = resources.len();
    resources.dedup();
    assert_eq!(resources.len(), all);
    assert!(all >= 5, "{all} resources");
}

#[test]
fn workers_of_one_machine_meet_in_a_file_and_take_seats() {
    let world = World::with_store(78);
    let (one, other) = (Worker::start(&world), Worker::start(&world));
    let (one, other) = (one.finish(), other.finish());
    assert_eq!(one["run"], other["run"], "they share a run: {one} {other}");
    let both = one["resources"].as_u64().unwrap() + other["resources"].as_u64().unwrap();
    assert_eq!(both, one["set"]["done"].as_u64().unwrap());
    let alone = World::with_store(78);
    alone.run(&["backup", "-q"]).assert(0);
    assert_eq!(world.contents().len(), alone.contents().len());
    let said = world.run(&["worker"]).assert(0);
    assert!(said.out.contains("the set is done"), "{}", said.out);
}

#[test]
fn a_database_that_is_not_there_is_named_with_the_next_step() {
    let world = World::with_store(79);
    fs::write(
        world.path("database"),
        "host=/nowhere user=nobody password=hunter2\n",
    )
    .unwrap();
    configure(&world, "store", CLAIM);
    let text = fs::read_to_string(world.path("set.toml")).unwrap();
    let text = text.replace("claim-seconds", "patience-seconds = 1\nclaim-seconds");
    fs::write(world.path("set.toml"), text).unwrap();
    let said = world.run(&["worker"]).assert(1);
    assert!(said.err.contains("coordinator"), "{}", said.err);
    assert!(said.err.contains("next:"), "{}", said.err);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
}

#[allow(
    clippy::disallowed_methods,
    reason = "how many moments is the developer's to say"
)]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
