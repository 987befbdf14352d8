//! `retention`: says which snapshots the policy of the set keeps and why, and forgets the others.

use std::collections::BTreeMap;
use std::time::Duration;

use backup_engine::{RetentionPlan, RetentionPolicy, plan_retention};
use backup_store::catalog::SnapshotEntry;
use serde_json::json;

use super::prune::prune;
use crate::args::{RetentionArgs, RetentionCommand};
use crate::commands::snapshots::short_id;
use crate::config::{Config, Retention};
use crate::connect::{Context, OpenStore};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::table::{Align, Table};
use crate::{pins, words};

/// Runs the command.
pub(crate) async fn run(context: &Context, args: RetentionArgs) -> Result<Exit> {
    let config = context.required_config()?;
    let open = context.open_store(Some(&config)).await?;
    let (entries, plan) = plan(&config, &open).await?;
    match args.command {
        RetentionCommand::Plan => {
            show(&context.output, &entries, &plan)?;
            Ok(Exit::Complete)
        }
        RetentionCommand::Apply(how) => {
            if !context.output.is_json() && (how.dry_run || !how.yes) {
                show(&context.output, &entries, &plan)?;
            }
            let forget = plan.forgotten().collect();
            prune(context, Some(&config), &open, &how, forget).await
        }
    }
}

async fn plan(config: &Config, open: &OpenStore) -> Result<(Vec<SnapshotEntry>, RetentionPlan)> {
    let policy = policy(&config.retention);
    if policy.keeps_everything() {
        let message = format!("the set {} has no retention policy", config.name);
        return Err(Failure::usage(message).next(
            "write one into the config, such as [retention] daily = 30; without one every \
             snapshot is kept",
        ));
    }
    // Snapshots of other sets in the same store follow their own policy.
    let mut entries = open.snapshots().await?;
    entries.retain(|entry| entry.snapshot.set == config.name);
    let pins = pins::pinned(config, open, &entries).await?;
    let now = open.store.environment().now();
    let plan = plan_retention(&entries, &policy, &pins, now);
    Ok((entries, plan))
}

fn policy(retention: &Retention) -> RetentionPolicy {
    let days = |days: u32| Duration::from_secs(u64::from(days) * 24 * 3600);
    RetentionPolicy {
        keep_last: retention.keep_last,
        keep_within: (retention.keep_within_days > 0).then(|| days(retention.keep_within_days)),
        hourly: retention.hourly,
        daily: retention.daily,
        weekly: retention.weekly,
        monthly: retention.monthly,
        yearly: retention.yearly,
    }
}

fn show(out: &Output, entries: &[SnapshotEntry], plan: &RetentionPlan) -> Result<()> {
    let owners: BTreeMap<_, _> = entries
        .iter()
        .map(|entry| (entry.id, &entry.snapshot.resource))
        .collect();
    let reasons = |kept: &[backup_engine::KeepReason]| {
        let words: Vec<String> = kept.iter().map(ToString::to_string).collect();
        words.join(", ")
    };
    let (kept, forgotten) = (plan.kept().count(), plan.forgotten().count());
    if out.is_json() {
        for one in &plan.decisions {
            let fields = json!({
                "snapshot": one.snapshot.to_string(),
                "resource": one.resource.as_str(),
                "finished": one.finished.to_string(),
                "kept": one.kept.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            out.object("decision", fields)?;
        }
        return out.object("summary", json!({ "kept": kept, "forgotten": forgotten }));
    }
    let mut table = Table::new(&[
        ("snapshot", Align::Left),
        ("finished (UTC)", Align::Left),
        ("owner", Align::Left),
        ("service", Align::Left),
        ("", Align::Left),
        ("why", Align::Left),
    ]);
    for one in &plan.decisions {
        let resource = owners.get(&one.snapshot);
        table.row([
            short_id(&one.snapshot.to_string()),
            words::time(one.finished),
            resource.map(|it| it.owner.clone()).unwrap_or_default(),
            resource
                .map(|it| it.service.to_string())
                .unwrap_or_default(),
            if one.kept.is_empty() {
                "forget"
            } else {
                "keep"
            }
            .to_owned(),
            reasons(&one.kept),
        ]);
    }
    out.table(&table)?;
    out.line(&format!(
        "{} kept, {} forgotten",
        words::counted(kept as u64, "snapshot"),
        words::count(forgotten as u64)
    ))
}
