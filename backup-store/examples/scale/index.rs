//! An index of many chunks: built as a writer does, then looked up in by a process of its own.

use std::path::Path;
use std::sync::Arc;

use backup_store::internals::{may_hold, places, put_synthetic, segments, synthetic_id};
use backup_store::{ChunkId, LocalBackend, Store, StoreOptions};
use tokio::time::Instant;

use super::{Outcome, alone, create, memory, passphrase, writer};

/// Chunks that one flush of a first backup indexes.
const FLUSH_CHUNKS: u64 = 40_000;
const LOOKUPS: u64 = 20_000;
/// Chunks that are looked up together.
const AT_ONCE: usize = 50;

pub(crate) async fn index(chunks: u64, directory: &Path) -> Outcome<()> {
    // A segment entry, the same in the cache, and one merge more of both.
    let need = chunks * (56 + 54) + (chunks / 40).max(2 << 20) * 220;
    println!(
        "index of {chunks} chunks: needs about {} MiB in {}",
        need >> 20,
        directory.display()
    );
    let (store, _, _) = create(directory).await?;
    let writer = writer(&store, directory).await?;
    let began = Instant::now();
    let (mut at, mut written, mut most) = (0, 0, 0);
    let mut asked = 0u64;
    while at < chunks {
        let to = (at + FLUSH_CHUNKS).min(chunks);
        // As a first backup does: is this chunk new? Where the filters in memory cannot tell, it is
        // looked up, which brings those back that a merge let go of.
        for from in (at..to).step_by(AT_ONCE) {
            let ids: Vec<ChunkId> = (from..to.min(from + AT_ONCE as u64))
                .map(synthetic_id)
                .filter(|id| may_hold(&store, id))
                .collect();
            asked += ids.len() as u64;
            if places(&store, &ids).await?.iter().any(|found| *found > 0) {
                return Err("a chunk is found before it is written".into());
            }
        }
        written += put_synthetic(&writer, at..to).await?;
        most = most.max(segments(&store).0);
        at = to;
        if at % (FLUSH_CHUNKS * 25) == 0 {
            println!("{at} chunks, {} segments, {}", segments(&store).0, memory());
        }
    }
    let (count, entries) = segments(&store);
    let live: u64 = backend_bytes(&store).await?;
    println!(
        "built in {:.1} s: {count} segments (at most {most}), {entries} entries, {:.1} bytes each, \
         write amplification {:.2}, {asked} new chunks needed a look beyond the filters; {}",
        began.elapsed().as_secs_f64(),
        live as f64 / entries as f64,
        written as f64 / live as f64,
        memory(),
    );
    drop(writer);
    drop(store);
    for cache in ["other-cache", "cache"] {
        alone("look-up", chunks, directory, Some(cache))?;
    }
    Ok(())
}

async fn backend_bytes(store: &Store) -> Outcome<u64> {
    let listed = store.backend().list("segments/").await?;
    Ok(listed.iter().map(|info| info.size).sum())
}

/// Opens what was built, with the caches of one directory, and looks chunks up.
pub(crate) async fn look_up_in(chunks: u64, directory: &Path, cache: &str) -> Outcome<()> {
    let backend = Arc::new(LocalBackend::open(directory.join("store"))?);
    let options = StoreOptions {
        cache_dir: Some(directory.join(cache)),
        ..StoreOptions::default()
    };
    let began = Instant::now();
    let store = Store::open(backend, &passphrase(), options).await?;
    println!(
        "{cache}: opened in {:.2} s; {}",
        began.elapsed().as_secs_f64(),
        memory()
    );
    look_up(&store, chunks).await
}

async fn look_up(store: &Store, chunks: u64) -> Outcome<()> {
    let step = (chunks / LOOKUPS).max(1) | 1;
    for (what, base) in [("present", 0), ("absent", chunks * 10)] {
        for round in ["first", "again"] {
            let ids: Vec<ChunkId> = (0..LOOKUPS)
                .map(|number| synthetic_id(base + number * step % chunks))
                .collect();
            let began = Instant::now();
            let mut found = 0;
            for ids in ids.chunks(AT_ONCE) {
                let some: Vec<usize> = places(store, ids).await?;
                found += some.iter().filter(|places| **places > 0).count();
            }
            let each = began.elapsed().as_secs_f64() * 1e6 / LOOKUPS as f64;
            println!(
                "  {what}, {round}: {each:.1} µs a lookup, {found} found; {}",
                memory()
            );
            if (found as u64 == LOOKUPS) != (base == 0) || (found > 0) != (base == 0) {
                return Err("a lookup is wrong".into());
            }
        }
    }
    Ok(())
}
