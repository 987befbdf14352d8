//! The sealed token file: what it keeps, what it shows, and what it survives.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::Clock;
use m365_auth::{ErrorKind, SealedTokenFile, Secret, TokenStore};

fn file(path: &Path, key: u8) -> SealedTokenFile {
    SealedTokenFile::new(path, [key; 32], Arc::new(m365_auth::SystemEnvironment))
}

#[tokio::test]
async fn what_was_saved_is_there_for_the_next_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let (one, other) = (file(&path, 1), file(&path, 1));
    assert_eq!(one.load("a").await.unwrap(), None);
    one.save("a", &"canary-1".into()).await.unwrap();
    other.save("b", &"canary-2".into()).await.unwrap();
    one.save("a", &"canary-3".into()).await.unwrap();
    assert_eq!(
        other.load("a").await.unwrap(),
        Some(Secret::new("canary-3"))
    );
    other.remove("a").await.unwrap();
    other.remove("a").await.unwrap();
    assert_eq!(one.load("a").await.unwrap(), None);
    assert_eq!(one.load("b").await.unwrap(), Some(Secret::new("canary-2")));
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is left beside the file");
    let bytes = std::fs::read(&path).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[tokio::test]
async fn every_write_has_a_nonce_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    let file = SealedTokenFile::new(&path, [1; 32], Arc::new(Clock::default()));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        file.save("a", &"the same".into()).await.unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert!(seen.insert(bytes[8..20].to_vec()));
    }
}

#[tokio::test]
async fn another_key_and_any_damage_are_errors_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    file(&path, 1).save("a", &"x".into()).await.unwrap();
    let good = std::fs::read(&path).unwrap();
    let wrong = file(&path, 2);
    let error = wrong.save("b", &"y".into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TokenStore);
    assert_eq!(std::fs::read(&path).unwrap(), good);
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(file(&path, 1).load("a").await.is_err(), "byte {place}");
    }
    for length in 0..good.len() {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(file(&path, 1).load("a").await.is_err(), "length {length}");
    }
    let nowhere = file(&folder.path().join("no/such/folder/tokens"), 1);
    let error = nowhere.save("a", &"canary".into()).await.unwrap_err();
    assert!(!format!("{error:?}").contains("canary"));
}
