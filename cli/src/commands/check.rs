//! `check`: verifies that everything in a store can be read.

use backup_store::CheckDepth;
use serde_json::json;

use crate::args::CheckArgs;
use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
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
    let report = open
        .store
        .check(depth, &|progress| bar.advance(&progress))
        .await
        .map_err(open.failed("check"))?;
    bar.finish();

    let out = &context.output;
    for problem in &report.problems {
        let text = problem.to_string();
        if out.is_json() {
            out.object("problem", json!({ "problem": text }))?;
        } else {
            out.line(&printable(&format!("damaged: {text}")))?;
        }
    }
    let (snapshots, items, chunks, bytes) =
        (report.snapshots, report.items, report.chunks, report.bytes);
    if out.is_json() {
        out.object(
            "summary",
            json!({
                "all_data": args.all_data,
                "snapshots": snapshots,
                "items": items,
                "chunks": chunks,
                "bytes": bytes,
                "problems": report.problems.len(),
            }),
        )?;
    } else {
        let done = if args.all_data {
            "read and verified"
        } else {
            "structure verified"
        };
        out.line(&format!(
            "{done}: {}, {}, {} ({})",
            words::counted(snapshots, "snapshot"),
            words::counted(items, "item"),
            words::counted(chunks, "chunk"),
            words::bytes(bytes),
        ))?;
    }
    match report.problems.len() {
        0 => Ok(Exit::Complete),
        count => Err(Failure::new(
            Exit::Failed,
            format!(
                "the store in {} has {}",
                open.place.display(),
                words::counted(count as u64, "problem"),
            ),
        )
        .next(
            "keep the store as it is, and make a new backup into a new store; everything that is \
             not named above can still be restored",
        )),
    }
}
