//! `ls`: lists what is in a snapshot, folder by folder.

use backup_store::catalog::{Browse, Item, ItemState, SnapshotEntry};
use serde_json::json;

use crate::args::LsArgs;
use crate::commands::snapshots::short_id;
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::places::Places;
use crate::snapshots;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: LsArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let entries = snapshots::select(&open, &args.snapshot, &args.filter).await?;
    let mut listed = Listed::default();
    for entry in &entries {
        list(context, &open, entry, &args, &mut listed).await?;
    }
    if let Some(path) = args.path.filter(|_| listed.folders + listed.items == 0) {
        return Err(
            Failure::new(Exit::Failed, format!("the snapshot holds no folder {path}"))
                .next("list the folders with: m365-backup ls --folders"),
        );
    }
    if context.output.is_json() {
        let Listed {
            folders,
            items,
            bytes,
        } = listed;
        let totals = json!({ "containers": folders, "items": items, "bytes": bytes });
        context.output.object("summary", totals)?;
    } else {
        context.output.note(&format!(
            "{} in {}, {}",
            words::counted(listed.items, "item"),
            words::counted(listed.folders, "folder"),
            words::bytes(listed.bytes),
        ));
    }
    Ok(Exit::Complete)
}

#[derive(Debug, Default)]
struct Listed {
    folders: u64,
    items: u64,
    bytes: u64,
}

async fn list(
    context: &Context,
    open: &OpenStore,
    entry: &SnapshotEntry,
    args: &LsArgs,
    listed: &mut Listed,
) -> Result<()> {
    let out = &context.output;
    let browse = Browse::new(&open.store, &entry.snapshot);
    let places = Places::read(open, &browse).await?;
    let resource = &entry.snapshot.resource;
    if !out.is_json() {
        let (id, owner, service) = (
            short_id(&entry.id.to_string()),
            &resource.owner,
            &resource.service,
        );
        out.name_line(&format!("snapshot {id}, {owner}, {service}"))?;
    }
    for (path, container) in places.below(args.path.as_deref()) {
        listed.folders += 1;
        if out.is_json() {
            out.object(
                "container",
                json!({
                    "snapshot": entry.id.to_string(),
                    "resource": resource.id.as_str(),
                    "id": container.id,
                    "path": path,
                    "kind": container.kind.as_str(),
                    "well_known": container.well_known,
                    "hidden": container.hidden,
                }),
            )?;
        } else {
            out.name_line(&format!("{:>10}  {:19}  {path}/", "", ""))?;
        }
        if args.folders {
            continue;
        }
        let mut items = browse.items_in(&container.id);
        while let Some(item) = items.next().await {
            let item = item.map_err(open.failed("read"))?;
            listed.items += 1;
            listed.bytes += item.size_bytes;
            if out.is_json() {
                let mut object = describe(&item, path);
                object["snapshot"] = json!(entry.id.to_string());
                object["resource"] = json!(resource.id.as_str());
                out.object("item", object)?;
            } else {
                out.name_line(&line(&item, path))?;
            }
        }
    }
    Ok(())
}

/// Returns an item as one line: size, date, path, and what keeps it from being whole.
pub(crate) fn line(item: &Item, folder: &str) -> String {
    let state = match &item.state {
        ItemState::Stored => String::new(),
        ItemState::Skipped { reason } => format!("  (skipped: {reason})"),
        ItemState::Quarantined { cause, .. } => format!("  (quarantined: {cause})"),
        _ => "  (in a state that this version does not know)".to_owned(),
    };
    let path = join(folder, &item.name);
    let (size, date) = (words::bytes(item.size_bytes), words::time(item.key.created));
    format!("{size:>10}  {date}  {path}{state}")
}

/// Returns an item as an object for `--json`.
pub(crate) fn describe(item: &Item, folder: &str) -> serde_json::Value {
    let (state, cause) = match &item.state {
        ItemState::Stored => ("stored", None),
        ItemState::Skipped { reason } => ("skipped", Some(reason)),
        ItemState::Quarantined { cause, .. } => ("quarantined", Some(cause)),
        _ => ("unknown", None),
    };
    json!({
        "id": item.key.id,
        "path": join(folder, &item.name),
        "name": item.name,
        "kind": item.kind.as_str(),
        "created": item.key.created.to_string(),
        "modified": item.modified.map(|time| time.to_string()),
        "size_bytes": item.size_bytes,
        "sender": item.sender,
        "recipients": item.recipients,
        "draft": item.draft,
        "change_key": item.change_key,
        "state": state,
        "cause": cause,
    })
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}
