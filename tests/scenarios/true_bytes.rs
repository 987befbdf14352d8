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

#[tokio::test]
async fn stored_files_are_the_source_byte_for_byte() {
    let tenant = small_tenant(42);
    let world = World::new(&tenant).await;
    world.backup().await;
    let state = world.state().await;
    let mut compared = 0;
    for user in tenant.users().iter().filter(|user| user.has_drive) {
        let drive = tenant
            .with_drive(&user.id, |drive| drive.id().to_owned())
            .unwrap();
        let stored = &state[&ResourceId::of(&Service::OneDrive, &drive)];
        for (item, forms) in &stored.items {
            let source = tenant.with_drive(&user.id, |drive| {
                let file = drive.item(&item.key.id).unwrap();
                assert_eq!(file.name(), item.name);
                assert_eq!(file.parent(), Some(item.key.container.as_str()));
                let content = file.content().unwrap();
                content.read(0..content.length()).unwrap()
            });
            assert!(
                forms[&RepresentationKind::Content] == source.unwrap()[..],
                "{}",
                item.name
            );
            compared += 1;
        }
        let files = tenant.with_drive(&user.id, |drive| {
            drive.walk().iter().filter(|item| !item.is_folder()).count()
        });
        assert_eq!(files, Some(stored.items.len()));
    }
    assert!(compared > 8, "only {compared} files compared");
}
