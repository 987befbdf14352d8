//! Browses a backup without any network: lists what is in the newest snapshots, searches all of
//! them, and extracts a file or message.
//!
//! ```text
//! BACKUP_STORE_PASSPHRASE=… browse_and_extract STORE list
//! BACKUP_STORE_PASSPHRASE=… browse_and_extract STORE find WORDS
//! BACKUP_STORE_PASSPHRASE=… browse_and_extract STORE extract WORDS FILE
//! ```
//!
//! Searching makes a browse cache in a temporary directory: names and subjects in plaintext.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::io::Write;
use std::sync::Arc;

use backup_store::browse_cache::{BrowseCache, Hit};
use backup_store::catalog::{Browse, Filter, choose_parent};
use backup_store::{LocalBackend, Passphrase, Store, StoreOptions};

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let usage = "usage: browse_and_extract STORE (list | find WORDS | extract WORDS FILE)";
    let [place, action @ ..] = &arguments[..] else {
        return Err(usage.into());
    };
    let backend = Arc::new(LocalBackend::open(place)?);
    #[allow(
        clippy::disallowed_methods,
        reason = "an example is a program of its own"
    )]
    let passphrase = Passphrase::new(std::env::var("BACKUP_STORE_PASSPHRASE")?);
    let store = Store::open(backend, &passphrase, StoreOptions::default()).await?;
    match action {
        ["list"] => list(&store).await,
        ["find", words] => {
            for hit in find(&store, words).await? {
                let seen = hit.snapshots.len();
                println!(
                    "{} {}: {} ({seen} snapshots)",
                    hit.resource, hit.path, hit.item.name
                );
            }
            Ok(())
        }
        ["extract", words, file] => extract(&store, words, file).await,
        _ => Err(usage.into()),
    }
}

/// Lists the items of the newest snapshot of each resource.
async fn list(store: &Store) -> Outcome<()> {
    let snapshots = store.snapshots().await?;
    let mut resources: Vec<_> = snapshots
        .iter()
        .map(|entry| entry.snapshot.resource.id.clone())
        .collect();
    resources.sort();
    resources.dedup();
    for resource in resources {
        let Some(newest) = choose_parent(&snapshots, &resource) else {
            continue;
        };
        println!("{resource}, snapshot {}", newest.id);
        let mut items = Browse::new(store, &newest.snapshot).items();
        while let Some(item) = items.next().await {
            println!("  {}", item?.name);
        }
    }
    Ok(())
}

/// Finds items by words in their name, sender or recipients, in all snapshots.
async fn find(store: &Store, words: &str) -> Outcome<Vec<Hit>> {
    let directory = tempfile::tempdir()?;
    let cache = BrowseCache::open(store, &directory.path().join("browse.sqlite")).await?;
    cache.fill().await?;
    let filter = Filter {
        text: Some(words.to_owned()),
        ..Filter::default()
    };
    Ok(cache.search(&filter, None, 100).await?)
}

/// Writes the first representation of the first hit to a file, verified as it is read.
async fn extract(store: &Store, words: &str, file: &str) -> Outcome<()> {
    let hits = find(store, words).await?;
    let hit = hits.first().ok_or("nothing found")?;
    let stored = hit
        .item
        .representations
        .first()
        .ok_or("the item has no stored form")?;
    let mut reader = store.open_content(&stored.content);
    let mut out = std::fs::File::create_new(file)?;
    while let Some(bytes) = reader.next_chunk().await {
        out.write_all(&bytes?)?;
    }
    out.sync_all()?;
    println!("{}: {} bytes", hit.item.name, stored.content.length);
    Ok(())
}
