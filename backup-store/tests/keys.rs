//! Key slots and key epochs: who can open a store, before and after keys are changed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use backup_store::catalog::ResourceId;
use backup_store::{
    Backend, ContentClass, ErrorKind, KdfParams, KeyFile, Passphrase, RecipientKind, RecoveryCode,
    Result, Rotation, SlotOptions, Store, StoreOptions, SystemEnvironment, Unlock,
};
use common::{World, noise, passphrase, resource, snapshot};

fn cheap(label: &str) -> SlotOptions {
    let mut options = SlotOptions::labelled(label);
    options.kdf = KdfParams::minimum();
    options
}

fn code() -> RecoveryCode {
    RecoveryCode::generate(&SystemEnvironment).unwrap()
}

fn file() -> KeyFile {
    KeyFile::generate(&SystemEnvironment).unwrap()
}

async fn open(world: &World, unlock: impl Into<Unlock>) -> Result<Store> {
    Store::open(world.backend(), unlock, StoreOptions::default()).await
}

async fn refusal(world: &World, unlock: impl Into<Unlock>) -> ErrorKind {
    open(world, unlock).await.unwrap_err().kind()
}

async fn names(world: &World, prefix: &str) -> Vec<String> {
    let listed = world.memory.list(prefix).await.unwrap();
    listed
        .into_iter()
        .map(|info| info.name.to_string())
        .collect()
}

/// Writes a content and publishes a snapshot; returns what reads the content back.
async fn keep(world: &World, store: &Store, seed: u8) -> backup_store::ContentRef {
    let writer = store.begin(world.options(Vec::new())).await.unwrap();
    let gatherer = writer.gather(&ResourceId::new("outlook:a"));
    let bytes = noise(50_000, seed);
    let content = gatherer.put(ContentClass::Binary, &bytes).await.unwrap();
    gatherer.commit().await.unwrap();
    let snapshot = snapshot(&writer, resource("a"));
    writer.publish(vec![snapshot]).await.unwrap();
    writer.end().await.unwrap();
    content
}

async fn read(store: &Store, content: &backup_store::ContentRef) -> Vec<u8> {
    store.open_content(content).collect(1 << 20).await.unwrap()
}

#[tokio::test]
async fn each_kind_of_secret_opens_the_store_and_another_is_refused_by_its_name() {
    let world = World::new().await;
    let (code_, file_) = (code(), file());
    world.store.add_key(&code_, cheap("safe")).await.unwrap();
    world.store.add_key(&file_, cheap("server")).await.unwrap();
    for unlock in [passphrase().into(), (&code_).into(), Unlock::from(&file_)] {
        assert_eq!(open(&world, unlock).await.unwrap().id(), world.store.id());
    }
    assert_eq!(
        refusal(&world, Passphrase::new("no")).await,
        ErrorKind::WrongPassphrase
    );
    assert_eq!(refusal(&world, code()).await, ErrorKind::WrongRecoveryCode);
    assert_eq!(refusal(&world, file()).await, ErrorKind::WrongKeyFile);
    let slots = world.store.key_slots().await.unwrap();
    let labels: Vec<_> = slots
        .iter()
        .map(|slot| (slot.kind, slot.label.as_str()))
        .collect();
    assert!(labels.contains(&(RecipientKind::Passphrase, "first")));
    assert!(labels.contains(&(RecipientKind::RecoveryCode, "safe")));
    assert!(labels.contains(&(RecipientKind::KeyFile, "server")));
}

#[tokio::test]
async fn a_secret_gets_one_slot_however_often_it_is_added() {
    let world = World::new().await;
    let code = code();
    let first = world.store.add_key(&code, cheap("a")).await.unwrap();
    let again = world.store.add_key(&code, cheap("b")).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(names(&world, "keys/").await.len(), 2);
}

#[tokio::test]
async fn changing_a_passphrase_rewrites_no_data() {
    let world = World::new().await;
    let content = keep(&world, &world.store, 1).await;
    let before = names(&world, "").await;
    let new = Passphrase::new("new");
    let changed = world
        .store
        .change_key(passphrase(), &new, KdfParams::minimum());
    changed.await.unwrap();
    let after = names(&world, "").await;
    let others = |names: Vec<String>| -> Vec<String> {
        names
            .into_iter()
            .filter(|name| !name.starts_with("keys/"))
            .collect()
    };
    assert_eq!(others(before), others(after));
    assert_eq!(names(&world, "keys/").await.len(), 1);
    assert_eq!(
        refusal(&world, passphrase()).await,
        ErrorKind::WrongPassphrase
    );
    let opened = open(&world, &new).await.unwrap();
    assert_eq!(read(&opened, &content).await, noise(50_000, 1));
    let wrong = opened
        .change_key(passphrase(), &new, KdfParams::minimum())
        .await;
    assert_eq!(wrong.unwrap_err().kind(), ErrorKind::WrongPassphrase);
}

#[tokio::test]
async fn a_removed_recipient_reads_nothing_new_and_those_who_stay_read_everything() {
    let world = World::new().await;
    let (stays, goes) = (code(), file());
    let store = &world.store;
    store.add_key(&stays, cheap("stays")).await.unwrap();
    let gone = store.add_key(&goes, cheap("goes")).await.unwrap();
    let old = keep(&world, store, 1).await;
    let rotated = store
        .rotate_keys(Rotation {
            keep: vec![passphrase().into(), (&stays).into()],
            remove: vec![gone.recipient.unwrap()],
            ..Rotation::default()
        })
        .await
        .unwrap();
    assert_eq!((rotated.epoch, store.key_epoch()), (1, 1));
    assert_eq!(rotated.slots.len(), 2);
    let new = keep(&world, store, 2).await;
    for unlock in [passphrase().into(), Unlock::from(&stays)] {
        let opened = open(&world, unlock).await.unwrap();
        assert_eq!(read(&opened, &old).await, noise(50_000, 1));
        assert_eq!(read(&opened, &new).await, noise(50_000, 2));
        let report = opened
            .check(backup_store::CheckDepth::AllData, &|_| ())
            .await;
        assert!(report.unwrap().problems.is_empty());
    }
    assert_eq!(refusal(&world, &goes).await, ErrorKind::WrongKeyFile);
    let listed = names(&world, "keys/").await;
    assert!(
        listed.iter().all(|name| name.starts_with("keys/1.")),
        "{listed:?}"
    );
    assert_eq!(names(&world, "epochs/").await, ["epochs/0", "epochs/1"]);
}

#[tokio::test]
async fn a_change_of_the_root_key_accounts_for_every_recipient() {
    let world = World::new().await;
    let other = world.store.add_key(code(), cheap("other")).await.unwrap();
    let id = other.recipient.unwrap();
    let keep: Vec<Unlock> = vec![passphrase().into()];
    let refused = |keep: &[Unlock], remove: &[_]| {
        let (keep, remove) = (keep.to_vec(), remove.to_vec());
        let add = Vec::new();
        let store = world.store.clone();
        async move {
            let rotation = Rotation { keep, add, remove };
            store.rotate_keys(rotation).await.unwrap_err().kind()
        }
    };
    assert_eq!(refused(&keep, &[]).await, ErrorKind::InvalidInput);
    assert_eq!(refused(&[], &[id]).await, ErrorKind::InvalidInput);
    assert_eq!(
        refused(&[code().into()], &[id]).await,
        ErrorKind::WrongRecoveryCode
    );
    let nobody = backup_store::RecipientId::from_bytes([3; 16]);
    assert_eq!(refused(&keep, &[id, nobody]).await, ErrorKind::NotFound);
    assert_eq!(names(&world, "keys/").await.len(), 2);
    assert_eq!(names(&world, "epochs/").await, ["epochs/0"]);
}

#[tokio::test]
async fn a_running_client_learns_a_new_key_epoch_or_that_it_was_removed() {
    let world = World::new().await;
    let (stays, goes) = (code(), file());
    world.store.add_key(&stays, cheap("stays")).await.unwrap();
    let gone = world.store.add_key(&goes, cheap("goes")).await.unwrap();
    let (one, two) = (
        open(&world, &stays).await.unwrap(),
        open(&world, &goes).await.unwrap(),
    );
    let add = (Unlock::from(Passphrase::new("fresh")), cheap("fresh"));
    let rotation = Rotation {
        keep: vec![passphrase().into(), (&stays).into()],
        add: vec![add],
        remove: vec![gone.recipient.unwrap()],
    };
    world.store.rotate_keys(rotation).await.unwrap();
    let content = keep(&world, &world.store, 3).await;
    // A reader that opened before meets an object of the new epoch.
    let found = one.snapshots().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(read(&one, &content).await, noise(50_000, 3));
    assert_eq!(one.key_epoch(), 1);
    let refused = two.begin(world.options(Vec::new())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::RecipientRemoved);
    keep(&world, &one, 4).await;
    assert!(open(&world, Passphrase::new("fresh")).await.is_ok());
}

#[tokio::test]
async fn what_an_interrupted_change_left_locks_nobody_out() {
    let world = World::new().await;
    let (stays, goes) = (code(), file());
    world.store.add_key(&stays, cheap("stays")).await.unwrap();
    let gone = world.store.add_key(&goes, cheap("goes")).await.unwrap();
    let rotation = Rotation {
        keep: vec![passphrase().into(), (&stays).into()],
        add: Vec::new(),
        remove: vec![gone.recipient.unwrap()],
    };
    // Another client's change got as far as its slots.
    let twin = world.copy().await;
    twin.store.rotate_keys(rotation.clone()).await.unwrap();
    for info in twin.memory.list("keys/1.").await.unwrap() {
        let slot = twin.memory.get(&info.name, None).await.unwrap();
        world.memory.put_new(&info.name, slot).await.unwrap();
    }
    assert!(open(&world, &goes).await.is_ok());
    let refused = world
        .store
        .add_key(code(), cheap("late"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(names(&world, "keys/0.").await.len(), 3);
    world.store.rotate_keys(rotation).await.unwrap();
    assert_eq!(names(&world, "keys/").await.len(), 2);
    for unlock in [passphrase().into(), Unlock::from(&stays)] {
        assert!(open(&world, unlock).await.is_ok());
    }
    // The twin's epoch lands late: its name is taken.
    let name = backup_store::ObjectName::new("epochs/1").unwrap();
    let late = twin.memory.get(&name, None).await.unwrap();
    let put = world.memory.put_new(&name, late).await.unwrap();
    assert_eq!(put, backup_store::Put::AlreadyExists);
    world.store.add_key(code(), cheap("late")).await.unwrap();
}

#[tokio::test]
async fn a_recovery_kit_is_made_only_with_a_code_that_opens_the_store() {
    let world = World::new().await;
    let code = code();
    let useless = world.store.recovery_kit("a disk", &code).await.unwrap_err();
    assert_eq!(useless.kind(), ErrorKind::WrongRecoveryCode);
    world.store.add_key(&code, cheap("safe")).await.unwrap();
    let kit = world.store.recovery_kit("a disk", &code).await.unwrap();
    let text = kit.to_text();
    for part in [
        &world.store.id().to_string(),
        "a disk",
        "Format version",
        "\"safe\"",
        "\"first\"",
    ] {
        assert!(text.contains(part), "{part} is missing");
    }
    let shown = code.to_text();
    assert!(text.contains(shown.as_str()));
    assert!(!format!("{kit:?}").contains(shown.as_str()));
    let typed = text
        .lines()
        .find_map(|line| line.trim().parse::<RecoveryCode>().ok());
    assert!(open(&world, typed.unwrap()).await.is_ok());
}

#[tokio::test]
async fn a_slot_for_a_kind_not_known_here_is_shown_and_left_alone() {
    let world = World::new().await;
    let listed = world.memory.list("keys/").await.unwrap();
    let slot = world.memory.get(&listed[0].name, None).await.unwrap();
    let mut body = slot[..slot.len() - 32].to_vec();
    body[5] = 4;
    let hash = blake3::hash(&body);
    body.extend_from_slice(hash.as_bytes());
    let name = backup_store::ObjectName::new("keys/0.00112233445566778899aabbccddeeff").unwrap();
    world.memory.put_new(&name, body.into()).await.unwrap();
    let slots = world.store.key_slots().await.unwrap();
    assert!(
        slots
            .iter()
            .any(|slot| slot.kind == RecipientKind::PublicKey)
    );
    assert!(open(&world, passphrase()).await.is_ok());
    let error = open(&world, file()).await.unwrap_err();
    assert!(error.to_string().contains("cannot open"), "{error}");
    let refused = world.store.rotate_keys(Rotation {
        keep: vec![passphrase().into()],
        ..Rotation::default()
    });
    assert_eq!(refused.await.unwrap_err().kind(), ErrorKind::Unsupported);
    let backend: Arc<dyn Backend> = world.backend();
    assert!(backend.get(&name, None).await.is_ok());
}
