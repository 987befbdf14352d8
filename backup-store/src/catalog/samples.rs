//! Small catalogs for tests.

use super::*;
use crate::tree::{BoundaryKey, Builder, NodeStore};
use crate::{RunId, Timestamp};

pub(crate) const BOUNDARY: BoundaryKey = BoundaryKey::new([7; 32]);

pub(crate) fn resource(id: &str) -> Resource {
    Resource {
        id: ResourceId::of(&Service::Outlook, id),
        service: Service::Outlook,
        kind: ResourceKind::UserMailbox,
        owner: format!("{id}@contoso.example"),
        owner_id: id.to_owned(),
        service_id: id.to_owned(),
        name: id.to_uppercase(),
    }
}

pub(crate) fn container(id: &str, parent: Option<&str>, name: &str) -> Container {
    Container {
        id: id.to_owned(),
        parent: parent.map(str::to_owned),
        name: name.to_owned(),
        kind: ContainerKind::MailFolder,
        well_known: None,
        hidden: false,
        change_key: None,
        created: None,
        modified: None,
        properties: None,
    }
}

pub(crate) fn item(container: &str, created: i64, id: &str, name: &str) -> Item {
    Item {
        key: ItemKey {
            container: container.to_owned(),
            created: Timestamp::from_millis(created),
            id: id.to_owned(),
        },
        kind: ItemKind::Message,
        name: name.to_owned(),
        sender: None,
        recipients: Vec::new(),
        change_key: "1".to_owned(),
        content_key: None,
        size_bytes: 0,
        modified: None,
        draft: false,
        state: ItemState::Stored,
        representations: Vec::new(),
    }
}

/// Stores the trees of these containers and items, and describes them as a snapshot.
pub(crate) async fn snapshot(
    nodes: &impl NodeStore,
    containers: &[Container],
    items: &[Item],
) -> Snapshot {
    let mut tree = Builder::new(nodes, &BOUNDARY);
    for container in containers {
        tree.push(container.key(), container.encode())
            .await
            .unwrap();
    }
    let containers = tree.finish().await.unwrap();
    let mut tree = Builder::new(nodes, &BOUNDARY);
    for item in items {
        tree.push(item.key.encode(), item.encode()).await.unwrap();
    }
    let seen = items.len() as u64;
    Snapshot {
        resource: resource("alex"),
        set: "nightly".to_owned(),
        run: RunId::from_bytes([1; 16]),
        outcome: Outcome::Complete,
        token: 1,
        sequence: 1,
        parent: None,
        parent_hash: None,
        started: Timestamp::EPOCH,
        finished: Timestamp::from_millis(1_000),
        containers,
        items: tree.finish().await.unwrap(),
        notes: crate::tree::empty(nodes).await.unwrap(),
        enumerations: Vec::new(),
        cursors: Vec::new(),
        totals: Totals {
            seen,
            stored: seen,
            ..Totals::default()
        },
        routes: vec!["graph".to_owned()],
        journal_sequence: 0,
    }
}
