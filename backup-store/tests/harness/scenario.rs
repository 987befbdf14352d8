//! Scenarios: worlds to begin in, and what is done there while things go wrong.

use backup_store::MemoryBackend;
use backup_store::fault::{Fault, FaultPlan, Survival};

use super::backup::{Manner, backup};
use super::upkeep;
use super::world::{Life, Target, Template, World, mix};

/// What is done while things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scenario {
    /// Into an empty store.
    FirstBackup,
    /// Onto two earlier snapshots: items added, changed, deleted.
    Incremental,
    /// Many pages, checkpoints on the way, packs closing by age.
    LongBackup,
    /// Going on from journal and spool of a run that was stopped somewhere.
    Resume,
    /// A new key epoch, another recipient, and a backup under it.
    KeyChange,
    /// Snapshots of another store, with other keys.
    Copy,
}

impl Scenario {
    pub const ALL: [Self; 6] = [
        Self::FirstBackup,
        Self::Incremental,
        Self::LongBackup,
        Self::Resume,
        Self::KeyChange,
        Self::Copy,
    ];

    /// What the service holds when the scenario is played for the `round`th time in this world.
    pub fn target(self, seed: u64, round: u64) -> Target {
        let items = match self {
            Self::LongBackup | Self::Resume => 10,
            _ => 7,
        };
        let mut target = Target::new();
        for item in 0..items {
            // An item is there in two rounds of three, and changes now and then; contents are
            // shared between items.
            let dice = mix(seed, u64::from(item) << 8 | round);
            if !dice.is_multiple_of(3) {
                let version = mix(seed, u64::from(item) << 8 | (round / (1 + dice % 2)));
                target.insert(item, (version % 40) as u32);
            }
        }
        // Never the same twice in a row, so that each round has something to store.
        target.insert(100, (1000 + round * 7 + seed % 1000) as u32);
        target
    }

    pub fn manner(self, seed: u64) -> Manner {
        match self {
            Self::LongBackup | Self::Resume => Manner {
                page_items: 1 + (seed % 2) as usize,
                checkpoint_pages: 2,
                slow: seed.is_multiple_of(3),
            },
            _ => Manner {
                page_items: 2 + (seed % 2) as usize,
                ..Manner::default()
            },
        }
    }

    /// Makes the world in which the scenario begins; returns it with the number of its next round.
    pub async fn prepare(self, template: &Template, seed: u64) -> (World, u64) {
        let mut world = template.world();
        let rounds = match self {
            Self::FirstBackup => 0,
            Self::Incremental => 2,
            Self::LongBackup | Self::Resume | Self::KeyChange => 1,
            Self::Copy => {
                world.sources = sources(template, seed).await;
                seed % 2
            }
        };
        for round in 0..rounds {
            let life = Life::begin(template, world, FaultPlan::new(), seed);
            self.play(&life, seed, round).await.unwrap();
            world = life.end().0;
        }
        if self == Self::Resume {
            // Somewhere in the middle; the journal and the spool keep what was committed.
            let plan = FaultPlan::new().with(8 + seed % 30, Fault::StopBefore);
            let life = Life::begin(template, world, plan.clone(), seed);
            tokio::select! {
                () = plan.stopped() => {}
                done = self.play(&life, seed, rounds) => {
                    assert!(done.is_ok() || plan.is_stopped(), "{done:?}");
                }
            }
            world = life.end().0;
            world.disk = world.disk.crash(Survival::Torn(seed), FaultPlan::new());
        }
        (world, rounds)
    }

    /// Does what the scenario is about.
    pub async fn play(self, life: &Life<'_>, seed: u64, round: u64) -> backup_store::Result<()> {
        match self {
            Self::KeyChange => upkeep::change_keys(life).await?,
            Self::Copy => return upkeep::copy(life, round).await,
            _ => {}
        }
        backup(life, &self.target(seed, round), &self.manner(seed)).await
    }
}

/// The states of another store: one more snapshot in each.
async fn sources(template: &Template, seed: u64) -> Vec<MemoryBackend> {
    let other = template.other.as_deref().unwrap();
    let (mut world, mut states) = (other.world(), Vec::new());
    for round in 0..3 {
        let life = Life::begin(other, world, FaultPlan::new(), seed);
        let target = Scenario::Copy.target(seed, round);
        backup(&life, &target, &Scenario::Copy.manner(seed))
            .await
            .unwrap();
        world = life.end().0;
        states.push(world.memory.fork());
    }
    states
}
