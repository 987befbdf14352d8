//! Plan and execute against a destination in memory: counts, crashes, lost answers, conflicts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]

mod support;

use backup_store::StopSignal;
use backup_store::catalog::{Service, SnapshotEntry};
use restore_engine::{
    ConflictRule, Destination, Event, NoObserver, Observer, RestoreJournal, RestoreOutcome,
    RestorePlan, RestoreReport, RestoreRequest, Result, Selection, execute, plan,
};
use support::{Break, Lying, MemoryTarget, World, mailbox, snapshot, world};

fn request(snapshot: &SnapshotEntry, conflict: ConflictRule) -> RestoreRequest {
    let mut request = RestoreRequest::everything(snapshot.clone());
    request.destination = Destination::Owner("bob@contoso.example".into());
    request.conflict = conflict;
    request
}

async fn run(world: &World, plan: &RestorePlan, target: &MemoryTarget) -> Result<RestoreReport> {
    let journal = RestoreJournal::open(world.dir.path(), &world.store).await?;
    execute(
        &world.store,
        plan,
        target,
        &journal,
        &NoObserver,
        &StopSignal::new(),
    )
    .await
}

async fn planned(world: &World, request: &RestoreRequest, target: &MemoryTarget) -> RestorePlan {
    plan(&world.store, request, target).await.unwrap()
}

/// Every crash point is tried for both services.
const SERVICES: [Service; 2] = [Service::Outlook, Service::OneDrive];

#[tokio::test(start_paused = true)]
async fn a_plan_counts_exactly_and_writes_nothing() {
    let world = world().await;
    let entry = snapshot(&world, Service::Outlook, &mailbox()).await;
    let target = MemoryTarget::new(Service::Outlook);
    let before = target.show();
    let request = request(&entry, ConflictRule::Skip);
    let first = planned(&world, &request, &target).await;
    assert_eq!(target.show(), before);
    assert_eq!(target.effects(), 0);
    assert_eq!(
        planned(&world, &request, &target).await,
        first,
        "planning is a pure function"
    );
    let totals = first.totals;
    assert!(totals.check());
    assert_eq!(
        (
            totals.selected,
            totals.write,
            totals.skip,
            totals.unavailable
        ),
        (7, 6, 0, 1)
    );
    assert_eq!((totals.create_containers, totals.merge_containers), (3, 2));
    let text = first.to_string();
    assert!(
        text.contains("6 to write") && text.contains("quarantined: 1"),
        "{text}"
    );
    let saved = serde_json::to_string(&first).unwrap();
    assert_eq!(serde_json::from_str::<RestorePlan>(&saved).unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn well_known_folders_meet_whatever_their_language() {
    let world = world().await;
    let entry = snapshot(&world, Service::Outlook, &mailbox()).await;
    let target = MemoryTarget::new(Service::Outlook);
    let plan = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    let report = run(&world, &plan, &target).await.unwrap();
    assert_eq!(report.outcome, RestoreOutcome::Complete);
    assert!(report.check());
    assert_eq!((report.written, report.skipped, report.verified), (6, 1, 6));
    let shown = target.show();
    assert!(
        shown.contains(&"/Inbox/hello.txt: content of hello.txt".to_owned()),
        "{shown:?}"
    );
    assert!(shown.contains(&"/Projects/2025/deep.txt: content of deep.txt".to_owned()));
    assert!(shown.contains(&"/Inbox/Empty/ (finished)".to_owned()));
    assert!(
        shown.contains(&"/Inbox/".to_owned()),
        "the inbox keeps its own attributes"
    );
}

#[tokio::test(start_paused = true)]
async fn one_folder_takes_everything() {
    let world = world().await;
    let entry = snapshot(&world, Service::Outlook, &mailbox()).await;
    let target = MemoryTarget::new(Service::Outlook);
    let mut request = request(&entry, ConflictRule::Skip);
    request.into_folder = Some("Restored".into());
    request.selection = Selection::Container("pr".into());
    let plan = planned(&world, &request, &target).await;
    assert_eq!(
        (plan.totals.selected, plan.totals.create_containers),
        (3, 3)
    );
    run(&world, &plan, &target).await.unwrap();
    let shown = target.show();
    assert!(shown.contains(&"/Restored/Projects/2025/deep.txt: content of deep.txt".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_second_run_adds_nothing_and_a_second_plan_is_empty() {
    for service in SERVICES {
        let world = world().await;
        let entry = snapshot(&world, service.clone(), &mailbox()).await;
        let target = MemoryTarget::new(service);
        let request = request(&entry, ConflictRule::Skip);
        let plan = planned(&world, &request, &target).await;
        run(&world, &plan, &target).await.unwrap();
        let after = target.show();
        let again = run(&world, &plan, &target).await.unwrap();
        assert!(again.check());
        assert_eq!((again.written, again.skipped), (0, 7));
        assert_eq!(target.show(), after);
        for rule in [
            ConflictRule::Skip,
            ConflictRule::Copy,
            ConflictRule::Replace,
        ] {
            let mut request = request.clone();
            request.conflict = rule;
            let second = planned(&world, &request, &target).await;
            assert!(second.is_empty(), "{rule:?}: {second}");
            assert_eq!(second.totals.skip, 6);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_effect_is_taken_up_and_nothing_is_doubled() {
    for service in SERVICES {
        let world = world().await;
        let entry = snapshot(&world, service.clone(), &mailbox()).await;
        let request = request(&entry, ConflictRule::Skip);
        let whole = MemoryTarget::new(service.clone());
        let plan = planned(&world, &request, &whole).await;
        run(&world, &plan, &whole).await.unwrap();
        let effects = whole.effects();
        assert!(effects >= 12, "{effects} effects");
        for at in 1..=effects {
            for how in [Break::CrashBefore, Break::CrashAfter] {
                for anew in [false, true] {
                    let world = World {
                        store: world.store.clone(),
                        dir: tempfile::tempdir().unwrap(),
                    };
                    let target = MemoryTarget::new(service.clone());
                    let mut plan = planned(&world, &request, &target).await;
                    target.break_at(at, how);
                    assert!(
                        run(&world, &plan, &target).await.is_err(),
                        "effect {at} breaks"
                    );
                    target.mend();
                    if anew {
                        plan = planned(&world, &request, &target).await;
                    }
                    let report = run(&world, &plan, &target).await.unwrap();
                    let point = format!("{service} {how:?} at {at}, planned anew: {anew}");
                    assert!(report.check(), "{point}: {report:?}");
                    assert_eq!(
                        report.outcome,
                        RestoreOutcome::Complete,
                        "{point}: {report:?}"
                    );
                    assert_eq!(target.show(), whole.show(), "{point}");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_journal_costs_nothing_but_requests() {
    for service in SERVICES {
        let world = world().await;
        let entry = snapshot(&world, service.clone(), &mailbox()).await;
        let request = request(&entry, ConflictRule::Skip);
        for at in 1..=9 {
            let target = MemoryTarget::new(service.clone());
            let plan = planned(&world, &request, &target).await;
            target.break_at(at, Break::CrashAfter);
            assert!(run(&world, &plan, &target).await.is_err());
            target.mend();
            let elsewhere = World {
                store: world.store.clone(),
                dir: tempfile::tempdir().unwrap(),
            };
            let report = run(&elsewhere, &plan, &target).await.unwrap();
            assert!(report.check(), "{report:?}");
            let files = target
                .show()
                .iter()
                .filter(|line| line.contains("content of"))
                .count();
            assert_eq!(files, 6, "{service} at {at}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_probed_and_a_refusal_is_waited_for() {
    for service in SERVICES {
        for how in [Break::LostAnswer, Break::Throttled] {
            let world = world().await;
            let entry = snapshot(&world, service.clone(), &mailbox()).await;
            for at in 1..=12 {
                let target = MemoryTarget::new(service.clone());
                let request = request(&entry, ConflictRule::Skip);
                let plan = planned(&world, &request, &target).await;
                target.break_at(at, how);
                let report = run(&world, &plan, &target).await.unwrap();
                assert_eq!(
                    report.outcome,
                    RestoreOutcome::Complete,
                    "{how:?} {at}: {report:?}"
                );
                let files = target
                    .show()
                    .iter()
                    .filter(|line| line.contains("content of"))
                    .count();
                assert_eq!(files, 6, "{service} {how:?} at {at}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_refused_item_stops_no_other_and_is_counted() {
    let world = world().await;
    let entry = snapshot(&world, Service::Outlook, &mailbox()).await;
    let target = MemoryTarget::new(Service::Outlook).lying(Lying::Refuses("plan.txt"));
    let plan = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    let report = run(&world, &plan, &target).await.unwrap();
    assert!(report.check());
    assert_eq!(report.outcome, RestoreOutcome::CompleteWithErrors);
    assert_eq!((report.written, report.skipped, report.failed), (5, 1, 1));
    assert_eq!(report.failures[0].name, "plan.txt");
    assert_eq!(report.failures[0].path, "Projects");
}

#[tokio::test(start_paused = true)]
async fn what_reads_back_different_is_reported_item_by_item() {
    let world = world().await;
    let entry = snapshot(&world, Service::OneDrive, &mailbox()).await;
    let target = MemoryTarget::new(Service::OneDrive).lying(Lying::About("deep.txt"));
    let plan = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    let report = run(&world, &plan, &target).await.unwrap();
    assert_eq!(
        (report.written, report.verified, report.mismatched),
        (6, 6, 1)
    );
    assert_eq!(report.mismatches[0].name, "deep.txt");
    assert_eq!(report.outcome, RestoreOutcome::CompleteWithErrors);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_back_is_unverified_until_the_plan_runs_again() {
    let world = world().await;
    let entry = snapshot(&world, Service::OneDrive, &mailbox()).await;
    let target = MemoryTarget::new(Service::OneDrive).lying(Lying::Hides("deep.txt"));
    let plan = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    let report = run(&world, &plan, &target).await.unwrap();
    assert!(report.check());
    assert_eq!(
        (
            report.written,
            report.verified,
            report.unverified,
            report.mismatched
        ),
        (6, 5, 1, 0)
    );
    assert_eq!(report.unread[0].name, "deep.txt");
    assert_eq!(report.outcome, RestoreOutcome::CompleteWithErrors);

    target.mend();
    let before = target.show();
    let again = run(&world, &plan, &target).await.unwrap();
    assert_eq!((again.verified, again.unverified, again.resumed), (6, 0, 6));
    assert_eq!(again.outcome, RestoreOutcome::Complete);
    assert_eq!(target.show(), before, "nothing is written twice");
}

/// Requests a stop once an item is written.
#[derive(Debug)]
struct StopAfterOne(StopSignal);

impl Observer for StopAfterOne {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::ItemWritten { .. }) {
            self.0.request();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_in_order_and_the_same_plan_goes_on() {
    let world = world().await;
    let entry = snapshot(&world, Service::Outlook, &mailbox()).await;
    let target = MemoryTarget::new(Service::Outlook);
    let plan = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    let journal = RestoreJournal::open(world.dir.path(), &world.store)
        .await
        .unwrap();
    let stop = StopSignal::new();
    let observer = StopAfterOne(stop.clone());
    let report = execute(&world.store, &plan, &target, &journal, &observer, &stop)
        .await
        .unwrap();
    assert!(report.check());
    assert_eq!(report.outcome, RestoreOutcome::Interrupted);
    assert!(report.written >= 1 && report.remaining >= 1, "{report:?}");
    let report = run(&world, &plan, &target).await.unwrap();
    assert_eq!(report.outcome, RestoreOutcome::Complete);
    assert_eq!((report.written, report.skipped), (6, 1));
    assert!(report.resumed >= 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_removed_after_an_interrupted_run_is_written_again() {
    let world = world().await;
    let entry = snapshot(&world, Service::Outlook, &mailbox()).await;
    let target = MemoryTarget::new(Service::Outlook);
    let plan = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    target.break_at(8, Break::CrashBefore);
    assert!(run(&world, &plan, &target).await.is_err());
    target.mend();
    target.lose("hello.txt");
    run(&world, &plan, &target).await.unwrap();
    assert!(target.show().iter().any(|line| line.contains("hello.txt")));
}

#[tokio::test(start_paused = true)]
async fn conflict_rules_do_what_they_say() {
    let check = async |rule, expected: &[&str], (write, skip): (u64, u64)| {
        let world = world().await;
        let entry = snapshot(&world, Service::OneDrive, &mailbox()).await;
        let target = MemoryTarget::new(Service::OneDrive);
        let first = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
        run(&world, &first, &target).await.unwrap();
        target.lose("plan.txt");
        let folder = first
            .containers
            .iter()
            .find(|each| each.path == "Projects")
            .unwrap();
        assert!(folder.is_new());
        target.put_in("/Projects", "PLAN.txt", b"another");
        let second = planned(&world, &request(&entry, rule), &target).await;
        assert_eq!(
            (second.totals.write, second.totals.skip),
            (write, skip),
            "{rule:?}"
        );
        let report = run(&world, &second, &target).await.unwrap();
        assert_eq!(report.outcome, RestoreOutcome::Complete, "{report:?}");
        let shown = target.show();
        let plans: Vec<&str> = shown
            .iter()
            .filter(|line| line.to_lowercase().contains("plan"))
            .map(String::as_str)
            .collect();
        assert_eq!(plans, expected, "{rule:?}");
        let third = planned(&world, &request(&entry, rule), &target).await;
        assert_eq!(third.totals.write, 0, "{rule:?} again");
    };
    let old = "/Projects/PLAN.txt: another";
    check(ConflictRule::Skip, &[old], (0, 6)).await;
    let copy = "/Projects/plan (restored).txt: content of plan.txt";
    check(ConflictRule::Copy, &[old, copy], (1, 5)).await;
    check(
        ConflictRule::Replace,
        &["/Projects/plan.txt: content of plan.txt"],
        (1, 5),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_while_replacing_never_leaves_neither() {
    for at in 1..=3 {
        for how in [Break::CrashBefore, Break::CrashAfter] {
            let world = world().await;
            let entry = snapshot(&world, Service::OneDrive, &mailbox()).await;
            let target = MemoryTarget::new(Service::OneDrive);
            let first = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
            run(&world, &first, &target).await.unwrap();
            target.lose("plan.txt");
            target.put_in("/Projects", "plan.txt", b"another");
            let second = planned(&world, &request(&entry, ConflictRule::Replace), &target).await;
            target.break_at(at, how);
            assert!(run(&world, &second, &target).await.is_err(), "effect {at}");
            let there = |text: &str| target.show().iter().any(|line| line.ends_with(text));
            assert!(
                there("plan.txt: another") || there(": content of plan.txt"),
                "{at} {how:?}"
            );
            target.mend();
            let report = run(&world, &second, &target).await.unwrap();
            assert!(report.check(), "{report:?}");
            let shown = target.show();
            let plans: Vec<_> = shown
                .iter()
                .filter(|line| line.contains("plan.txt"))
                .collect();
            assert_eq!(
                plans,
                ["/Projects/plan.txt: content of plan.txt"],
                "{at} {how:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_appeared_after_the_plan_is_left_alone() {
    let world = world().await;
    let entry = snapshot(&world, Service::OneDrive, &mailbox()).await;
    let target = MemoryTarget::new(Service::OneDrive);
    let first = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    run(&world, &first, &target).await.unwrap();
    target.lose("plan.txt");
    let plan = planned(&world, &request(&entry, ConflictRule::Replace), &target).await;
    assert_eq!(plan.totals.write, 1);
    target.put_in("/Projects", "plan.txt", b"newer");
    let report = run(&world, &plan, &target).await.unwrap();
    assert_eq!((report.written, report.skipped), (0, 7));
    assert!(
        target
            .show()
            .contains(&"/Projects/plan.txt: newer".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_for_another_place_is_refused() {
    let world = world().await;
    let entry = snapshot(&world, Service::Outlook, &mailbox()).await;
    let target = MemoryTarget::new(Service::Outlook);
    let original = RestoreRequest::everything(entry.clone());
    let error = plan(&world.store, &original, &target).await.unwrap_err();
    assert_eq!(error.kind(), restore_engine::ErrorKind::InvalidRequest);
    let mut plan = planned(&world, &request(&entry, ConflictRule::Skip), &target).await;
    plan.place.root = "elsewhere".into();
    let error = run(&world, &plan, &target).await.unwrap_err();
    assert_eq!(error.kind(), restore_engine::ErrorKind::PlanMismatch);
    assert_eq!(target.effects(), 0);
}
