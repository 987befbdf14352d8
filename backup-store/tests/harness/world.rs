//! Worlds and lives: what a machine and its store hold, and one stretch of the machine's time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use backup_store::fault::{Effect, FaultBackend, FaultPlan, SeededEnvironment, SimulatedDisk};
use backup_store::{
    Backend, ContentRef, CreateOptions, InlineOffload, KeyFile, LeaseId, MemoryBackend, PackId,
    SnapshotId, Store, StoreOptions,
};

/// Item number → content number: what the service holds.
pub type Target = BTreeMap<u16, u32>;

/// An empty store that was created once; every world begins as a copy of it.
#[derive(Debug)]
pub struct Template {
    pub memory: MemoryBackend,
    /// Opens it: a key file, which costs no key derivation worth the name.
    pub key: KeyFile,
    /// Another store, from which is copied.
    pub other: Option<Box<Self>>,
}

impl Template {
    pub async fn new() -> Self {
        let mut template = Self::seeded(1).await;
        template.other = Some(Box::new(Self::seeded(2).await));
        template
    }

    async fn seeded(seed: u64) -> Self {
        let memory = MemoryBackend::new();
        let environment = Arc::new(SeededEnvironment::new(seed));
        let key = KeyFile::generate(environment.as_ref()).unwrap();
        let backend: Arc<dyn Backend> = Arc::new(memory.clone());
        let (create, options) = (CreateOptions::default(), options(environment));
        Store::create(backend, &key, create, options).await.unwrap();
        Self {
            memory,
            key,
            other: None,
        }
    }

    /// Opens a store by its key, with cold caches.
    pub async fn open(
        &self,
        backend: Arc<dyn Backend>,
        environment: Arc<SeededEnvironment>,
    ) -> backup_store::Result<Store> {
        Store::open(backend, &self.key, options(environment)).await
    }

    /// An empty world: a new store, a new machine, nobody's mail.
    pub fn world(&self) -> World {
        World {
            memory: self.memory.fork(),
            disk: SimulatedDisk::new(FaultPlan::new()),
            journal: Journal::default(),
            published: Vec::new(),
            sources: Vec::new(),
            pruned: false,
            deeds: BTreeSet::new(),
            lives: 0,
        }
    }
}

/// Everything that is there between two lives.
#[derive(Debug, Clone)]
pub struct World {
    pub memory: MemoryBackend,
    pub disk: SimulatedDisk,
    pub journal: Journal,
    /// Snapshots whose publication was acknowledged, and that nobody has forgotten since.
    pub published: Vec<SnapshotId>,
    /// The states of another store that is copied from, one for each round.
    pub sources: Vec<MemoryBackend>,
    /// Whether something may be gone that a journal knows.
    pub pruned: bool,
    /// What happened that a scenario is about.
    pub deeds: BTreeSet<Deed>,
    /// Lives so far: no two draw the same randomness.
    pub lives: u64,
}

/// The backup journal of the engine, as far as the store is concerned.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    pub lease: Option<LeaseId>,
    pub base: Option<SnapshotId>,
    pub rows: Vec<Row>,
    pub next_row: u64,
}

/// One item of a committed page.
#[derive(Debug, Clone)]
pub struct Row {
    pub number: u64,
    pub item: u16,
    pub content_number: u32,
    pub content: ContentRef,
    pub packs: Vec<PackId>,
}

/// What a life writes into its journal, or hears from the store.
#[derive(Debug, Clone)]
pub enum Note {
    /// A lease was taken; the rows that are still of use go on under this base.
    Begun {
        lease: LeaseId,
        base: Option<SnapshotId>,
        rows: Vec<Row>,
    },
    /// A page was committed.
    Page(Vec<Row>),
    /// A snapshot was acknowledged.
    Published(SnapshotId),
    /// The lease has ended.
    Ended,
    /// A snapshot is to be forgotten: from here on it may be gone.
    Forgetting(SnapshotId),
    /// Another writer heard that its snapshot is published.
    Guest(SnapshotId),
    /// Something happened that a scenario is about.
    Deed(Deed),
}

/// What a scenario must have seen to have shown anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// A writer copied out of a condemned pack what it refers to, and acknowledged the round.
    Copied,
    /// The second mark rescued a condemned pack.
    Rescued,
    /// A live writer was fenced, and published under a new lease.
    Fenced,
    /// What was needed of a wasteful pack was written anew.
    Repacked,
    /// Packs were deleted while others were kept.
    Swept,
    /// Segments were deleted that a merged one supersedes.
    Merged,
}

impl World {
    pub fn note(&mut self, note: &Note) {
        let journal = &mut self.journal;
        match note {
            Note::Begun { lease, base, rows } => {
                journal.lease = Some(*lease);
                journal.base = *base;
                journal.rows.clone_from(rows);
            }
            Note::Page(rows) => {
                journal.next_row += rows.len() as u64;
                journal.rows.extend_from_slice(rows);
            }
            Note::Published(id) => {
                self.published.push(*id);
                journal.base = Some(*id);
                journal.rows.clear();
            }
            Note::Ended => journal.lease = None,
            Note::Forgetting(id) => {
                self.published.retain(|known| known != id);
                self.pruned = true;
            }
            Note::Guest(id) => self.published.push(*id),
            Note::Deed(deed) => drop(self.deeds.insert(*deed)),
        }
    }
}

/// One stretch of a machine's time, under a fault plan.
#[derive(Debug)]
pub struct Life<'a> {
    pub template: &'a Template,
    pub plan: FaultPlan,
    pub backend: Arc<FaultBackend>,
    pub environment: Arc<SeededEnvironment>,
    state: Mutex<(World, Vec<(u64, Note)>)>,
}

impl<'a> Life<'a> {
    /// Begins a life in a world, which it takes over: the disk answers to `plan` from now on.
    pub fn begin(template: &'a Template, mut world: World, plan: FaultPlan, seed: u64) -> Self {
        world.disk = world.disk.fork(plan.clone());
        world.lives += 1;
        let memory: Arc<dyn Backend> = Arc::new(world.memory.clone());
        let mut backend = FaultBackend::new(memory, plan.clone());
        if seed.is_multiple_of(2) {
            // The store lies on the machine's own disk: it takes finished packs as they are.
            backend = backend.taking_files_of(&world.disk);
        }
        let backend = Arc::new(backend);
        let environment = SeededEnvironment::new(mix(seed, world.lives));
        Self {
            template,
            plan,
            backend,
            environment: Arc::new(environment),
            state: Mutex::new((world, Vec::new())),
        }
    }

    /// Opens the store with cold caches.
    pub async fn open(&self) -> backup_store::Result<Store> {
        let backend: Arc<dyn Backend> = self.backend.clone();
        let disk = self.world().disk;
        let environment = self.environment.clone();
        self.template
            .open(backend, environment)
            .await?
            .on_disk(&disk)
    }

    pub fn world(&self) -> World {
        self.state.lock().unwrap().0.clone()
    }

    pub fn note(&self, note: Note) {
        let mut state = self.state.lock().unwrap();
        state.0.note(&note);
        state.1.push((self.plan.effect_count() as u64, note));
    }

    /// Ends the life; returns the world, what it noted after how many effects, and the effects.
    pub fn end(self) -> (World, Vec<(u64, Note)>, Vec<Effect>) {
        let (world, notes) = self.state.into_inner().unwrap();
        (world, notes, self.plan.effects())
    }
}

fn options(environment: Arc<SeededEnvironment>) -> StoreOptions {
    StoreOptions {
        environment,
        offload: Arc::new(InlineOffload),
        cache_dir: None,
    }
}

/// The bytes of a content: a few hundred, some of them alike, the same for the same number.
pub fn bytes_of(content: u32) -> Vec<u8> {
    let mut bytes = vec![0; 8 + (mix(3, u64::from(content)) % 700) as usize];
    let seed = *blake3::hash(&content.to_le_bytes()).as_bytes();
    blake3::Hasher::new_keyed(&seed)
        .finalize_xof()
        .fill(&mut bytes);
    if content.is_multiple_of(3) {
        // Compressible.
        for byte in &mut bytes {
            *byte = b'a' + *byte % 4;
        }
    }
    bytes
}

/// Mixes two numbers into one that looks like neither.
pub fn mix(seed: u64, number: u64) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.update(&number.to_le_bytes());
    let hash = *hasher.finalize().as_bytes();
    u64::from_le_bytes(hash[..8].try_into().unwrap())
}
