//! `report`: what a run covered, and everything seen that is not protected, by reason code.

use std::collections::{BTreeMap, BTreeSet};

use backup_store::catalog::{
    Browse, Item, ItemState, ResourceId, RunRecord, SnapshotEntry, choose_parent,
};
use serde_json::{Value, json};

use super::runs;
use super::snapshots::short_id;
use crate::args::ReportArgs;
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::Ticker;
use crate::table::{Align, Table};
use crate::words;

/// Something that is not protected.
#[derive(Debug)]
struct Unprotected {
    code: &'static str,
    owner: String,
    service: String,
    /// How many items; one for what is not an item.
    count: u64,
    reason: String,
    /// What it is called, where every item is named.
    name: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, args: ReportArgs) -> Result<Exit> {
    let config = context.required_config()?;
    let open = context.open_store(Some(&config)).await?;
    let runs = runs::read(&open, Some(&config)).await?;
    let run = chosen(runs, args.run.as_deref())?;
    let listing = open.snapshots().await?;
    let states = states(&listing, &run);
    let ticker = Ticker::new(&context.output);
    let mut found = whole_resources(&listing, &states, &run);
    for (number, entry) in states.iter().enumerate() {
        ticker.show(&format!("reading {} of {}", number + 1, states.len()));
        found.extend(items(&open, entry, args.items).await?);
    }
    ticker.finish();
    found.sort_by(|a, b| {
        let key = |one: &Unprotected| {
            (
                one.code,
                one.owner.clone(),
                one.service.clone(),
                one.reason.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let protected = states
        .iter()
        .map(|entry| entry.snapshot.items.entries)
        .sum::<u64>();
    show(&context.output, &run, &found, protected)
}

fn chosen(mut runs: Vec<RunRecord>, wanted: Option<&str>) -> Result<RunRecord> {
    let Some(wanted) = wanted else {
        return runs.pop().ok_or_else(|| {
            Failure::new(Exit::Failed, "the set has no run to report on yet")
                .next("make one: m365-backup backup")
        });
    };
    let wanted = wanted.to_lowercase();
    runs.retain(|run| run.run.to_string().starts_with(&wanted));
    match (runs.pop(), runs.is_empty()) {
        (Some(run), true) => Ok(run),
        (Some(_), false) => {
            Err(Failure::usage(format!("several runs begin with {wanted}"))
                .next("give more digits"))
        }
        (None, _) => Err(
            Failure::new(Exit::Failed, format!("there is no run {wanted}"))
                .next("list them with: m365-backup runs"),
        ),
    }
}

/// Returns the state of each resource as the run left it.
fn states(listing: &[SnapshotEntry], run: &RunRecord) -> Vec<SnapshotEntry> {
    let then: Vec<SnapshotEntry> = listing
        .iter()
        .filter(|entry| entry.snapshot.set == run.set)
        .filter(|entry| entry.snapshot.finished <= run.finished)
        .cloned()
        .collect();
    let resources: BTreeSet<&ResourceId> = then
        .iter()
        .map(|entry| &entry.snapshot.resource.id)
        .collect();
    let newest = resources
        .into_iter()
        .filter_map(|id| choose_parent(&then, id));
    newest.cloned().collect()
}

/// Returns what is not protected as a whole: failed, without anything, or no longer selected.
fn whole_resources(
    listing: &[SnapshotEntry],
    states: &[SnapshotEntry],
    run: &RunRecord,
) -> Vec<Unprotected> {
    let whose: BTreeMap<&ResourceId, (&str, &str)> = listing
        .iter()
        .map(|entry| {
            let resource = &entry.snapshot.resource;
            (
                &resource.id,
                (resource.owner.as_str(), resource.service.as_str()),
            )
        })
        .collect();
    let one = |code, (owner, service): (&str, &str), reason: String| Unprotected {
        code,
        owner: owner.to_owned(),
        service: service.to_owned(),
        count: 1,
        reason,
        name: None,
    };
    let mut found = Vec::new();
    for (resource, cause) in &run.failed {
        let known = whose.get(resource).copied();
        let whose = known.unwrap_or((resource.as_str(), ""));
        found.push(one("failed", whose, cause.clone()));
    }
    for gap in &run.findings.gaps {
        let whose = (gap.owner.as_str(), gap.service.as_str());
        found.push(one("nothing-there", whose, gap.reason.clone()));
    }
    if !run.findings.part {
        let touched: BTreeSet<&ResourceId> = run
            .unchanged
            .iter()
            .chain(run.failed.iter().map(|(resource, _)| resource))
            .collect();
        let published: BTreeSet<_> = run.snapshots.iter().collect();
        for entry in states {
            let resource = &entry.snapshot.resource;
            if !published.contains(&entry.id)
                && entry.snapshot.run != run.run
                && !touched.contains(&resource.id)
            {
                let since = words::time(entry.snapshot.finished);
                let whose = (resource.owner.as_str(), resource.service.as_str());
                let reason = format!("last backed up at {since} UTC");
                found.push(one("not-selected", whose, reason));
            }
        }
    }
    found
}

/// Returns the items of a snapshot that are not stored, each or counted by reason.
async fn items(
    open: &OpenStore,
    entry: &SnapshotEntry,
    each: bool,
) -> Result<impl Iterator<Item = Unprotected> + use<>> {
    let resource = &entry.snapshot.resource;
    let mut found: BTreeMap<(&'static str, String, Option<String>), u64> = BTreeMap::new();
    let mut items = Browse::new(&open.store, &entry.snapshot).items();
    while let Some(item) = items.next().await {
        let item = item.map_err(open.failed("read"))?;
        if let Some((code, reason)) = why(&item) {
            let name = each.then(|| item.name.clone());
            *found.entry((code, reason, name)).or_default() += 1;
        }
    }
    let (owner, service) = (resource.owner.clone(), resource.service.to_string());
    Ok(found
        .into_iter()
        .map(move |((code, reason, name), count)| Unprotected {
            code,
            owner: owner.clone(),
            service: service.clone(),
            count,
            reason,
            name,
        }))
}

fn why(item: &Item) -> Option<(&'static str, String)> {
    match &item.state {
        ItemState::Stored => None,
        ItemState::Skipped { reason } => Some(("skipped", reason.clone())),
        ItemState::Quarantined {
            representation,
            cause,
        } => Some(("quarantined", format!("{representation}: {cause}"))),
        _ => Some(("unknown", "this version does not know why".to_owned())),
    }
}

fn show(out: &Output, run: &RunRecord, found: &[Unprotected], entries: u64) -> Result<Exit> {
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for one in found {
        *codes.entry(one.code).or_default() += one.count;
    }
    if out.is_json() {
        for one in found {
            out.object("unprotected", describe(one))?;
        }
        let mut fields = runs::describe(run);
        fields["items"] = json!(entries);
        fields["unprotected"] = json!(codes);
        out.object("summary", fields)?;
        return Ok(Exit::Complete);
    }
    out.line(&format!(
        "run {} of {} UTC: {}; {} in {}",
        short_id(&run.run.to_string()),
        words::time(run.started),
        run.outcome,
        words::counted(entries, "item"),
        words::counted(runs::resources(run), "resource"),
    ))?;
    for alarm in &run.findings.alarms {
        runs::warn(out, alarm);
    }
    if found.is_empty() {
        out.line("everything that was seen is protected")?;
        return Ok(Exit::Complete);
    }
    let named = found.iter().any(|one| one.name.is_some());
    let mut columns = vec![
        ("code", Align::Left),
        ("owner", Align::Left),
        ("service", Align::Left),
        ("count", Align::Right),
        ("reason", Align::Left),
    ];
    columns.extend(named.then_some(("name", Align::Left)));
    let mut table = Table::new(&columns);
    for one in found {
        let cells = [
            one.code.to_owned(),
            one.owner.clone(),
            one.service.clone(),
            words::count(one.count),
            one.reason.clone(),
        ];
        table.row(cells.into_iter().chain(one.name.clone()));
    }
    out.table(&table)?;
    let sums = codes
        .iter()
        .map(|(code, count)| format!("{} {code}", words::count(*count)));
    out.line(&format!(
        "not protected: {}",
        sums.collect::<Vec<_>>().join(", ")
    ))?;
    Ok(Exit::Complete)
}

fn describe(one: &Unprotected) -> Value {
    json!({
        "code": one.code,
        "owner": one.owner,
        "service": one.service,
        "count": one.count,
        "reason": one.reason,
        "name": one.name,
    })
}
