//! Scenarios: worlds to begin in, and what is done there while things go wrong.

use backup_store::fault::{Fault, FaultPlan, Survival};
use backup_store::{MemoryBackend, Result};

use super::backup::{Manner, backup};
use super::world::{Deed, Life, Target, Template, World, mix};
use super::{pruning, upkeep};

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
    /// A prune that forgets all but the newest snapshots, beside a writer that refers to packs
    /// which the prune condemns; then a backup.
    Prune,
    /// A backup whose segments are merged, and a prune that deletes what they supersede.
    Compaction,
}

impl Scenario {
    pub const ALL: [Self; 8] = [
        Self::FirstBackup,
        Self::Incremental,
        Self::LongBackup,
        Self::Resume,
        Self::KeyChange,
        Self::Copy,
        Self::Prune,
        Self::Compaction,
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

    /// Seeds of the ordinary tests: the longer a life, the fewer.
    pub fn seeds(self) -> u64 {
        match self {
            Self::Prune | Self::Compaction => 6,
            _ => 10,
        }
    }

    /// What must have happened in the lives of those seeds.
    pub fn deeds(self) -> &'static [Deed] {
        match self {
            Self::Prune => &[
                Deed::Copied,
                Deed::Rescued,
                Deed::Fenced,
                Deed::Repacked,
                Deed::Swept,
            ],
            Self::Compaction => &[Deed::Merged],
            _ => &[],
        }
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
    ///
    /// *Errors*: those of backups; only a mutant brings any about.
    pub async fn prepare(self, template: &Template, seed: u64) -> Result<(World, u64)> {
        let mut world = template.world();
        let rounds = match self {
            Self::FirstBackup => 0,
            Self::Incremental | Self::Prune => 2,
            Self::Compaction => 3,
            Self::LongBackup | Self::Resume | Self::KeyChange => 1,
            Self::Copy => {
                world.sources = sources(template, seed).await;
                seed % 2
            }
        };
        for round in 0..rounds {
            let life = Life::begin(template, world, FaultPlan::new(), seed);
            match self {
                Self::Prune | Self::Compaction => self.back_up(&life, seed, round).await?,
                _ => self.play(&life, seed, round).await?,
            }
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
        Ok((world, rounds))
    }

    /// Does what the scenario is about.
    pub async fn play(self, life: &Life<'_>, seed: u64, round: u64) -> Result<()> {
        match self {
            Self::KeyChange => upkeep::change_keys(life).await?,
            Self::Copy => return upkeep::copy(life, round).await,
            Self::Prune => pruning::prune_beside_a_writer(life, seed, round).await?,
            Self::Compaction => {
                self.back_up(life, seed, round).await?;
                return pruning::compact(life).await;
            }
            _ => {}
        }
        self.back_up(life, seed, round).await
    }

    async fn back_up(self, life: &Life<'_>, seed: u64, round: u64) -> Result<()> {
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
