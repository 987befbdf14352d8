//! `check`: verifies that everything in a store can be read.

use backup_store::{CheckDepth, CheckReport, Problem, SampleReport, Share};
use serde_json::{Value, json};

use crate::args::CheckArgs;
use crate::commands::snapshots::short_id;
use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::progress::{Ticker, show_check};
use crate::table::printable;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: CheckArgs) -> Result<Exit> {
    let config = context.config()?;
    let open = context.open_store(config.as_ref()).await?;
    let depth = depth(&args)?;
    let ticker = Ticker::new(&context.output);
    let result = open
        .store
        .check(depth, &|progress| show_check(&ticker, &progress))
        .await;
    ticker.finish();
    let report = result.map_err(open.failed("check"))?;
    show(&context.output, &report, depth)?;
    if report.is_clean() {
        return Ok(Exit::Complete);
    }
    let count = words::counted(problems(&report), "problem");
    let message = format!("the store in {} has {count}", open.place);
    Err(Failure::new(Exit::Failed, message).next(
        "keep the store as it is, and make a new backup into a new store; what is not named \
         above can still be restored",
    ))
}

fn depth(args: &CheckArgs) -> Result<CheckDepth> {
    Ok(match args.sample {
        Some(percent) => CheckDepth::Sample(Share::percent(percent).map_err(|error| {
            Failure::usage("that is no share to check")
                .because(&error)
                .next("give a number of percent, as in --sample 2")
        })?),
        None if args.contents => CheckDepth::Contents,
        None if args.all_data => CheckDepth::AllData,
        None => CheckDepth::Structure,
    })
}

fn show(out: &Output, report: &CheckReport, depth: CheckDepth) -> Result<()> {
    for problem in &report.problems {
        if out.is_json() {
            out.object("problem", describe(problem))?;
        } else {
            show_problem(out, problem)?;
        }
    }
    for remark in &report.remarks {
        if out.is_json() {
            let fields =
                json!({ "object": remark.object.as_str(), "remark": remark.kind.as_str() });
            out.object("remark", fields)?;
        } else {
            out.note(&printable(&remark.to_string()));
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
                "all_data": matches!(depth, CheckDepth::AllData | CheckDepth::Contents),
                "blocks": report.blocks,
                "read_bytes": report.read_bytes,
                "sample": report.sample.as_ref().map(describe_sample),
                "unreferenced_packs": report.unreferenced.map(|unneeded| unneeded.packs),
                "snapshots": snapshots,
                "items": items,
                "chunks": chunks,
                "bytes": bytes,
                "problems": problems(report),
            }),
        );
    }
    let done = match depth {
        CheckDepth::AllData => "every byte read",
        CheckDepth::Contents => "every content read",
        CheckDepth::Sample(_) => "structure and a sample read",
        _ => "structure read",
    };
    if let Some(sample) = &report.sample {
        show_sample(out, sample)?;
    }
    out.line(&format!(
        "{done}: {}, {}, {} ({}); {}",
        words::counted(*snapshots, "snapshot"),
        words::counted(*items, "item"),
        words::counted(*chunks, "chunk"),
        words::bytes(*bytes),
        words::counted(problems(report), "problem"),
    ))
}

/// Damage of this share of the blocks, or more, is what a sample should meet.
const NOTABLE_SHARE: f64 = 0.01;

fn show_sample(out: &Output, sample: &SampleReport) -> Result<()> {
    let oldest = sample.oldest.map_or_else(
        || "some packs were never read from".to_owned(),
        |time| format!("every pack was read from since {}", words::time(time)),
    );
    out.line(&format!(
        "sample: {} of {}; had one block in a hundred been damaged, it would have met one with \
         {:.1} % certainty; {} were read by this and earlier samples; {oldest}",
        words::counted(sample.read, "block"),
        words::count(sample.blocks),
        sample.confidence(NOTABLE_SHARE) * 100.0,
        words::count(sample.covered),
    ))
}

fn describe_sample(sample: &SampleReport) -> Value {
    json!({
        "blocks": sample.blocks,
        "read": sample.read,
        "covered": sample.covered,
        "confidence": sample.confidence(NOTABLE_SHARE),
        "damaged_share": NOTABLE_SHARE,
        "oldest": sample.oldest.map(|time| time.to_string()),
    })
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
