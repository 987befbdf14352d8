//! What the tests of this crate share: small snapshots in a store in memory, and a destination in
//! memory that counts effects and can break off at any of them.

mod memory_target;

use std::sync::Arc;

use backup_store::catalog::{
    Container, ContainerKind, Item, ItemKey, ItemKind, ItemState, Outcome, Representation,
    RepresentationKind, Resource, ResourceId, ResourceKind, Service, Snapshot, SnapshotEntry,
    Totals,
};
use backup_store::{
    ContentClass, CreateOptions, MemoryBackend, Passphrase, RunId, Store, StoreOptions, Timestamp,
    WriterOptions,
};
use tempfile::TempDir;

pub(crate) use memory_target::{Break, Lying, MemoryTarget};

/// A store in memory, and a directory for spools and journals.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) dir: TempDir,
}

/// One folder of a snapshot: id, parent, name, well-known name.
pub(crate) type Folder = (
    &'static str,
    Option<&'static str>,
    &'static str,
    Option<&'static str>,
);

/// What a snapshot holds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seed {
    pub(crate) folders: Vec<Folder>,
    /// Container, name, content; no content stands for an item that could not be stored.
    pub(crate) items: Vec<(String, String, Option<Vec<u8>>)>,
}

pub(crate) async fn world() -> World {
    let mut create = CreateOptions::default();
    create.kdf = backup_store::KdfParams::minimum();
    let backend = Arc::new(MemoryBackend::new());
    let passphrase = Passphrase::new("only for tests");
    let options = StoreOptions {
        offload: Arc::new(backup_store::InlineOffload),
        ..StoreOptions::default()
    };
    let store = Store::create(backend, &passphrase, create, options)
        .await
        .unwrap();
    World {
        store,
        dir: TempDir::new().unwrap(),
    }
}

/// The folders and items most tests use: 3 levels, 7 items, one of which could not be stored.
pub(crate) fn mailbox() -> Seed {
    let item = |container: &str, name: &str| {
        (
            container.to_owned(),
            name.to_owned(),
            Some(format!("content of {name}").into_bytes()),
        )
    };
    let mut items = vec![
        item("in", "hello.txt"),
        item("in", "again.txt"),
        item("pr", "plan.txt"),
        item("pr", "budget.txt"),
        item("deep", "deep.txt"),
        item("sent", "answer.txt"),
    ];
    items.push(("in".into(), "broken.txt".into(), None));
    Seed {
        folders: vec![
            ("in", Some("gone-root"), "Posteingang", Some("inbox")),
            ("sent", Some("gone-root"), "Gesendet", Some("sentitems")),
            ("pr", Some("gone-root"), "Projects", None),
            ("deep", Some("pr"), "2025", None),
            ("empty", Some("in"), "Empty", None),
        ],
        items,
    }
}

/// Publishes a snapshot with what `seed` says.
pub(crate) async fn snapshot(world: &World, service: Service, seed: &Seed) -> SnapshotEntry {
    let environment = world.store.environment().clone();
    let run = RunId::random(environment.as_ref()).unwrap();
    let spool_dir = world.dir.path().join(format!("spool-{run}"));
    let options = WriterOptions {
        run,
        spool_dir,
        adopts: Vec::new(),
    };
    let writer = world.store.begin(options).await.unwrap();
    let mut containers: Vec<_> = seed
        .folders
        .iter()
        .map(|folder| {
            let container = container(folder);
            (container.key(), Some(container.encode()))
        })
        .collect();
    containers.sort();
    let mut items = Vec::new();
    for (number, (container, name, content)) in seed.items.iter().enumerate() {
        let mut representations = Vec::new();
        let mut state = ItemState::Stored;
        match content {
            Some(bytes) => {
                let gatherer = writer.gatherer();
                let content = gatherer.put(ContentClass::Text, bytes).await.unwrap();
                gatherer.commit().await.unwrap();
                let kind = RepresentationKind::Content;
                representations.push(Representation { kind, content });
            }
            None => {
                let representation = RepresentationKind::Content;
                state = ItemState::Quarantined {
                    representation,
                    cause: "500".into(),
                };
            }
        }
        let id = format!("source-{number}");
        let created = Timestamp::from_millis(1_700_000_000_000 + number as i64 * 1000);
        let item = Item {
            key: ItemKey {
                container: container.clone(),
                created,
                id,
            },
            kind: ItemKind::File,
            name: name.clone(),
            sender: None,
            recipients: Vec::new(),
            change_key: format!("key-{number}"),
            content_key: None,
            size_bytes: content.as_ref().map_or(0, Vec::len) as u64,
            modified: None,
            draft: false,
            state,
            representations,
        };
        items.push((item.key.encode(), Some(item.encode())));
    }
    items.sort();
    let empty = world.store.empty_tree();
    let containers = writer.apply(&empty, containers).await.unwrap();
    let items = writer.apply(&empty, items).await.unwrap();
    let snapshot = Snapshot {
        resource: resource(service),
        set: "test".into(),
        run,
        outcome: Outcome::Complete,
        token: writer.claim_token(),
        sequence: 1,
        parent: None,
        parent_hash: None,
        started: Timestamp::from_millis(1_700_000_000_000),
        finished: Timestamp::from_millis(1_700_000_100_000),
        containers,
        items,
        notes: empty,
        enumerations: Vec::new(),
        cursors: Vec::new(),
        totals: Totals::default(),
        routes: vec!["graph".into()],
        journal_sequence: 0,
    };
    writer.flush().await.unwrap();
    let ids = writer.publish(vec![snapshot]).await.unwrap();
    writer.end().await.unwrap();
    let mut entries = world.store.snapshots().await.unwrap().into_iter();
    entries.find(|entry| entry.id == ids[0]).unwrap()
}

fn resource(service: Service) -> Resource {
    Resource {
        id: ResourceId::of(&service, "source"),
        service,
        kind: ResourceKind::UserMailbox,
        owner: "adele@contoso.example".into(),
        owner_id: "source".into(),
        service_id: "source".into(),
        name: "Adele".into(),
    }
}

fn container((id, parent, name, well_known): &Folder) -> Container {
    Container {
        id: (*id).into(),
        parent: parent.map(str::to_owned),
        name: (*name).into(),
        kind: ContainerKind::MailFolder,
        well_known: well_known.map(str::to_owned),
        hidden: false,
        change_key: None,
        created: None,
        modified: None,
        properties: None,
    }
}
