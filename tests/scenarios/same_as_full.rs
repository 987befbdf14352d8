//! The law: after any changes, an incremental snapshot holds what a first backup would.

use backup_engine::RunOutcome;
use m365_simulator::ChangeSpec;
use proptest::prelude::*;

use crate::support::{World, assert_same, small_tenant};

async fn incremental_equals_full(seed: u64, steps: &[(u64, u64, bool)]) {
    let tenant = small_tenant(seed);
    let mut world = World::new(&tenant).await;
    // Small enough that a run publishes checkpoints on its way.
    world.options.checkpoint_items = 20;
    world.backup().await;
    for (change_seed, amount, expire) in steps {
        tenant.change(&ChangeSpec {
            seed: *change_seed,
            amount: *amount,
        });
        if *expire {
            for user in tenant.users() {
                tenant.expire_mail_cursors(&user.id);
                tenant.expire_drive_cursors(&user.id);
            }
        }
        assert_eq!(world.backup().await.outcome, RunOutcome::Complete);
    }
    let fresh = World::new(&tenant).await;
    fresh.backup().await;
    assert_same(&world.state().await, &fresh.state().await);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8, max_shrink_iters: 20, ..ProptestConfig::default()
    })]

    #[test]
    fn incremental_snapshots_equal_a_fresh_full_backup(
        seed in 1_u64..1000,
        steps in prop::collection::vec((any::<u64>(), 1_u64..60, prop::bool::weighted(0.3)), 1..4),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(incremental_equals_full(seed, &steps));
    }
}
