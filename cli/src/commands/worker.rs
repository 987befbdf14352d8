//! `worker`: does a part of a set's run, together with other workers, here and on other machines.

use std::time::Duration;

use backup_engine::RunOutcome;

use super::backup::{self, Backup};
use super::due::{Due, due};
use crate::args::{PartArgs, WorkerArgs};
use crate::connect::Context;
use crate::coordination::Seat;
use crate::exit::Exit;
use crate::failure::Result;
use crate::words;

/// Runs the command.
pub(crate) async fn run(context: &Context, args: WorkerArgs) -> Result<Exit> {
    let config = context.required_config()?;
    let open = context.open_store(Some(&config)).await?;
    let seat = Seat::of_worker(&config, &open)?;
    let backup = Backup {
        context,
        config: &config,
        open: &open,
        part: &PartArgs::default(),
        check: None,
        seat: &seat,
    };
    loop {
        if args.watch {
            wait_until_due(&backup).await?;
            if context.stop.is_requested() {
                return Ok(Exit::Complete);
            }
        }
        let report = backup.run().await?;
        if let Some(standing) = report.standing.filter(|_| !context.output.is_json()) {
            context.output.line(&format!(
                "the set is done: {} by all workers, {} failed",
                words::counted(standing.done + standing.failed, "resource"),
                words::count(standing.failed),
            ))?;
        }
        let failed = report.standing.is_some_and(|standing| standing.failed > 0);
        if !args.watch || report.outcome == RunOutcome::Interrupted {
            return Ok(match backup::exit(&report) {
                Exit::Complete | Exit::Quarantined if failed => Exit::Partial,
                exit => exit,
            });
        }
    }
}

/// Waits until the schedule asks for a run, or the program is asked to stop.
async fn wait_until_due(backup: &Backup<'_>) -> Result<()> {
    let mut announced = false;
    loop {
        let Due::At(at) = due(backup.open, backup.config).await?.backup else {
            return Ok(());
        };
        let now = backup.open.store.environment().now();
        let left = at.as_millis().saturating_sub(now.as_millis());
        let Ok(left @ 1..) = u64::try_from(left) else {
            return Ok(());
        };
        if !std::mem::replace(&mut announced, true) {
            let note = format!("the next backup is due at {} UTC", words::time(at));
            backup.context.output.note(&note);
        }
        // Another machine may have made the backup meanwhile: look again now and then.
        let wait = Duration::from_millis(left).min(LOOK_AGAIN);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = backup.context.stop.requested() => return Ok(()),
        }
    }
}

const LOOK_AGAIN: Duration = Duration::from_secs(60);
