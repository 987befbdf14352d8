//! `check`: verifies that everything in a store can be read.

use backup_store::{CheckDepth, CheckReport, Problem};
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::commands::snapshots::short_id;
use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::CheckBar;
use crate::table::printable;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: CheckArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let depth = if args.all_data {
        CheckDepth::AllData
    } else {
        CheckDepth::Structure
    };
    let bar = CheckBar::new(&context.output);
    let result = open
        .store
        .check(depth, &|progress| bar.advance(&progress))
        .await;
    bar.finish();
    let report = result.map_err(open.failed("check"))?;
    show(&context.output, &report, args.all_data)?;
    if report.is_clean() {
        return Ok(Exit::Complete);
    }
    let count = words::counted(problems(&report), "problem");
    let message = format!("the store in {} has {count}", open.place.display());
    Err(Failure::new(Exit::Failed, message).next(
        "keep the store as it is, and make a new backup into a new store; what is not named \
         above can still be restored",
    ))
}

fn show(out: &Output, report: &CheckReport, all_data: bool) -> Result<()> {
    for problem in &report.problems {
        if out.is_json() {
            out.object("problem", describe(problem))?;
        } else {
            show_problem(out, problem)?;
        }
    }
    let CheckReport {
        snapshots,
        items,
        chunks,
        bytes,
        ..
    } = report;
    if out.is_json() {
        return out.object(
            "summary",
            json!({
                "all_data": all_data,
                "snapshots": snapshots,
                "items": items,
                "chunks": chunks,
                "bytes": bytes,
                "problems": problems(report),
            }),
        );
    }
    let done = if all_data {
        "every byte read"
    } else {
        "structure read"
    };
    out.line(&format!(
        "{done}: {}, {}, {} ({}); {}",
        words::counted(*snapshots, "snapshot"),
        words::counted(*items, "item"),
        words::counted(*chunks, "chunk"),
        words::bytes(*bytes),
        words::counted(problems(report), "problem"),
    ))
}

fn show_problem(out: &Output, problem: &Problem) -> Result<()> {
    out.line(&printable(&format!("damaged: {problem}")))?;
    for dependent in &problem.dependents {
        let id = short_id(&dependent.snapshot.to_string());
        let what = dependent.name.as_deref().unwrap_or("all of it");
        let line = format!("  concerns {}, snapshot {id}: {what}", dependent.resource);
        out.line(&printable(&line))?;
    }
    if problem.more_dependents > 0 {
        out.line(&format!(
            "  and {} more",
            words::count(problem.more_dependents)
        ))?;
    }
    Ok(())
}

fn describe(problem: &Problem) -> Value {
    let dependents: Vec<Value> = problem
        .dependents
        .iter()
        .map(|dependent| {
            json!({
                "resource": dependent.resource.as_str(),
                "snapshot": dependent.snapshot.to_string(),
                "item": dependent.item.as_ref().map(|key| &key.id),
                "name": dependent.name,
            })
        })
        .collect();
    json!({
        "object": problem.object,
        "cause": problem.cause,
        "dependents": dependents,
        "more_dependents": problem.more_dependents,
    })
}

fn problems(report: &CheckReport) -> u64 {
    report.problems.len() as u64 + report.more_problems
}
