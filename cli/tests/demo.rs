//! The demo, small: its last line is what scripts rely on, and what it names to try next works.

#![cfg(feature = "demo")]

use serde_json::Value;

use crate::support::{Said, run_bare};

#[test]
fn the_demo_ends_with_a_line_for_scripts_and_its_store_can_be_looked_into() {
    let said = run_bare(&["demo", "--json", "--users", "3", "--seed", "5"]).assert(0);
    let summary = said.summary();
    for key in ["items", "logical_bytes", "stored_bytes", "restored_items"] {
        assert!(summary[key].as_u64().unwrap() > 0, "{key} in {summary}");
    }
    assert_eq!(summary["users"], 3);
    assert_eq!(summary["mismatches"], 0);
    for key in ["requests", "seconds"] {
        assert!(summary["first"][key].is_number() && summary["incremental"][key].is_number());
    }
    for key in ["changed_items", "feeds"] {
        assert!(summary["incremental"][key].as_u64().unwrap() > 0, "{key}");
    }
    let idle = |key: &str| summary["idle"][key].as_u64().unwrap();
    assert!(idle("requests") <= idle("feeds") + 2 * idle("resources") + 5);
    assert_eq!((idle("content_bytes"), idle("new_packs")), (0, 0));
    if cfg!(target_os = "linux") {
        assert!(summary["peak_rss_bytes"].as_u64().unwrap() < 512 << 20);
    }
    try_next(&summary);
}

fn try_next(summary: &Value) {
    let commands: Vec<&str> = summary["try_next"]
        .as_array()
        .unwrap()
        .iter()
        .map(|text| text.as_str().unwrap())
        .collect();
    assert_eq!(commands.len(), 3);
    for command in commands {
        if cfg!(unix) {
            let output = std::process::Command::new("sh")
                .args(["-c", command])
                .output()
                .unwrap();
            let said = Said::of(&output).assert(0);
            assert!(said.out.lines().count() >= 1, "{command} printed nothing");
        }
    }
    let folder = std::path::Path::new(summary["store"].as_str().unwrap())
        .parent()
        .unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_demo_refuses_to_mix_with_what_is_there() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("mine"), "precious").unwrap();
    run_bare(&["demo", "--keep", folder.path().to_str().unwrap()]).assert(2);
    assert_eq!(
        std::fs::read_to_string(folder.path().join("mine")).unwrap(),
        "precious"
    );
}
