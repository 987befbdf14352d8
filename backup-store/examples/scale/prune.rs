//! A prune of a store with many chunks, whose packs hold nothing but their headers.

use std::path::Path;
use std::sync::Arc;

use backup_store::catalog::{Representation, RepresentationKind, ResourceId, Snapshot};
use backup_store::internals::{put_synthetic_packs, segments, synthetic_content};
use backup_store::{LocalBackend, PruneOptions, PruneOutcome, Store, StoreOptions, Writer};
use tokio::time::Instant;

use super::{Outcome, alone, create, item_of, memory, passphrase, snapshot, writer};

/// Chunks that one flush of a first backup indexes.
const FLUSH_CHUNKS: u64 = 40_000;
/// Chunks of one item.
const ITEM_CHUNKS: u64 = 50;
/// Items that are applied to the tree at once.
const EDITS: u64 = 1_000;

/// The mailbox that is kept.
const KEPT: &str = "outlook:a";

/// Of ten items nine are kept; the packs of the tenth part are to go.
pub(crate) async fn prune(chunks: u64, directory: &Path) -> Outcome<()> {
    let need = chunks * (56 + 54) * 5 / 2 + chunks * 40;
    println!(
        "prune of a store of {chunks} chunks: needs about {} MiB in {}",
        need >> 20,
        directory.display()
    );
    let (store, _, _) = create(directory).await?;
    let writer = writer(&store, directory).await?;
    let began = Instant::now();
    for from in (0..chunks).step_by(usize::try_from(FLUSH_CHUNKS)?) {
        put_synthetic_packs(&writer, from..(from + FLUSH_CHUNKS).min(chunks)).await?;
    }
    let items = chunks / ITEM_CHUNKS;
    let kept = mailbox(&writer, KEPT, 0..items * 9 / 10, items).await?;
    let forgotten = mailbox(&writer, "outlook:b", items * 9 / 10..items, items).await?;
    writer.publish(vec![kept, forgotten]).await?;
    writer.end().await?;
    println!(
        "built in {:.1} s: {} segments, {items} items; {}",
        began.elapsed().as_secs_f64(),
        segments(&store).0,
        memory()
    );
    alone("prune-built", chunks, directory, None)
}

/// Prunes what was built.
pub(crate) async fn prune_built(directory: &Path) -> Outcome<()> {
    let backend = Arc::new(LocalBackend::open(directory.join("store"))?);
    let options = StoreOptions {
        cache_dir: Some(directory.join("cache")),
        ..StoreOptions::default()
    };
    let store = Store::open(backend, &passphrase(), options).await?;
    let mut options = PruneOptions::new();
    let mut snapshots = store.scan_snapshots().await?;
    while let Some(entry) = snapshots.next().await {
        let entry = entry?;
        if entry.snapshot.resource.id != ResourceId::new(KEPT) {
            options.forget.insert(entry.id);
        }
    }
    println!("opened; {}", memory());
    let began = Instant::now();
    let report = store.prune(&options, &|_| {}).await?;
    println!(
        "pruned in {:.1} s: {} packs deleted, {} kept, {} segments deleted; {}",
        began.elapsed().as_secs_f64(),
        report.deleted.packs,
        report.kept.packs,
        report.segments_deleted,
        memory()
    );
    let expected = report.outcome == PruneOutcome::Done && report.deleted.packs > 0;
    if expected && report.missing_chunks == 0 {
        Ok(())
    } else {
        Err("the prune did not do what it should".into())
    }
}

/// A mailbox whose items have contents of many chunks.
async fn mailbox(
    writer: &Writer,
    resource: &str,
    numbers: std::ops::Range<u64>,
    items: u64,
) -> Outcome<Snapshot> {
    let mut root = writer.empty_tree();
    let end = numbers.end;
    for from in numbers.step_by(usize::try_from(EDITS)?) {
        let edits = (from..(from + EDITS).min(end)).map(|number| {
            let mut item = item_of(number, items, 0);
            let chunks = number * ITEM_CHUNKS..(number + 1) * ITEM_CHUNKS;
            item.representations.push(Representation {
                kind: RepresentationKind::Mime,
                content: synthetic_content(chunks),
            });
            (item.key.encode(), Some(item.encode()))
        });
        root = writer.apply(&root, edits).await?;
    }
    Ok(snapshot(writer, resource, root))
}
