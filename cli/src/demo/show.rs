//! What the demo prints: the steps, the table, the checks, and what to try next.

use std::path::Path;

use serde_json::{Value, json};

use super::Findings;
use super::figures::ratio;
use super::folder::Folder;
use super::measure::Measured;
use crate::failure::Result;
use crate::output::Output;
use crate::table::{Align, Table, printable};
use crate::words;

/// Says which step begins.
pub(super) fn step(out: &Output, what: &str) -> Result<()> {
    if out.is_json() {
        return out.object("step", json!({ "step": what }));
    }
    out.note(&format!("- {what}"));
    Ok(())
}

/// Prints what the demo found out.
pub(super) fn findings(out: &Output, found: &Findings, folder: &Folder) -> Result<()> {
    folder.tidy()?;
    if out.is_json() {
        return out.object("summary", as_json(found, folder));
    }
    out.line("")?;
    out.table(&runs(found))?;
    out.line("")?;
    out.table(&sizes(found))?;
    out.line("")?;
    for check in &found.checks {
        let mark = if check.held { "ok    " } else { "FAILED" };
        let detail = if check.detail.is_empty() {
            String::new()
        } else {
            format!(": {}", check.detail)
        };
        out.line(&printable(&format!("{mark}  {}{detail}", check.name)))?;
    }
    for mismatch in found.mismatches.iter().take(MISMATCHES_SHOWN) {
        out.line(&printable(&format!("differs: {mismatch}")))?;
    }
    out.line("")?;
    out.line(&format!("The store is in {}", folder.store().display()))?;
    out.line(&format!(
        "Its passphrase is in {}",
        folder.passphrase().display()
    ))?;
    out.line("Try next, without any tenant:")?;
    commands(found, folder)
        .iter()
        .try_for_each(|command| out.line(&format!("  {command}")))
}

const MISMATCHES_SHOWN: usize = 20;

fn runs(found: &Findings) -> Table {
    let mut table = Table::new(&[
        ("", Align::Left),
        ("items", Align::Right),
        ("requests", Align::Right),
        ("per item", Align::Right),
        ("fetched", Align::Right),
        ("time", Align::Right),
    ]);
    let changed = found.changed_items;
    let rows = [
        ("first backup", &found.first, found.first.report.totals.seen),
        ("idle backup", &found.idle, 0),
        ("incremental", &found.incremental, changed),
    ];
    for (name, run, items) in rows {
        let Measured {
            requests,
            bytes,
            seconds,
            ..
        } = run;
        table.row([
            name.to_owned(),
            words::count(items),
            words::count(*requests),
            ratio(*requests, items),
            words::bytes(*bytes),
            format!("{seconds:.1} s"),
        ]);
    }
    table
}

fn sizes(found: &Findings) -> Table {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let peak = found
        .peak_bytes
        .map_or("not known here".to_owned(), words::bytes);
    let (items, bytes) = found.verified;
    let rows = [
        ("users", words::count(u64::from(found.users))),
        ("bytes logical", words::bytes(found.first.bytes)),
        (
            "bytes stored",
            format!(
                "{} ({} of logical)",
                words::bytes(found.stored_bytes),
                ratio(found.stored_bytes, found.first.bytes),
            ),
        ),
        (
            "verified",
            format!(
                "{}, {}",
                words::counted(items, "item record"),
                words::bytes(bytes)
            ),
        ),
        ("restored", words::counted(found.restored_items, "item")),
        ("different", words::count(found.mismatches.len() as u64)),
        ("time in all", format!("{:.1} s", found.seconds)),
        ("peak memory", peak),
    ];
    for (name, value) in rows {
        table.row([name.to_owned(), value]);
    }
    table
}

fn as_json(found: &Findings, folder: &Folder) -> Value {
    json!({
        "users": found.users,
        "items": found.first.report.totals.seen,
        "logical_bytes": found.first.bytes,
        "stored_bytes": found.stored_bytes,
        "first": {
            "requests": found.first.requests,
            "seconds": found.first.seconds,
        },
        "idle": {
            "requests": found.idle.requests,
            "feeds": found.idle.feeds,
            "resources": found.idle.resources,
            "content_bytes": found.idle.bytes,
            "new_packs": found.idle.new_packs,
        },
        "incremental": {
            "changed_items": found.changed_items,
            "feeds": found.incremental.feeds,
            "resources": found.incremental.resources,
            "requests": found.incremental.requests,
            "seconds": found.incremental.seconds,
        },
        "verified_items": found.verified.0,
        "verified_bytes": found.verified.1,
        "restored_items": found.restored_items,
        "mismatches": found.mismatches.len(),
        "peak_rss_bytes": found.peak_bytes,
        "seconds": found.seconds,
        "checks": found.checks.iter().map(|check| json!({
            "name": check.name,
            "held": check.held,
            "detail": check.detail,
        })).collect::<Vec<_>>(),
        "store": folder.store(),
        "passphrase_file": folder.passphrase(),
        "try_next": commands(found, folder),
    })
}

/// Returns three commands that work on the demo's store, ready to paste.
fn commands(found: &Findings, folder: &Folder) -> [String; 3] {
    let store = quote(folder.store());
    let passphrase = quote(folder.passphrase());
    let program = program();
    let command = |name: &str, rest: &str| {
        format!("{program} {name} --store {store} --passphrase-file {passphrase}{rest}")
    };
    [
        command("snapshots", " --latest"),
        command("find", &format!(" {}", found.word)),
        command("check", " --all-data"),
    ]
}

/// Returns what to type to run this program again: its path, unless it was found by its name.
fn program() -> String {
    let typed = std::env::args_os().next().unwrap_or_default();
    if Path::new(&typed).components().count() <= 1 {
        return "m365-backup".to_owned();
    }
    std::env::current_exe().map_or_else(|_| "m365-backup".to_owned(), |path| quote(&path))
}

/// Quotes a path for a shell, where it needs it.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/\\.:_-".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::quote;

    #[test]
    fn a_path_is_quoted_only_where_a_shell_needs_it() {
        assert_eq!(
            quote(Path::new("/tmp/m365-backup-demo-1/store")),
            "/tmp/m365-backup-demo-1/store"
        );
        assert_eq!(quote(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }
}
