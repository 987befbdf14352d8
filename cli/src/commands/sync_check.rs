//! `sync-check`: compares the whole tenant with the catalog, and repairs what differs.

use backup_engine::{RunReport, SyncCheck};
use backup_store::catalog::Drift;
use serde_json::json;

use super::backup;
use crate::args::SyncCheckArgs;
use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::output::Output;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: SyncCheckArgs) -> Result<Exit> {
    let check = if args.dry_run {
        SyncCheck::Report
    } else {
        SyncCheck::Repair
    };
    let config = context.required_config()?;
    let open = context.open_store(Some(&config)).await?;
    backup::run_with(context, &config, &open, &args.part, Some(check)).await
}

/// Says what the check of a run found.
pub(crate) fn show(out: &Output, report: &RunReport) -> Result<()> {
    if out.is_json() {
        return Ok(());
    }
    let Some(drift) = &report.drift else {
        out.warn("the Data Synchronization Check could not be made of everything; run it again");
        return Ok(());
    };
    let Drift {
        listed,
        missing,
        stale,
        surplus,
        surplus_bytes,
        containers,
        proved,
        disproved,
        repaired,
    } = *drift;
    let end = match (drift.is_none(), repaired) {
        (true, _) => "catalog and service agree",
        (false, true) => "repaired",
        (false, false) => "nothing was repaired",
    };
    out.line(&format!(
        "drift: {} compared with the catalog: {} not in it, {} out of date, {} no longer in the \
         service ({}), {} different; {}; {end}",
        words::counted(listed, "listed item"),
        words::count(missing),
        words::count(stale),
        words::count(surplus),
        words::bytes(surplus_bytes),
        words::counted(containers, "folder"),
        match proved {
            0 => "no assumed content was due to be proved".to_owned(),
            _ => format!(
                "{} fetched as proof, {} not as assumed",
                words::counted(proved, "assumed content"),
                words::count(disproved),
            ),
        },
    ))
}

/// Returns what a check found as an object for `--json`.
pub(crate) fn describe(drift: &Drift) -> serde_json::Value {
    json!({
        "listed": drift.listed,
        "missing": drift.missing,
        "stale": drift.stale,
        "surplus": drift.surplus,
        "surplus_bytes": drift.surplus_bytes,
        "containers": drift.containers,
        "proved": drift.proved,
        "disproved": drift.disproved,
        "repaired": drift.repaired,
    })
}
