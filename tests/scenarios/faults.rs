//! What the service does wrong costs time, never data.

use backup_engine::{ResourceOutcome, RunOutcome};
use backup_store::catalog::RepresentationKind;
use m365_simulator::{ChangeSpec, Fault, FaultPlan, FaultRule, Tenant};

use crate::support::{World, assert_same, small_tenant};

async fn fresh_state_equals(world: &World, tenant: &Tenant) {
    tenant.set_faults(FaultPlan::new(0));
    let fresh = World::new(tenant).await;
    fresh.backup().await;
    assert_same(&world.state().await, &fresh.state().await);
}

/// Everything goes wrong now and then, in a first backup and in an incremental one.
#[tokio::test]
async fn transient_faults_lose_nothing() {
    let faults = [
        Fault::Throttled(Some(0)),
        Fault::Unavailable,
        Fault::HtmlError,
        Fault::EmptyError,
        Fault::Reset,
        Fault::LostAnswer,
        Fault::CutBody(100),
    ];
    for (seed, fault) in (1..).zip(faults) {
        let tenant = small_tenant(seed);
        let rule = FaultRule::new("GET *", fault.clone()).with_probability(0.08);
        tenant.set_faults(FaultPlan::new(seed).with(rule));
        let world = World::new(&tenant).await;
        let first = world.backup().await;
        assert_eq!(first.outcome, RunOutcome::Complete, "{fault:?}: {first:?}");
        tenant.change(&ChangeSpec { seed, amount: 30 });
        assert_eq!(
            world.backup().await.outcome,
            RunOutcome::Complete,
            "{fault:?}"
        );
        assert!(tenant.faults_hit() > 5, "{fault:?}");
        fresh_state_equals(&world, &tenant).await;
    }
}

#[tokio::test]
async fn a_cursor_that_expires_in_the_middle_of_a_run_loses_nothing() {
    let tenant = small_tenant(20);
    let world = World::new(&tenant).await;
    world.backup().await;
    tenant.change(&ChangeSpec {
        seed: 1,
        amount: 40,
    });
    let rule = FaultRule::new("GET *delta", Fault::ExpiredToken)
        .after(2)
        .times(5);
    tenant.set_faults(FaultPlan::new(1).with(rule));
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::Complete, "{report:?}");
    assert_eq!(tenant.faults_hit(), 5);
    fresh_state_equals(&world, &tenant).await;
}

#[tokio::test]
async fn a_corrupt_message_is_quarantined_named_and_tried_again() {
    let tenant = small_tenant(21);
    let user = tenant.users()[0].clone();
    let victim = tenant.messages(&user.id)[3].clone();
    let corrupt = FaultRule::new("GET *$value", Fault::CorruptItem).containing(&victim.id);
    tenant.set_faults(FaultPlan::new(1).with(corrupt));
    let world = World::new(&tenant).await;
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::CompleteWithQuarantine);
    assert_eq!(
        (report.quarantined.len(), report.totals.quarantined),
        (1, 1)
    );
    let item = &report.quarantined[0];
    assert_eq!((&item.item_id, &item.name), (&victim.id, &victim.subject));
    assert_eq!(item.representation, RepresentationKind::Mime);
    let again = world.backup().await;
    assert_eq!(again.outcome, RunOutcome::CompleteWithQuarantine);
    tenant.set_faults(FaultPlan::new(1));
    let healed = world.backup().await;
    assert_eq!(
        (healed.outcome, healed.totals.stored),
        (RunOutcome::Complete, 1)
    );
    fresh_state_equals(&world, &tenant).await;
}

#[tokio::test]
async fn one_mailbox_that_cannot_be_read_harms_no_other() {
    let tenant = small_tenant(22);
    let user = tenant.users()[1].clone();
    let down = FaultRule::new("GET *messages/delta", Fault::Unavailable).containing(&user.id);
    tenant.set_faults(FaultPlan::new(1).with(down));
    let world = World::new(&tenant).await;
    let report = world.backup().await;
    assert_eq!(report.outcome, RunOutcome::Partial);
    let partial = report
        .resources
        .iter()
        .filter(|r| r.outcome == ResourceOutcome::Partial);
    let owners = partial
        .map(|resource| resource.resource.owner_id.clone())
        .collect::<Vec<_>>();
    assert_eq!(owners, [user.id]);
    tenant.set_faults(FaultPlan::new(1));
    assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
    fresh_state_equals(&world, &tenant).await;
}
