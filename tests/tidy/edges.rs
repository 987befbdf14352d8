//! Edges between crates: the dependency table of ARCHITECTURE.md as data, compared with what cargo knows.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;

use crate::tree::{assert_none, root};

/// For each package the packages of ours that its library may depend on.
const TABLE: &[(&str, &[&str])] = &[
    ("m365-auth", &[]),
    ("backup-store", &[]),
    ("m365-graph", &["m365-auth"]),
    ("m365-ews", &["m365-auth"]),
    (
        "backup-engine",
        &["m365-auth", "m365-graph", "m365-ews", "backup-store"],
    ),
    (
        "restore-engine",
        &["m365-auth", "m365-graph", "m365-ews", "backup-store"],
    ),
    (
        "m365-backup",
        &[
            "m365-auth",
            "m365-graph",
            "m365-ews",
            "backup-store",
            "backup-engine",
            "restore-engine",
            "m365-simulator",
        ],
    ),
    ("m365-simulator", &[]),
    (
        "m365-fuzz",
        &[
            "m365-auth",
            "m365-graph",
            "m365-ews",
            "backup-store",
            "backup-engine",
            "restore-engine",
        ],
    ),
];

/// Third-party packages that only some crates may know, with the reason.
const FENCED: &[(&str, &[&str], &str)] = &[
    ("reqwest", &["m365-auth"], "the network has one door"),
    ("oauth2", &["m365-auth"], "tokens have one source"),
    (
        "clap",
        &["m365-backup", "m365-simulator"],
        "only programs know a command line",
    ),
    (
        "indicatif",
        &["m365-backup"],
        "only the cli knows a terminal",
    ),
    ("toml", &["m365-backup"], "only the cli reads config files"),
    (
        "tracing-subscriber",
        &["m365-backup"],
        "a library never installs a subscriber",
    ),
    (
        "aes-gcm",
        &["backup-store", "m365-auth"],
        "the store seals, and the token file",
    ),
    (
        "quick-xml",
        &["m365-ews", "m365-simulator", "m365-auth"],
        "only EWS speaks XML, and recordings scrub it",
    ),
    ("axum", &[], "the simulator routes by itself"),
    ("ring", &[], "one TLS provider"),
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .expect("cargo metadata runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo prints JSON");
    metadata["packages"].as_array().expect("packages").clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    package["dependencies"].as_array().into_iter().flatten()
}

#[test]
fn crates_depend_only_downwards_as_the_table_says() {
    let ours: BTreeSet<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    let packages = packages();
    let found: BTreeSet<&str> = packages
        .iter()
        .map(|package| text(package, "name"))
        .collect();
    assert_eq!(
        found, ours,
        "the workspace has exactly the packages of the table"
    );
    let mut complaints = Vec::new();
    for package in &packages {
        let name = text(package, "name");
        let allowed = TABLE
            .iter()
            .find(|(known, _)| *known == name)
            .expect("in the table")
            .1;
        for dependency in dependencies(package) {
            let on = text(dependency, "name");
            let for_tests = text(dependency, "kind") == "dev";
            if ours.contains(on) && !for_tests && !allowed.contains(&on) {
                complaints.push(format!("{name} depends on {on}"));
            }
            if ours.contains(on) && for_tests && text(dependency, "req") != "*" {
                complaints.push(format!("{name}: dev-dependency {on} must be path-only"));
            }
        }
    }
    assert_none("edge outside the dependency table", &complaints);
}

#[test]
fn optional_edges_stay_optional() {
    let packages = packages();
    for (name, on) in [
        ("backup-engine", "m365-ews"),
        ("restore-engine", "m365-ews"),
        ("m365-backup", "m365-simulator"),
    ] {
        let package = packages
            .iter()
            .find(|package| text(package, "name") == name)
            .expect(name);
        for dependency in dependencies(package) {
            if text(dependency, "name") == on && text(dependency, "kind") != "dev" {
                assert_eq!(
                    dependency["optional"],
                    Value::Bool(true),
                    "{name} -> {on} is behind a feature"
                );
            }
        }
    }
}

#[test]
fn third_party_crates_stay_in_their_place() {
    let mut complaints = Vec::new();
    for package in &packages() {
        for dependency in dependencies(package) {
            if text(dependency, "kind") == "dev" {
                continue;
            }
            for (fenced, allowed, reason) in FENCED {
                if text(dependency, "name") == *fenced && !allowed.contains(&text(package, "name"))
                {
                    complaints.push(format!("{} uses {fenced}: {reason}", text(package, "name")));
                }
            }
        }
    }
    assert_none("third-party crate outside its place", &complaints);
}
