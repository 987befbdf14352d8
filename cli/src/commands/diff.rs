//! `diff`: what changed between two snapshots of a mailbox or drive, folder by folder.

use std::collections::HashMap;

use backup_engine::audit::{AlarmThresholds, Changes, audit_changes};
use backup_store::catalog::{Browse, SnapshotEntry};
use serde_json::{Value, json};

use super::snapshots::short_id;
use crate::args::DiffArgs;
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_backup};
use crate::output::Output;
use crate::places::Places;
use crate::snapshots;
use crate::table::{Align, Table};
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: DiffArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let (before, after) = chosen(&open, &args).await?;
    let audit = audit_changes(open.store.clone(), &before.snapshot, &after.snapshot)
        .await
        .map_err(|error| from_backup(&open.place, &error))?;
    let names = names(&open, &[&before, &after]).await?;
    let mut rows: Vec<(String, Changes)> = Vec::new();
    for (container, changes) in &audit.containers {
        let name = names.get(container).unwrap_or(container);
        rows.push((name.clone(), *changes));
    }
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let total = audit.total();
    let items = before.snapshot.items.entries;
    let thresholds = config
        .as_ref()
        .map_or_else(AlarmThresholds::default, |config| config.alarm.thresholds());
    let alarming = thresholds.is_alarming(items, &total);
    let out = &context.output;
    if out.is_json() {
        for (folder, changes) in &rows {
            let mut fields = describe(changes);
            fields["folder"] = json!(folder);
            out.object("container", fields)?;
        }
        let mut fields = describe(&total);
        fields["before"] = json!(before.id.to_string());
        fields["after"] = json!(after.id.to_string());
        fields["items_before"] = json!(items);
        fields["alarming"] = json!(alarming);
        out.object("summary", fields)?;
    } else {
        show(out, (&before, &after), &rows, &total)?;
    }
    if alarming {
        out.warn(&format!(
            "mass change: of {}, {} have another content and {} are gone",
            words::counted(items, "item"),
            words::count(total.rewritten),
            words::count(total.removed),
        ));
    }
    Ok(Exit::Complete)
}

/// Finds the two snapshots that are meant, the earlier one first.
async fn chosen(open: &OpenStore, args: &DiffArgs) -> Result<(SnapshotEntry, SnapshotEntry)> {
    let first = snapshots::select_one(open, &args.snapshot).await?;
    let Some(later) = &args.later else {
        let parent = first.snapshot.parent;
        let entries = open.snapshots().await?;
        let before = entries.into_iter().find(|entry| Some(entry.id) == parent);
        let before = before.ok_or_else(|| {
            let id = short_id(&first.id.to_string());
            Failure::new(
                Exit::Failed,
                format!("nothing is left of before snapshot {id}"),
            )
            .next("name two snapshots; list them with: m365-backup snapshots")
        })?;
        return Ok((before, first));
    };
    let second = snapshots::select_one(open, later).await?;
    let (a, b) = (&first.snapshot.resource, &second.snapshot.resource);
    if a.id != b.id {
        let message = format!("the snapshots are of {} and of {}", a.id, b.id);
        return Err(Failure::usage(message).next("name two snapshots of one mailbox or drive"));
    }
    Ok((first, second))
}

/// Returns the paths of all containers, those of the later snapshot before those that are gone.
async fn names(open: &OpenStore, entries: &[&SnapshotEntry]) -> Result<HashMap<String, String>> {
    let mut names = HashMap::new();
    for entry in entries {
        let places = Places::read(open, &Browse::new(&open.store, &entry.snapshot)).await?;
        for (path, container) in places.below(None) {
            let path = if path.is_empty() { "/" } else { path };
            names.insert(container.id.clone(), path.to_owned());
        }
    }
    Ok(names)
}

fn show(
    out: &Output,
    (before, after): (&SnapshotEntry, &SnapshotEntry),
    rows: &[(String, Changes)],
    total: &Changes,
) -> Result<()> {
    let resource = &after.snapshot.resource;
    out.name_line(&format!(
        "{}, {}: from {} to {} UTC",
        resource.owner,
        resource.service,
        words::time(before.snapshot.finished),
        words::time(after.snapshot.finished),
    ))?;
    if total.is_none() {
        return out.line("no item changed");
    }
    let mut table = Table::new(&[
        ("folder", Align::Left),
        ("added", Align::Right),
        ("changed", Align::Right),
        ("content", Align::Right),
        ("moved in", Align::Right),
        ("removed", Align::Right),
    ]);
    let all = ("all".to_owned(), *total);
    for (folder, changes) in rows.iter().chain([&all]) {
        table.row([
            folder.clone(),
            words::count(changes.added),
            words::count(changes.changed),
            words::count(changes.rewritten),
            words::count(changes.moved),
            words::count(changes.removed),
        ]);
    }
    out.table(&table)
}

fn describe(changes: &Changes) -> Value {
    json!({
        "added": changes.added,
        "changed": changes.changed,
        "rewritten": changes.rewritten,
        "moved": changes.moved,
        "removed": changes.removed,
    })
}
