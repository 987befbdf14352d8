//! Changes of keys that stop anywhere, hear no answer, or land late: whoever stays can always open
//! the store, whoever goes cannot once the change was made, and the same call again finishes it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use backup_store::catalog::ResourceId;
use backup_store::fault::{
    Effect, Fault, FaultBackend, FaultPlan, SeededEnvironment, SimulatedDisk,
};
use backup_store::{
    Backend, ContentClass, ContentRef, CreateOptions, ErrorKind, InlineOffload, KdfParams, KeyFile,
    MemoryBackend, RecoveryCode, ReplicaOptions, Result, Rotation, RunId, SlotOptions, Store,
    StoreOptions, Unlock, WriterOptions,
};
use common::{noise, resource, snapshot};

fn key_file(number: u64) -> Unlock {
    KeyFile::generate(&SeededEnvironment::new(number))
        .unwrap()
        .into()
}

fn code() -> Unlock {
    RecoveryCode::generate(&SeededEnvironment::new(50))
        .unwrap()
        .into()
}

const OWNER: u64 = 1;
const LEAVER: u64 = 2;
const NEW: u64 = 3;

async fn open(backend: Arc<dyn Backend>, unlock: Unlock, seed: u64) -> Result<Store> {
    let options = StoreOptions {
        environment: Arc::new(SeededEnvironment::new(seed)),
        offload: Arc::new(InlineOffload),
        cache_dir: None,
    };
    Store::open(backend, unlock, options).await
}

async fn copy_of(memory: &MemoryBackend) -> MemoryBackend {
    let copy = MemoryBackend::new();
    for info in memory.list("").await.unwrap() {
        let bytes = memory.get(&info.name, None).await.unwrap();
        copy.put_new(&info.name, bytes).await.unwrap();
    }
    copy
}

/// A store with an owner, a recovery code and someone who will leave; one content in it.
struct Base {
    memory: MemoryBackend,
    content: ContentRef,
}

impl Base {
    async fn new() -> Self {
        let memory = MemoryBackend::new();
        let backend: Arc<dyn Backend> = Arc::new(memory.clone());
        let options = StoreOptions {
            environment: Arc::new(SeededEnvironment::new(7)),
            offload: Arc::new(InlineOffload),
            cache_dir: None,
        };
        let create = CreateOptions::default();
        let store = Store::create(Arc::clone(&backend), key_file(OWNER), create, options);
        let store = store.await.unwrap();
        store
            .add_key(code(), SlotOptions::labelled("code"))
            .await
            .unwrap();
        store
            .add_key(key_file(LEAVER), SlotOptions::labelled("leaver"))
            .await
            .unwrap();
        let disk = SimulatedDisk::new(FaultPlan::new());
        let environment = Arc::new(SeededEnvironment::new(8));
        let store = store.restart(backend, &disk, environment).await.unwrap();
        let options = WriterOptions {
            run: RunId::from_bytes([1; 16]),
            spool_dir: "/spool".into(),
            adopts: Vec::new(),
        };
        let writer = store.begin(options).await.unwrap();
        let gatherer = writer.gather(&ResourceId::new("outlook:a"));
        let content = gatherer
            .put(ContentClass::Binary, &noise(1000, 1))
            .await
            .unwrap();
        gatherer.commit().await.unwrap();
        writer
            .publish(vec![snapshot(&writer, resource("a"))])
            .await
            .unwrap();
        writer.end().await.unwrap();
        Self { memory, content }
    }

    async fn copy(&self) -> MemoryBackend {
        copy_of(&self.memory).await
    }

    async fn opens(
        &self,
        memory: &MemoryBackend,
        unlock: Unlock,
    ) -> std::result::Result<(), ErrorKind> {
        let store = open(Arc::new(memory.clone()), unlock, 90).await;
        let store = store.map_err(|cause| cause.kind())?;
        let bytes = store.open_content(&self.content).collect(1 << 20).await;
        assert_eq!(bytes.unwrap(), noise(1000, 1));
        Ok(())
    }
}

/// Which change is made, and who can open the store before, during and after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Remove,
    Secret,
    Add,
}

impl Change {
    const ALL: [Self; 3] = [Self::Remove, Self::Secret, Self::Add];

    async fn make(self, store: &Store) -> Result<()> {
        match self {
            Self::Remove => {
                let slots = store.key_slots().await?;
                let leaver = slots.iter().filter(|slot| slot.label == "leaver");
                let remove: Vec<_> = leaver.filter_map(|slot| slot.recipient).collect();
                if remove.is_empty() {
                    return store.tidy_key_slots().await.map(drop);
                }
                let keep = vec![key_file(OWNER), code()];
                let rotation = Rotation {
                    keep,
                    remove,
                    ..Rotation::default()
                };
                store.rotate_keys(rotation).await.map(drop)
            }
            Self::Secret => {
                let (old, new) = (key_file(LEAVER), key_file(NEW));
                match store.change_key(old, new, KdfParams::minimum()).await {
                    // Done in an earlier life.
                    Err(cause) if cause.kind() == ErrorKind::WrongKeyFile => Ok(()),
                    made => made.map(drop),
                }
            }
            Self::Add => {
                let options = SlotOptions::labelled("new");
                store.add_key(key_file(NEW), options).await.map(drop)
            }
        }
    }

    /// Those who can open the store whatever happens.
    fn always(self) -> Vec<Unlock> {
        let mut always = vec![key_file(OWNER), code()];
        if self == Self::Add {
            always.push(key_file(LEAVER));
        }
        always
    }

    async fn check(self, base: &Base, memory: &MemoryBackend, made: bool) {
        for unlock in self.always() {
            assert_eq!(base.opens(memory, unlock).await, Ok(()), "{self:?}");
        }
        let leaver = base.opens(memory, key_file(LEAVER)).await;
        let new = base.opens(memory, key_file(NEW)).await;
        match self {
            Self::Secret => assert!(leaver.is_ok() || new.is_ok(), "nobody is locked out"),
            _ => assert!(made || leaver.is_ok() || self == Self::Remove),
        }
        if made {
            assert_eq!(leaver.is_ok(), self == Self::Add, "{self:?}: {leaver:?}");
            assert_eq!(new.is_ok(), self != Self::Remove, "{self:?}: {new:?}");
        }
    }
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().unwrap().block_on(work)
}

/// The effects of the change when nothing goes wrong.
async fn recorded(base: &Base, change: Change) -> Vec<Effect> {
    let plan = FaultPlan::new();
    let backend = FaultBackend::new(Arc::new(base.copy().await), plan.clone());
    let store = open(Arc::new(backend), key_file(OWNER), 20).await.unwrap();
    change.make(&store).await.unwrap();
    plan.effects()
}

#[test]
fn a_change_that_stops_anywhere_is_finished_by_the_next_one_even_if_the_rest_lands_late() {
    run(async {
        let base = Base::new().await;
        let disk = SimulatedDisk::new(FaultPlan::new());
        for change in Change::ALL {
            let effects = recorded(&base, change).await;
            assert!(effects.len() > usize::from(change == Change::Secret));
            for stop in 0..=effects.len() {
                let memory = base.copy().await;
                effects[..stop]
                    .iter()
                    .for_each(|effect| effect.apply(&memory, &disk));
                change.check(&base, &memory, false).await;
                let backend: Arc<dyn Backend> = Arc::new(memory.clone());
                let store = open(backend, key_file(OWNER), 21).await.unwrap();
                change.make(&store).await.unwrap();
                change.check(&base, &memory, true).await;
                for late in &effects[stop..] {
                    late.apply(&memory, &disk);
                    change.check(&base, &memory, true).await;
                }
            }
        }
    });
}

#[test]
fn a_replica_opens_wherever_it_stops_following_a_change_of_keys() {
    run(async {
        let base = Base::new().await;
        let disk = SimulatedDisk::new(FaultPlan::new());
        let primary: Arc<dyn Backend> = Arc::new(base.copy().await);
        let store = open(primary, key_file(OWNER), 30).await.unwrap();
        let replica = MemoryBackend::new();
        store
            .create_replica(Arc::new(replica.clone()))
            .await
            .unwrap();
        Change::Remove.make(&store).await.unwrap();
        let before = copy_of(&replica).await;
        let plan = FaultPlan::new();
        let backend = FaultBackend::new(Arc::new(replica.clone()), plan.clone());
        let there = open(Arc::new(backend), key_file(OWNER), 31).await.unwrap();
        let options = ReplicaOptions::default();
        store.fill_replica(&there, options, &|_| ()).await.unwrap();
        let effects = plan.effects();
        assert!(effects.len() > 6, "{}", effects.len());
        for stop in 0..=effects.len() {
            let memory = copy_of(&before).await;
            effects[..stop]
                .iter()
                .for_each(|effect| effect.apply(&memory, &disk));
            for unlock in [key_file(OWNER), code()] {
                let opened = open(Arc::new(memory.clone()), unlock, 90).await;
                assert!(opened.is_ok(), "after {stop} effects: {opened:?}");
            }
        }
        assert_eq!(base.opens(&replica, key_file(OWNER)).await, Ok(()));
        let leaver = open(Arc::new(replica), key_file(LEAVER), 91).await;
        assert_eq!(leaver.unwrap_err().kind(), ErrorKind::WrongKeyFile);
    });
}

#[test]
fn a_change_without_answers_locks_nobody_out() {
    run(async {
        let base = Base::new().await;
        for change in Change::ALL {
            let effects = recorded(&base, change).await.len() as u64;
            for fault in [
                Fault::AnswerLost,
                Fault::Twice,
                Fault::Refused,
                Fault::StopAfter,
            ] {
                for at in 0..effects {
                    let memory = base.copy().await;
                    let plan = FaultPlan::new().with(at, fault);
                    let backend = FaultBackend::new(Arc::new(memory.clone()), plan.clone());
                    let store = open(Arc::new(backend), key_file(OWNER), 22).await.unwrap();
                    let made = tokio::select! {
                        made = change.make(&store) => made.is_ok(),
                        () = plan.stopped() => false,
                    };
                    let undeleted = fault == Fault::Refused && at + 1 >= effects;
                    change.check(&base, &memory, made && !undeleted).await;
                }
            }
        }
    });
}
