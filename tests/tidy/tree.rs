//! The files of the workspace, read once: what the other checks look at.

use std::fs;
use std::path::{Path, PathBuf};

/// One text file of the workspace.
pub(crate) struct SourceFile {
    /// Path relative to the workspace root, with forward slashes.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Folders that hold no source of ours.
const LEFT_OUT: &[&str] = &["target", ".git", "node_modules"];

/// Returns the workspace root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the workspace")
        .to_path_buf()
}

/// Reads every file below the root whose name ends with one of `endings`, in the order of its path.
pub(crate) fn files(endings: &[&str]) -> Vec<SourceFile> {
    let mut found = Vec::new();
    for path in paths(&root()) {
        let name = relative(&path);
        if endings.iter().any(|ending| name.ends_with(ending)) {
            let text = fs::read_to_string(&path)
                .unwrap_or_else(|cause| panic!("{name} is not readable text: {cause}"));
            found.push(SourceFile { path: name, text });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Returns every path of a file below `folder`.
pub(crate) fn paths(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("folder is readable") {
            let path = entry.expect("entry is readable").path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && !LEFT_OUT.contains(&name.as_str()) {
                open.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found
}

/// Renders `path` relative to the root, with forward slashes.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .to_string_lossy()
        .replace('\\', "/")
}

/// Fails with every complaint at once, so that one run tells all there is to mend.
pub(crate) fn assert_none(rule: &str, complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "{rule}:\n  {}",
        complaints.join("\n  ")
    );
}
