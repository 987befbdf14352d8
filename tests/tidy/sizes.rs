//! Sizes: files, functions, lines and tracked blobs stay small enough to be read.

use std::fs;

use crate::tree::{assert_none, files, paths, relative, root};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 100;
const LINE_CHARS_MAX: usize = 120;
const BLOB_BYTES_MAX: u64 = 1024 * 1024;

#[test]
fn files_and_lines_are_short() {
    let mut complaints = Vec::new();
    let mut lengths = Vec::new();
    for file in files(&[".rs"]) {
        let lines = file.text.lines().count();
        lengths.push(lines);
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{} has {lines} lines", file.path));
        }
        for (number, line) in file.text.lines().enumerate() {
            if line.chars().count() > LINE_CHARS_MAX && !line.contains("http") {
                complaints.push(format!("{}:{} is too long", file.path, number + 1));
            }
        }
    }
    lengths.sort_unstable();
    let at = |share: usize| lengths[(lengths.len() - 1) * share / 100];
    println!(
        "{} files: median {}, p90 {}, longest {} lines",
        lengths.len(),
        at(50),
        at(90),
        at(100)
    );
    assert_none("file or line too long", &complaints);
}

#[test]
fn functions_are_short() {
    let mut complaints = Vec::new();
    for file in files(&[".rs"]) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let trimmed = line.trim_start();
            let is_function = [
                "fn ",
                "pub fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "async fn ",
            ]
            .iter()
            .any(|opening| trimmed.starts_with(opening))
                || (trimmed.starts_with("pub") && trimmed.contains("async fn "));
            if !is_function || trimmed.ends_with(';') || trimmed.ends_with('}') {
                continue;
            }
            // rustfmt puts the closing brace of a function at the indentation of its first line.
            let end = format!("{}}}", &line[..line.len() - trimmed.len()]);
            let length = lines[start..]
                .iter()
                .position(|line| *line == end)
                .unwrap_or(0);
            if length > FUNCTION_LINES_MAX {
                complaints.push(format!("{}:{} has {length} lines", file.path, start + 1));
            }
        }
    }
    assert_none("function too long", &complaints);
}

#[test]
fn every_source_file_says_what_it_is_for_and_is_part_of_its_crate() {
    let sources = files(&[".rs"]);
    let mut complaints = Vec::new();
    for file in &sources {
        let opening = file
            .text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        if !opening.starts_with("//!")
            && !opening.starts_with("#![doc")
            && !opening.starts_with("#![no_main]")
        {
            complaints.push(format!("{} does not open with what it is for", file.path));
        }
        let Some((folder, name)) = file.path.rsplit_once('/') else {
            continue;
        };
        let stem = name.trim_end_matches(".rs");
        if !folder.contains("/src") || ["lib", "main"].contains(&stem) {
            continue;
        }
        let declaration = [format!("mod {stem};"), format!("mod {stem} {{")];
        let parent = [
            format!("{folder}.rs"),
            format!("{folder}/lib.rs"),
            format!("{folder}/main.rs"),
        ];
        let declared = sources
            .iter()
            .filter(|candidate| parent.contains(&candidate.path))
            .any(|candidate| {
                declaration
                    .iter()
                    .any(|words| candidate.text.contains(words))
            });
        if !declared {
            complaints.push(format!(
                "{} is not reachable from its crate root",
                file.path
            ));
        }
    }
    assert_none("source file without purpose or parent", &complaints);
}

#[test]
fn no_file_is_a_blob() {
    let mut complaints = Vec::new();
    for path in paths(&root()) {
        let bytes = fs::metadata(&path).expect("file is there").len();
        if bytes > BLOB_BYTES_MAX {
            complaints.push(format!("{} has {bytes} bytes", relative(&path)));
        }
    }
    assert_none("file too large to be source", &complaints);
}
