//! What a backup costs in requests: first, idle, incremental.

use backup_engine::{ResourceOutcome, RunOutcome};
use m365_simulator::ChangeSpec;

use crate::support::{World, content_requests, feeds, small_tenant};

#[tokio::test]
async fn an_idle_backup_asks_each_feed_once_and_stores_nothing() {
    let tenant = small_tenant(1);
    let world = World::new(&tenant).await;
    let first = world.backup().await;
    assert_eq!(first.outcome, RunOutcome::Complete, "{first:?}");
    let messages = tenant
        .users()
        .iter()
        .map(|user| tenant.messages(&user.id).len())
        .sum::<usize>();
    assert!(messages > 30 && first.totals.stored >= messages as u64);
    assert_eq!(content_requests(&tenant), first.totals.stored);

    tenant.reset_counters();
    let (packs, snapshots) = (world.objects("packs/").await, world.objects("snaps/").await);
    let idle = world.backup().await;
    assert_eq!(idle.outcome, RunOutcome::Complete);
    assert!(
        idle.resources
            .iter()
            .all(|resource| resource.outcome == ResourceOutcome::Unchanged)
    );
    let resources = idle.resources.len() as u64;
    let billed = tenant.counters().billed();
    assert!(
        billed <= feeds(&idle) + 2 * resources + 5,
        "{billed}: {:?}",
        tenant.counters()
    );
    assert_eq!(content_requests(&tenant), 0);
    assert_eq!(world.objects("packs/").await, packs);
    // The slot that ends the lease.
    assert_eq!(world.objects("snaps/").await, snapshots + 1);
}

#[tokio::test]
async fn an_incremental_backup_costs_about_one_request_for_each_change() {
    let tenant = small_tenant(2);
    let world = World::new(&tenant).await;
    world.backup().await;
    for seed in 1..4 {
        tenant.reset_counters();
        let summary = tenant.change(&ChangeSpec { seed, amount: 40 });
        let report = world.backup().await;
        assert_eq!(report.outcome, RunOutcome::Complete);
        let billed = tenant.counters().billed();
        let resources = report.resources.len() as u64;
        let allowed = summary.changed_items * 11 / 10 + feeds(&report) + 2 * resources + 5;
        assert!(
            billed <= allowed,
            "{billed} > {allowed} for {summary:?}: {:?}",
            tenant.counters()
        );
        assert!(content_requests(&tenant) <= summary.new + summary.edited);
    }
}

#[tokio::test]
async fn a_chosen_user_who_is_not_there_is_named() {
    let tenant = small_tenant(3);
    let mut world = World::new(&tenant).await;
    world.options.selection.users =
        backup_engine::Users::Chosen(vec!["nobody@contoso.example".into()]);
    let stop = backup_store::StopSignal::new();
    let error = world
        .job()
        .run(&backup_engine::Silent, &stop)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), backup_engine::ErrorKind::UserNotFound);
    assert!(error.to_string().contains("nobody@contoso.example"));
}

#[tokio::test]
async fn users_without_mailbox_or_drive_are_left_out_with_a_reason() {
    let tenant = small_tenant(4);
    let users = tenant.users();
    tenant.remove_mailbox(&users[0].id);
    tenant.remove_drive(&users[1].id);
    let world = World::new(&tenant).await;
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::Complete);
    let left_out = |owner: &str, word: &str| {
        report
            .left_out
            .iter()
            .any(|out| out.owner == owner && out.reason.contains(word))
    };
    assert!(
        left_out(&users[0].principal_name, "mailbox"),
        "{:?}",
        report.left_out
    );
    assert!(
        left_out(&users[1].principal_name, "drive"),
        "{:?}",
        report.left_out
    );
}
