//! The restores of the demo: one mailbox and one drive to another user, compared with their source.

use backup_store::catalog::{Browse, ResourceKind, Service, SnapshotEntry};
use m365_auth::Scheduler;
use m365_simulator::compare::{self, Comparison};
use restore_engine::{Destination, NoObserver, RestoreJournal, RestoreOutcome, RestoreRequest};

use super::Check;
use super::measure::Stage;
use crate::commands::restore::target;
use crate::exit::Exit;
use crate::failure::{Failure, Result, from_restore, from_store};
use crate::snapshots;

/// What came of the restores.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) items: u64,
    pub(super) mismatches: Vec<String>,
    /// A word that occurs in a subject.
    pub(super) word: String,
    pub(super) checks: Vec<Check>,
}

/// Restores the largest mailbox and the largest drive, each to another user.
pub(super) async fn run(stage: &Stage<'_>) -> Result<Restored> {
    let all = stage.store.snapshots().await;
    let all = all.map_err(|error| from_store("read", stage.folder.store().display(), &error))?;
    let newest = snapshots::newest(&all);
    let word = searchable(stage, &newest).await?;
    let (mail, mail_report) = restore(stage, &newest, &Service::Outlook).await?;
    let (files, file_report) = restore(stage, &newest, &Service::OneDrive).await?;
    let mut mismatches = mail.mismatches;
    mismatches.extend(files.mismatches);
    let both = [("mail", &mail_report), ("files", &file_report)];
    let unfinished = both.iter().find(|(_, report)| {
        report.outcome != RestoreOutcome::Complete || !report.check() || report.mismatched > 0
    });
    let written = mail_report.written + file_report.written;
    let compared = mail.compared + files.compared;
    let checks = vec![
        Check {
            name: "everything planned is restored and reads back equal",
            held: unfinished.is_none() && mail_report.written > 0 && file_report.written > 0,
            detail: unfinished
                .map(|(name, report)| format!("{name}: {report:?}"))
                .unwrap_or_default(),
        },
        Check {
            name: "what was restored equals its source, field by field",
            held: mismatches.is_empty()
                && compared >= written
                && mail.compared > 0
                && files.compared > 0,
            detail: match mismatches.first() {
                Some(first) => first.clone(),
                None => format!("{compared} compared, {written} written"),
            },
        },
    ];
    Ok(Restored {
        items: written,
        mismatches,
        word,
        checks,
    })
}

async fn restore(
    stage: &Stage<'_>,
    newest: &[SnapshotEntry],
    service: &Service,
) -> Result<(Comparison, restore_engine::RestoreReport)> {
    let (source, to) = choose(newest, service)?;
    let owner = source.snapshot.resource.owner.clone();
    let request = RestoreRequest {
        destination: Destination::Owner(to.clone()),
        into_folder: Some(INTO.to_owned()),
        ..RestoreRequest::everything(source)
    };
    let explain = |doing: &'static str| {
        move |error| from_restore(doing, stage.folder.store().display(), &error)
    };
    let target = target(stage.graph, &Scheduler::default(), &request)?;
    let plan = restore_engine::plan(stage.store, &request, target.as_ref())
        .await
        .map_err(explain("plan the restore"))?;
    let journal = RestoreJournal::open(stage.folder.state(), stage.store)
        .await
        .map_err(explain("open the restore journal"))?;
    let stop = &stage.context.stop;
    let report = restore_engine::execute(
        stage.store,
        &plan,
        target.as_ref(),
        &journal,
        &NoObserver,
        stop,
    )
    .await
    .map_err(explain("restore"))?;
    let comparison = match service {
        Service::Outlook => compare::mailbox(stage.tenant, &owner, &to, Some(INTO)),
        _ => compare::drive(stage.tenant, &owner, &to, Some(INTO)),
    };
    Ok((comparison, report))
}

/// Picks the largest resource of a person, and somebody else who has one too.
fn choose(newest: &[SnapshotEntry], service: &Service) -> Result<(SnapshotEntry, String)> {
    let mut candidates: Vec<&SnapshotEntry> = newest
        .iter()
        .filter(|entry| {
            let resource = &entry.snapshot.resource;
            resource.service == *service
                && matches!(
                    resource.kind,
                    ResourceKind::UserMailbox | ResourceKind::Drive
                )
        })
        .collect();
    candidates.sort_by_key(|entry| entry.snapshot.items.entries);
    match (candidates.pop(), candidates.pop()) {
        (Some(source), Some(other)) => Ok((source.clone(), other.snapshot.resource.owner.clone())),
        _ => Err(Failure::new(
            Exit::Failed,
            format!("the demo has no two users with {service}"),
        )
        .next("try more --users")),
    }
}

/// Picks a word of the first subject in the largest mailbox, to search for.
async fn searchable(stage: &Stage<'_>, newest: &[SnapshotEntry]) -> Result<String> {
    let (entry, _) = choose(newest, &Service::Outlook)?;
    let browse = Browse::new(stage.store, &entry.snapshot);
    let mut items = browse.items();
    while let Some(item) = items.next().await {
        let item =
            item.map_err(|error| from_store("read", stage.folder.store().display(), &error))?;
        let words = item.name.split(|c: char| !c.is_ascii_alphabetic());
        if let Some(word) = words
            .max_by_key(|word| word.len())
            .filter(|word| word.len() > 3)
        {
            return Ok(word.to_owned());
        }
    }
    Ok("a".to_owned())
}

const INTO: &str = "Restored by the demo";
