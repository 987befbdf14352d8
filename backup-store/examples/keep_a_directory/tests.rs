//! The same tree comes out that went in.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use backup_store::{KdfParams, MemoryBackend};

use super::*;

async fn store() -> Store {
    let mut create = CreateOptions::default();
    create.kdf = KdfParams::minimum();
    let backend = Arc::new(MemoryBackend::new());
    let passphrase = Passphrase::new("a test");
    Store::create(backend, &passphrase, create, StoreOptions::default())
        .await
        .unwrap()
}

/// Everything about a tree that is kept, by path.
fn tree(top: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![top.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let (path, metadata) = entry.map(|e| (e.path(), e.metadata().unwrap())).unwrap();
            let name = path.strip_prefix(top).unwrap().display().to_string();
            let kept = if metadata.is_symlink() {
                format!("link to {}", fs::read_link(&path).unwrap().display())
            } else if metadata.is_dir() {
                folders.push(path.clone());
                format!("folder {:?}", metadata.modified().unwrap())
            } else {
                let bytes = fs::read(&path).unwrap();
                let (sum, time) = (blake3::hash(&bytes), metadata.modified().unwrap());
                format!(
                    "{} {sum} {time:?} {}",
                    bytes.len(),
                    metadata.permissions().readonly()
                )
            };
            found.insert(name, kept);
        }
    }
    found
}

fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

fn fill(top: &Path) {
    fs::create_dir_all(top.join("mail/in box")).unwrap();
    fs::create_dir_all(top.join("empty")).unwrap();
    for number in 0..700 {
        let name = format!("mail/in box/{number}.eml");
        fs::write(
            top.join(name),
            format!("Subject: {number}\r\n\r\nhello").repeat(40),
        )
        .unwrap();
    }
    fs::write(top.join("mail/a.txt"), "text").unwrap();
    fs::write(top.join("nothing"), "").unwrap();
    fs::write(top.join("large.bin"), noise(11 << 20)).unwrap();
    fs::write(top.join("run.sh"), "true").unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("large.bin", top.join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", top.join("mail/dangling")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_tree_comes_out_of_every_snapshot() {
    let (store, place) = (store().await, tempfile::tempdir().unwrap());
    let path = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (cache, source) = (place.path().join("cache"), path("source"));
    let top = Path::new(&source);
    fill(top);
    let first = tree(top);
    put(&store, &cache, "first", &source).await.unwrap();

    fs::remove_dir_all(top.join("mail/in box")).unwrap();
    fs::write(top.join("mail/a.txt"), "other").unwrap();
    fs::rename(top.join("large.bin"), top.join("empty/large.bin")).unwrap();
    let edited = tree(top);
    put(&store, &cache, "edited", &source).await.unwrap();
    put(&store, &cache, "unchanged", &source).await.unwrap();

    for (name, tree_then) in [
        ("first", first),
        ("edited", edited.clone()),
        ("unchanged", edited),
    ] {
        let out = path(name);
        get(&store, name, &out).await.unwrap();
        assert!(tree(Path::new(&out)) == tree_then, "{name} is another tree");
    }
    let listing = store.snapshots().await.unwrap();
    let totals = |name: &str| {
        let found = listing.iter().find(|entry| entry.snapshot.set == name);
        found.unwrap().snapshot.totals
    };
    assert_eq!(
        totals("edited").stored,
        2,
        "what was changed and what was renamed"
    );
    assert_eq!(
        (totals("unchanged").stored, totals("unchanged").bytes),
        (0, 0)
    );
    assert!(totals("unchanged").check() && totals("edited").check() && totals("first").check());
    check(&store).await.unwrap();
}

#[tokio::test]
async fn nothing_is_written_over_and_unknown_names_are_refused() {
    let (store, place) = (store().await, tempfile::tempdir().unwrap());
    let source = place.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "mine").unwrap();
    let source = source.to_str().unwrap();
    put(&store, &place.path().join("cache"), "one", source)
        .await
        .unwrap();
    fs::write(Path::new(source).join("file"), "changed").unwrap();
    assert!(get(&store, "one", source).await.is_err());
    assert_eq!(
        fs::read(Path::new(source).join("file")).unwrap(),
        b"changed"
    );
    assert!(get(&store, "two", source).await.is_err());
}

#[test]
fn names_that_lead_out_of_the_directory_are_refused() {
    for name in ["..", "a/../b", "/etc", "", "a/.."] {
        assert!(checked(name).is_err(), "{name}");
    }
    assert!(checked("a/b..c").is_ok() && checked(TOP).is_ok());
}
