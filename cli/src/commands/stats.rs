//! `stats`: measures what a store holds and takes.

use backup_store::{ResourceStats, SnapshotStats, StatsOptions, StatsReport};
use serde_json::{Value, json};

use crate::args::StatsArgs;
use crate::commands::snapshots::short_id;
use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::Output;
use crate::progress::Ticker;
use crate::table::{Align, Table};
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: StatsArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let options = StatsOptions {
        exclusive: args.exclusive,
    };
    let ticker = Ticker::new(&context.output);
    let tell = |progress: backup_store::StatsProgress| {
        ticker.show(&format!(
            "{}, {}",
            words::counted(progress.snapshots, "snapshot"),
            words::counted(progress.items, "item")
        ));
    };
    let measured = open.store.stats(options, &tell).await;
    ticker.finish();
    let report = measured.map_err(open.failed("measure"))?;
    let out = &context.output;
    if out.is_json() {
        as_objects(out, &report, args.snapshots)?;
    } else {
        if args.snapshots {
            snapshots(out, &report, args.exclusive)?;
        } else {
            resources(out, &report)?;
        }
        summary(out, &report)?;
    }
    if report.unreadable > 0 {
        out.warn(&format!(
            "{} could not be read, and the figures lack what is in them; \
             see: m365-backup check",
            words::counted(report.unreadable, "snapshot set or tree")
        ));
    }
    Ok(Exit::Complete)
}

fn resources(out: &Output, report: &StatsReport) -> Result<()> {
    let mut table = Table::new(&[
        ("resource", Align::Left),
        ("snapshots", Align::Right),
        ("items", Align::Right),
        ("logical", Align::Right),
        ("unique", Align::Right),
        ("stored", Align::Right),
    ]);
    for ResourceStats {
        id,
        snapshots,
        items,
        sizes,
    } in &report.resources
    {
        table.row([
            id.as_str().to_owned(),
            words::count(*snapshots),
            words::count(*items),
            words::bytes(sizes.logical),
            words::bytes(sizes.unique),
            words::bytes(sizes.stored),
        ]);
    }
    out.table(&table)
}

fn snapshots(out: &Output, report: &StatsReport, exclusive: bool) -> Result<()> {
    let mut columns = vec![
        ("id", Align::Left),
        ("finished (UTC)", Align::Left),
        ("resource", Align::Left),
        ("items", Align::Right),
        ("logical", Align::Right),
        ("added", Align::Right),
    ];
    if exclusive {
        columns.push(("exclusive", Align::Right));
    }
    let mut table = Table::new(&columns);
    for snapshot in &report.snapshots {
        table.row([
            short_id(&snapshot.id.to_string()),
            words::time(snapshot.finished),
            snapshot.resource.as_str().to_owned(),
            words::count(snapshot.items),
            words::bytes(snapshot.logical),
            words::bytes(snapshot.added),
            snapshot.exclusive.map(words::bytes).unwrap_or_default(),
        ]);
    }
    out.table(&table)
}

fn summary(out: &Output, report: &StatsReport) -> Result<()> {
    let sizes = &report.sizes;
    out.line("")?;
    out.line(&format!(
        "{} as restored, {} of them unique ({:.2} to 1), {} stored ({:.2} to 1)",
        words::bytes(sizes.logical),
        words::bytes(sizes.unique),
        sizes.dedup_ratio(),
        words::bytes(sizes.stored),
        sizes.compression_ratio(),
    ))?;
    out.line(&format!(
        "{} in the store: {} of {}, {} of {}, {} of snapshot sets, {} of the rest",
        words::bytes(report.total_bytes()),
        words::bytes(report.packs.bytes),
        words::counted(report.packs.objects, "pack"),
        words::bytes(report.segments.bytes),
        words::counted(report.segments.objects, "segment"),
        words::bytes(report.snapshot_sets.bytes),
        words::bytes(report.other.bytes),
    ))
}

fn as_objects(out: &Output, report: &StatsReport, with_snapshots: bool) -> Result<()> {
    for resource in &report.resources {
        let mut object = sizes(&resource.sizes);
        object["resource"] = json!(resource.id.as_str());
        object["snapshots"] = json!(resource.snapshots);
        object["items"] = json!(resource.items);
        out.object("resource", object)?;
    }
    for snapshot in report.snapshots.iter().filter(|_| with_snapshots) {
        out.object("snapshot", describe(snapshot))?;
    }
    let mut object = sizes(&report.sizes);
    object["total_bytes"] = json!(report.total_bytes());
    object["pack_bytes"] = json!(report.packs.bytes);
    object["packs"] = json!(report.packs.objects);
    object["segment_bytes"] = json!(report.segments.bytes);
    object["segments"] = json!(report.segments.objects);
    object["snapshot_set_bytes"] = json!(report.snapshot_sets.bytes);
    object["other_bytes"] = json!(report.other.bytes);
    object["unreadable"] = json!(report.unreadable);
    out.object("summary", object)
}

fn sizes(sizes: &backup_store::Sizes) -> Value {
    json!({
        "logical_bytes": sizes.logical,
        "unique_bytes": sizes.unique,
        "stored_bytes": sizes.stored,
    })
}

fn describe(snapshot: &SnapshotStats) -> Value {
    json!({
        "id": snapshot.id.to_string(),
        "resource": snapshot.resource.as_str(),
        "finished": snapshot.finished.to_string(),
        "items": snapshot.items,
        "logical_bytes": snapshot.logical,
        "added_bytes": snapshot.added,
        "exclusive_bytes": snapshot.exclusive,
    })
}
