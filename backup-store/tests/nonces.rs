//! Nonce safety: no key and nonce meet two messages, whatever crashes, retries, clones of a machine
//! that draw the same random bytes, and writers that work at once.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::PathBuf;
use std::sync::Arc;

use backup_store::catalog::ResourceId;
use backup_store::fault::{
    FaultPlan, Mutant, NonceCounts, NonceWatch, SeededEnvironment, SimulatedDisk, Survival,
};
use backup_store::{
    Backend, ContentClass, CreateOptions, Gatherer, InlineOffload, KeyFile, MemoryBackend,
    Rotation, RunId, SlotOptions, Store, StoreOptions, Unlock, Writer, WriterOptions,
};
use common::{noise, resource, snapshot};
use proptest::prelude::*;

/// What one of the machines does next. Failures are allowed: clones get into each other's way.
#[derive(Debug, Clone)]
enum Step {
    Begin {
        run: u8,
    },
    Put {
        content: u8,
    },
    Publish,
    Flush,
    End,
    /// The machine stops, and comes back drawing the random bytes of this seed.
    Crash {
        torn: u64,
        seed: u64,
    },
    SealLocally {
        row: u8,
        content: u8,
    },
    AddKey {
        key: u8,
        label: u8,
    },
    ChangeRoot {
        add: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2u8).prop_map(|run| Step::Begin { run }),
        6 => (0..6u8).prop_map(|content| Step::Put { content }),
        3 => Just(Step::Publish),
        2 => Just(Step::Flush),
        1 => Just(Step::End),
        3 => (any::<u64>(), 0..2u64).prop_map(|(torn, seed)| Step::Crash { torn, seed }),
        1 => (0..2u8, 0..3u8).prop_map(|(row, content)| Step::SealLocally { row, content }),
        1 => (0..2u8, 0..2u8).prop_map(|(key, label)| Step::AddKey { key, label }),
        1 => any::<bool>().prop_map(|add| Step::ChangeRoot { add }),
    ]
}

fn key_file(number: u8) -> Unlock {
    let seed = SeededEnvironment::new(900 + u64::from(number));
    KeyFile::generate(&seed).unwrap().into()
}

struct Machine {
    backend: Arc<dyn Backend>,
    store: Store,
    disk: SimulatedDisk,
    writing: Option<(Writer, Gatherer)>,
}

impl Machine {
    async fn start(
        store: &Store,
        backend: &Arc<dyn Backend>,
        disk: SimulatedDisk,
        seed: u64,
    ) -> Self {
        let environment = Arc::new(SeededEnvironment::new(seed));
        let store = store.restart(Arc::clone(backend), &disk, environment).await;
        Self {
            backend: Arc::clone(backend),
            store: store.unwrap(),
            disk,
            writing: None,
        }
    }

    async fn take(&mut self, step: Step) -> backup_store::Result<()> {
        match step {
            Step::Begin { run } => {
                self.writing = None;
                let writer = self.store.begin(WriterOptions {
                    run: RunId::from_bytes([run; 16]),
                    spool_dir: PathBuf::from("/spool"),
                    adopts: Vec::new(),
                });
                let writer = writer.await?;
                let gatherer = writer.gather(&ResourceId::new("outlook:a"));
                self.writing = Some((writer, gatherer));
            }
            Step::Put { content } => {
                if let Some((_, gatherer)) = &self.writing {
                    let bytes = noise(3000, content);
                    gatherer.put(ContentClass::Binary, &bytes).await?;
                    gatherer.commit().await?;
                }
            }
            Step::Publish => {
                if let Some((writer, _)) = &self.writing {
                    let snapshot = snapshot(writer, resource("a"));
                    writer.publish(vec![snapshot]).await?;
                }
            }
            Step::Flush => {
                if let Some((writer, _)) = &self.writing {
                    writer.flush().await?;
                }
            }
            Step::End => {
                if let Some((writer, _)) = self.writing.take() {
                    writer.end().await?;
                }
            }
            Step::Crash { torn, seed } => {
                self.writing = None;
                let disk = self.disk.crash(Survival::Torn(torn), FaultPlan::new());
                *self = Self::start(&self.store, &self.backend, disk, seed).await;
            }
            Step::SealLocally { row, content } => {
                self.store.seal_local("row", &[row], &[content; 40])?;
            }
            Step::AddKey { key, label } => {
                let options = SlotOptions::labelled(format!("label {label}"));
                self.store.add_key(key_file(key), options).await?;
            }
            Step::ChangeRoot { add } => {
                let new = (key_file(2), SlotOptions::labelled("new"));
                self.change_root(if add { vec![new] } else { Vec::new() })
                    .await?;
            }
        }
        Ok(())
    }

    /// Keeps the first key, and removes all others.
    async fn change_root(&self, add: Vec<(Unlock, SlotOptions)>) -> backup_store::Result<()> {
        let slots = self.store.key_slots().await?;
        let others = slots.iter().filter(|slot| slot.label != "first");
        let rotation = Rotation {
            keep: vec![key_file(0)],
            add,
            remove: others.filter_map(|slot| slot.recipient).collect(),
        };
        self.store.rotate_keys(rotation).await.map(drop)
    }
}

/// Two machines with equal disks and equal random bytes take steps on one store.
async fn scenario(steps: Vec<(usize, Step)>) -> NonceCounts {
    let memory = MemoryBackend::new();
    let backend: Arc<dyn Backend> = Arc::new(memory);
    let options = StoreOptions {
        environment: Arc::new(SeededEnvironment::new(77)),
        offload: Arc::new(InlineOffload),
        cache_dir: None,
    };
    let create = CreateOptions::default();
    let store = Store::create(Arc::clone(&backend), key_file(0), create, options)
        .await
        .unwrap();
    let watch = NonceWatch::begin();
    let disk = SimulatedDisk::new(FaultPlan::new());
    let mut machines = Vec::new();
    for _ in 0..2 {
        let disk = disk.fork(FaultPlan::new());
        machines.push(Machine::start(&store, &backend, disk, 0).await);
    }
    for (machine, step) in steps {
        // What fails (a name taken by the clone, a root key that was changed) must be safe as well.
        drop(machines[machine].take(step).await);
    }
    watch.counts()
}

fn run(steps: Vec<(usize, Step)>) -> NonceCounts {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(scenario(steps))
}

/// Both machines begin alike; then each puts something else and publishes.
fn clones_part() -> Vec<(usize, Step)> {
    let mut steps = Vec::new();
    for machine in [0, 1] {
        let content = u8::try_from(machine).unwrap();
        steps.extend([
            (machine, Step::SealLocally { row: 0, content }),
            (machine, Step::Begin { run: 0 }),
            (machine, Step::Put { content: 5 }),
            (machine, Step::Put { content }),
            (machine, Step::Publish),
        ]);
    }
    steps
}

#[test]
fn clones_that_part_repeat_messages_but_no_nonce_for_another_one() {
    let counts = run(clones_part());
    assert_eq!(counts.reused, 0, "{counts:?}");
    assert!(
        counts.repeated > 0,
        "the clones did not draw the same bytes: {counts:?}"
    );
}

#[test]
fn the_watch_catches_salts_and_nonces_that_ignore_what_they_seal() {
    for mutant in Mutant::OF_NONCES {
        let active = mutant.activate();
        let counts = run(clones_part());
        drop(active);
        assert!(counts.reused > 0, "{mutant:?} survived: {counts:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_key_and_nonce_meet_two_messages(
        steps in prop::collection::vec((0..2usize, step()), 1..40),
    ) {
        let counts = run(steps);
        prop_assert_eq!(counts.reused, 0, "{:?}", counts);
    }
}
