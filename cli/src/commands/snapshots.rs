//! `snapshots`: lists the snapshots in a store.

use backup_store::catalog::SnapshotEntry;
use serde_json::json;

use crate::args::SnapshotsArgs;
use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::snapshots;
use crate::table::{Align, Table};
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: SnapshotsArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let mut entries = snapshots::list(&open, &args.filter).await?;
    if args.latest {
        entries = snapshots::newest(&entries);
    }
    let out = &context.output;
    if out.is_json() {
        for entry in &entries {
            out.object("snapshot", describe(entry))?;
        }
        out.object("summary", json!({ "snapshots": entries.len() }))?;
        return Ok(Exit::Complete);
    }
    if entries.is_empty() {
        out.note("no snapshots yet");
        return Ok(Exit::Complete);
    }
    let mut table = Table::new(&[
        ("id", Align::Left),
        ("finished (UTC)", Align::Left),
        ("owner", Align::Left),
        ("service", Align::Left),
        ("items", Align::Right),
        ("outcome", Align::Left),
    ]);
    for SnapshotEntry { id, snapshot, .. } in &entries {
        table.row([
            short_id(&id.to_string()),
            words::time(snapshot.finished),
            snapshot.resource.owner.clone(),
            snapshot.resource.service.to_string(),
            words::count(snapshot.items.entries),
            snapshot.outcome.to_string(),
        ]);
    }
    out.table(&table)?;
    out.note(&words::counted(entries.len() as u64, "snapshot"));
    Ok(Exit::Complete)
}

/// Returns the digits of an id that tables show; enough to name a snapshot by.
pub(crate) fn short_id(id: &str) -> String {
    id.chars().take(10).collect()
}

/// Returns a snapshot as an object for `--json`.
pub(crate) fn describe(entry: &SnapshotEntry) -> serde_json::Value {
    let snapshot = &entry.snapshot;
    json!({
        "id": entry.id.to_string(),
        "resource": snapshot.resource.id.as_str(),
        "owner": snapshot.resource.owner,
        "service": snapshot.resource.service.as_str(),
        "kind": snapshot.resource.kind.as_str(),
        "set": snapshot.set,
        "run": snapshot.run.to_string(),
        "outcome": snapshot.outcome.as_str(),
        "started": snapshot.started.to_string(),
        "finished": snapshot.finished.to_string(),
        "parent": snapshot.parent.map(|id| id.to_string()),
        "containers": snapshot.containers.entries,
        "items": snapshot.items.entries,
    })
}
