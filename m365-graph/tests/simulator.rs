//! Stories against the simulated tenant, signed in for real, without a socket.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_wrap,
    reason = "tests"
)]

#[path = "common/simulated.rs"]
mod simulated;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use m365_auth::{Body, ServiceTransport};
use m365_graph::{
    Change, DeltaLink, DeltaNext, DriveClient, DriveItem, ErrorKind, Feed, GraphClient,
    GraphOptions, Mail, NewAttachment, UploadOptions,
};
use m365_simulator::{Fault, FaultPlan, FaultRule, MailboxKind, Tenant, TenantSpec};
use serde_json::json;
use simulated::signed_in;

fn tenant() -> Tenant {
    Tenant::generate(TenantSpec {
        seed: 7,
        users: 2,
        messages_per_user: 40,
        files_per_user: 5,
        logical_bytes: 4 << 20,
        ..TenantSpec::default()
    })
    .unwrap()
}

fn client(tenant: &Tenant) -> GraphClient {
    let served = tenant.clone();
    let transport = ServiceTransport::new(move |request| {
        let tenant = served.clone();
        async move { tenant.handle(request).await }
    });
    let options = GraphOptions {
        message_page_size: 7,
        upload_fragment_bytes: 327_680,
        ..GraphOptions::default()
    };
    signed_in(tenant, Arc::new(transport), options)
}

/// Follows a folder's feed to its end; gives what it holds, by id, and the last link.
async fn follow(
    mail: &Mail,
    folder: &str,
    mut from: Option<DeltaLink>,
    held: &mut BTreeMap<String, String>,
) -> DeltaLink {
    loop {
        let page = mail.messages_delta(folder, from.as_ref()).await.unwrap();
        for change in page.changes {
            match change {
                Change::Upserted(message) => {
                    let subject = message.subject.clone().unwrap_or_default();
                    held.insert(message.id.clone(), subject);
                }
                Change::Removed { id, .. } => {
                    held.remove(&id);
                }
            }
        }
        match page.next {
            DeltaNext::More(next) => from = Some(next),
            DeltaNext::End(end) => return end,
        }
    }
}

#[tokio::test]
async fn users_and_their_mailboxes_are_found() {
    let tenant = tenant();
    let client = client(&tenant);
    let page = client.users_page(None).await.unwrap();
    assert_eq!(page.items.len(), tenant.users().len());
    let user = client
        .user(page.items[0].user_principal_name.as_deref().unwrap())
        .await
        .unwrap();
    assert_eq!(user.id, page.items[0].id);
    let settings = client.mailbox_settings(&user.id).await.unwrap();
    assert!(settings.user_purpose.is_some());
    assert_eq!(
        client
            .user("nobody@contoso.example")
            .await
            .unwrap_err()
            .kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn a_folder_is_followed_through_its_changes() {
    let tenant = tenant();
    let client = client(&tenant);
    let mail = client.mail(&tenant.users()[0].principal_name);
    let folders = mail.folders_delta(None).await.unwrap();
    assert!(folders.changes.len() > 3);
    let inbox = mail.folder("inbox").await.unwrap();

    let mut held = BTreeMap::new();
    let end = follow(&mail, &inbox.id, None, &mut held).await;
    assert_eq!(held.len() as u64, inbox.total_item_count.unwrap());
    assert!(held.len() > 7, "more than one page");

    let recipient = json!({"emailAddress": {"address": "bob@contoso.example"}});
    let message = json!({"subject": "Über", "toRecipients": [recipient]});
    let made = mail.create_message(&inbox.id, &message).await.unwrap();
    let gone = held.keys().next().unwrap().clone();
    mail.delete_message(&gone).await.unwrap();

    let end = client.parse_delta_link(end.as_str()).unwrap();
    follow(&mail, &inbox.id, Some(end), &mut held).await;
    assert_eq!(held.get(&made.id).map(String::as_str), Some("Über"));
    assert!(!held.contains_key(&gone));
}

#[tokio::test]
async fn a_message_is_written_and_read_as_mime() {
    let tenant = tenant();
    let client = client(&tenant);
    let mail = client.mail(&tenant.users()[0].principal_name);
    let folder = mail
        .create_folder("msgfolderroot", "Restored", false)
        .await
        .unwrap();
    let again = mail.create_folder("msgfolderroot", "Restored", false).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Conflict);
    let message = json!({
        "subject": "With attachments",
        "body": {"contentType": "text", "content": "Hello"},
        "toRecipients": [{"emailAddress": {"address": "bob@contoso.example"}}],
    });
    let made = mail.create_message(&folder.id, &message).await.unwrap();
    let small = NewAttachment::new("small.txt", "small").with_content_type("text/plain");
    let large = NewAttachment::new("large.bin", vec![9u8; 5_000_000]);
    mail.add_attachment(&made.id, &small).await.unwrap();
    mail.add_attachment(&made.id, &large).await.unwrap();
    let mime = mail
        .mime(&made.id)
        .await
        .unwrap()
        .collect(32 << 20)
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&mime);
    assert!(text.contains("With attachments"));
    assert!(text.contains("small.txt") && text.contains("large.bin"));
    assert!(mime.len() > 6_000_000, "the large attachment is in it");
    let changed = mail
        .update_message(&made.id, &json!({"isRead": true}))
        .await
        .unwrap();
    assert!(changed.is_read());
    assert_ne!(changed.change_key, made.change_key);
}

async fn drive(tenant: &Tenant, client: &GraphClient) -> DriveClient {
    let user = tenant.users()[0].principal_name.clone();
    if !tenant.users()[0].has_drive {
        tenant.give_drive(&user).unwrap();
    }
    client.drive(&client.user_drive(&user).await.unwrap().id)
}

#[tokio::test]
async fn files_of_every_size_come_back_as_they_went() {
    let tenant = tenant();
    let client = client(&tenant);
    let drive = drive(&tenant, &client).await;
    let root = drive.root().await.unwrap();
    let folder = drive
        .create_folder(&root.id, "50 % & more #1")
        .await
        .unwrap();
    for (number, size) in [0, 1, 327_679, 327_680, 327_681, 1_000_000]
        .into_iter()
        .enumerate()
    {
        let content: Vec<u8> = (0..size).map(|i: u32| (i % 253) as u8).collect();
        let name = format!("file {number} +é.bin");
        let options = UploadOptions {
            size: u64::from(size),
            modified: Some("2021-02-03T04:05:06Z".to_owned()),
            ..UploadOptions::default()
        };
        let body = Body::from(content.clone());
        let made = drive
            .upload(&folder.id, &name, options.clone(), body)
            .await
            .unwrap();
        let taken = drive
            .upload(&folder.id, &name, options, Body::from(content.clone()))
            .await;
        assert_eq!(taken.unwrap_err().kind(), ErrorKind::Conflict);
        let item = drive.child(&folder.id, &name).await.unwrap().unwrap();
        assert_eq!((&item.id, item.size), (&made.id, Some(u64::from(size))));
        let times = item.file_system_info.as_ref().unwrap();
        assert!(
            times
                .last_modified_date_time
                .as_ref()
                .unwrap()
                .starts_with("2021-02-03T04:05:06")
        );
        let read = drive
            .download(&item)
            .await
            .unwrap()
            .collect(2 << 20)
            .await
            .unwrap();
        assert!(read == content, "{size} bytes");
    }
    assert!(drive.child(&folder.id, "nothing").await.unwrap().is_none());
    assert_eq!(
        drive.children(&folder.id, None).await.unwrap().items.len(),
        6
    );
}

#[tokio::test]
async fn a_drive_is_followed_and_an_old_cursor_is_refused() {
    let tenant = tenant();
    let client = client(&tenant);
    let drive = drive(&tenant, &client).await;
    let mut from = None;
    let end = loop {
        let page = drive.delta(from.as_ref()).await.unwrap();
        match page.next {
            DeltaNext::More(next) => from = Some(next),
            DeltaNext::End(end) => break end,
        }
    };
    let root = drive.root().await.unwrap();
    let made = drive.create_folder(&root.id, "New").await.unwrap();
    let page = drive.delta(Some(&end)).await.unwrap();
    let seen =
        |change: &Change<DriveItem>| matches!(change, Change::Upserted(item) if item.id == made.id);
    assert!(page.changes.iter().any(seen));
    let DeltaNext::End(end) = page.next else {
        panic!("not the end")
    };
    drive.delete(&made.id).await.unwrap();
    let page = drive.delta(Some(&end)).await.unwrap();
    let gone =
        |change: &Change<DriveItem>| matches!(change, Change::Removed { id, .. } if *id == made.id);
    assert!(page.changes.iter().any(gone));
    tenant.expire_drive_cursors(&tenant.users()[0].principal_name);
    assert_eq!(
        drive.delta(Some(&end)).await.unwrap_err().kind(),
        ErrorKind::CursorReset
    );
}

#[tokio::test]
async fn a_revoked_token_is_renewed_unnoticed() {
    let tenant = tenant();
    let client = client(&tenant);
    client.users_page(None).await.unwrap();
    tenant.revoke_tokens();
    client.users_page(None).await.unwrap();
}

#[tokio::test]
async fn a_deferred_upload_and_a_drifting_office_file() {
    let tenant = tenant();
    let client = client(&tenant);
    let user = tenant.users()[0].id.clone();
    let drive = client.user_drive(&user).await.unwrap();
    let drive = client.drive(&drive.id);
    let root = drive.root().await.unwrap();
    let wish = || UploadOptions {
        size: 700_000,
        defer_commit: true,
        ..UploadOptions::default()
    };
    let content = || Body::from(vec![7; 700_000]);
    let made = drive.upload(&root.id, "late.docx", wish(), content()).await;
    assert_eq!(made.unwrap().size, Some(700_000));
    tenant.set_office_drift(true);
    let other = drive
        .upload(&root.id, "other.docx", wish(), content())
        .await;
    assert!(
        other.unwrap().size > Some(700_000),
        "the service has added to it"
    );
}

#[tokio::test]
async fn a_file_that_does_not_fit_is_refused_before_it_is_sent() {
    let tenant = tenant();
    let client = client(&tenant);
    let drive = drive(&tenant, &client).await;
    let root = drive.root().await.unwrap();
    tenant.set_drive_quota(500_000);
    tenant.reset_counters();
    let wish = UploadOptions {
        size: 9_000_000,
        ..UploadOptions::default()
    };
    let content = Body::from(vec![7; 9_000_000]);
    let full = drive.upload(&root.id, "full.bin", wish, content).await;
    assert_eq!(full.unwrap_err().kind(), ErrorKind::QuotaExceeded);
    assert_eq!(tenant.counters().billed(), 1, "nothing but the session");
}

/// Follows a feed from a link to its end; returns the ids it told, those removed marked.
async fn told<T: serde::de::DeserializeOwned + Send>(
    feed: Feed<T>,
    from: Option<DeltaLink>,
) -> (Vec<String>, DeltaLink) {
    let pages: Vec<_> = feed.page_size(4).pages(from).try_collect().await.unwrap();
    let Some(DeltaNext::End(link)) = pages.last().map(|page| page.next.clone()) else {
        panic!("the feed has no end");
    };
    let ids = |change: &Change<T>| match change {
        Change::Upserted(entity) => entity.raw()["id"].as_str().unwrap().to_owned(),
        Change::Removed { id, .. } => format!("-{id}"),
    };
    let mut told: Vec<String> = pages
        .iter()
        .flat_map(|page| page.changes.iter().map(ids))
        .collect();
    told.sort();
    told.dedup();
    (told, link)
}

#[tokio::test]
async fn the_feeds_of_a_mailbox_by_its_export_and_of_a_channel() {
    let tenant = tenant();
    let client = client(&tenant);
    let user = tenant.users()[0].id.clone();
    let mailbox = format!("MBX:{user}@{}", tenant.app().tenant_id);
    let folders = || client.mailbox_folders_feed(&mailbox).unwrap();
    let (all, link) = told(folders(), None).await;
    assert!(all.len() >= 8, "{all:?}");
    let new = tenant.add_folder(&user, "inbox", "new", false).unwrap();
    assert_eq!(told(folders(), Some(link)).await.0, [new]);

    let inbox = client.mail(&user).folder("inbox").await.unwrap();
    let items = || client.mailbox_items_feed(&mailbox, &inbox.id).unwrap();
    let (all, link) = told(items(), None).await;
    assert_eq!(all.len(), tenant.count_messages(&user, "inbox"));
    tenant.delete_message(&user, &all[0]);
    assert_eq!(told(items(), Some(link)).await.0, [format!("-{}", all[0])]);

    let (team, channel) = tenant.add_team("Plans");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    for number in 0..9 {
        tenant.add_channel_message(&team, &channel, "hello", now - 100 + number);
    }
    tenant.add_channel_message(&team, &channel, "of last year", now - 400 * 86_400);
    let posts = || client.channel_messages_feed(&team, &channel).unwrap();
    let (all, link) = told(posts(), None).await;
    assert_eq!(all.len(), 9, "of the last eight months");
    let new = tenant.add_channel_message(&team, &channel, "new", now);
    assert_eq!(told(posts(), Some(link)).await.0, [new.unwrap()]);
}

/// Follows a feed of a collection through additions and a removal.
async fn follows<T: serde::de::DeserializeOwned + Send + std::fmt::Debug>(
    tenant: &Tenant,
    collection: &str,
    feed: impl Fn() -> m365_graph::Result<Feed<T>>,
) {
    let add = || {
        let time = json!({"dateTime": "2026-03-02T09:00:00", "timeZone": "UTC"});
        tenant.put_object(collection, json!({"start": time, "end": time}))
    };
    let mut all: Vec<String> = (0..13).map(|_| add()).collect();
    all.sort();
    let (first, link) = told(feed().unwrap(), None).await;
    assert_eq!(first, all, "{collection}");
    assert!(tenant.remove_object(collection, &all[0]));
    let new = add();
    let (changes, link) = told(feed().unwrap(), Some(link)).await;
    let mut wanted = [new, format!("-{}", all[0])];
    wanted.sort();
    assert_eq!(changes, wanted, "{collection}");
    tenant.expire_collection_cursors(collection);
    let error = feed().unwrap().page(Some(&link)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CursorReset, "{collection}");
}

#[tokio::test]
async fn the_feeds_of_what_the_tenant_only_stores() {
    let tenant = tenant();
    let client = client(&tenant);
    let user = &tenant.users()[0].id.clone();
    let of = |rest: &str| format!("users/{user}/{rest}");
    let begin = "2026-03-01T00:00:00";
    let view = || client.calendar_view_feed(user, None, begin, "2026-04-01T00:00:00");
    follows(&tenant, "groups", || client.groups_feed()).await;
    follows(&tenant, "sites", || client.sites_feed()).await;
    let items = || client.list_items_feed("s", "l");
    follows(&tenant, "sites/s/lists/l/items", items).await;
    let folders = || client.contact_folders_feed(user);
    follows(&tenant, &of("contactFolders"), folders).await;
    let contacts = || client.contacts_feed(user, None);
    follows(&tenant, &of("contacts"), contacts).await;
    let contacts = || client.contacts_feed(user, Some("f"));
    follows(&tenant, &of("contactFolders/f/contacts"), contacts).await;
    let events = || client.events_feed(user, Some("c"));
    follows(&tenant, &of("calendars/c/events"), events).await;
    follows(&tenant, &of("events"), view).await;
    follows(&tenant, &of("todo/lists"), || client.todo_lists_feed(user)).await;
    let tasks = || client.todo_tasks_feed(user, "l");
    follows(&tenant, &of("todo/lists/l/tasks"), tasks).await;
}

#[tokio::test]
async fn the_feed_of_the_users_of_the_tenant() {
    let tenant = tenant();
    let client = client(&tenant);
    let feed = || {
        client
            .users_feed()
            .map(|feed| feed.select(&["displayName"]))
    };
    let (all, link) = told(feed().unwrap(), None).await;
    assert_eq!(all.len(), tenant.users().len());
    let new = tenant.add_user("zoe@contoso.example", "Zoe Zimmer", MailboxKind::User);
    let gone = tenant.users()[0].id.clone();
    assert!(tenant.remove_user(&gone));
    let (changes, link) = told(feed().unwrap(), Some(link)).await;
    let mut wanted = [new, format!("-{gone}")];
    wanted.sort();
    assert_eq!(changes, wanted);
    tenant.expire_collection_cursors("users");
    let error = feed().unwrap().page(Some(&link)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CursorReset);
    let (all, _) = told(feed().unwrap(), None).await;
    assert_eq!(all.len(), tenant.users().len(), "begun anew");
}

/// Reads a feed to its end, makes its cursors too old, and begins anew.
async fn begins_anew<T: serde::de::DeserializeOwned + Send + std::fmt::Debug>(
    feed: m365_graph::Result<Feed<T>>,
    expire: impl FnOnce(),
) {
    let feed = feed.unwrap();
    let (all, link) = told(feed.clone(), None).await;
    assert!(!all.is_empty(), "{feed:?}");
    expire();
    let error = feed.page(Some(&link)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CursorReset, "{feed:?}");
    assert_eq!(told(feed, None).await.0, all);
}

#[tokio::test]
async fn feeds_of_mailboxes_drives_and_channels_are_begun_anew_when_their_cursors_are_too_old() {
    let tenant = tenant();
    let client = client(&tenant);
    drive(&tenant, &client).await;
    let user = &tenant.users()[0].id.clone();
    let mailbox = format!("MBX:{user}@{}", tenant.app().tenant_id);
    let inbox = client.mail(user).folder("inbox").await.unwrap();
    let mail = || tenant.expire_mail_cursors(user);
    begins_anew(client.mail_folders_feed(user), mail).await;
    begins_anew(client.messages_feed(user, "inbox"), mail).await;
    begins_anew(client.mailbox_folders_feed(&mailbox), mail).await;
    begins_anew(client.mailbox_items_feed(&mailbox, &inbox.id), mail).await;
    let drive = client.user_drive(user).await.unwrap();
    let files = || tenant.expire_drive_cursors(user);
    begins_anew(client.drive_feed(&drive.id), files).await;
    let (team, channel) = tenant.add_team("Plans");
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    tenant.add_channel_message(&team, &channel, "hello", now - 100);
    let old = || {
        let rule = FaultRule::new("*messages/delta", Fault::ExpiredToken).times(1);
        tenant.set_faults(FaultPlan::new(1).with(rule));
    };
    begins_anew(client.channel_messages_feed(&team, &channel), old).await;
}
