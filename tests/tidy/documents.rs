//! Documents: every crate carries its front page, its changelog and the house lints.

use std::fs;

use crate::tree::{assert_none, files, root};

const CRATES: &[&str] = &[
    "m365-auth",
    "m365-graph",
    "m365-ews",
    "backup-store",
    "backup-engine",
    "restore-engine",
    "cli",
    "tests",
    "fuzz",
];

const TOP: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
    "Cargo.lock",
    "rustfmt.toml",
    "clippy.toml",
    "deny.toml",
    ".ci/run",
];

#[test]
fn every_crate_has_its_documents_and_lints() {
    let root = root();
    let mut complaints = Vec::new();
    for name in TOP {
        if !root.join(name).is_file() {
            complaints.push(format!("{name} is missing"));
        }
    }
    for folder in CRATES {
        let read =
            |name: &str| fs::read_to_string(root.join(folder).join(name)).unwrap_or_default();
        let manifest = read("Cargo.toml");
        let version = manifest
            .lines()
            .find_map(|line| line.strip_prefix("version = \"")?.strip_suffix('"'))
            .unwrap_or("a version of its own");
        if read("README.md").lines().count() < 10 {
            complaints.push(format!("{folder}/README.md says too little"));
        }
        let changelog = read("CHANGELOG.md");
        if !changelog.contains(version) && !changelog.contains("## Unreleased") {
            complaints.push(format!(
                "{folder}/CHANGELOG.md mentions neither {version} nor what is unreleased"
            ));
        }
        for line in [
            "[lints]\nworkspace = true",
            "license.workspace = true",
            "include = [",
        ] {
            if !manifest.contains(line) {
                complaints.push(format!(
                    "{folder}/Cargo.toml lacks `{}`",
                    line.replace('\n', " ")
                ));
            }
        }
    }
    assert_none("document missing", &complaints);
}

#[test]
fn the_front_page_of_every_library_is_compiled() {
    let mut complaints = Vec::new();
    for folder in CRATES.iter().filter(|folder| **folder != "cli") {
        let library =
            fs::read_to_string(root().join(folder).join("src/lib.rs")).unwrap_or_default();
        if !library.contains("#![doc = include_str!(\"../README.md\")]") {
            complaints.push(format!("{folder}/src/lib.rs does not include its README"));
        }
    }
    assert_none("front page not compiled", &complaints);
}

#[test]
fn nothing_names_the_machine_it_was_written_on() {
    let mut complaints = Vec::new();
    for file in files(&[".rs", ".md", ".toml", ".http", ".ci/run", ".sh", ".py"]) {
        for (number, line) in file.text.lines().enumerate() {
            for start in ["/home/", "/Users/", "/root/.", concat!("/wo", "rk/")] {
                if line.contains(start) && !file.path.starts_with("tests/tidy/") {
                    complaints.push(format!("{}:{} names {start}", file.path, number + 1));
                }
            }
        }
    }
    assert_none("path of a machine", &complaints);
}
