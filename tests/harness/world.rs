//! Worlds: what a machine, its store and its tenant hold between two lives.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_engine::fault::SimulatedJournal;
use backup_store::fault::{FaultPlan, SimulatedDisk, Survival};
use backup_store::{
    Backend, CreateOptions, InlineOffload, KeyFile, MemoryBackend, SnapshotId, Store, StoreOptions,
};
use m365_simulator::Tenant;

use super::clock::{Clock, TrueTime};
use super::network::Traffic;
use super::truth::Truth;

/// An empty store that was created once; every world begins with a copy of it.
#[derive(Debug)]
pub struct Template {
    memory: MemoryBackend,
    /// Opens it: a key file, which costs no key derivation worth the name.
    key: KeyFile,
}

impl Template {
    pub async fn new() -> Self {
        let memory = MemoryBackend::new();
        let clock = Clock::new(TrueTime::from(BEGINNING_MS), 0);
        let key = KeyFile::generate(&*clock).unwrap();
        let backend: Arc<dyn Backend> = Arc::new(memory.clone());
        let (create, options) = (CreateOptions::default(), options(clock));
        Store::create(backend, &key, create, options).await.unwrap();
        Self { memory, key }
    }

    /// Opens a store with cold caches.
    pub async fn open(
        &self,
        backend: Arc<dyn Backend>,
        clock: Arc<Clock>,
    ) -> backup_store::Result<Store> {
        Store::open(backend, &self.key, options(clock)).await
    }

    /// A world with an empty store.
    pub fn world(&self, tenant: &Tenant) -> World {
        let traffic = Traffic {
            history: vec![Arc::new(Truth::of(tenant))],
            ..Traffic::default()
        };
        World {
            memory: self.memory.fork(),
            machine: Machine::new(),
            tenant: tenant.fork(),
            traffic,
            now_ms: BEGINNING_MS,
            lives: 0,
            seen: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }
}

/// 2026-11-01, the first moment of every tenant.
const BEGINNING_MS: i64 = 1_793_491_200_000;

fn options(environment: Arc<Clock>) -> StoreOptions {
    StoreOptions {
        environment,
        offload: Arc::new(InlineOffload),
        cache_dir: None,
    }
}

/// What a machine keeps of its own.
#[derive(Debug)]
pub struct Machine {
    pub disk: SimulatedDisk,
    pub journal: SimulatedJournal,
}

impl Machine {
    pub fn new() -> Self {
        Self {
            disk: SimulatedDisk::new(FaultPlan::new()),
            journal: SimulatedJournal::new(FaultPlan::new()),
        }
    }

    /// Copies the machine, for a life under this plan.
    pub fn fork(&self, plan: &FaultPlan) -> Self {
        Self {
            disk: self.disk.fork(plan.clone()),
            journal: self.journal.fork(plan.clone()),
        }
    }

    /// What a crash leaves of it: the journal keeps what was committed, whatever the disk does.
    pub fn crash(&self, survival: Survival) -> Self {
        Self {
            disk: self.disk.crash(survival, FaultPlan::new()),
            journal: self.journal.fork(FaultPlan::new()),
        }
    }
}

/// Everything that is there between two lives.
#[derive(Debug)]
pub struct World {
    pub memory: MemoryBackend,
    pub machine: Machine,
    pub tenant: Tenant,
    pub traffic: Traffic,
    pub now_ms: i64,
    /// Lives so far: no two draw the same randomness.
    pub lives: u64,
    /// Snapshots that the judge has read, with a digest of what they held.
    pub seen: BTreeMap<SnapshotId, [u8; 32]>,
    /// What the clients of its lives did against what they were told.
    pub wrong: Vec<String>,
}

impl World {
    /// Copies the whole world.
    pub fn fork(&self) -> Self {
        Self {
            memory: self.memory.fork(),
            machine: self.machine.fork(&FaultPlan::new()),
            tenant: self.tenant.fork(),
            traffic: self.traffic.clone(),
            now_ms: self.now_ms,
            lives: self.lives,
            seen: self.seen.clone(),
            wrong: self.wrong.clone(),
        }
    }

    /// Takes note of what the tenant holds, after something was done to it.
    pub fn note(&mut self) {
        self.traffic.history.push(Arc::new(Truth::of(&self.tenant)));
    }

    /// Does one thing to the tenant between two lives.
    pub fn act(&mut self, step: super::network::Step) {
        self.traffic.act(&self.tenant, step);
    }
}
