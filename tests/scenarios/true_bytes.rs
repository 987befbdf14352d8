//! What is stored is the source, byte for byte.

use backup_store::catalog::{RepresentationKind, ResourceId, Service};

use crate::support::{World, small_tenant};

#[tokio::test]
async fn stored_mime_is_the_source_byte_for_byte() {
    let tenant = small_tenant(40);
    let world = World::new(&tenant).await;
    world.backup().await;
    let state = world.state().await;
    let mut compared = 0;
    for user in tenant.users().iter().filter(|user| user.mailbox.is_some()) {
        let mailbox = &state[&ResourceId::of(&Service::Outlook, &user.id)];
        let messages = tenant.messages(&user.id);
        assert_eq!(mailbox.items.len(), messages.len());
        for (item, forms) in &mailbox.items {
            let message = messages
                .iter()
                .find(|message| message.id == item.key.id)
                .unwrap();
            assert_eq!(item.key.container, message.folder);
            assert_eq!(
                (&item.name, &item.change_key),
                (&message.subject, &message.change_key)
            );
            let mime = tenant.mime(&user.id, &message.id).unwrap();
            assert!(
                forms[&RepresentationKind::Mime] == mime[..],
                "{}",
                item.name
            );
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared} messages compared");
}

#[tokio::test]
async fn well_known_folders_are_known_whatever_their_name() {
    let tenant = small_tenant(41);
    let world = World::new(&tenant).await;
    world.backup().await;
    tenant.reset_counters();
    let user = tenant.users()[0].clone();
    let state = world.state().await;
    let mailbox = &state[&ResourceId::of(&Service::Outlook, &user.id)];
    for name in ["inbox", "sentitems", "deleteditems", "drafts"] {
        let found = mailbox
            .containers
            .iter()
            .any(|(container, _)| container.well_known.as_deref() == Some(name));
        assert!(found, "no folder is known as {name}");
    }
}
