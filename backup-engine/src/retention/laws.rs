//! Laws of retention: what is always kept, and that a plan is stable.

use backup_store::catalog::{Resource, ResourceKind, Service, Totals};
use backup_store::{ChunkId, LeaseId, RunId, TreeRoot};
use proptest::prelude::*;

use super::*;

fn entry(number: u8, resource: u8, hours: i64, outcome: Outcome) -> SnapshotEntry {
    let root = TreeRoot {
        node: ChunkId::from_bytes([0; 32]),
        level: 0,
        entries: 0,
    };
    let at = Timestamp::from_millis(hours * 3_600_000);
    let id = resource.to_string();
    SnapshotEntry {
        id: SnapshotId::from_bytes([number; 16]),
        lease: LeaseId::from_bytes([0; 16]),
        slot: 0,
        hash: [0; 32],
        snapshot: Snapshot {
            resource: Resource {
                id: ResourceId::of(&Service::Outlook, &id),
                service: Service::Outlook,
                kind: ResourceKind::UserMailbox,
                owner: id.clone(),
                owner_id: id.clone(),
                service_id: id.clone(),
                name: id,
            },
            set: String::new(),
            run: RunId::from_bytes([0; 16]),
            outcome,
            token: 1,
            sequence: number.into(),
            parent: None,
            parent_hash: None,
            started: at,
            finished: at,
            containers: root,
            items: root,
            notes: root,
            enumerations: Vec::new(),
            cursors: Vec::new(),
            totals: Totals::default(),
            routes: Vec::new(),
            journal_sequence: 0,
        },
    }
}

/// Snapshots of two resources over some three years; their order in time is that of their claims.
fn listing() -> impl Strategy<Value = Vec<SnapshotEntry>> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Complete),
        1 => Just(Outcome::CompleteWithQuarantine),
        1 => Just(Outcome::Partial),
        1 => Just(Outcome::Checkpoint),
    ];
    let one = (0..2_u8, 0..300_i64, any::<bool>(), outcome);
    prop::collection::vec(one, 0..60).prop_map(|steps| {
        let mut hours = 0;
        let place = |(number, (resource, step, long, outcome)): (usize, (u8, i64, bool, _))| {
            hours += if long { step } else { step / 30 };
            entry(u8::try_from(number).unwrap(), resource, hours, outcome)
        };
        steps.into_iter().enumerate().map(place).collect()
    })
}

fn policy() -> impl Strategy<Value = RetentionPolicy> {
    let within = prop::option::of((0..1_000_u64).prop_map(|hours| hours * 3600));
    let few = || prop_oneof![2 => Just(0), 1 => 0..6_u32];
    (few(), within, few(), few(), few(), few(), few()).prop_map(
        |(keep_last, within, hourly, daily, weekly, monthly, yearly)| RetentionPolicy {
            keep_last,
            keep_within: within.map(Duration::from_secs),
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
        },
    )
}

fn now() -> Timestamp {
    Timestamp::from_millis(40_000 * 3_600_000)
}

fn kept(entries: &[SnapshotEntry], policy: &RetentionPolicy, pins: &Pins) -> HashSet<SnapshotId> {
    plan_retention(entries, policy, pins, now())
        .kept()
        .collect()
}

proptest! {
    #[test]
    fn the_newest_and_the_newest_complete_of_each_resource_stay(
        entries in listing(), policy in policy(),
    ) {
        let kept = kept(&entries, &policy, &Pins::default());
        for resource in 0..2_u8 {
            let id = ResourceId::of(&Service::Outlook, &resource.to_string());
            let own = || entries.iter().rev().filter(|entry| entry.snapshot.resource.id == id);
            if let Some(newest) = own().next() {
                prop_assert!(kept.contains(&newest.id));
            }
            if let Some(complete) = own().find(|entry| is_complete(&entry.snapshot)) {
                prop_assert!(kept.contains(&complete.id));
            }
        }
    }

    #[test]
    fn what_is_kept_stays_kept_when_the_rest_is_gone(entries in listing(), policy in policy()) {
        let first = kept(&entries, &policy, &Pins::default());
        let rest: Vec<_> =
            entries.into_iter().filter(|entry| first.contains(&entry.id)).collect();
        prop_assert_eq!(kept(&rest, &policy, &Pins::default()), first);
    }

    #[test]
    fn more_generous_rules_keep_all_that_the_others_keep(
        entries in listing(), policy in policy(), more in policy(),
    ) {
        prop_assume!(!policy.keeps_everything());
        let sum = RetentionPolicy {
            keep_last: policy.keep_last + more.keep_last,
            keep_within: policy.keep_within.max(more.keep_within),
            hourly: policy.hourly + more.hourly,
            daily: policy.daily + more.daily,
            weekly: policy.weekly + more.weekly,
            monthly: policy.monthly + more.monthly,
            yearly: policy.yearly + more.yearly,
        };
        let pins = Pins::default();
        prop_assert!(kept(&entries, &sum, &pins).is_superset(&kept(&entries, &policy, &pins)));
    }

    #[test]
    fn the_order_of_the_listing_makes_no_difference(
        (entries, shuffled) in
            listing().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        policy in policy(),
    ) {
        let pins = Pins::default();
        let plan = plan_retention(&entries, &policy, &pins, now());
        prop_assert_eq!(plan_retention(&shuffled, &policy, &pins, now()), plan);
    }

    #[test]
    fn pins_hold_against_every_policy(
        entries in listing(), policy in policy(), pinned in prop::collection::hash_set(0..60_u8, 0..5),
        held in prop::option::of(0..2_u8),
    ) {
        let snapshots = pinned.iter().map(|number| SnapshotId::from_bytes([*number; 16]));
        let held = held.map(|number| ResourceId::of(&Service::Outlook, &number.to_string()));
        let pins = Pins {
            snapshots: snapshots.collect(),
            resources: held.into_iter().collect(),
        };
        let kept = kept(&entries, &policy, &pins);
        for entry in &entries {
            let hold = pins.snapshots.contains(&entry.id)
                || pins.resources.contains(&entry.snapshot.resource.id);
            prop_assert!(!hold || kept.contains(&entry.id));
        }
    }
}

#[test]
fn without_a_policy_nothing_is_forgotten() {
    let entries: Vec<_> = (0..9)
        .map(|number| entry(number, 0, number.into(), Outcome::Partial))
        .collect();
    let plan = plan_retention(
        &entries,
        &RetentionPolicy::default(),
        &Pins::default(),
        now(),
    );
    assert_eq!(plan.forgotten().count(), 0);
}

/// A snapshot every other day of 1970, up to 27 December.
fn a_year() -> Vec<SnapshotEntry> {
    (0..=180)
        .map(|day| entry(day, 0, i64::from(day) * 48, Outcome::Complete))
        .collect()
}

#[test]
fn calendar_rules_keep_the_last_of_each_period() {
    let policy = RetentionPolicy {
        daily: 3,
        monthly: 2,
        ..RetentionPolicy::default()
    };
    let plan = plan_retention(&a_year(), &policy, &Pins::default(), now());
    let kept: Vec<_> = plan
        .decisions
        .iter()
        .filter(|one| !one.kept.is_empty())
        .map(|one| (one.finished.to_string()[..10].to_owned(), one.kept.clone()))
        .collect();
    use KeepReason::{Daily, Monthly, Newest, NewestComplete};
    assert_eq!(
        kept,
        [
            ("1970-11-29".to_owned(), vec![Monthly]),
            ("1970-12-23".to_owned(), vec![Daily]),
            ("1970-12-25".to_owned(), vec![Daily]),
            (
                "1970-12-27".to_owned(),
                vec![Newest, NewestComplete, Daily, Monthly]
            ),
        ]
    );
}

#[test]
fn a_window_keeps_the_state_it_began_with() {
    let entries: Vec<_> = [0, 100, 200, 39_999]
        .iter()
        .zip(0..)
        .map(|(hours, number)| entry(number, 0, *hours, Outcome::Complete))
        .collect();
    let policy = RetentionPolicy {
        keep_within: Some(Duration::from_secs(24 * 3600)),
        ..RetentionPolicy::default()
    };
    let kept = kept(&entries, &policy, &Pins::default());
    assert_eq!(kept, HashSet::from([entries[2].id, entries[3].id]));
}

#[test]
fn a_checkpoint_stands_in_only_where_nothing_complete_is() {
    let entries = [
        entry(0, 0, 1, Outcome::Complete),
        entry(1, 0, 2, Outcome::Checkpoint),
        entry(2, 0, 30, Outcome::Partial),
        entry(3, 0, 60, Outcome::Complete),
    ];
    let policy = RetentionPolicy {
        daily: 9,
        ..RetentionPolicy::default()
    };
    let kept = kept(&entries, &policy, &Pins::default());
    let expected = [0, 2, 3].map(|at: usize| entries[at].id);
    assert_eq!(kept, HashSet::from(expected));
}
