//! Fixtures: recorded exchanges and fuzz seeds hold no secret and name no real host; every fuzz target has seeds.

use std::fs;
use std::path::PathBuf;

use crate::tree::{assert_none, files, paths, relative, root};

fn fixture_paths() -> Vec<PathBuf> {
    paths(&root())
        .into_iter()
        .filter(|path| {
            let name = relative(path);
            name.contains("/fixtures/") || name.contains("fuzz/corpus/") || name.ends_with(".http")
        })
        .collect()
}

/// Tells whether `text` holds something shaped like a signed token: three dotted base64url parts, the first `eyJ…`.
fn holds_token_shape(text: &str) -> bool {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)))
        .any(|word| {
            let parts: Vec<&str> = word.split('.').collect();
            parts.len() == 3
                && parts[0].starts_with("eyJ")
                && parts.iter().all(|part| part.len() > 20)
        })
}

#[test]
fn fixtures_hold_no_secret() {
    let mut complaints = Vec::new();
    for path in fixture_paths() {
        let bytes = fs::read(&path).expect("fixture is readable");
        let text = String::from_utf8_lossy(&bytes);
        if holds_token_shape(&text) {
            complaints.push(format!("{} holds a signed token", relative(&path)));
        }
        if text.contains("PRIVATE KEY-----") {
            complaints.push(format!("{} holds a private key", relative(&path)));
        }
        if text.contains("onmicrosoft.com") && !text.contains("contoso.onmicrosoft.com") {
            complaints.push(format!(
                "{} names a tenant that is not a sample",
                relative(&path)
            ));
        }
    }
    assert_none("fixture with a secret", &complaints);
}

#[test]
fn sources_hold_no_private_key() {
    let complaints: Vec<String> = files(&[".rs", ".md", ".toml", ".json"])
        .iter()
        .filter(|file| !file.path.starts_with("tests/tidy/"))
        .filter(|file| file.text.contains("PRIVATE KEY-----\n") || holds_token_shape(&file.text))
        .map(|file| file.path.clone())
        .collect();
    assert_none("source with a secret", &complaints);
}

#[test]
fn the_token_shape_is_recognised() {
    let part = "abcdefghijklmnopqrstuvwxyz";
    assert!(holds_token_shape(&format!("x eyJ{part}.{part}.{part} y")));
    assert!(!holds_token_shape("eyJ is how a header begins"));
}

#[test]
fn every_fuzz_target_has_seeds() {
    let targets = root().join("fuzz/fuzz_targets");
    let mut complaints = Vec::new();
    let mut count = 0;
    for path in paths(&targets)
        .iter()
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
    {
        count += 1;
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let seeds = root().join("fuzz/corpus").join(&name);
        if !seeds.is_dir() || paths(&seeds).is_empty() {
            complaints.push(format!("fuzz target {name} has no seeds"));
        }
    }
    assert!(count > 0, "there are fuzz targets");
    assert_none("fuzz target without seeds", &complaints);
}
