//! `demo`: the whole of the program on a simulated tenant, in one command, without any account.
//!
//! Exit 0 only if every comparison held: costs within their laws, every stored byte verified, and
//! what was restored equal to its source.

mod figures;
mod folder;
mod measure;
mod restoring;
mod show;
mod tenant;

use std::path::PathBuf;

use backup_engine::{RunOutcome, RunReport};
use backup_store::CheckDepth;
use clap::Args;

use crate::connect::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_store};
use crate::words;

use folder::Folder;
use measure::{Measured, Stage};

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  m365-backup demo
  m365-backup demo --users 100 --seed 7
  m365-backup demo --mail ~/Mail --files ~/Documents --keep ./demo")]
pub(crate) struct DemoArgs {
    /// How many users the simulated tenant has
    #[arg(
        long,
        value_name = "N",
        default_value_t = 25,
        value_parser = clap::value_parser!(u32).range(3..=10_000)
    )]
    pub(crate) users: u32,

    /// What the tenant is made from; the same seed gives the same tenant
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Keep the store in DIR, which must be new or empty
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,

    /// Fill the mailboxes with your own mail: a folder of .eml or mbox files
    #[arg(long, value_name = "DIR")]
    pub(crate) mail: Option<PathBuf>,

    /// Fill the drives with your own files
    #[arg(long, value_name = "DIR")]
    pub(crate) files: Option<PathBuf>,
}

/// One thing that the demo asserts.
#[derive(Debug)]
struct Check {
    name: &'static str,
    held: bool,
    detail: String,
}

/// Everything that the demo found out.
#[derive(Debug)]
struct Findings {
    users: u32,
    first: Measured,
    idle: Measured,
    incremental: Measured,
    changed_items: u64,
    stored_bytes: u64,
    verified: (u64, u64),
    restored_items: u64,
    mismatches: Vec<String>,
    /// A word that `find` finds in the store.
    word: String,
    checks: Vec<Check>,
    seconds: f64,
    peak_bytes: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(context: &Context, args: DemoArgs) -> Result<Exit> {
    let folder = Folder::create(args.keep.as_deref())?;
    let findings = tell_the_story(context, &args, &folder)
        .await
        .map_err(|failure| failure.cause(format!("what was made so far is in {folder}")))?;
    show::findings(&context.output, &findings, &folder)?;
    let failed = findings.checks.iter().filter(|check| !check.held).count();
    if failed == 0 {
        return Ok(Exit::Complete);
    }
    Err(Failure::new(
        Exit::Failed,
        format!(
            "the demo: {} did not hold",
            words::counted(failed as u64, "check")
        ),
    )
    .next("this is a defect of the program: please report it with the seed and the table"))
}

async fn tell_the_story(context: &Context, args: &DemoArgs, folder: &Folder) -> Result<Findings> {
    let started = tokio::time::Instant::now();
    let out = &context.output;
    show::step(out, "making a tenant")?;
    let tenant = tenant::generate(args)?;
    let store = folder.create_store().await?;
    let graph = tenant::client_of(&tenant)?;
    let stage = Stage {
        context,
        folder,
        store: &store,
        tenant: &tenant,
        graph: &graph,
    };

    show::step(out, "first backup")?;
    let first = stage.backup().await?;
    let stored_bytes = stage.stored_bytes().await?;
    show::step(out, "idle backup: nothing has changed")?;
    let idle = stage.backup().await?;
    let changes = tenant::change(&tenant, args.seed);
    show::step(
        out,
        "incremental backup: mail and files came, changed, moved and went",
    )?;
    let incremental = stage.backup().await?;

    show::step(out, "checking every byte")?;
    // What this process remembers must not help: the store is all that the next one will have.
    let store = folder.reopen_store().await?;
    let stage = Stage {
        store: &store,
        ..stage
    };
    let check = store
        .check(CheckDepth::AllData, &|_| {})
        .await
        .map_err(|error| from_store("check", folder.store().display(), &error))?;
    show::step(
        out,
        "restoring a mailbox and a drive to another user, and comparing",
    )?;
    let restored = restoring::run(&stage).await?;

    let mut checks = cost_checks(&first, &idle, &incremental, changes);
    checks.extend(completeness_checks([&first, &idle, &incremental]));
    checks.push(Check {
        name: "every stored byte reads back as it was written",
        held: check.is_clean() && check.items > 0,
        detail: check
            .problems
            .first()
            .map(ToString::to_string)
            .unwrap_or_default(),
    });
    checks.extend(restored.checks);
    Ok(Findings {
        users: args.users,
        first,
        idle,
        incremental,
        changed_items: changes,
        stored_bytes,
        verified: (check.items, check.bytes),
        restored_items: restored.items,
        mismatches: restored.mismatches,
        word: restored.word,
        checks,
        seconds: started.elapsed().as_secs_f64(),
        peak_bytes: figures::peak_memory(),
    })
}

/// The laws of what a run may cost, in billed requests.
///
/// *Source*: DESIGN section 8: idle at most feeds + 2 for each resource + 5; incremental 1.1 for
/// each changed item more.
fn cost_checks(
    first: &Measured,
    idle: &Measured,
    incremental: &Measured,
    changed: u64,
) -> Vec<Check> {
    let most_idle = idle.feeds + 2 * idle.resources + 5;
    let most = changed + changed / 10 + incremental.feeds + 2 * incremental.resources + 5;
    vec![
        Check {
            name: "the tenant is not empty",
            held: first.report.totals.stored > 0 && first.bytes > 0 && changed > 0,
            detail: String::new(),
        },
        Check {
            name: "an idle backup asks once for each feed",
            held: idle.requests <= most_idle,
            detail: format!("{} of at most {most_idle} requests", idle.requests),
        },
        Check {
            name: "an idle backup fetches and stores no content",
            held: idle.bytes == 0 && idle.new_packs == 0,
            detail: format!("{} bytes, {} packs", idle.bytes, idle.new_packs),
        },
        Check {
            name: "an incremental backup fetches what changed, and no more",
            held: incremental.requests <= most,
            detail: format!("{} of at most {most} requests", incremental.requests),
        },
    ]
}

fn completeness_checks(runs: [&Measured; 3]) -> Vec<Check> {
    let whole = |report: &RunReport| report.outcome == RunOutcome::Complete;
    let broken = runs.iter().find(|run| !whole(&run.report));
    let wrong = runs.iter().find(|run| !run.report.totals.check());
    let detail = |run: Option<&&Measured>| {
        run.map(|run| format!("{}: {:?}", run.report.outcome.as_str(), run.report.totals))
    };
    vec![
        Check {
            name: "every backup is complete, with nothing in quarantine",
            held: broken.is_none(),
            detail: detail(broken).unwrap_or_default(),
        },
        Check {
            name: "seen = stored + unchanged + skipped + quarantined",
            held: wrong.is_none(),
            detail: detail(wrong).unwrap_or_default(),
        },
    ]
}
