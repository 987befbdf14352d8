//! Ctrl-C: once ends a backup cleanly, twice at once; the next run goes on in both cases.

#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{World, copy};

#[test]
fn one_interrupt_commits_and_exits_130_and_the_next_run_completes() {
    let world = World::with_store(10);
    copy(&world.path("store"), &world.path("peace"));
    let mut child = start(&world);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_for_a_page(&mut lines);
    signal(&child, "INT");
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let code = child.wait().unwrap().code();
    let summary: Value = serde_json::from_str(rest.last().expect("a summary")).unwrap();
    assert_eq!(code, Some(130), "{summary}");
    assert_eq!(summary["outcome"], "interrupted");
    assert_eq!(summary["exit_code"], 130);

    world.run(&["check", "--all-data"]).assert(0);
    let rerun = world.run(&["backup", "--json"]).assert(0).summary();
    assert_eq!(rerun["outcome"], "complete");
    let contents = world.contents();
    world.configure("peace", "users = \"all\"");
    world.run(&["backup", "-q"]).assert(0);
    assert_eq!(contents, world.contents(), "as if nobody had interrupted");
}

#[test]
fn a_second_interrupt_exits_at_once_and_harms_nothing() {
    let world = World::with_store(11);
    let mut child = start(&world);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    wait_for_a_page(&mut lines);
    signal(&child, "INT");
    signal(&child, "TERM");
    drop(lines);
    let code = child.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 1)), "{code:?}");
    world.run(&["backup", "-q"]).assert(0);
    world.run(&["check", "--all-data"]).assert(0);
}

#[test]
fn a_command_that_only_reads_ends_at_the_first_interrupt() {
    let world = World::with_store(12);
    // The passphrase command keeps it waiting until it is interrupted.
    let mut command = crate::support::bare(&["check", "--passphrase-command", "sleep 30"]);
    let mut child = command
        .arg("--store")
        .arg(world.path("store"))
        .spawn()
        .unwrap();
    let started = std::time::Duration::from_millis(300);
    #[allow(clippy::disallowed_methods, reason = "the process runs in real time")]
    std::thread::sleep(started);
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

fn start(world: &World) -> Child {
    world
        .command(&["backup", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn wait_for_a_page(lines: &mut impl Iterator<Item = std::io::Result<String>>) {
    let committed = |line: &std::io::Result<String>| {
        line.as_ref()
            .is_ok_and(|line| line.contains("page_committed"))
    };
    assert!(
        lines.any(|line| committed(&line)),
        "the backup commits at least one page"
    );
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
}
