//! Scenarios: worlds to begin in, and how the run there goes about its work.

use backup_engine::RunOutcome;
use backup_store::fault::FaultPlan;
use m365_simulator::{Fault, FaultPlan as ServiceFaults, FaultRule, Tenant};

use super::judge::judge;
use super::life::{Manner, live};
use super::mix;
use super::network::Step;
use super::people::{USER, tiny};
use super::world::{Template, World};

/// What is done while things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// Nothing is stored yet.
    First,
    /// Some things changed since the last run.
    Incremental,
    /// The service is slow: packs close and checkpoints are published on the way.
    Slow,
    /// Every cursor is too old.
    Reset,
    /// Things change while the run goes on.
    Moving,
    /// Cursors become too old while things change, and the service is slow.
    MovingReset,
    /// Every cursor is too old, and messages move from folder to folder all the time.
    Shuffled,
    /// Some items cannot be read.
    Quarantine,
}

impl Scenario {
    pub const ALL: [Self; 8] = [
        Self::First,
        Self::Incremental,
        Self::Slow,
        Self::Reset,
        Self::Moving,
        Self::MovingReset,
        Self::Shuffled,
        Self::Quarantine,
    ];

    /// How the run goes about its work.
    pub fn manner(self, seed: u64) -> Manner {
        let lot = |line: u64, below: u64| mix(seed ^ 0x006d_616e, line) % below;
        let slow = matches!(self, Self::Slow | Self::MovingReset);
        Manner {
            page: 1 + lot(1, 4) as u32,
            list_page: 2 + lot(2, 5) as u32,
            requests_per_resource: 1 + lot(3, 4) as usize,
            parallel_resources: 1 + lot(4, 2) as usize,
            stop_after: None,
            keep_items: 1 + lot(8, 4) as usize,
            checkpoint_items: if slow { 1 + lot(5, 4) as usize } else { 1000 },
            latency_ms: if slow { 20_000 + lot(6, 40_000) } else { 100 },
            // At once, or only where the service is slow.
            keep_after_ms: 5_000 * lot(7, 2),
        }
    }

    /// Tells whether the tenant changes while runs go on.
    pub fn moves(self) -> bool {
        matches!(self, Self::Moving | Self::MovingReset | Self::Shuffled)
    }

    /// The world in which the scenario begins.
    pub async fn prepare(self, template: &Template, seed: u64) -> World {
        self.prepare_with(template, seed, |_| ()).await
    }

    /// The same, with a tenant that `adapt` has changed.
    pub async fn prepare_with(
        self,
        template: &Template,
        seed: u64,
        adapt: impl FnOnce(&Tenant),
    ) -> World {
        let tenant = tiny(seed);
        adapt(&tenant);
        let mut world = template.world(&tenant);
        let before = match self {
            Self::First | Self::Slow => false,
            Self::Quarantine => !seed.is_multiple_of(2),
            _ => true,
        };
        if before {
            let manner = Self::First.manner(seed);
            let life = live(template, &mut world, &manner, FaultPlan::new(), seed).await;
            let report = life.report.unwrap().unwrap();
            assert_eq!(report.outcome, RunOutcome::Complete);
            judge(template, &mut world, &life.interval).await.unwrap();
            world.act(Step::Change(mix(seed, 1), 1 + seed % 12));
        }
        match self {
            Self::Reset => world.act(Step::ExpireCursors),
            Self::Moving => script(&mut world, seed, 12, None),
            Self::MovingReset => script(&mut world, seed, 12, Some(4)),
            Self::Shuffled => {
                world.act(Step::ExpireCursors);
                let first = world.traffic.requests;
                for number in 2..40 {
                    let step = Step::Move(mix(seed ^ 0x7368, number));
                    world.traffic.script.insert(first + number, step);
                }
            }
            Self::Quarantine => {
                corrupt(&world, seed);
                world.traffic.script.insert(u64::MAX, Step::Heal);
            }
            _ => {}
        }
        world
    }
}

/// Lets things change at some of the requests to come.
fn script(world: &mut World, seed: u64, steps: u64, resets: Option<u64>) {
    let first = world.traffic.requests;
    for number in 0..steps {
        let at = first + 3 + mix(seed ^ 0x7363, number) % 60;
        let step = match resets {
            Some(nth) if number % nth == 0 => Step::ExpireCursors,
            _ => Step::Change(mix(seed, 100 + number), 1 + number % 2),
        };
        world.traffic.script.insert(at, step);
    }
}

/// Makes some messages unreadable.
fn corrupt(world: &World, seed: u64) {
    let mut plan = ServiceFaults::new(seed);
    for (number, message) in (0..).zip(world.tenant.messages(USER)) {
        if mix(seed ^ 0x636f, number).is_multiple_of(3) {
            let rule = FaultRule::new("GET *$value", Fault::CorruptItem).containing(&message.id);
            plan = plan.with(rule);
        }
    }
    world.tenant.set_faults(plan);
}
