//! What a restore will do, and what it did, in words or as JSON.

use restore_engine::{RestorePlan, RestoreReport};
use serde_json::json;

use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::table::printable;
use crate::words;

/// Shows a plan.
pub(super) fn plan(out: &Output, plan: &RestorePlan) -> Result<()> {
    if out.is_json() {
        let plan = serde_json::to_value(plan).map_err(|error| {
            Failure::new(Exit::Failed, "cannot write the plan as JSON").because(&error)
        })?;
        return out.object("plan", json!({ "plan": plan }));
    }
    plan.to_string()
        .lines()
        .try_for_each(|line| out.line(&printable(line)))
}

/// Says that nothing was written, and why.
pub(super) fn nothing_written(out: &Output, dry_run: bool) -> Result<()> {
    if out.is_json() {
        return out.object("summary", json!({ "dry_run": dry_run, "written": 0 }));
    }
    out.note(if dry_run {
        "nothing was written: this was a dry run"
    } else {
        "nothing needs to be written"
    });
    Ok(())
}

/// Shows what became of a plan.
pub(super) fn done(out: &Output, plan: &RestorePlan, report: &RestoreReport) -> Result<()> {
    if out.is_json() {
        return out.object("summary", report);
    }
    let lists = [
        ("failed", &report.failures),
        ("failed", &report.container_failures),
        ("differs", &report.mismatches),
        ("not read back", &report.unread),
    ];
    for (word, details) in lists {
        for detail in details {
            let text = format!("{word}: {}/{}: {}", detail.path, detail.name, detail.cause);
            out.line(&printable(&text))?;
        }
    }
    out.line(&format!(
        "restored to {}: {} written, {} skipped, {} failed; {} read back, {} different; {}",
        plan.place.owner,
        words::counted(report.written, "item"),
        words::count(report.skipped),
        words::count(report.failed),
        words::count(report.verified),
        words::count(report.mismatched),
        words::bytes(report.bytes),
    ))?;
    if report.unverified > 0 {
        out.note(&format!(
            "{} could not be read back; run the same command again to verify",
            words::counted(report.unverified, "item"),
        ));
    }
    if report.remaining > 0 {
        out.note(&format!(
            "{} are left; run the same command again, nothing is written twice",
            words::counted(report.remaining, "item"),
        ));
    }
    Ok(())
}
