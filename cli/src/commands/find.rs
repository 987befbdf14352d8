//! `find`: searches names, subjects, senders, recipients and folders, without a network.

mod pattern;

use std::collections::HashSet;

use backup_store::Timestamp;
use backup_store::catalog::{Browse, Item, ItemKey, ResourceId, SnapshotEntry};
use serde_json::json;

use crate::args::FindArgs;
use crate::commands::ls;
use crate::commands::snapshots::short_id;
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::places::Places;
use crate::snapshots;
use crate::table::printable;
use crate::words;

use pattern::Words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: FindArgs) -> Result<Exit> {
    let query = Query::new(&args)?;
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let entries = match (&args.snapshot, args.all_snapshots) {
        (Some(id), _) => snapshots::select(&open, id, &args.filter).await?,
        (None, true) => {
            let mut entries = snapshots::list(&open, &args.filter).await?;
            entries.reverse();
            entries
        }
        (None, false) => snapshots::newest(&snapshots::list(&open, &args.filter).await?),
    };
    let mut search = Search {
        context,
        open: &open,
        query,
        seen: HashSet::new(),
        found: 0,
    };
    for entry in &entries {
        search.snapshot(entry).await?;
        if search.is_full() {
            break;
        }
    }
    let found = search.found;
    if context.output.is_json() {
        let summary = json!({ "found": found, "snapshots": entries.len() });
        context.output.object("summary", summary)?;
    } else {
        let searched = words::counted(entries.len() as u64, "snapshot");
        context.output.note(&format!(
            "{} found in {searched}",
            words::counted(found, "item")
        ));
    }
    Ok(Exit::Complete)
}

/// What is looked for.
#[derive(Debug)]
struct Query {
    words: Words,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    limit: u64,
}

impl Query {
    fn new(args: &FindArgs) -> Result<Self> {
        Ok(Self {
            words: Words::new(&args.words),
            after: args.after.as_deref().map(day).transpose()?,
            before: args.before.as_deref().map(day).transpose()?,
            limit: args.limit.map_or(u64::MAX, |limit| limit as u64),
        })
    }

    fn matches(&self, item: &Item, folder: &str) -> bool {
        let created = item.key.created;
        self.after.is_none_or(|after| created >= after)
            && self.before.is_none_or(|before| created < before)
            && self.words.match_item(item, folder)
    }
}

fn day(text: &str) -> Result<Timestamp> {
    Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"))
        .map_err(|_| Failure::usage(format!("{text} is no day")).next("write it like 2026-11-22"))
}

struct Search<'a> {
    context: &'a Context,
    open: &'a OpenStore,
    query: Query,
    /// The same version of an item in an older snapshot is not news.
    seen: HashSet<(ResourceId, ItemKey, String)>,
    found: u64,
}

impl Search<'_> {
    fn is_full(&self) -> bool {
        self.found >= self.query.limit
    }

    async fn snapshot(&mut self, entry: &SnapshotEntry) -> Result<()> {
        let browse = Browse::new(&self.open.store, &entry.snapshot);
        let places = Places::read(self.open, &browse).await?;
        let mut items = browse.items();
        while let Some(item) = items.next().await {
            let item = item.map_err(self.open.failed("read"))?;
            let folder = places.path_of(&item.key.container);
            if !self.query.matches(&item, folder) {
                continue;
            }
            let resource = entry.snapshot.resource.id.clone();
            if self
                .seen
                .insert((resource, item.key.clone(), item.change_key.clone()))
            {
                self.report(entry, &item, folder)?;
            }
            if self.is_full() {
                break;
            }
        }
        Ok(())
    }

    fn report(&mut self, entry: &SnapshotEntry, item: &Item, folder: &str) -> Result<()> {
        self.found += 1;
        let out = &self.context.output;
        let (id, owner) = (entry.id.to_string(), &entry.snapshot.resource.owner);
        if out.is_json() {
            let mut object = ls::describe(item, folder);
            object["snapshot"] = json!(id);
            object["resource"] = json!(entry.snapshot.resource.id.as_str());
            object["owner"] = json!(owner);
            return out.object("item", object);
        }
        let sender = item
            .sender
            .as_deref()
            .map(|sender| format!("  from {sender}"));
        let line = ls::line(item, folder) + sender.as_deref().unwrap_or_default();
        out.line(&printable(&format!("{}  {owner}  {line}", short_id(&id))))
    }
}
