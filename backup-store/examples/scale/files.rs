//! Very many tiny files, as a store sees them: kept, kept again with a few changes, read, checked.

use std::path::Path;

use backup_store::catalog::{Browse, Representation, RepresentationKind};
use backup_store::{CheckDepth, ContentClass, Store, TreeRoot, Writer};
use tokio::time::Instant;

use super::{Outcome, create, forget_peak, item_of, memory, snapshot, writer};

/// Items that are applied to the tree at once.
const EDITS: u64 = 10_000;

pub(crate) async fn files(files: u64, directory: &Path) -> Outcome<()> {
    println!(
        "{files} tiny files: needs about {} MiB in {}",
        (files * 700) >> 20,
        directory.display()
    );
    let (store, _, _) = create(directory).await?;
    forget_peak();
    let empty = store.empty_tree();
    let first = keep(&store, directory, empty, (files, 1, 0), "first backup").await?;
    let step = (files / 1_000).max(1);
    let second = (files, step, 1);
    let root = keep(
        &store,
        directory,
        first,
        second,
        "a thousand scattered changes",
    )
    .await?;
    forget_peak();
    let began = Instant::now();
    let browse = Browse::new(&store, &newest(&store, root).await?);
    let (mut items, mut seen) = (browse.items(), 0);
    while let Some(item) = items.next().await {
        let item = item?;
        let content = item.representation(&RepresentationKind::Content);
        let content = content.ok_or("a file without content")?;
        let read = store.open_content(content).collect(1 << 20).await?;
        seen += u64::from(read.starts_with(b"file "));
    }
    println!(
        "read in {:.1} s: {seen} files; {}",
        began.elapsed().as_secs_f64(),
        memory()
    );
    forget_peak();
    let began = Instant::now();
    let report = store.check(CheckDepth::AllData, &|_| {}).await?;
    println!(
        "checked in {:.1} s: {} items; {}",
        began.elapsed().as_secs_f64(),
        report.items,
        memory()
    );
    match seen == files && report.is_clean() {
        true => Ok(()),
        false => Err("the store does not hold what was put".into()),
    }
}

/// Puts every `step`th file, at some version, and publishes a snapshot.
async fn keep(
    store: &Store,
    directory: &Path,
    mut root: TreeRoot,
    (files, step, version): (u64, u64, u64),
    what: &str,
) -> Outcome<TreeRoot> {
    let began = Instant::now();
    let writer: Writer = writer(store, directory).await?;
    let gatherer = writer.gatherer();
    let mut edits = Vec::new();
    for number in (0..files).step_by(usize::try_from(step)?) {
        let bytes = format!("file {number}, version {version}\n").repeat(8);
        let content = gatherer.put(ContentClass::Text, bytes.as_bytes()).await?;
        let mut item = item_of(number, files, version);
        item.representations.push(Representation {
            kind: RepresentationKind::Content,
            content,
        });
        edits.push((item.key.encode(), Some(item.encode())));
        if edits.len() as u64 >= EDITS {
            root = writer.apply(&root, std::mem::take(&mut edits)).await?;
        }
    }
    gatherer.commit().await?;
    root = writer.apply(&root, edits).await?;
    writer
        .publish(vec![snapshot(&writer, "directory:1", root)])
        .await?;
    writer.end().await?;
    println!(
        "{what}: {:.1} s; {}",
        began.elapsed().as_secs_f64(),
        memory()
    );
    Ok(root)
}

async fn newest(store: &Store, root: TreeRoot) -> Outcome<backup_store::catalog::Snapshot> {
    let mut scan = store.scan_snapshots().await?;
    while let Some(entry) = scan.next().await {
        let snapshot = entry?.snapshot;
        if snapshot.items == root {
            return Ok(snapshot);
        }
    }
    Err("the snapshot is not there".into())
}
