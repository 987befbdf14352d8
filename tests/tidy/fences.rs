//! Fences inside crates: what a module must not name.

use crate::tree::{SourceFile, assert_none, files};

/// Where, what must not appear there, and why.
struct Fence {
    inside: &'static [&'static str],
    except: &'static [&'static str],
    words: &'static [&'static str],
    reason: &'static str,
}

const FENCES: &[Fence] = &[
    Fence {
        inside: &[
            "backup-store/src/backend",
            "backup-store/src/chunker",
            "backup-store/src/seal",
            "backup-store/src/keys",
            "backup-store/src/pack",
            "backup-store/src/content",
            "backup-store/src/index",
            "backup-store/src/tree",
            "backup-store/src/slots",
            "backup-store/src/writer/",
        ],
        except: &[],
        words: &["catalog::"],
        reason: "the byte modules store anything; the catalog stands above them",
    },
    Fence {
        inside: &["backup-store/src/"],
        except: &[],
        words: &[
            "@odata",
            "odata.",
            "$select",
            "graph.microsoft",
            "Bearer ",
            "http::",
        ],
        reason: "the store never knows the service's wire formats",
    },
    Fence {
        inside: &["m365-auth/src/"],
        // Words that may be printed of an address; no meaning is attached to them.
        except: &["m365-auth/src/redact"],
        words: &["mailFolders", "driveItem", "messages/delta"],
        reason: "m365-auth never knows what a mailbox or a drive is",
    },
    Fence {
        inside: &["backup-engine/src/"],
        except: &[],
        words: &["restore_engine", "std::env", "println!", "eprintln!"],
        reason: "the engine knows neither restore nor a terminal nor the environment",
    },
    Fence {
        inside: &["restore-engine/src/"],
        except: &[],
        words: &["backup_engine", "std::env", "println!", "eprintln!"],
        reason: "the engine knows neither backup nor a terminal nor the environment",
    },
    Fence {
        inside: &["tests/src/"],
        except: &[],
        words: &[
            "m365_auth::",
            "m365_graph::",
            "m365_ews::",
            "backup_store::",
            "backup_engine::",
        ],
        reason: "the simulator shares no type with what it tests",
    },
    Fence {
        inside: &["cli/src/"],
        except: &["cli/src/commands/demo"],
        words: &["@odata", "deltaLink", "mailFolders"],
        reason: "the cli never knows protocol details",
    },
];

/// Words that must not stand in code, and what to write.
const BANNED: &[(&str, &str)] = &[
    ("m356", "m365"),
    ("todo!(", "build it, or refuse with an error that says so"),
    (
        "unimplemented!(",
        "build it, or refuse with an error that says so",
    ),
    ("Repository", "store"),
];

/// Returns the code of a file: comment lines left out, and everything from its test module on.
fn code(file: &SourceFile) -> String {
    file.text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn modules_name_only_what_they_may_know() {
    let mut complaints = Vec::new();
    for file in files(&[".rs"]) {
        let code = code(&file);
        for fence in FENCES {
            let inside = fence
                .inside
                .iter()
                .any(|start| file.path.starts_with(start));
            let excepted = fence
                .except
                .iter()
                .any(|start| file.path.starts_with(start));
            if inside && !excepted {
                for word in fence.words.iter().filter(|word| code.contains(**word)) {
                    complaints.push(format!("{} names `{word}`: {}", file.path, fence.reason));
                }
            }
        }
    }
    assert_none("module names what it must not know", &complaints);
}

#[test]
fn every_fence_stands_around_something() {
    let files = files(&[".rs"]);
    for start in FENCES.iter().flat_map(|fence| fence.inside) {
        assert!(
            files.iter().any(|file| file.path.starts_with(start)),
            "nothing lies under {start}"
        );
    }
}

#[test]
fn banned_words_do_not_appear() {
    let mut complaints = Vec::new();
    for file in files(&[".rs"]) {
        if file.path.starts_with("tests/tidy/") {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for (word, instead) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
                complaints.push(format!("{}:{}: `{word}`: {instead}", file.path, number + 1));
            }
            if line.contains("TODO") && !line.contains("TODO(#") {
                complaints.push(format!(
                    "{}:{}: TODO without an issue number",
                    file.path,
                    number + 1
                ));
            }
        }
    }
    assert_none("banned word", &complaints);
}

#[test]
fn only_the_seams_meet_clock_environment_and_randomness() {
    // clippy's disallowed-methods refuses the calls; this test refuses to switch that lint off anywhere else.
    const SEAMS: &[&str] = &[
        "m365-auth/src/environment.rs",
        "backup-store/src/environment.rs",
        "cli/src/",
    ];
    let mut complaints = Vec::new();
    for file in files(&[".rs"]) {
        let is_test = file.path.contains("/tests/") || file.path.starts_with("tests/tidy/");
        let allowed = is_test || SEAMS.iter().any(|seam| file.path.starts_with(seam));
        if !allowed && code(&file).contains("allow(clippy::disallowed_methods") {
            complaints.push(file.path.clone());
        }
    }
    assert_none(
        "disallowed_methods switched off outside the seams",
        &complaints,
    );
}
