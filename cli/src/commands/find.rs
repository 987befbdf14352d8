//! `find`: searches names, subjects, senders, recipients and folders, without a network.
//!
//! Reads the trees of the store; or a search cache on this machine, when its user has asked for one:
//! it is plaintext.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;

use backup_store::Timestamp;
use backup_store::browse_cache::{BrowseCache, Hit};
use backup_store::catalog::{Browse, Filter, Item, ItemKey, ResourceId, Search, SnapshotEntry};
use serde_json::json;

use crate::args::FindArgs;
use crate::commands::ls;
use crate::commands::snapshots::short_id;
use crate::config::Config;
use crate::connect::{Context, OpenStore, state_folder};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::snapshots;
use crate::table::printable;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: FindArgs) -> Result<Exit> {
    let filter = filter(&args)?;
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
    let cache = cache(context, &open, config.as_ref(), &args).await?;
    if args.build_cache && filter == Filter::default() {
        return Ok(Exit::Complete);
    }
    let mut finder = Finder {
        context,
        open: &open,
        filter,
        limit: args.limit.unwrap_or(usize::MAX),
        seen: HashSet::new(),
        found: 0,
    };
    if let Some(cache) = &cache {
        finder.look_into_cache(cache, &entries).await?;
    } else {
        for entry in &entries {
            finder.look_into(entry).await?;
            if finder.is_full() {
                break;
            }
        }
    }
    let found = finder.found as u64;
    if context.output.is_json() {
        let (searched, cached) = (entries.len(), cache.is_some());
        let summary = json!({ "found": found, "snapshots": searched, "from_cache": cached });
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

/// Returns what is looked for.
fn filter(args: &FindArgs) -> Result<Filter> {
    let day = |text: &Option<String>| text.as_deref().map(day).transpose();
    let (after, before) = (day(&args.after)?, day(&args.before)?);
    let created = (after.is_some() || before.is_some()).then(|| {
        let earliest = Timestamp::from_millis(i64::MIN);
        let latest = Timestamp::from_millis(i64::MAX);
        after.unwrap_or(earliest)..before.unwrap_or(latest)
    });
    Ok(Filter {
        name: args.name.clone(),
        sender: args.from.clone(),
        recipient: args.to.clone(),
        path: args.path.clone(),
        kind: args.kind.as_deref().map(Into::into),
        created,
        words: args.words.clone(),
        ..Filter::default()
    })
}

/// Opens the search cache and brings it up to date, if there is one or there shall be one.
async fn cache(
    context: &Context,
    open: &OpenStore,
    config: Option<&Config>,
    args: &FindArgs,
) -> Result<Option<BrowseCache>> {
    let is_wanted = args.build_cache || config.is_some_and(|config| config.browse_cache);
    let path = match state_folder(config, &open.store) {
        Ok(folder) => folder.join("browse.sqlite"),
        Err(failure) if args.build_cache => return Err(failure),
        Err(_) => return Ok(None),
    };
    if args.no_cache || !(is_wanted || path.exists()) {
        return Ok(None);
    }
    // What cannot be made is found by SQLite, which says so below.
    let _made = path.parent().map(fs::create_dir_all);
    let filled = async {
        let cache = BrowseCache::open(&open.store, &path).await?;
        if cache.is_built_anew() {
            context.output.warn(&format!(
                "a search cache is made in {}: names, subjects and addresses stand there in plaintext, \
                 readable by you alone; delete it to be without",
                path.display()
            ));
        }
        let report = cache.fill().await?;
        Ok((cache, report))
    };
    match filled.await {
        Ok((cache, report)) => {
            if report.added > 0 {
                let added = words::counted(report.added, "snapshot");
                context
                    .output
                    .note(&format!("{added} read into the search cache"));
            }
            Ok(Some(cache))
        }
        Err(cause) if args.build_cache => Err(open.failed("search")(cause)),
        Err(cause) => {
            let words = format!("the search cache cannot be used, so the store is read: {cause}");
            context.output.warn(&words);
            Ok(None)
        }
    }
}

fn day(text: &str) -> Result<Timestamp> {
    Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"))
        .map_err(|_| Failure::usage(format!("{text} is no day")).next("write it like 2026-11-22"))
}

/// What makes an item of one snapshot the same as that of another.
type Version = (ResourceId, ItemKey, String);

fn version(resource: &ResourceId, item: &Item) -> Version {
    (resource.clone(), item.key.clone(), item.change_key.clone())
}

struct Finder<'a> {
    context: &'a Context,
    open: &'a OpenStore,
    filter: Filter,
    limit: usize,
    /// The same version of an item in an older snapshot is not news.
    seen: HashSet<Version>,
    found: usize,
}

impl Finder<'_> {
    fn is_full(&self) -> bool {
        self.found >= self.limit
    }

    /// Reads a snapshot from the store.
    async fn look_into(&mut self, entry: &SnapshotEntry) -> Result<()> {
        let browse = Browse::new(&self.open.store, &entry.snapshot);
        let begun = Search::begin(&browse, &self.filter).await;
        let mut search = begun.map_err(self.open.failed("read"))?;
        while !self.is_full()
            && let Some(found) = search.next().await
        {
            let found = found.map_err(self.open.failed("read"))?;
            self.report(entry, &found.item, &found.path)?;
        }
        Ok(())
    }

    /// Asks the cache; what was created last comes first.
    async fn look_into_cache(
        &mut self,
        cache: &BrowseCache,
        entries: &[SnapshotEntry],
    ) -> Result<()> {
        let order: HashMap<_, _> = entries.iter().map(|entry| entry.id).zip(0..).collect();
        let ids: BTreeSet<_> = order.keys().copied().collect();
        let mut asked = self.limit;
        loop {
            let hits = cache.search_in(&self.filter, ids.clone(), asked).await;
            let hits = hits.map_err(self.open.failed("search"))?;
            // A version that lay in several places is shown where it lay last.
            let newest = |hit: &Hit| hit.snapshots.iter().filter_map(|id| order.get(id)).min();
            let mut last: HashMap<_, usize> = HashMap::new();
            for hit in &hits {
                let at = last
                    .entry(version(&hit.resource, &hit.item))
                    .or_insert(usize::MAX);
                *at = newest(hit).copied().unwrap_or(usize::MAX).min(*at);
            }
            for hit in &hits {
                let at = last.get(&version(&hit.resource, &hit.item));
                if let Some(at) = at.filter(|at| newest(hit) == Some(*at))
                    && !self.is_full()
                {
                    self.report(&entries[*at], &hit.item, &hit.path)?;
                }
            }
            // Several states of an item may be one version of it, which is shown once.
            if self.is_full() || hits.len() < asked {
                return Ok(());
            }
            asked = asked.saturating_mul(2);
        }
    }

    /// Shows an item, unless this version of it was shown.
    fn report(&mut self, entry: &SnapshotEntry, item: &Item, path: &str) -> Result<()> {
        let resource = &entry.snapshot.resource;
        if !self.seen.insert(version(&resource.id, item)) {
            return Ok(());
        }
        self.found += 1;
        let out = &self.context.output;
        let (id, owner) = (entry.id.to_string(), &resource.owner);
        let folder = path.trim_matches('/');
        if out.is_json() {
            let mut object = ls::describe(item, folder);
            object["snapshot"] = json!(id);
            object["resource"] = json!(resource.id.as_str());
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
